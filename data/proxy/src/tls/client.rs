//! Originating TLS: `UpstreamTlsContext`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::UpstreamTlsContext;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::secret::Secrets;
use super::server::Common;
use super::validate::Verifier;
use crate::base::reject::{At, Compiled, Reject, required};
use crate::net::stream::Stream;
use crate::telemetry::TlsInfo;

/// A compiled `UpstreamTlsContext`. The rustls configuration is built when it is first used and again when a secret changes.
#[derive(Debug)]
pub struct ClientContext {
    common: Common,
    sni: Option<Arc<str>>,
    auto_sni: bool,
    must_match: bool,
    built: ArcSwapOption<Built>,
}

#[derive(Debug)]
struct Built {
    config: Arc<ClientConfig>,
    /// The same for handshakes whose certificate must be for the server name. Sessions are not shared between the two.
    matching: Arc<ClientConfig>,
    secrets: super::server::Current,
}

impl Built {
    fn config(&self, must_match: bool) -> &Arc<ClientConfig> {
        if must_match { &self.matching } else { &self.config }
    }
}

/// Why a handshake failed, for `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
pub type TlsFailure = String;

/// What a request may ask of the handshake, over what the cluster says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TlsOverrides {
    /// Protocols offered by ALPN.
    pub alpn: Option<Arc<[Vec<u8>]>>,
    /// Server name: a host name, or an address, which is never sent.
    pub sni: Option<Arc<str>>,
    /// The certificate must be for the server name.
    pub must_match: bool,
}

impl ClientContext {
    /// Compiles Envoy's message.
    pub fn compile(proto: &UpstreamTlsContext, secrets: &Secrets) -> Compiled<Self> {
        let common = required("common_tls_context", &proto.common_tls_context)?;
        if !proto.sni.is_empty() && ServerName::try_from(proto.sni.as_str()).is_err() {
            return Err(Reject::new("sni", format!("{:?} is not a host name", proto.sni)));
        }
        crate::base::reject::unsupported(&[(proto.allow_renegotiation, "allow_renegotiation")])?;
        let common = Common::compile(common, secrets).at("common_tls_context")?;
        common.at_most_one_certificate().at("common_tls_context")?;
        Ok(Self {
            common,
            sni: (!proto.sni.is_empty()).then(|| proto.sni.as_str().into()),
            auto_sni: proto.auto_host_sni,
            must_match: proto.auto_sni_san_validation,
            built: ArcSwapOption::empty(),
        })
    }

    /// Whether every secret it needs is there.
    pub fn is_ready(&self) -> bool {
        self.common.current().is_some()
    }

    fn config(&self, must_match: bool) -> Result<Arc<ClientConfig>, TlsFailure> {
        let current =
            self.common.current().ok_or("TLS secrets are not ready: SDS has not delivered them yet")?;
        if let Some(built) = self.built.load().as_ref()
            && built.secrets == current
        {
            return Ok(built.config(must_match).clone());
        }
        let built = Arc::new(Built {
            config: Arc::new(self.build(&current, false)?),
            matching: Arc::new(self.build(&current, true)?),
            secrets: current,
        });
        self.built.store(Some(built.clone()));
        Ok(built.config(must_match).clone())
    }

    fn build(&self, current: &super::server::Current, must_match: bool) -> Result<ClientConfig, TlsFailure> {
        let validation = self.common.validation(current)?;
        let verifier = Verifier { validation, client_required: false, must_match };
        let builder = ClientConfig::builder_with_provider(self.common.parameters.provider.clone())
            .with_protocol_versions(&self.common.parameters.versions)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier) as Arc<dyn ServerCertVerifier>);
        let shown = current.certificates()?;
        let mut config = match shown.0.is_empty() {
            false => builder.with_client_cert_resolver(Arc::new(shown)),
            true => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.common.alpn);
        Ok(config)
    }

    /// Does the handshake.
    pub async fn connect(
        &self,
        stream: Stream,
        hostname: &str,
        overrides: &TlsOverrides,
    ) -> Result<(TlsStream<Stream>, TlsInfo), TlsFailure> {
        let must_match = self.must_match || overrides.must_match;
        let mut config = self.config(must_match)?;
        let sni = overrides.sni.as_deref().or(self.sni.as_deref()).or(self.auto_sni.then_some(hostname));
        let name = sni.and_then(|name| ServerName::try_from(name.to_owned()).ok());
        if must_match && name.is_none() {
            return Err(format!(
                "no certificate can be for {:?}: it is no host name",
                sni.unwrap_or_default()
            ));
        }
        if let Some(alpn) = &overrides.alpn {
            Arc::make_mut(&mut config).alpn_protocols = alpn.to_vec();
        }
        if name.is_none() {
            Arc::make_mut(&mut config).enable_sni = false;
        }
        // Without a name rustls still wants one; an address is never sent.
        let name = name.unwrap_or(ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into()));
        let stream =
            TlsConnector::from(config).connect(name, stream).await.map_err(|error| failure(&error))?;
        let shown = self.common.current().and_then(|current| current.certificates().ok());
        let local = shown.and_then(|shown| shown.0.first().map(|certificate| certificate.info.clone()));
        let info = super::info::of(stream.get_ref().1, local);
        Ok((stream, info))
    }
}

fn failure(error: &std::io::Error) -> TlsFailure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        // What our own verifier says is meant for people.
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(ours))) => ours.0.to_string(),
        Some(tls) => tls.to_string(),
        None => error.to_string(),
    }
}
