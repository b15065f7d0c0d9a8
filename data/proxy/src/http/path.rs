//! Normalization of paths, before anything is matched against them.

/// What is normalized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathOptions {
    /// Dot segments are resolved, unreserved characters unescaped, backslashes turned.
    pub normalize: bool,
    /// Adjacent slashes become one.
    pub merge_slashes: bool,
    /// What happens to `%2F` and `%5C`.
    pub escaped: EscapedSlashes,
}

/// What happens to escaped slashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// Nothing.
    #[default]
    Keep,
    /// The request is refused.
    Reject,
    /// They are unescaped and the client is redirected.
    Redirect,
    /// They are unescaped.
    Forward,
}

/// What became of a path.
#[derive(Debug, PartialEq, Eq)]
pub enum Normalized {
    /// It was fine.
    Same,
    /// It is this one now.
    Changed(String),
    /// The client should ask for this one.
    Redirect(String),
    /// It cannot be normalized.
    Refused,
}

impl PathOptions {
    /// Normalizes a path; the query is left alone.
    pub fn apply(self, full: &str) -> Normalized {
        if self == Self::default() || !full.starts_with('/') {
            return Normalized::Same;
        }
        let end = crate::base::head::path_only(full).len();
        let (path, query) = full.split_at(end);
        let mut redirect = false;
        let mut new = path.to_owned();
        if self.escaped != EscapedSlashes::Keep && has_escaped_slash(&new) {
            match self.escaped {
                EscapedSlashes::Reject => return Normalized::Refused,
                EscapedSlashes::Redirect => redirect = true,
                EscapedSlashes::Keep | EscapedSlashes::Forward => {}
            }
            new = unescape(&new, |byte| matches!(byte, b'/' | b'\\'));
        }
        if self.normalize {
            let Some(resolved) = normalize(&new) else { return Normalized::Refused };
            new = resolved;
        }
        if self.merge_slashes {
            new = merge_slashes(&new);
        }
        match (new == path, redirect) {
            (true, _) => Normalized::Same,
            (false, true) => Normalized::Redirect(new + query),
            (false, false) => Normalized::Changed(new + query),
        }
    }
}

fn has_escaped_slash(path: &str) -> bool {
    escapes(path).any(|byte| matches!(byte, b'/' | b'\\'))
}

fn escapes(path: &str) -> impl Iterator<Item = u8> {
    path.as_bytes().windows(3).filter(|w| w[0] == b'%').filter_map(|w| byte(w[1], w[2]))
}

fn byte(high: u8, low: u8) -> Option<u8> {
    let digit = |c: u8| (c as char).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

/// Unescapes the bytes that `wanted` names.
fn unescape(path: &str, wanted: impl Fn(u8) -> bool) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = match bytes.get(at..at + 3) {
            Some([b'%', high, low]) => byte(*high, *low).filter(|b| wanted(*b)),
            _ => None,
        };
        match escaped {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    // Only ASCII is ever unescaped, so what was UTF-8 stays UTF-8.
    String::from_utf8_lossy(&out).into_owned()
}

/// Resolves dot segments; `None` when an escaped NUL hides in the path.
fn normalize(path: &str) -> Option<String> {
    if escapes(path).any(|byte| byte == 0) {
        return None;
    }
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let path = unescape(path, unreserved).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    let mut directory = false;
    for segment in path.split('/').skip(1) {
        directory = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let mut out = segments.iter().fold(String::with_capacity(path.len()), |out, s| out + "/" + s);
    if directory || out.is_empty() {
        out.push('/');
    }
    Some(out)
}

fn merge_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !out.ends_with('/') {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalized() {
        let options = PathOptions { normalize: true, ..PathOptions::default() };
        for (path, expected) in [
            ("/a/./b/../c?x=/../", Normalized::Changed("/a/c?x=/../".into())),
            ("/a/%2e%2E/b", Normalized::Changed("/b".into())),
            ("/..", Normalized::Changed("/".into())),
            ("/a\\b", Normalized::Changed("/a/b".into())),
            ("/%41%2f", Normalized::Changed("/A%2f".into())),
            ("/a%00b", Normalized::Refused),
            ("/plain", Normalized::Same),
        ] {
            assert_eq!(options.apply(path), expected, "{path}");
        }
    }

    #[test]
    fn slashes_follow_their_options() {
        let merge = PathOptions { merge_slashes: true, ..PathOptions::default() };
        assert_eq!(merge.apply("//a///b?//"), Normalized::Changed("/a/b?//".into()));
        let escaped = |escaped| PathOptions { escaped, ..PathOptions::default() }.apply("/a%2Fb");
        assert_eq!(escaped(EscapedSlashes::Keep), Normalized::Same);
        assert_eq!(escaped(EscapedSlashes::Reject), Normalized::Refused);
        assert_eq!(escaped(EscapedSlashes::Forward), Normalized::Changed("/a/b".into()));
        assert_eq!(escaped(EscapedSlashes::Redirect), Normalized::Redirect("/a/b".into()));
    }
}
