use std::sync::Mutex;

use meltemi_proto::node::NodeKind;

use super::*;
use crate::settings::tests::{args, reviews};

/// Remembers what was asked of it.
struct Plane {
    log: Mutex<Vec<&'static str>>,
    connections: Mutex<Vec<u64>>,
}

impl Plane {
    fn new(connections: &[u64]) -> Self {
        Self { log: Mutex::default(), connections: Mutex::new(connections.iter().rev().copied().collect()) }
    }

    fn note(&self, what: &'static str) {
        self.log.lock().unwrap().push(what);
    }
}

#[tonic::async_trait]
impl DataPlane for Plane {
    async fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    async fn drain(&self) {
        self.note("drain");
    }

    async fn active_connections(&self) -> Option<u64> {
        self.note("count");
        self.connections.lock().unwrap().pop()
    }

    async fn shutdown(&self) {
        self.note("shutdown");
    }

    async fn ended(&self) -> String {
        std::future::pending().await
    }
}

fn settings(change: impl FnOnce(&mut crate::environment::Environment)) -> Settings {
    let mut env = reviews();
    change(&mut env);
    Settings::new(&args(NodeKind::Sidecar), &env).unwrap()
}

#[tokio::test(start_paused = true)]
async fn termination_serves_on_for_the_drain_time() {
    let plane = Plane::new(&[]);
    let begin = tokio::time::Instant::now();
    terminate(&plane, &settings(|_| {})).await;
    assert_eq!(*plane.log.lock().unwrap(), ["drain", "shutdown"]);
    assert_eq!(begin.elapsed().as_secs(), 7, "terminationDrainDuration of the pod");
}

#[tokio::test(start_paused = true)]
async fn termination_ends_early_when_nobody_is_connected() {
    let plane = Plane::new(&[2, 1, 0]);
    let begin = tokio::time::Instant::now();
    let settings =
        settings(|env| drop(env.vars.insert("EXIT_ON_ZERO_ACTIVE_CONNECTIONS".into(), "true".into())));
    terminate(&plane, &settings).await;
    assert_eq!(*plane.log.lock().unwrap(), ["drain", "count", "count", "count", "shutdown"]);
    assert_eq!(begin.elapsed().as_secs(), 6);
}

#[tokio::test]
async fn draining_may_begin_before_the_end() {
    let (plane, quit, drain) = (Plane::new(&[]), Shutdown::new(), Notify::new());
    drain.notify_one();
    let wish = async {
        tokio::task::yield_now().await;
        quit.request();
    };
    let (end, ()) = tokio::join!(wait(&plane, &quit, &drain), wish);
    assert!(end.is_ok());
    assert_eq!(*plane.log.lock().unwrap(), ["drain"]);
}
