use std::sync::Mutex;

use meltemi_identity::authority::Authority;
use meltemi_process::metrics::Registry;
use meltemi_process::readiness::Readiness;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

struct Ca {
    authority: Authority,
    ttl: Duration,
    /// Answers to give before signing: each is a failure.
    failures: Mutex<usize>,
    sign_for: Option<SpiffeId>,
}

#[tonic::async_trait]
impl CertificateSigner for Ca {
    async fn sign(&self, csr: &str) -> Result<Vec<String>, Failure> {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err("the authority is away".into());
        }
        let id = self.sign_for.clone().unwrap_or_else(id);
        Ok(vec![self.authority.sign(csr, &id, self.ttl)?, self.authority.root_pem()])
    }
}

fn id() -> SpiffeId {
    SpiffeId::new("cluster.local", "default", "reviews").unwrap()
}

fn ca(failures: usize, sign_for: Option<SpiffeId>) -> Arc<Ca> {
    let authority = Authority::self_signed("cluster.local", 99 * HOUR).unwrap();
    Arc::new(Ca { authority, ttl: HOUR, failures: Mutex::new(failures), sign_for })
}

fn rotation(ca: Arc<Ca>) -> (Rotation, watch::Receiver<Option<Workload>>, Readiness) {
    let (current, workload) = watch::channel(None);
    let (readiness, metrics) = (Readiness::new(), Registry::new());
    let rotation = Rotation {
        id: id(),
        signer: ca,
        root_file: "/nonexistent".into(),
        current,
        directory: None,
        condition: readiness.condition("certificate"),
        expiry: metrics.gauge("e", "e"),
        requests: metrics.counter("r", "r"),
        failures: metrics.counter("f", "f"),
    };
    (rotation, workload, readiness)
}

#[tokio::test(start_paused = true)]
async fn failures_are_survived_and_the_certificate_is_renewed() {
    let (rotation, mut workload, readiness) = rotation(ca(3, None));
    let shutdown = Shutdown::new();
    tokio::spawn(rotation.run(shutdown.clone()));
    let first = workload.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    readiness.wait().await;
    assert!(first.root_pem.contains("CERTIFICATE") && !first.chain_pem.contains(&first.root_pem));
    let second = workload.wait_for(|now| now.as_ref() != Some(&first)).await.unwrap().clone().unwrap();
    assert_ne!(second.key_pem, first.key_pem, "each certificate has a key of its own");
    shutdown.request();
}

#[tokio::test]
async fn a_certificate_for_somebody_else_is_refused() {
    let other = SpiffeId::new("cluster.local", "default", "admin").unwrap();
    let (rotation, _, _) = rotation(ca(0, Some(other)));
    let error = rotation.renew().await.unwrap_err().to_string();
    assert!(error.contains("admin") && error.contains("asked was"), "{error}");
}

#[test]
fn renewal_is_due_around_half_of_the_life() {
    let start = SystemTime::UNIX_EPOCH + HOUR;
    let wait = |now, random| renewal_wait(start, start + 100 * HOUR, now, random);
    assert_eq!(wait(start, 0.0), 45 * HOUR);
    assert_eq!(wait(start, 1.0), 55 * HOUR);
    assert_eq!(wait(start + 50 * HOUR, 0.5), Duration::ZERO);
    assert_eq!(wait(start + 200 * HOUR, 0.5), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_restart_without_the_authority_goes_on_with_the_last_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Some(Directory::open(dir.path()).unwrap());
    let (mut rotation, mut workload, _) = self::rotation(ca(0, None));
    rotation.directory.clone_from(&directory);
    let shutdown = Shutdown::new();
    tokio::spawn(rotation.run(shutdown.clone()));
    let first = workload.wait_for(Option::is_some).await.unwrap().clone();
    shutdown.request();

    let (mut rotation, mut workload, readiness) = self::rotation(ca(3, None));
    rotation.directory = directory;
    tokio::spawn(rotation.run(Shutdown::new()));
    assert_eq!(*workload.wait_for(Option::is_some).await.unwrap(), first);
    readiness.wait().await;
    workload.wait_for(|now| *now != first).await.unwrap();
}

#[tokio::test]
async fn a_certificate_serves_until_its_end() {
    let (rotation, _, readiness) = rotation(ca(0, None));
    let workload = rotation.renew().await.unwrap();
    let now = SystemTime::now();
    for (left, ready) in [(HOUR, true), (Duration::from_secs(60), true), (Duration::ZERO, false)] {
        let (not_before, not_after) = (now - 24 * HOUR, now + left);
        rotation.current.send_replace(Some(Workload { not_before, not_after, ..workload.clone() }));
        rotation.judge(Some("the authority is away"));
        assert_eq!(readiness.is_ready(), ready, "{left:?}");
    }
    assert!(readiness.missing().join("").contains("expired: the authority is away"));
}
