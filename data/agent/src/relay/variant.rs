//! The two variants of the protocol, state of the world and incremental.

use meltemi_proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use meltemi_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use meltemi_proto::google::rpc;
use meltemi_proto::type_url::NAME_TABLE;
use meltemi_xds::server::{DeltaStream, Machine, SotwStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};
use tracing::warn;

use crate::dns::Names;
use crate::last_good::Stream;

/// The control plane, ready to be asked.
pub(super) type Client = AggregatedDiscoveryServiceClient<tonic::transport::Channel>;

/// The two variants of the protocol, as far as they differ here.
#[tonic::async_trait]
pub(super) trait Variant: Send + 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;
    /// Serves the variant in the control plane's place.
    type Machine: Machine<Request = Self::Request, Response = Self::Response>;
    async fn open(
        client: &mut Client,
        requests: Request<ReceiverStream<Self::Request>>,
    ) -> Result<Streaming<Self::Response>, Status>;
    /// Returns whether the proxy has accepted something.
    fn asked(stream: &mut Stream, request: &Self::Request) -> bool;
    fn answered(stream: &mut Stream, response: &Self::Response);
    /// Asks for the table of names.
    fn ask_names() -> Self::Request;
    /// Takes a table of names and gives the answer to it; `None` for what the proxy asked for.
    fn take_names(names: &Names, response: &Self::Response) -> Option<Self::Request>;
}

pub(super) struct Sotw;
pub(super) struct Delta;

#[tonic::async_trait]
impl Variant for Sotw {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;
    type Machine = SotwStream;

    async fn open(
        client: &mut Client,
        requests: Request<ReceiverStream<Self::Request>>,
    ) -> Result<Streaming<Self::Response>, Status> {
        Ok(client.stream_aggregated_resources(requests).await?.into_inner())
    }

    fn asked(stream: &mut Stream, request: &Self::Request) -> bool {
        stream.sotw_request(request)
    }

    fn answered(stream: &mut Stream, response: &Self::Response) {
        stream.sotw_response(response);
    }

    fn ask_names() -> Self::Request {
        DiscoveryRequest { type_url: NAME_TABLE.to_owned(), ..Default::default() }
    }

    fn take_names(names: &Names, response: &Self::Response) -> Option<Self::Request> {
        let body = response.resources.first().map(|any| any.value.as_slice());
        (response.type_url == NAME_TABLE).then(|| DiscoveryRequest {
            version_info: response.version_info.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: taken(names, body),
            ..Self::ask_names()
        })
    }
}

#[tonic::async_trait]
impl Variant for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;
    type Machine = DeltaStream;

    async fn open(
        client: &mut Client,
        requests: Request<ReceiverStream<Self::Request>>,
    ) -> Result<Streaming<Self::Response>, Status> {
        Ok(client.delta_aggregated_resources(requests).await?.into_inner())
    }

    fn asked(stream: &mut Stream, request: &Self::Request) -> bool {
        stream.delta_request(request)
    }

    fn answered(stream: &mut Stream, response: &Self::Response) {
        stream.delta_response(response);
    }

    fn ask_names() -> Self::Request {
        DeltaDiscoveryRequest { type_url: NAME_TABLE.to_owned(), ..Default::default() }
    }

    fn take_names(names: &Names, response: &Self::Response) -> Option<Self::Request> {
        let first = response.resources.first().and_then(|resource| resource.resource.as_ref());
        let body = first.map(|any| any.value.as_slice());
        (response.type_url == NAME_TABLE).then(|| DeltaDiscoveryRequest {
            response_nonce: response.nonce.clone(),
            error_detail: taken(names, body),
            ..Self::ask_names()
        })
    }
}

/// Takes a table in, or says why not. A response without one changes nothing.
fn taken(names: &Names, body: Option<&[u8]>) -> Option<rpc::Status> {
    let error = names.take(body?).err()?;
    warn!(%error, "the control plane's table of names is refused");
    Some(rpc::Status { code: tonic::Code::InvalidArgument.into(), message: error, details: Vec::new() })
}
