//! Keeps one stream to a server: connects, asks, applies, answers, and starts again when it breaks.

use std::error::Error;

use futures_util::StreamExt;
use meltemi_proto::envoy::config::core::v3::Node;
use meltemi_proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use meltemi_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use meltemi_proto::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use meltemi_proto::type_url;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tracing::{debug, info, warn};

use super::connect::{Connector, channel};
use super::machine::{Client, Request, Response};
use super::{Apply, Backoff};
use crate::Subscription;

/// Which gRPC service to call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// All types on one stream.
    #[default]
    Ads,
    /// Secrets alone.
    Sds,
}

/// A wish from outside of [`Apply`]: the names now wanted of a type.
pub type SubscriptionChange = (&'static str, Subscription);

/// How to be a client.
#[derive(Debug)]
pub struct ClientOptions {
    /// Who we are.
    pub node: Node,
    /// Incremental or state of the world.
    pub delta: bool,
    /// What to ask for at first, in this order.
    pub types: Vec<SubscriptionChange>,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// Which gRPC service to call.
    pub service: Service,
    /// Later changes of what is wanted, from outside of [`Apply`].
    pub subscriptions: Option<mpsc::UnboundedReceiver<SubscriptionChange>>,
    /// Limit of one response, in bytes.
    pub response_bytes: usize,
}

impl ClientOptions {
    /// ADS with default waits and limits.
    pub fn new(node: Node, delta: bool, types: Vec<SubscriptionChange>) -> Self {
        Self {
            node,
            delta,
            types,
            backoff: Backoff::default(),
            service: Service::Ads,
            subscriptions: None,
            response_bytes: 256 << 20,
        }
    }
}

type Failure = Box<dyn Error + Send + Sync>;

/// Runs until `shutdown`. Never gives up: what was applied stays in force while there is no server.
pub async fn run<C: Connector, A: Apply>(
    options: ClientOptions,
    mut connect: C,
    mut apply: A,
    shutdown: CancellationToken,
) {
    let ClientOptions { node, delta, types, backoff, service, subscriptions, response_bytes } = options;
    let mut stream = Stream {
        client: Client::new(node, delta, types),
        wishes: subscriptions,
        service,
        response_bytes,
        progress: false,
    };
    let mut failures = 0;
    while !shutdown.is_cancelled() {
        stream.progress = false;
        let end = tokio::select! {
            () = shutdown.cancelled() => break,
            end = stream.once(&mut connect, &mut apply) => end,
        };
        apply.connected(false);
        failures = if stream.progress { 0 } else { failures + 1 };
        let wait = backoff.delay(failures, fastrand::f64());
        match end {
            Ok(()) => info!(?wait, "xDS stream ended by the server, connecting again"),
            Err(error) => warn!(%error, ?wait, failures, "xDS stream failed, connecting again"),
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

struct Stream {
    client: Client,
    wishes: Option<mpsc::UnboundedReceiver<SubscriptionChange>>,
    service: Service,
    response_bytes: usize,
    /// Something arrived on this connection, so the next failure starts a new series.
    progress: bool,
}

impl Stream {
    async fn once<C: Connector, A: Apply>(&mut self, connect: &mut C, apply: &mut A) -> Result<(), Failure> {
        let connection = connect.connect().await?;
        let channel = channel(connection.io, &connection.authority).await?;
        if self.client.is_delta() {
            self.delta(channel, connection.metadata, apply).await
        } else {
            self.sotw(channel, connection.metadata, apply).await
        }
    }

    async fn sotw<A: Apply>(
        &mut self,
        channel: Channel,
        headers: MetadataMap,
        apply: &mut A,
    ) -> Result<(), Failure> {
        let (out, requests) = mpsc::unbounded_channel::<DiscoveryRequest>();
        let send = move |request| match request {
            Request::Sotw(request) => out.send(request).is_ok(),
            Request::Delta(_) => false,
        };
        let first = self.client.connect().into_iter().all(&send);
        debug!(first, "state-of-the-world stream opened");
        let mut request = tonic::Request::new(UnboundedReceiverStream::new(requests));
        *request.metadata_mut() = headers;
        let limit = self.response_bytes;
        let responses = match self.service {
            Service::Ads => {
                let mut client =
                    AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(limit);
                client.stream_aggregated_resources(request).await?.into_inner()
            }
            Service::Sds => {
                let mut client = SecretDiscoveryServiceClient::new(channel).max_decoding_message_size(limit);
                client.stream_secrets(request).await?.into_inner()
            }
        };
        self.converse(responses.map(|response| response.map(Response::Sotw)), send, apply).await
    }

    async fn delta<A: Apply>(
        &mut self,
        channel: Channel,
        headers: MetadataMap,
        apply: &mut A,
    ) -> Result<(), Failure> {
        let (out, requests) = mpsc::unbounded_channel::<DeltaDiscoveryRequest>();
        let send = move |request| match request {
            Request::Delta(request) => out.send(request).is_ok(),
            Request::Sotw(_) => false,
        };
        let first = self.client.connect().into_iter().all(&send);
        debug!(first, "delta stream opened");
        let mut request = tonic::Request::new(UnboundedReceiverStream::new(requests));
        *request.metadata_mut() = headers;
        let limit = self.response_bytes;
        let responses = match self.service {
            Service::Ads => {
                let mut client =
                    AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(limit);
                client.delta_aggregated_resources(request).await?.into_inner()
            }
            Service::Sds => {
                let mut client = SecretDiscoveryServiceClient::new(channel).max_decoding_message_size(limit);
                client.delta_secrets(request).await?.into_inner()
            }
        };
        self.converse(responses.map(|response| response.map(Response::Delta)), send, apply).await
    }

    async fn converse<A: Apply>(
        &mut self,
        responses: impl futures_util::Stream<Item = Result<Response, Status>>,
        send: impl Fn(Request) -> bool,
        apply: &mut A,
    ) -> Result<(), Failure> {
        let mut responses = std::pin::pin!(responses);
        apply.connected(true);
        loop {
            let requests = tokio::select! {
                response = responses.next() => match response {
                    None => return Ok(()),
                    Some(response) => self.take(response?, apply),
                },
                (type_url, wanted) = next_wish(&mut self.wishes) => {
                    self.client.subscribe(type_url, wanted).into_iter().collect()
                }
            };
            if !requests.into_iter().all(&send) {
                return Ok(());
            }
        }
    }

    fn take<A: Apply>(&mut self, response: Response, apply: &mut A) -> Vec<Request> {
        self.progress = true;
        let Some(update) = self.client.receive(response) else { return Vec::new() };
        let (kind, upserts, removed) =
            (type_url::short(update.type_url), update.upserts.len(), update.removed.len());
        let applied = apply.apply(update);
        for (name, error) in &applied.rejected {
            warn!(r#type = kind, %name, %error, "resource rejected, the last good one stays");
        }
        debug!(r#type = kind, upserts, removed, rejected = applied.rejected.len(), "update");
        self.client.applied(applied)
    }
}

async fn next_wish(wishes: &mut Option<mpsc::UnboundedReceiver<SubscriptionChange>>) -> SubscriptionChange {
    if let Some(receiver) = wishes {
        if let Some(wish) = receiver.recv().await {
            return wish;
        }
        *wishes = None;
    }
    std::future::pending().await
}
