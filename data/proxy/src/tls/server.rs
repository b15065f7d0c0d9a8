//! Terminating TLS: `DownstreamTlsContext`, and what both contexts have in common.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::downstream_tls_context::OcspStaplePolicy;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::{CommonTlsContext, DownstreamTlsContext};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::parameters::Parameters;
use super::secret::{Certificate, Secret, Secrets};
use super::shown::Shown;
use super::validate::{Validation, Verifier};
use crate::base::duration::bool_or;
use crate::base::reject::{At, Compiled, Reject, each, required, unsupported};
use crate::base::slot::Slot;
use crate::telemetry::TlsInfo;

/// What `CommonTlsContext` says, for either side.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) parameters: Parameters,
    pub(super) alpn: Vec<Vec<u8>>,
    certificates: Vec<Arc<Slot<Secret>>>,
    validation: Option<Validation>,
    delivered: Option<Arc<Slot<Secret>>>,
}

/// The secrets at one moment; equal when no secret was swapped.
#[derive(Debug, Clone)]
pub(super) struct Current {
    certificates: Vec<Arc<Secret>>,
    validation: Option<Arc<Secret>>,
}

impl PartialEq for Current {
    fn eq(&self, other: &Self) -> bool {
        let same =
            |a: &[Arc<Secret>], b: &[Arc<Secret>]| a.iter().map(Arc::as_ptr).eq(b.iter().map(Arc::as_ptr));
        same(&self.certificates, &other.certificates)
            && same(self.validation.as_slice(), other.validation.as_slice())
    }
}

impl Current {
    /// The certificates to show; an error when a secret named for one is of another kind.
    pub(super) fn certificates(&self) -> Result<Shown, String> {
        let certificate = |secret: &Arc<Secret>| match secret.as_ref() {
            Secret::Certificate(certificate) => Ok(certificate.clone()),
            Secret::Validation(_) => Err("the certificate's secret holds a validation context".to_owned()),
        };
        self.certificates.iter().map(certificate).collect::<Result<_, _>>().map(Shown)
    }
}

impl Common {
    pub(super) fn compile(proto: &CommonTlsContext, secrets: &Secrets) -> Compiled<Self> {
        reject_unsupported(proto)?;
        let (validation, delivered) = validation(proto, secrets)?;
        Ok(Self {
            parameters: Parameters::compile(proto.tls_params.as_ref()).at("tls_params")?,
            alpn: spoken(&proto.alpn_protocols),
            certificates: certificates(proto, secrets)?,
            validation,
            delivered,
        })
    }

    /// The secrets as they are now; `None` while one is missing.
    pub(super) fn current(&self) -> Option<Current> {
        let validation = match &self.delivered {
            None => None,
            Some(slot) => Some(slot.get()?),
        };
        let certificates = self.certificates.iter().map(|slot| slot.get()).collect::<Option<_>>()?;
        Some(Current { certificates, validation })
    }

    /// Whom to trust now.
    pub(super) fn validation(&self, current: &Current) -> Result<Validation, String> {
        let base = self.validation.clone().unwrap_or_default();
        match current.validation.as_deref() {
            None => Ok(base),
            Some(Secret::Validation(delivered)) => Ok(base.merged(delivered)),
            // To go on would be to trust everybody.
            Some(Secret::Certificate(_)) => {
                Err("the validation context's secret holds a certificate".to_owned())
            }
        }
    }

    /// Envoy shows one certificate to servers as well.
    pub(super) fn at_most_one_certificate(&self) -> Compiled<()> {
        let field = "tls_certificates";
        let one = self.certificates.len() <= 1;
        one.then_some(()).ok_or_else(|| Reject::new(field, "a client has one certificate at most"))
    }

    fn verifies_peers(&self) -> bool {
        self.validation.is_some() || self.delivered.is_some()
    }
}

fn reject_unsupported(proto: &CommonTlsContext) -> Compiled<()> {
    unsupported(&[
        (proto.custom_handshaker.is_some(), "custom_handshaker"),
        (proto.tls_certificate_provider_instance.is_some(), "tls_certificate_provider_instance"),
        (proto.custom_tls_certificate_selector.is_some(), "custom_tls_certificate_selector"),
    ])
}

/// The protocols we can keep our word about. `istio-peer-exchange` promises a preamble on TCP that we do not send: a peer that
/// is offered `istio` alone does without it.
fn spoken(protocols: &[String]) -> Vec<Vec<u8>> {
    let kept = protocols.iter().filter(|protocol| *protocol != "istio-peer-exchange");
    kept.map(|protocol| protocol.clone().into_bytes()).collect()
}

fn certificates(proto: &CommonTlsContext, secrets: &Secrets) -> Compiled<Vec<Arc<Slot<Secret>>>> {
    if !proto.tls_certificates.is_empty() {
        return each("tls_certificates", &proto.tls_certificates, |certificate| {
            let certificate = Certificate::compile(certificate)?;
            Ok(Slot::filled("", Arc::new(Secret::Certificate(Arc::new(certificate)))))
        });
    }
    each("tls_certificate_sds_secret_configs", &proto.tls_certificate_sds_secret_configs, |config| {
        secrets.reference(config)
    })
}

