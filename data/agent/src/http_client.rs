//! A small HTTP/1.1 client for probes, scrapes and the admin interface.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::istiod::Failure;
use crate::net::Dial;

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Target {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// By TLS, whatever certificate is shown (as the kubelet does).
    pub tls: bool,
    /// How to dial.
    pub dial: Dial,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: http::HeaderMap,
    /// Body, within the limit.
    pub body: Bytes,
}

/// Sends one request on a connection of its own.
///
/// # Errors
/// When there is no answer within `limit`, or it is longer than `max_body` bytes.
pub async fn send(
    target: &Target,
    request: Request<Bytes>,
    limit: Duration,
    max_body: usize,
) -> Result<Answer, Failure> {
    tokio::time::timeout(limit, exchange(target, request, max_body))
        .await
        .map_err(|_| format!("no answer from {}:{} within {limit:?}", target.host, target.port))?
}

async fn exchange(target: &Target, request: Request<Bytes>, max_body: usize) -> Result<Answer, Failure> {
    let stream = target.dial.connect(&target.host, target.port).await?;
    if !target.tls {
        return talk(stream, request, max_body).await;
    }
    let config = rustls::ClientConfig::builder_with_provider(meltemi_identity::tls::provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let name = ServerName::try_from(target.host.clone())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    talk(stream, request, max_body).await
}

async fn talk<S>(stream: S, request: Request<Bytes>, max_body: usize) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let response: Response<_> = sender.send_request(request.map(Full::new)).await?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, max_body).collect().await?.to_bytes();
    connection.abort();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// The kubelet does not check certificates of probes, and we stand in for it.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let provider = meltemi_identity::tls::provider();
        verify_tls12_signature(message, cert, dss, &provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let provider = meltemi_identity::tls::provider();
        verify_tls13_signature(message, cert, dss, &provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        meltemi_identity::tls::provider().signature_verification_algorithms.supported_schemes()
    }
}
