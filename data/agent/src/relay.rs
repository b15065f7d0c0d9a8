//! Passes ADS on: the proxy speaks to a Unix socket, we speak to the control plane for it.
//!
//! A stream of the proxy is one stream to the control plane. While there is none we try again and the proxy
//! waits; when one that stood breaks, the proxy's stream ends, too, and it comes back with all it subscribes to.
//! [`Watcher`] sees every response: what must survive a restart can be kept there.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use meltemi_process::metrics::Counter;
use meltemi_process::shutdown::Shutdown;
use meltemi_proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use meltemi_proto::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryService;
use meltemi_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use meltemi_xds::client::Backoff;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

use crate::istiod::{Failure, Istiod};

/// Between two attempts to reach the control plane: every proxy is in sync again within 10 s of its return.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Messages in flight in one direction of one stream.
const QUEUE: usize = 16;
/// Limit of a response of the control plane, in bytes.
const MAX_RESPONSE: usize = 256 << 20;

/// Sees what passes.
pub trait Watcher: Send + Sync + 'static {
    /// The control plane can be reached, or no longer.
    fn connected(&self, up: bool);
    /// A response of the control plane, state of the world.
    fn sotw(&self, response: &DiscoveryResponse) {
        let _ = response;
    }
    /// A response of the control plane, incremental.
    fn delta(&self, response: &DeltaDiscoveryResponse) {
        let _ = response;
    }
}

/// Counters of the relay.
#[derive(Clone, Debug)]
pub struct RelayMetrics {
    /// `istio_agent_xds_proxy_requests`.
    pub requests: Counter,
    /// `istio_agent_xds_proxy_responses`.
    pub responses: Counter,
    /// `istio_agent_istiod_connection_failures`.
    pub connection_failures: Counter,
    /// `istio_agent_istiod_connection_terminations`.
    pub terminations: Counter,
}

/// The ADS service on the proxy's socket.
#[derive(Clone)]
pub struct Relay {
    /// The control plane.
    pub istiod: Istiod,
    /// Sees what passes.
    pub watcher: Arc<dyn Watcher>,
    /// Counters.
    pub metrics: RelayMetrics,
    /// Ends streams.
    pub shutdown: Shutdown,
}

type Responses<R> = Pin<Box<dyn Stream<Item = Result<R, Status>> + Send>>;

/// The two variants of the protocol, as far as they differ here.
#[tonic::async_trait]
trait Variant: Send + 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;
    async fn open(
        client: &mut AggregatedDiscoveryServiceClient<tonic::transport::Channel>,
        requests: Request<ReceiverStream<Self::Request>>,
    ) -> Result<Streaming<Self::Response>, Status>;
    fn watch(watcher: &dyn Watcher, response: &Self::Response);
}

struct Sotw;
struct Delta;

#[tonic::async_trait]
impl Variant for Sotw {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    async fn open(
        client: &mut AggregatedDiscoveryServiceClient<tonic::transport::Channel>,
        requests: Request<ReceiverStream<Self::Request>>,
    ) -> Result<Streaming<Self::Response>, Status> {
        Ok(client.stream_aggregated_resources(requests).await?.into_inner())
    }

    fn watch(watcher: &dyn Watcher, response: &Self::Response) {
        watcher.sotw(response);
    }
}

#[tonic::async_trait]
impl Variant for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    async fn open(
        client: &mut AggregatedDiscoveryServiceClient<tonic::transport::Channel>,
        requests: Request<ReceiverStream<Self::Request>>,
    ) -> Result<Streaming<Self::Response>, Status> {
        Ok(client.delta_aggregated_resources(requests).await?.into_inner())
    }

    fn watch(watcher: &dyn Watcher, response: &Self::Response) {
        watcher.delta(response);
    }
}

impl Relay {
    fn start<V: Variant>(&self, request: Request<Streaming<V::Request>>) -> Response<Responses<V::Response>> {
        let (out, responses) = mpsc::channel(QUEUE);
        let (relay, shutdown) = (self.clone(), self.shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.requested() => {}
                () = relay.pass::<V>(request.into_inner(), out) => {}
            }
        });
        Response::new(Box::pin(ReceiverStream::new(responses)))
    }

    async fn pass<V: Variant>(
        &self,
        inbound: Streaming<V::Request>,
        out: mpsc::Sender<Result<V::Response, Status>>,
    ) {
        let (to_istiod, requests) = mpsc::channel(QUEUE);
        let mut client = tokio::select! {
            client = self.connect() => client,
            () = out.closed() => return,
        };
        let counted = self.metrics.requests.clone();
        tokio::spawn(forward(inbound, to_istiod, counted));
        let end = self.converse::<V>(&mut client, requests, &out).await;
        self.watcher.connected(false);
        self.metrics.terminations.inc();
        match end {
            Ok(()) => info!("the control plane ended the xDS stream"),
            Err(error) => {
                warn!(%error, "the xDS stream to the control plane broke");
                // The proxy may be gone as well; then there is nobody to tell.
                let _ = out.send(Err(Status::unavailable(error.to_string()))).await;
            }
        }
    }

    async fn converse<V: Variant>(
        &self,
        client: &mut AggregatedDiscoveryServiceClient<tonic::transport::Channel>,
        requests: mpsc::Receiver<V::Request>,
        out: &mpsc::Sender<Result<V::Response, Status>>,
    ) -> Result<(), Failure> {
        let mut request = Request::new(ReceiverStream::new(requests));
        *request.metadata_mut() = self.istiod.headers().await?;
        let mut responses = V::open(client, request).await?;
        self.watcher.connected(true);
        debug!("xDS stream to the control plane is open");
        loop {
            let response = tokio::select! {
                response = responses.next() => response,
                () = out.closed() => return Ok(()),
            };
            let Some(response) = response.transpose()? else { return Ok(()) };
            self.metrics.responses.inc();
            V::watch(self.watcher.as_ref(), &response);
            if out.send(Ok(response)).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Tries until there is a connection.
    async fn connect(&self) -> AggregatedDiscoveryServiceClient<tonic::transport::Channel> {
        let backoff = Backoff { max: LONGEST_WAIT, ..Backoff::default() };
        let mut failures = 0;
        loop {
            match self.istiod.channel().await {
                Ok(channel) => {
                    return AggregatedDiscoveryServiceClient::new(channel)
                        .max_decoding_message_size(MAX_RESPONSE)
                        .max_encoding_message_size(usize::MAX);
                }
                Err(error) => {
                    let wait = backoff.delay(failures, fastrand::f64());
                    failures += 1;
                    self.metrics.connection_failures.inc();
                    warn!(%error, retry_in = ?wait, "the control plane cannot be reached");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

/// Ends when either side does; dropping the sender ends the stream to the control plane.
async fn forward<T>(mut inbound: Streaming<T>, to_istiod: mpsc::Sender<T>, counted: Counter) {
    loop {
        let request = tokio::select! {
            request = inbound.next() => request,
            () = to_istiod.closed() => return,
        };
        let Some(Ok(request)) = request else { return };
        counted.inc();
        if to_istiod.send(request).await.is_err() {
            return;
        }
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Relay {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Ok(self.start::<Sotw>(request))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Ok(self.start::<Delta>(request))
    }
}
