use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;

use super::*;
use crate::base::address::Address;
use crate::upstream::host::Locality;

fn host(port: u16, weight: u32) -> Arc<Host> {
    Arc::new(Host { weight, ..Host::new(Address::Ip(([10, 0, 0, 1], port).into())) })
}

fn picker(hosts: &[Arc<Host>], policy: Policy) -> Picker {
    Picker::build(hosts, &Balance { policy, ..Balance::default() }, &|_| 1)
}

fn counts(picker: &Picker, picks: usize) -> std::collections::BTreeMap<u64, usize> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..picks {
        let chosen = picker.pick(Pick { random: random.u64(..), ..Pick::default() }).unwrap();
        *seen.entry(chosen.id).or_default() += 1;
    }
    seen
}

#[test]
fn nobody_to_pick_from() {
    assert!(picker(&[], Policy::RoundRobin).pick(Pick::default()).is_none());
    let draining =
        Arc::new(Host { health: Health::Draining, ..Host::new(Address::Ip(([10, 0, 0, 1], 1).into())) });
    assert!(picker(&[draining], Policy::RoundRobin).pick(Pick::default()).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn round_robin_is_exact_over_a_cycle(weights in prop::collection::vec(1u32..20, 1..6)) {
        let hosts: Vec<_> = weights.iter().enumerate().map(|(i, w)| host(i as u16 + 1, *w)).collect();
        let sum: u32 = weights.iter().sum();
        let seen = counts(&picker(&hosts, Policy::RoundRobin), sum as usize);
        for (host, weight) in hosts.iter().zip(&weights) {
            prop_assert_eq!(seen[&host.id], *weight as usize);
        }
    }

    #[test]
    fn random_and_hashing_follow_the_weights(a in 1u32..5, b in 1u32..5) {
        let hosts = [host(1, a), host(2, b)];
        for policy in [Policy::Random, Policy::Maglev { size: 65_537 }, Policy::RingHash { min: 4096, max: 1 << 20 }] {
            let seen = counts(&picker(&hosts, policy), 20_000);
            let share = seen[&hosts[0].id] as f64 / 20_000.0;
            let expected = f64::from(a) / f64::from(a + b);
            prop_assert!((share - expected).abs() < 0.08, "{policy:?} {share} {expected}");
        }
    }
}

#[test]
fn least_request_prefers_the_idle_host() {
    let hosts = [host(1, 1), host(2, 1)];
    hosts[0].state.active_requests.store(10, Relaxed);
    let seen = counts(&picker(&hosts, Policy::LeastRequest { choices: 2 }), 100);
    assert_eq!(seen.get(&hosts[1].id), Some(&100));
}

#[test]
fn the_same_hash_stays_with_its_host_when_another_leaves() {
    let hosts = [host(1, 1), host(2, 1), host(3, 1)];
    for policy in [Policy::Maglev { size: 65_537 }, Policy::RingHash { min: 1024, max: 1 << 20 }] {
        let (full, less) = (picker(&hosts, policy), picker(&hosts[..2], policy));
        let pick = |p: &Picker, hash| p.pick(Pick { hash: Some(hash), ..Pick::default() }).unwrap().id;
        let mut moved = 0;
        for i in 0..1000u64 {
            let hash = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let before = pick(&full, hash);
            moved += usize::from(before != hosts[2].id && before != pick(&less, hash));
        }
        assert!(moved < 100, "{policy:?} moved {moved}");
    }
}

#[test]
fn a_panic_uses_all_hosts() {
    let sick = |port| {
        Arc::new(Host { health: Health::Unhealthy, ..Host::new(Address::Ip(([10, 0, 0, 2], port).into())) })
    };
    let hosts = [host(1, 1), sick(2), sick(3)];
    assert_eq!(counts(&picker(&hosts, Policy::RoundRobin), 30).len(), 3);
    let calm = Balance { panic_percent: 0, ..Balance::default() };
    assert_eq!(counts(&Picker::build(&hosts, &calm, &|_| 1), 30).len(), 1);
}

#[test]
fn a_retry_avoids_the_host_it_failed_on() {
    let hosts = [host(1, 1), host(2, 1)];
    let picker = picker(&hosts, Policy::RoundRobin);
    for _ in 0..10 {
        let chosen = picker.pick(Pick { avoid: &[hosts[0].id], ..Pick::default() }).unwrap();
        assert_eq!(chosen.id, hosts[1].id);
    }
}

#[test]
fn localities_share_by_weight() {
    let zone = |zone: &str| Arc::new(Locality { zone: zone.into(), ..Locality::default() });
    let at =
        |port, locality| Arc::new(Host { locality, ..Host::new(Address::Ip(([10, 0, 0, 1], port).into())) });
    let hosts = [at(1, zone("a")), at(2, zone("a")), at(3, zone("b"))];
    let balance = Balance { locality_weighted: true, ..Balance::default() };
    let picker = Picker::build(&hosts, &balance, &|h| if h.locality.zone == "a" { 1 } else { 3 });
    assert_eq!(counts(&picker, 80)[&hosts[2].id], 60);
}