type Trust = (Option<Validation>, Option<Arc<Slot<Secret>>>);

fn validation(proto: &CommonTlsContext, secrets: &Secrets) -> Compiled<Trust> {
    Ok(match &proto.validation_context_type {
        None => (None, None),
        Some(ValidationContextType::ValidationContext(context)) => {
            (Some(Validation::compile(context).at("validation_context")?), None)
        }
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => {
            (None, Some(secrets.reference(config).at("validation_context_sds_secret_config")?))
        }
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            let default = required("default_validation_context", &combined.default_validation_context)
                .and_then(|context| Validation::compile(context).at("default_validation_context"))
                .at("combined_validation_context")?;
            let slot = required(
                "validation_context_sds_secret_config",
                &combined.validation_context_sds_secret_config,
            )
            .and_then(|config| secrets.reference(config))
            .at("combined_validation_context")?;
            (Some(default), Some(slot))
        }
        Some(_) => return Err(Reject::new("validation_context_type", "this form is not supported")),
    })
}

/// A compiled `DownstreamTlsContext`.
#[derive(Debug)]
pub struct ServerContext {
    common: Common,
    require_client_certificate: bool,
    require_sni: bool,
    built: ArcSwapOption<Built>,
}

#[derive(Debug)]
struct Built {
    config: Arc<ServerConfig>,
    secrets: Current,
}

impl ServerContext {
    /// Compiles Envoy's message.
    pub fn compile(proto: &DownstreamTlsContext, secrets: &Secrets) -> Compiled<Self> {
        let common = required("common_tls_context", &proto.common_tls_context)?;
        let common = Common::compile(common, secrets).at("common_tls_context")?;
        if common.certificates.is_empty() {
            return Err(Reject::new("common_tls_context", "needs a certificate to serve with"));
        }
        if proto.ocsp_staple_policy() != OcspStaplePolicy::LenientStapling {
            return Err(Reject::new("ocsp_staple_policy", "is not supported: nothing is stapled"));
        }
        Ok(Self {
            common,
            require_client_certificate: bool_or(&proto.require_client_certificate, false),
            require_sni: bool_or(&proto.require_sni, false),
            built: ArcSwapOption::empty(),
        })
    }

    /// Whether every secret it needs is there.
    pub fn is_ready(&self) -> bool {
        self.common.current().is_some()
    }

    fn config(&self) -> Result<(Arc<ServerConfig>, Current), String> {
        let current =
            self.common.current().ok_or("TLS secrets are not ready: SDS has not delivered them yet")?;
        if let Some(built) = self.built.load().as_ref()
            && built.secrets == current
        {
            return Ok((built.config.clone(), current));
        }
        let config = Arc::new(self.build(&current)?);
        self.built.store(Some(Arc::new(Built { config: config.clone(), secrets: current.clone() })));
        Ok((config, current))
    }

    fn build(&self, current: &Current) -> Result<ServerConfig, String> {
        let certificates = current.certificates()?;
        let builder = ServerConfig::builder_with_provider(self.common.parameters.provider.clone())
            .with_protocol_versions(&self.common.parameters.versions)
            .map_err(|error| error.to_string())?;
        let builder = if self.common.verifies_peers() || self.require_client_certificate {
            builder.with_client_cert_verifier(Arc::new(Verifier {
                validation: self.common.validation(current)?,
                client_required: self.require_client_certificate,
                must_match: false,
            }))
        } else {
            builder.with_client_cert_verifier(WebPkiClientVerifier::no_client_auth())
        };
        let mut config = builder.with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols.clone_from(&self.common.alpn);
        Ok(config)
    }

    /// Does the handshake. A client that offers only protocols we do not know gets none, as with Envoy.
    pub async fn accept<S>(&self, stream: S) -> Result<(TlsStream<S>, TlsInfo), String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut config, current) = self.config()?;
        let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
        let start = acceptor.await.map_err(|error| error.to_string())?;
        if self.require_sni && start.client_hello().server_name().is_none() {
            return Err("the client named no server, and require_sni is set".to_owned());
        }
        let local = current.certificates()?.pick(&start.client_hello()).map(|shown| shown.info.clone());
        let known = start.client_hello().alpn().is_none_or(|mut offered| {
            offered.any(|protocol| config.alpn_protocols.iter().any(|ours| ours == protocol))
        });
        if !known {
            Arc::make_mut(&mut config).alpn_protocols.clear();
        }
        let stream = start.into_stream(config).await.map_err(|error| error.to_string())?;
        let info = super::info::of(stream.get_ref().1, local);
        Ok((stream, info))
    }
}

#[cfg(test)]
mod tests;
