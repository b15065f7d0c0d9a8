//! The cipher suites and curves that servers may choose from, by Envoy's names.
//!
//! Envoy refuses a listener with a name that it does not know, and so all other servers of its port; therefore, as in Istio, such
//! names are left out of what proxies get, and told to the user.

/// What our engine has for TLS 1.2. (Those of 1.3 cannot be chosen, in either proxy.)
pub const CIPHER_SUITES: [&str; 6] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// And for the exchange of keys.
pub const CURVES: [&str; 5] = ["X25519", "P-256", "P-384", "P-521", "X25519MLKEM768"];

/// The names of a list, of which some may be groups of equal preference: `[A|B]`.
fn names(written: &str) -> impl Iterator<Item = &str> {
    written.trim_matches(['[', ']']).split('|')
}

/// What of the list no proxy has.
pub fn unknown<'a>(written: &'a [String], known: &'a [&str]) -> impl Iterator<Item = &'a str> {
    written.iter().flat_map(|text| names(text)).filter(|name| !known.contains(name))
}

/// The list without it, groups kept together.
pub fn usable(written: &[String], known: &[&str]) -> Vec<String> {
    let group = |text: &String| {
        let kept: Vec<&str> = names(text).filter(|name| known.contains(name)).collect();
        match kept.as_slice() {
            [] => None,
            [one] => Some((*one).to_owned()),
            several => Some(format!("[{}]", several.join("|"))),
        }
    };
    written.iter().filter_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_proxies_have_is_left() {
        let written = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let list = written(&[
            "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]",
            "[ECDHE-RSA-AES128-GCM-SHA256|AES128-SHA]",
            "RC4",
        ]);
        assert_eq!(unknown(&list, &CIPHER_SUITES).collect::<Vec<_>>(), ["AES128-SHA", "RC4"]);
        let expected =
            ["[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]", "ECDHE-RSA-AES128-GCM-SHA256"];
        assert_eq!(usable(&list, &CIPHER_SUITES), expected);
        assert!(usable(&written(&["secp224r1"]), &CURVES).is_empty());
    }
}
