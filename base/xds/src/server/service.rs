//! The gRPC services: ADS, and SDS for agents that serve secrets alone.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use meltemi_proto::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use meltemi_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use meltemi_proto::envoy::service::secret::v3::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::adapter::{Limits, drive};
use super::delta::DeltaStream;
use super::handler::{Handler, Peer};
use super::machine::Machine;
use super::sotw::SotwStream;

/// A handler behind the gRPC services.
#[derive(Debug)]
pub struct Discovery<H> {
    handler: Arc<H>,
    limits: Limits,
}

impl<H> Clone for Discovery<H> {
    fn clone(&self) -> Self {
        Self { handler: self.handler.clone(), limits: self.limits }
    }
}

/// ADS over `handler`, with default limits.
pub fn service<H: Handler>(handler: Arc<H>) -> AggregatedDiscoveryServiceServer<Discovery<H>> {
    service_with(handler, Limits::default())
}

/// ADS over `handler`.
pub fn service_with<H: Handler>(
    handler: Arc<H>,
    limits: Limits,
) -> AggregatedDiscoveryServiceServer<Discovery<H>> {
    AggregatedDiscoveryServiceServer::new(Discovery { handler, limits })
        .max_decoding_message_size(limits.request_bytes)
        .max_encoding_message_size(usize::MAX)
}

/// SDS over `handler`.
pub fn sds_service<H: Handler>(handler: Arc<H>) -> SecretDiscoveryServiceServer<Discovery<H>> {
    let limits = Limits::default();
    SecretDiscoveryServiceServer::new(Discovery { handler, limits })
        .max_decoding_message_size(limits.request_bytes)
        .max_encoding_message_size(usize::MAX)
}

/// Stream of responses.
type Responses<R> = Pin<Box<dyn Stream<Item = Result<R, Status>> + Send>>;

impl<H: Handler> Discovery<H> {
    fn start<M: Machine>(&self, request: Request<Streaming<M::Request>>) -> Response<Responses<M::Response>> {
        let remote = request.remote_addr();
        let (metadata, extensions, inbound) = request.into_parts();
        let peer = Peer { remote, metadata, extensions };
        let (out, responses) = mpsc::channel(self.limits.queue.max(1));
        tokio::spawn(drive::<M, _, _>(self.handler.clone(), peer, inbound, out, true));
        Response::new(Box::pin(ReceiverStream::new(responses)))
    }
}

#[tonic::async_trait]
impl<H: Handler> AggregatedDiscoveryService for Discovery<H> {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Ok(self.start::<SotwStream>(request))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Ok(self.start::<DeltaStream>(request))
    }
}

#[tonic::async_trait]
impl<H: Handler> SecretDiscoveryService for Discovery<H> {
    type DeltaSecretsStream = Responses<DeltaDiscoveryResponse>;
    type StreamSecretsStream = Responses<DiscoveryResponse>;

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        Ok(self.start::<DeltaStream>(request))
    }

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        Ok(self.start::<SotwStream>(request))
    }

    async fn fetch_secrets(
        &self,
        _: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("secrets are served on streams only"))
    }
}
