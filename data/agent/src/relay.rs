//! Passes ADS on: the proxy speaks to a Unix socket, we speak to the control plane for it.
//!
//! A stream of the proxy is one stream to the control plane. When one that stood breaks, the proxy's stream ends, too,
//! and it comes back with all it subscribes to. While the control plane cannot be reached, the proxy gets what it accepted
//! last ([`crate::last_good`]), or waits when there is nothing; when the control plane is back, that stream ends as well,
//! and the proxy, which keeps what it has in between, asks there for what is new.

mod passage;
mod variant;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use meltemi_process::metrics::Counter;
use meltemi_process::shutdown::Shutdown;
use meltemi_proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use meltemi_proto::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryService;
use meltemi_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use meltemi_xds::client::Backoff;
use meltemi_xds::server::{self, Peer};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

use self::passage::{Passage, forward};
use self::variant::{Client, Delta, Sotw, Variant};
use crate::dns::Names;
use crate::istiod::{Failure, Istiod};
use crate::last_good::{Keeper, StandIn};

/// Between two attempts to reach the control plane: every proxy is in sync again within 10 s of its return.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Messages in flight in one direction of one stream.
const QUEUE: usize = 16;
/// Limit of a response of the control plane, in bytes.
const MAX_RESPONSE: usize = 256 << 20;

/// With a last good configuration at hand, the control plane must answer within this.
const GRACE: Duration = Duration::from_secs(3);

/// Is told where the proxy's configuration comes from.
pub trait Watcher: Send + Sync + 'static {
    /// From the control plane.
    fn connected(&self);
    /// From what was accepted last; the control plane cannot be reached.
    fn stands_in(&self);
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

/// How the attempts to reach the control plane went, over all streams.
#[derive(Debug, Default)]
pub struct Attempts {
    /// In a row, without a response.
    failures: AtomicU32,
    /// A connection was possible just now: the next stream is to try.
    due: AtomicBool,
}

/// The ADS service on the proxy's socket.
#[derive(Clone)]
pub struct Relay {
    /// The control plane.
    pub istiod: Istiod,
    /// Is told where the configuration comes from.
    pub watcher: Arc<dyn Watcher>,
    /// What the proxy accepted last.
    pub keeper: Keeper,
    /// How the attempts to reach the control plane went.
    pub attempts: Arc<Attempts>,
    /// Where the table of names goes, when look-ups are captured. It travels on the proxy's stream; the proxy never sees it.
    pub names: Option<Arc<Names>>,
    /// Counters.
    pub metrics: RelayMetrics,
    /// Ends streams.
    pub shutdown: Shutdown,
}

type Responses<R> = Pin<Box<dyn futures_util::Stream<Item = Result<R, Status>> + Send>>;

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
        let client = tokio::select! {
            client = self.reach() => client,
            () = out.closed() => return,
        };
        let Some(mut client) = client else { return self.stand_in::<V>(inbound, out).await };
        let (to_istiod, requests) = mpsc::channel(QUEUE);
        let passage = Passage {
            stream: Arc::new(Mutex::new(self.keeper.stream())),
            keeper: self.keeper.clone(),
            requests: self.metrics.requests.clone(),
            names: self.names.clone(),
        };
        tokio::spawn(forward::<V>(inbound, to_istiod.clone(), passage.clone()));
        let end = self.converse::<V>(&mut client, (to_istiod, requests), &passage, &out).await;
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

    /// A connection to the control plane, or `None` when the last good configuration is to be used until there is one.
    async fn reach(&self) -> Option<Client> {
        if self.keeper.good().is_none() {
            return Some(self.connect().await);
        }
        // The attempt before this one had a connection and no answer on it.
        let Attempts { failures, due } = self.attempts.as_ref();
        if !due.swap(false, Ordering::Relaxed) && failures.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let attempt = tokio::time::timeout(GRACE, self.attempt()).await;
        match attempt.unwrap_or_else(|_| Err(format!("no connection within {GRACE:?}").into())) {
            Ok(client) => Some(client),
            Err(error) => {
                self.failed();
                warn!(%error, "the control plane cannot be reached");
                None
            }
        }
    }

    /// Serves the last good configuration until the control plane can be reached.
    async fn stand_in<V: Variant>(
        &self,
        inbound: Streaming<V::Request>,
        out: mpsc::Sender<Result<V::Response, Status>>,
    ) {
        let Some(config) = self.keeper.good() else { return };
        info!(
            resources = config.len(),
            "the last good configuration is in force until the control plane is back"
        );
        self.watcher.stands_in();
        let (reached, seen) = watch::channel(false);
        let look = async {
            tokio::time::sleep(self.wait()).await;
            drop(self.connect().await);
            self.attempts.due.store(true, Ordering::Relaxed);
            reached.send_replace(true);
            std::future::pending().await
        };
        tokio::select! {
            () = server::drive::<V::Machine, _, _>(StandIn::new(config, seen), Peer::default(), inbound, out, false) => {}
            () = look => {}
        }
    }

    async fn converse<V: Variant>(
        &self,
        client: &mut Client,
        (to_istiod, requests): (mpsc::Sender<V::Request>, mpsc::Receiver<V::Request>),
        passage: &Passage,
        out: &mpsc::Sender<Result<V::Response, Status>>,
    ) -> Result<(), Failure> {
        let mut request = Request::new(ReceiverStream::new(requests));
        *request.metadata_mut() = self.istiod.headers().await.inspect_err(|_| self.failed())?;
        let mut responses = V::open(client, request).await.inspect_err(|_| self.failed())?;
        self.watcher.connected();
        debug!("xDS stream to the control plane is open");
        let mut answered = false;
        loop {
            let response = tokio::select! {
                response = responses.next() => response,
                () = out.closed() => return Ok(()),
            };
            let Some(response) = response.transpose().inspect_err(|_| {
                if !answered {
                    self.failed()
                }
            })?
            else {
                return Ok(());
            };
            if !std::mem::replace(&mut answered, true) {
                self.attempts.failures.store(0, Ordering::Relaxed);
            }
            if let Some(answer) = passage.names.as_ref().and_then(|names| V::take_names(names, &response)) {
                if to_istiod.send(answer).await.is_err() {
                    return Ok(());
                }
                continue;
            }
            self.metrics.responses.inc();
            V::answered(&mut passage.stream.lock(), &response);
            if out.send(Ok(response)).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn attempt(&self) -> Result<Client, Failure> {
        Ok(AggregatedDiscoveryServiceClient::new(self.istiod.channel().await?)
            .max_decoding_message_size(MAX_RESPONSE)
            .max_encoding_message_size(usize::MAX))
    }

    /// Tries until there is a connection.
    async fn connect(&self) -> Client {
        loop {
            match self.attempt().await {
                Ok(client) => return client,
                Err(error) => {
                    self.failed();
                    let wait = self.wait();
                    warn!(%error, retry_in = ?wait, "the control plane cannot be reached");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    fn failed(&self) {
        self.attempts.failures.fetch_add(1, Ordering::Relaxed);
        self.metrics.connection_failures.inc();
    }

    /// Before the next attempt.
    fn wait(&self) -> Duration {
        let backoff = Backoff { max: LONGEST_WAIT, ..Backoff::default() };
        backoff.delay(self.attempts.failures.load(Ordering::Relaxed).saturating_sub(1), fastrand::f64())
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
