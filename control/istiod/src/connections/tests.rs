use meltemi_mesh::{ChangeSet, Snapshot};
use tokio::time::Instant;

use super::*;
use crate::hub::Published;

fn push(version: u64) -> Arc<Push> {
    let now = Published { version, snapshot: Arc::new(Snapshot::default()) };
    Arc::new(Push { now, changes: ChangeSet::default(), since: Instant::now() })
}

fn arrival(id: u64, principal: &str, ip: [u8; 4]) -> Arrival {
    let identity = ProxyIdentity {
        kind: meltemi_mesh::ProxyKind::Sidecar,
        name: "p".to_owned(),
        namespace: "n".to_owned(),
        ips: Vec::new(),
        labels: BTreeMap::new(),
        service_account: String::new(),
        metadata: Default::default(),
        extensions: Default::default(),
    };
    let (node_id, principal) = (id.to_string(), Some(principal.to_owned()));
    Arrival { id, node_id, identity, principal, remote: Some((ip, 1).into()), delta: true }
}

#[test]
fn one_pod_cannot_hold_any_number_of_streams() {
    let all = Arc::new(Connections::new(Arc::default()));
    let mut held: Vec<Registered> =
        (0..MOST_OF_ONE as u64).map(|id| all.register(arrival(id, "a", [10, 0, 0, 1])).unwrap()).collect();
    let refused = all.register(arrival(1000, "a", [10, 0, 0, 1])).err();
    assert_eq!(refused, Some(TooMany { principal: "a".to_owned() }));
    assert!(all.register(arrival(1001, "a", [10, 0, 0, 2])).is_ok(), "another pod of the same account");
    assert!(all.register(arrival(1002, "b", [10, 0, 0, 1])).is_ok(), "another account");
    held.pop();
    assert!(all.register(arrival(1003, "a", [10, 0, 0, 1])).is_ok(), "who goes makes room");
}

#[tokio::test]
async fn a_proxy_that_takes_nothing_keeps_only_the_newest_push() {
    let mut inbox = Inbox::default();
    for version in 0..=MOST_WAITING as u64 {
        inbox.put(push(version));
    }
    assert!(inbox.overflown);
    let versions: Vec<u64> = inbox.pushes.iter().map(|push| push.now.version).collect();
    assert_eq!(versions, [MOST_WAITING as u64]);
}
