//! SDS for the proxy of this pod: `default`, `ROOTCA` and certificates mounted as files.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::Secret;
use meltemi_proto::type_url;
use meltemi_xds::server::{Handler, Session, StreamInfo};
use meltemi_xds::{Resource, ResourceSet, Subscription};
use prost::Message;
use tokio::sync::watch;
use tonic::Status;
use tracing::warn;

use super::files;
use super::rotation::Workload;

/// Name of the workload's own certificate.
const OWN: &str = "default";
/// Name of the roots of the mesh.
const ROOTS: &str = "ROOTCA";
/// How often mounted files are looked at.
const POLL: Duration = Duration::from_secs(5);

/// Hands out the workload's certificate.
#[derive(Clone, Debug)]
pub struct Secrets {
    workload: watch::Receiver<Option<Workload>>,
}

impl Secrets {
    /// Secrets made of the certificate in force.
    pub fn new(workload: watch::Receiver<Option<Workload>>) -> Self {
        Self { workload }
    }
}

/// One stream.
pub struct SecretSession {
    workload: watch::Receiver<Option<Workload>>,
    files: bool,
}

#[tonic::async_trait]
impl Handler for Secrets {
    type Session = SecretSession;

    /// A stream waits for the first certificate: to answer "there is none" would make the proxy drop its listeners.
    async fn open(&self, _: StreamInfo) -> Result<SecretSession, Status> {
        let mut workload = self.workload.clone();
        let gone = |_| Status::unavailable("the agent is shutting down");
        workload.wait_for(Option::is_some).await.map_err(gone)?;
        Ok(SecretSession { workload, files: false })
    }
}

#[tonic::async_trait]
impl Session for SecretSession {
    fn resources(&mut self, url: &str, subscription: &Subscription) -> ResourceSet {
        let mut set = BTreeMap::new();
        let Some(names) = subscription.as_names().filter(|_| url == type_url::SECRET) else {
            return Arc::new(set);
        };
        let workload = self.workload.borrow_and_update();
        self.files = names.iter().any(|name| files::is_file(name));
        for name in names {
            let secret = match (name.as_ref(), workload.as_ref()) {
                (OWN, Some(workload)) => Some(files::certificate(
                    OWN,
                    workload.chain_pem.clone().into_bytes(),
                    workload.key_pem.clone().into_bytes(),
                )),
                (ROOTS, Some(workload)) => Some(files::roots(ROOTS, workload.root_pem.clone().into_bytes())),
                (name, _) => files::read(name),
            };
            if let Some(secret) = secret {
                set.insert(name.clone(), resource(name, &secret));
            }
        }
        Arc::new(set)
    }

    async fn changed(&mut self) -> Option<Vec<&'static str>> {
        tokio::select! {
            changed = self.workload.changed() => changed.ok()?,
            () = tokio::time::sleep(POLL), if self.files => {}
        }
        Some(vec![type_url::SECRET])
    }

    fn acked(&mut self, _: &str, _: &str, _: &str) {}

    fn nacked(&mut self, _: &str, _: &str, error: &str) {
        warn!(error, "the proxy refused a secret");
    }
}

fn resource(name: &Arc<str>, secret: &Secret) -> Resource {
    let body = Bytes::from(secret.encode_to_vec());
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let version = format!("{:016x}", hasher.finish()).into();
    Resource { name: name.clone(), version, body, type_url: type_url::SECRET }
}
