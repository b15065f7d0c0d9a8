//! Reaching a control plane through one of our own clusters.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use meltemi_proto::envoy::config::core::v3::HeaderValue;
use meltemi_xds::client::{Connection, Connector};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::metadata::{MetadataKey, MetadataMap};

use crate::base::slot::Slot;
use crate::tls::client::TlsOverrides;
use crate::tls::maybe::Upstream;
use crate::upstream::Cluster;
use crate::upstream::balance::Pick;
use crate::upstream::connect::{ConnGuard, Overrides, connect};

/// Opens connections to a cluster's hosts.
pub struct ClusterConnector {
    cluster: Arc<Slot<Cluster>>,
    headers: Vec<HeaderValue>,
}

impl ClusterConnector {
    /// A connector to `cluster` whose streams carry `headers`.
    pub fn new(cluster: Arc<Slot<Cluster>>, headers: Vec<HeaderValue>) -> Self {
        Self { cluster, headers }
    }

    fn metadata(&self) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        for header in &self.headers {
            if let (Ok(key), Ok(value)) =
                (MetadataKey::from_bytes(header.key.as_bytes()), header.value.parse())
            {
                metadata.insert(key, value);
            }
        }
        metadata
    }
}

#[async_trait::async_trait]
impl Connector for ClusterConnector {
    async fn connect(&mut self) -> Result<Connection, Box<dyn Error + Send + Sync>> {
        let name = self.cluster.name();
        let cluster = self.cluster.get().ok_or_else(|| format!("cluster {name} is not there (yet)"))?;
        let pick = Pick { random: fastrand::u64(..), ..Pick::default() };
        let host = cluster.pick(pick).ok_or_else(|| format!("cluster {name} has no host"))?;
        let permit = cluster.breakers(false).connections.take_anyway();
        let tls = TlsOverrides { alpn: Some(Arc::new([b"h2".to_vec()])), ..TlsOverrides::default() };
        let overrides = Overrides { tls, source: None };
        let connected = connect(&cluster, &host, &overrides, permit)
            .await
            .map_err(|error| format!("cluster {name}, host {}: {error}", host.address))?;
        let io = Counted { io: connected.io, _guard: connected.guard };
        let authority =
            if host.hostname.is_empty() { name.replace(['|', ' '], "_") } else { host.hostname.to_string() };
        let mut connection = Connection::new(io, authority);
        connection.metadata = self.metadata();
        Ok(connection)
    }
}

/// A connection that counts as the cluster's while it is open.
struct Counted {
    io: Upstream,
    _guard: ConnGuard,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
