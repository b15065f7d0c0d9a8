//! What can go wrong, with curl's exit codes and wording.

/// A transfer that failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The URL makes no sense to us.
    #[error("URL using bad/illegal format or missing URL: {0}")]
    Url(String),
    /// A scheme we do not speak.
    #[error("Protocol \"{0}\" not supported")]
    Scheme(String),
    /// DNS has no such name.
    #[error("Could not resolve host: {0}")]
    Resolve(String),
    /// Nobody listens, or no way there.
    #[error("Failed to connect to {host} port {port}: {cause}")]
    Connect {
        /// Where to.
        host: String,
        /// Where to.
        port: u16,
        /// Why not.
        cause: String,
    },
    /// `--fail` and a status of 400 or above.
    #[error("The requested URL returned error: {0}")]
    Http(u16),
    /// `--max-time` or `--connect-timeout` ran out.
    #[error("Operation timed out after {0} milliseconds")]
    Timeout(u128),
    /// TLS could not be agreed on.
    #[error("TLS connect error: {0}")]
    Tls(String),
    /// The server's certificate does not verify.
    #[error("SSL certificate problem: {0}")]
    Certificate(String),
    /// A certificate or key file of ours.
    #[error("{0}")]
    CertificateFile(String),
    /// The server closed without a word.
    #[error("Empty reply from server")]
    Empty,
    /// The connection broke.
    #[error("Recv failure: {0}")]
    Receive(String),
    /// More redirects than `-L` follows.
    #[error("Maximum ({0}) redirects followed")]
    Redirects(u32),
}

impl Failure {
    /// curl's exit code for this failure.
    pub fn code(&self) -> u8 {
        match self {
            Self::Scheme(_) => 1,
            Self::Url(_) => 3,
            Self::Resolve(_) => 6,
            Self::Connect { .. } => 7,
            Self::Http(_) => 22,
            Self::Timeout(_) => 28,
            Self::Tls(_) => 35,
            Self::Redirects(_) => 47,
            Self::Empty => 52,
            Self::Receive(_) => 56,
            Self::CertificateFile(_) => 58,
            Self::Certificate(_) => 60,
        }
    }
}
