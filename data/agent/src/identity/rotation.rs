//! Keeps a valid certificate: a new key each time, renewal at half of the life with jitter, back-off on failure.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use meltemi_identity::{SpiffeId, chain, csr};
use meltemi_process::metrics::{Counter, Gauge};
use meltemi_process::readiness::Condition;
use meltemi_process::shutdown::Shutdown;
use meltemi_xds::client::Backoff;
use tokio::sync::watch;
use tracing::{info, warn};

use super::signer::CertificateSigner;
use crate::istiod::Failure;
use crate::last_good::{self, Directory};

/// A certificate with its key, in memory only.
#[derive(Clone, PartialEq, Eq)]
pub struct Workload {
    /// PEM, leaf first, without the root.
    pub chain_pem: String,
    /// PEM. A secret.
    pub key_pem: String,
    /// PEM of what peers' certificates must chain to.
    pub root_pem: String,
    /// Valid from.
    pub not_before: SystemTime,
    /// Valid until.
    pub not_after: SystemTime,
}

impl std::fmt::Debug for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workload").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// The task that keeps the certificate valid.
pub struct Rotation {
    /// Identity to ask for.
    pub id: SpiffeId,
    /// Who signs.
    pub signer: Arc<dyn CertificateSigner>,
    /// Roots to use when the authority does not send its own.
    pub root_file: PathBuf,
    /// Where the certificate goes.
    pub current: watch::Sender<Option<Workload>>,
    /// Where it survives a restart of the container.
    pub directory: Option<Directory>,
    /// Holds as long as the certificate is valid.
    pub condition: Condition,
    /// `istio_agent_cert_expiry_seconds`.
    pub expiry: Gauge,
    /// `istio_agent_num_outgoing_requests`.
    pub requests: Counter,
    /// `istio_agent_num_failed_outgoing_requests`.
    pub failures: Counter,
}

/// How often the time left is looked at.
const TICK: Duration = Duration::from_secs(10);
/// Between two attempts at most: after an outage of the authority everybody is renewed soon.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How long after now a certificate is renewed: at half of its life, give or take a tenth of it, so that a
/// thousand pods started together do not ask together. `random` is between 0 and 1.
pub fn renewal_wait(not_before: SystemTime, not_after: SystemTime, now: SystemTime, random: f64) -> Duration {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    let due = not_before + life.mul_f64(0.45 + 0.1 * random.clamp(0.0, 1.0));
    due.duration_since(now).unwrap_or_default()
}

fn time_left(workload: &Workload) -> Duration {
    workload.not_after.duration_since(SystemTime::now()).unwrap_or_default()
}

impl Rotation {
    /// Runs until `shutdown`.
    pub async fn run(self, shutdown: Shutdown) {
        let backoff = Backoff { base: Duration::from_millis(200), max: LONGEST_WAIT };
        let mut failures = 0;
        self.recall();
        loop {
            let wait = match self.renew().await {
                Ok(workload) => {
                    failures = 0;
                    let wait = renewal_wait(
                        workload.not_before,
                        workload.not_after,
                        SystemTime::now(),
                        fastrand::f64(),
                    );
                    info!(id = %self.id, renew_in = ?wait, "workload certificate is in place");
                    self.remember(&workload);
                    self.current.send_replace(Some(workload));
                    wait.max(backoff.base)
                }
                Err(error) => {
                    let wait = backoff.delay(failures, fastrand::f64());
                    failures += 1;
                    let valid_for = self.left().unwrap_or_default();
                    warn!(%error, retry_in = ?wait, ?valid_for, "no new workload certificate");
                    self.judge(Some(&error.to_string()));
                    wait
                }
            };
            tokio::select! {
                () = shutdown.requested() => return,
                () = self.sleep(wait, failures > 0) => {}
            }
        }
    }

    /// Takes up the certificate of a former run of this container, until there is a new one.
    fn recall(&self) {
        let Some(directory) = &self.directory else { return };
        let path = directory.path().display();
        match last_good::load_workload(directory, &self.id, SystemTime::now()) {
            Ok(Some(workload)) => {
                info!(%path, id = %self.id, "the last certificate is still valid and used until there is a new one");
                self.current.send_replace(Some(workload));
                self.judge(None);
            }
            Ok(None) => {}
            Err(error) => warn!(%path, %error, "the last certificate on disk is ignored"),
        }
    }

    fn remember(&self, workload: &Workload) {
        let Some(directory) = &self.directory else { return };
        if let Err(error) = last_good::save_workload(directory, workload) {
            warn!(path = %directory.path().display(), %error, "the certificate is not kept");
        }
    }

    /// Sleeps, telling the time left now and then.
    async fn sleep(&self, wait: Duration, failing: bool) {
        let until = tokio::time::Instant::now() + wait;
        while tokio::time::Instant::now() < until {
            self.judge(failing.then_some("renewal fails"));
            tokio::time::sleep_until(until.min(tokio::time::Instant::now() + TICK)).await;
        }
    }

    /// Is the certificate good enough to be ready? It is until its end: to leave service earlier would make an outage of
    /// the control plane one of the application.
    fn judge(&self, failure: Option<&str>) {
        let current = self.current.borrow();
        let Some(workload) = current.as_ref() else {
            return self.condition.not_ready(failure.unwrap_or("no certificate yet"));
        };
        let left = time_left(workload);
        self.expiry.set(left.as_secs_f64());
        if left.is_zero() {
            let reason = failure.unwrap_or("it was not renewed");
            return self.condition.not_ready(format!("the certificate has expired: {reason}"));
        }
        self.condition.ready();
    }

    /// How long the certificate in force is still valid.
    fn left(&self) -> Option<Duration> {
        self.current.borrow().as_ref().map(time_left)
    }

    async fn renew(&self) -> Result<Workload, Failure> {
        let (key_pem, csr_pem) = csr::generate(&self.id)?;
        self.requests.inc();
        let signed = self.signer.sign(&csr_pem).await;
        if signed.is_err() {
            self.failures.inc();
        }
        let certificates = chain::parse(&signed?.join("\n"))?;
        let leaf = certificates.first().ok_or("the authority sent no certificate")?;
        let info = chain::inspect(leaf)?;
        if info.spiffe_id()?.as_ref() != Some(&self.id) {
            return Err(format!("the authority signed for {:?}, asked was {}", info.uris, self.id).into());
        }
        let (intermediates, root_pem) = match certificates.split_last() {
            Some((last, rest)) if !rest.is_empty() && chain::inspect(last)?.is_ca => {
                (rest, chain::to_pem(std::slice::from_ref(last)))
            }
            _ => (certificates.as_slice(), tokio::fs::read_to_string(&self.root_file).await?),
        };
        let chain_pem = chain::to_pem(intermediates);
        // Refuses a chain that is not over our key, before the proxy would.
        meltemi_identity::tls::Credential::from_pem(&chain_pem, &key_pem)?;
        Ok(Workload { chain_pem, key_pem, root_pem, not_before: info.not_before, not_after: info.not_after })
    }
}

#[cfg(test)]
mod tests;
