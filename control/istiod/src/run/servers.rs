//! The servers: ADS and CA over gRPC, webhooks over HTTPS, debug pages over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use meltemi_identity::tls;
use meltemi_identity::verify::{ClientVerifier, Roots};
use meltemi_process::shutdown::Shutdown;
use meltemi_proto::istio::auth::v1::istio_certificate_service_server::IstioCertificateServiceServer;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;

use super::{Istiod, Listeners};
use crate::access::KubeAccess;
use crate::ads::AdsHandler;
use crate::ca::{CertificateService, Rotating, SERVING_TTL, serving_credential};
use crate::webhook::{Registrar, Webhooks};
use crate::{https, peer};

/// Finds proxies that vanished without a word.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A certificate request is small.
const MAX_CSR_MESSAGE: usize = 256 << 10;

impl Istiod {
    pub(super) fn serve(
        &self,
        listeners: Listeners,
        tasks: &TaskTracker,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let Listeners { monitoring, http, https: webhooks, grpc, secure_grpc } = listeners;
        let pages = self.debug().router();
        tasks.spawn(serve_http(monitoring, pages.clone(), shutdown.clone()));
        tasks.spawn(serve_http(http, pages, shutdown.clone()));
        let credential = Rotating::new(serving_credential(&self.authority, &self.options.serving_names())?);
        tasks.spawn(self.renew(credential.clone(), shutdown.clone()));
        self.serve_webhooks(webhooks, credential.clone(), tasks, shutdown)?;
        self.serve_grpc(grpc, secure_grpc, credential, tasks, shutdown)
    }

    /// Replaces istiod's own certificate at half its life.
    fn renew(&self, credential: Arc<Rotating>, shutdown: Shutdown) -> impl Future<Output = ()> + 'static {
        let (authority, names) = (self.authority.clone(), self.options.serving_names());
        async move {
            loop {
                tokio::select! {
                    () = shutdown.requested() => return,
                    () = tokio::time::sleep(SERVING_TTL / 2) => {}
                }
                match serving_credential(&authority, &names) {
                    Ok(fresh) => credential.replace(fresh),
                    Err(error) => tracing::error!(%error, "cannot renew istiod's own certificate"),
                }
            }
        }
    }

    fn serve_webhooks(
        &self,
        listener: TcpListener,
        credential: Arc<Rotating>,
        tasks: &TaskTracker,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let config = Arc::new(tls::server_config(credential, None, &[b"h2", b"http/1.1"])?);
        let webhooks = Webhooks { settings: self.settings.clone(), metrics: self.metrics.clone() };
        tasks.spawn(https::serve(listener, config, webhooks.router(), shutdown.token()));
        // The port is bound: whoever calls from now on is answered.
        let root = self.authority.root_pem();
        let registrar = Registrar::new(self.client.clone(), &root, &self.options, self.metrics.clone());
        tasks.spawn(registrar.run(shutdown.token()));
        Ok(())
    }

    fn serve_grpc(
        &self,
        plain: TcpListener,
        secure: TcpListener,
        credential: Arc<Rotating>,
        tasks: &TaskTracker,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let handler = Arc::new(AdsHandler {
            hub: self.hub.clone(),
            authenticator: self.authenticator(),
            access: Arc::new(KubeAccess::new(self.client.clone())),
            cache: self.cache.clone(),
            metrics: self.metrics.clone(),
            max_age: self.options.max_connection_age,
        });
        let verifier = ClientVerifier::optional(Roots::from_pem(&self.authority.root_pem())?, Vec::new());
        let config = Arc::new(tls::server_config(credential, Some(verifier), &[b"h2"])?);
        let certificates = IstioCertificateServiceServer::new(self.certificate_service())
            .max_decoding_message_size(MAX_CSR_MESSAGE);
        let ads = meltemi_xds::server::service(handler);
        let routes = tonic::service::Routes::new(ads.clone());
        tasks.spawn(serve_routes(plain, None, routes.clone(), shutdown.clone()));
        tasks.spawn(serve_routes(secure, Some(config), routes.add_service(certificates), shutdown.clone()));
        Ok(())
    }

    fn certificate_service(&self) -> CertificateService {
        CertificateService {
            authority: self.authority.clone(),
            authenticator: self.authenticator(),
            ttl: self.options.workload_cert_ttl,
            max_ttl: self.options.max_workload_cert_ttl,
            metrics: self.metrics.clone(),
        }
    }
}

async fn serve_routes(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    routes: tonic::service::Routes,
    shutdown: Shutdown,
) {
    let incoming = peer::incoming(listener, tls, shutdown.token());
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE / 3))
        .add_routes(routes);
    let end = async move { shutdown.requested().await };
    if let Err(error) = server.serve_with_incoming_shutdown(incoming, end).await {
        tracing::error!(%error, "gRPC server ended");
    }
}

async fn serve_http(listener: TcpListener, router: Router, shutdown: Shutdown) {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let end = async move { shutdown.requested().await };
    if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(end).await {
        tracing::error!(%error, "HTTP server ended");
    }
}
