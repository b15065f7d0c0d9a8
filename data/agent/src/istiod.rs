//! How we reach the control plane: TLS under its root, with the pod's service account token.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use meltemi_identity::san::SanMatcher;
use meltemi_identity::tls;
use meltemi_identity::verify::{Roots, ServerVerifier};
use meltemi_proto::ports;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::net::Dial;
use crate::settings::{HostPort, Settings};

/// An error of the way to the control plane.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Time limit of one connection attempt.
const CONNECT: Duration = Duration::from_secs(10);
/// A silent connection is pinged after this.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The way to one server of the control plane. Files are read anew at each connection: tokens and roots rotate.
#[derive(Clone, Debug)]
pub struct Istiod {
    address: HostPort,
    settings: Arc<Settings>,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Istiod {
    /// Where ADS is.
    pub fn discovery(settings: &Arc<Settings>) -> Self {
        Self { address: settings.discovery.clone(), settings: settings.clone() }
    }

    /// Where certificates are signed.
    pub fn authority(settings: &Arc<Settings>) -> Self {
        Self { address: settings.authority.clone(), settings: settings.clone() }
    }

    /// A new connection.
    ///
    /// # Errors
    /// When the server cannot be reached or is not who it should be.
    pub async fn channel(&self) -> Result<Channel, Failure> {
        let io = tokio::time::timeout(CONNECT, self.dial())
            .await
            .map_err(|_| format!("{}: no connection within {CONNECT:?}", self.address))??;
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))?
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(Duration::from_secs(10))
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(8 << 20);
        let mut once = Some(io);
        let connector = service_fn(move |_| {
            let io = once.take();
            async move { io.map(TokioIo::new).ok_or_else(|| io::Error::other("the connection was lost")) }
        });
        Ok(endpoint.connect_with_connector(connector).await?)
    }

    async fn dial(&self) -> Result<Box<dyn Io>, Failure> {
        let HostPort { host, port } = &self.address;
        let dial = Dial { mark: self.settings.bypass_mark, from_passthrough: false };
        let stream = dial.connect(host, *port).await?;
        if *port == ports::XDS_PLAIN {
            return Ok(Box::new(stream));
        }
        let path = &self.settings.paths.root_cert;
        let pem = tokio::fs::read_to_string(path).await.map_err(|error| {
            format!("{}: {error}; the ConfigMap istio-ca-root-cert must be mounted there", path.display())
        })?;
        let roots = Roots::from_pem(&pem).map_err(|error| format!("{}: {error}", path.display()))?;
        let allowed = vec![SanMatcher::exact(self.settings.server_name.clone())];
        let config = tls::client_config(ServerVerifier::new(roots, allowed), None, &[b"h2"])?;
        let name = ServerName::try_from(host.clone())?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(|error| format!("TLS with {}: {error}", self.address))?;
        Ok(Box::new(stream))
    }

    /// Headers that prove who we are.
    ///
    /// # Errors
    /// When there is no token.
    pub async fn headers(&self) -> Result<MetadataMap, Failure> {
        let path = &self.settings.paths.token;
        let mut headers = MetadataMap::new();
        if self.address.port == ports::XDS_PLAIN && !is_loopback(&self.address.host) {
            // Whoever listens on the way could be us with it.
            return Ok(headers);
        }
        let token = match tokio::fs::read_to_string(path).await {
            Ok(token) => token,
            // The plain port is for the loopback, where nobody asks for a token.
            Err(_) if self.address.port == ports::XDS_PLAIN => return Ok(headers),
            Err(error) => {
                let path = path.display();
                return Err(format!(
                    "{path}: {error}; the projected token istio-token must be mounted there"
                )
                .into());
            }
        };
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.trim()).parse()?;
        value.set_sensitive(true);
        headers.insert("authorization", value);
        headers.insert("clusterid", self.settings.metadata.cluster_id.parse()?);
        Ok(headers)
    }
}

/// Whether a host can be nobody but this machine.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.is_loopback())
}
