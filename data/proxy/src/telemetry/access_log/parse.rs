//! Format strings: literal text and `%OPERATOR(arguments):length%`.

use crate::base::reject::{Compiled, Reject};

/// One piece of a format string.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text as it is.
    Text(&'a str),
    /// A command operator.
    Operator {
        /// Its name.
        name: &'a str,
        /// What stood between the parentheses.
        arguments: Option<&'a str>,
        /// `:N` after the operator: the longest value to log, in bytes.
        limit: Option<usize>,
    },
}

/// Splits a format string. `%%` is a percent sign.
pub(super) fn pieces(format: &str) -> Compiled<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(start) = rest.find('%') {
        if start > 0 {
            pieces.push(Piece::Text(&rest[..start]));
        }
        let after = &rest[start + 1..];
        if let Some(after) = after.strip_prefix('%') {
            pieces.push(Piece::Text("%"));
            rest = after;
            continue;
        }
        let (piece, remaining) = operator(after)?;
        pieces.push(piece);
        rest = remaining;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// Reads an operator after its opening percent sign; returns it and what follows the closing one.
fn operator(text: &str) -> Compiled<(Piece<'_>, &str)> {
    let broken = |why: &str| {
        let shown: String = text.chars().take(40).collect();
        Err(Reject::new("", format!("command operator %{shown}: {why}")))
    };
    let name_end =
        text.find(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (name, mut rest) = text.split_at(name_end);
    if name.is_empty() {
        return broken("a name in capitals must follow '%'; a percent sign is written '%%'");
    }
    let mut arguments = None;
    if let Some(inner) = rest.strip_prefix('(') {
        // Time formats may hold percent signs, so only ')' ends the arguments.
        let Some(end) = inner.find(')') else { return broken("')' is missing") };
        arguments = Some(&inner[..end]);
        rest = &inner[end + 1..];
    }
    let mut limit = None;
    if let Some(digits) = rest.strip_prefix(':') {
        let Some(end) = digits.find('%') else { return broken("the closing '%' is missing") };
        match digits[..end].parse() {
            Ok(number) => limit = Some(number),
            Err(_) => return broken("the length after ':' is not a number"),
        }
        rest = &digits[end..];
    }
    match rest.strip_prefix('%') {
        Some(rest) => Ok((Piece::Operator { name, arguments, limit }, rest)),
        None => broken("the closing '%' is missing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_operators_arguments_and_lengths() {
        let read = pieces("a %REQ(X-A?:PATH):12% 100%% %START_TIME(%Y-%m)%").unwrap();
        let req = Piece::Operator { name: "REQ", arguments: Some("X-A?:PATH"), limit: Some(12) };
        let time = Piece::Operator { name: "START_TIME", arguments: Some("%Y-%m"), limit: None };
        assert_eq!(
            read,
            [Piece::Text("a "), req, Piece::Text(" 100"), Piece::Text("%"), Piece::Text(" "), time]
        );
    }

    #[test]
    fn broken_operators_say_what_is_missing() {
        for (format, why) in [
            ("%PROTOCOL", "closing '%'"),
            ("%REQ(X", "')' is missing"),
            ("%REQ(X):a%", "not a number"),
            ("50% off", "written '%%'"),
        ] {
            let error = pieces(format).unwrap_err().to_string();
            assert!(error.contains(why), "{format}: {error}");
        }
    }
}
