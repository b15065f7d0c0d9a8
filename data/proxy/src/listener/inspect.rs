//! Looking at the first bytes of a connection: TLS and its SNI and ALPN, or HTTP and its version. Pure: bytes in, verdict out.

use rustls::server::Acceptor;

use crate::http::server::PREFACE;

/// What is looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `envoy.filters.listener.tls_inspector`
    pub tls: bool,
    /// `envoy.filters.listener.http_inspector`
    pub http: bool,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The connection begins with a TLS handshake.
    pub tls: bool,
    /// SNI, in lower case.
    pub server_name: Option<String>,
    /// ALPN, or the HTTP version that was recognized.
    pub protocols: Vec<String>,
}

/// What the bytes so far say.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// More bytes are needed.
    More,
    /// Known.
    Done(Found),
}

/// Most bytes looked at: a ClientHello or a request line fits easily.
pub const MOST: usize = 16 << 10;
/// Longest method name taken for HTTP.
const LONGEST_METHOD: usize = 20;

impl Wanted {
    /// Whether anything is looked for.
    pub fn any(self) -> bool {
        self.tls || self.http
    }

    /// Judges the first bytes of a connection.
    pub fn judge(self, bytes: &[u8]) -> Verdict {
        if !self.any() {
            return Verdict::Done(Found::default());
        }
        if bytes.is_empty() {
            return Verdict::More;
        }
        let verdict = match (self.tls && bytes[0] == 0x16, self.http) {
            (true, _) => tls(bytes),
            (false, true) => http(bytes),
            (false, false) => Verdict::Done(Found::default()),
        };
        match verdict {
            Verdict::More if bytes.len() >= MOST => Verdict::Done(Found::default()),
            verdict => verdict,
        }
    }
}

fn tls(bytes: &[u8]) -> Verdict {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        if !matches!(acceptor.read_tls(&mut rest), Ok(1..)) {
            return Verdict::Done(Found::default());
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let protocols = hello.alpn().into_iter().flatten();
                return Verdict::Done(Found {
                    tls: true,
                    server_name: hello.server_name().map(str::to_ascii_lowercase),
                    protocols: protocols.map(|p| String::from_utf8_lossy(p).into_owned()).collect(),
                });
            }
            // It looks like TLS but is none we can speak; the filter chain for plain bytes may know it.
            Err(_) => return Verdict::Done(Found::default()),
        }
    }
    Verdict::More
}

fn http(bytes: &[u8]) -> Verdict {
    let recognized =
        |version: &str| Verdict::Done(Found { protocols: vec![version.into()], ..Found::default() });
    let compared = bytes.len().min(PREFACE.len());
    if bytes[..compared] == PREFACE[..compared] {
        return if compared == PREFACE.len() { recognized("h2c") } else { Verdict::More };
    }
    let method = bytes.iter().position(|b| *b == b' ').unwrap_or(bytes.len());
    let is_method = bytes[..method].iter().all(|b| b.is_ascii_uppercase() || *b == b'-');
    if method == 0 || method > LONGEST_METHOD || !is_method {
        return Verdict::Done(Found::default());
    }
    let Some(end) = bytes.iter().position(|b| *b == b'\n') else { return Verdict::More };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    if line.ends_with(b" HTTP/1.1") {
        recognized("http/1.1")
    } else if line.ends_with(b" HTTP/1.0") {
        recognized("http/1.0")
    } else {
        Verdict::Done(Found::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const BOTH: Wanted = Wanted { tls: true, http: true };

    fn hello(sni: &str, alpn: &[&str]) -> Vec<u8> {
        let mut config = rustls::ClientConfig::builder_with_provider(crate::tls::provider().clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        let name = sni.to_owned().try_into().unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_client_hello_gives_name_and_protocols_however_it_is_cut() {
        let sni = "outbound_.9080_._.reviews.default.svc.cluster.local";
        let bytes = hello(sni, &["istio-http/1.1", "istio"]);
        for cut in [1, 5, 6, bytes.len() - 1] {
            assert_eq!(BOTH.judge(&bytes[..cut]), Verdict::More, "{cut}");
        }
        let Verdict::Done(found) = BOTH.judge(&bytes) else { panic!("complete") };
        assert!(found.tls);
        assert_eq!(found.server_name.as_deref(), Some(sni));
        assert_eq!(found.protocols, ["istio-http/1.1", "istio"]);
    }

    #[test]
    fn http_is_recognized_by_its_first_line() {
        let done = |protocols: &[&str]| {
            let protocols = protocols.iter().map(|p| (*p).to_owned()).collect();
            Verdict::Done(Found { protocols, ..Found::default() })
        };
        for (bytes, expected) in [
            (&b"GET /x HTTP/1.1\r\nhost"[..], done(&["http/1.1"])),
            (b"M-SEARCH * HTTP/1.0\n", done(&["http/1.0"])),
            (PREFACE, done(&["h2c"])),
            (b"PRI * HT", Verdict::More),
            (b"GET /", Verdict::More),
            (b"\x00\x01", done(&[])),
            (b"*1\r\n$4\r\nPING\r\n", done(&[])),
            (b"GET / SMTP\r\n", done(&[])),
            (b"EHLO mail\r\n", done(&[])),
            (b"", Verdict::More),
        ] {
            assert_eq!(BOTH.judge(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn garbage_that_looks_like_tls_is_let_through() {
        let mut bytes = vec![0x16, 9, 9];
        bytes.resize(64, 0xff);
        assert_eq!(BOTH.judge(&bytes), Verdict::Done(Found::default()));
    }
}
