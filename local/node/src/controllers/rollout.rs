//! The arithmetic of a rolling update: which ReplicaSet gets how many pods next.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// One ReplicaSet as the arithmetic sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// How many pods it asks for.
    pub wanted: i32,
    /// How many of them are available.
    pub available: i32,
}

/// A Deployment's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// How many pods the Deployment asks for.
    pub replicas: i32,
    /// How many there may be beyond that.
    pub surge: i32,
    /// How many may be missing from that.
    pub unavailable: i32,
    /// The set of the current template.
    pub new: Set,
    /// The others, oldest first.
    pub old: Vec<Set>,
}

/// The changes to make now, by set name. Made again and again, they end with all pods in the new set.
pub fn next_scales(rollout: &Rollout) -> Vec<(String, i32)> {
    let mut scales = Vec::new();
    let wanted = next_new(rollout);
    if wanted != rollout.new.wanted {
        scales.push((rollout.new.name.clone(), wanted));
    }
    scales.extend(next_old(rollout));
    scales
}

/// For strategy `Recreate`: the old ones go first, all of them.
pub fn next_recreate(rollout: &Rollout, old_pods: usize) -> Vec<(String, i32)> {
    let old: Vec<_> =
        rollout.old.iter().filter(|set| set.wanted > 0).map(|set| (set.name.clone(), 0)).collect();
    if !old.is_empty() || old_pods > 0 || rollout.new.wanted == rollout.replicas {
        return old;
    }
    vec![(rollout.new.name.clone(), rollout.replicas)]
}

fn total(rollout: &Rollout) -> i32 {
    rollout.new.wanted + rollout.old.iter().map(|set| set.wanted).sum::<i32>()
}

fn next_new(rollout: &Rollout) -> i32 {
    if rollout.new.wanted >= rollout.replicas {
        return rollout.replicas;
    }
    let room = (rollout.replicas + rollout.surge - total(rollout)).max(0);
    rollout.new.wanted + room.min(rollout.replicas - rollout.new.wanted)
}

fn next_old(rollout: &Rollout) -> Vec<(String, i32)> {
    let least = rollout.replicas - rollout.unavailable;
    let new_missing = rollout.new.wanted - rollout.new.available;
    let mut may_go = total(rollout) - least - new_missing;
    let mut left: Vec<Set> = rollout.old.iter().filter(|set| set.wanted > 0).cloned().collect();
    // Pods that are not available anyway go first: nobody misses them.
    for set in &mut left {
        let broken = (set.wanted - set.available).clamp(0, may_go.max(0));
        set.wanted -= broken;
        may_go -= broken;
    }
    let available = rollout.new.available + left.iter().map(|set| set.available).sum::<i32>();
    let mut may_go = available - least;
    for set in &mut left {
        let healthy = set.wanted.min(may_go.max(0));
        set.wanted -= healthy;
        may_go -= healthy;
    }
    let changed = |set: &Set| rollout.old.iter().any(|old| old.name == set.name && old.wanted != set.wanted);
    left.into_iter().filter(changed).map(|set| (set.name, set.wanted)).collect()
}

/// `maxSurge` and `maxUnavailable` as numbers of pods: surge is rounded up, unavailable down, and never are both zero.
pub fn bounds(replicas: i32, surge: Option<&IntOrString>, unavailable: Option<&IntOrString>) -> (i32, i32) {
    let quarter = IntOrString::String("25%".into());
    let surge = resolve(surge.unwrap_or(&quarter), replicas, true);
    let unavailable = resolve(unavailable.unwrap_or(&quarter), replicas, false);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable.min(replicas)) }
}

fn resolve(value: &IntOrString, replicas: i32, up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let scaled = percent.clamp(0, 100) * i64::from(replicas.max(0));
            let rounded = if up { (scaled + 99) / 100 } else { scaled / 100 };
            i32::try_from(rounded).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, wanted: i32, available: i32) -> Set {
        Set { name: name.into(), wanted, available }
    }

    #[test]
    fn bounds_round_in_the_safe_direction() {
        let percent = |text: &str| IntOrString::String(text.into());
        assert_eq!(bounds(1, None, None), (1, 0));
        assert_eq!(bounds(10, None, None), (3, 2));
        assert_eq!(bounds(4, Some(&IntOrString::Int(0)), Some(&percent("10%"))), (0, 1));
        assert_eq!(bounds(3, Some(&IntOrString::Int(2)), Some(&IntOrString::Int(9))), (2, 3));
    }

    /// Plays the cluster: what is wanted appears, one available pod at a time.
    fn play(mut rollout: Rollout) -> usize {
        let least = rollout.replicas - rollout.unavailable;
        for step in 0..100 {
            let scales = next_scales(&rollout);
            for (name, wanted) in &scales {
                let sets = std::iter::once(&mut rollout.new).chain(&mut rollout.old);
                for set in sets.filter(|set| set.name == *name) {
                    set.wanted = *wanted;
                    set.available = set.available.min(*wanted);
                }
            }
            let available = rollout.new.available + rollout.old.iter().map(|s| s.available).sum::<i32>();
            assert!(available >= least.min(rollout.replicas), "step {step}: {rollout:?}");
            assert!(total(&rollout) <= rollout.replicas + rollout.surge, "step {step}: {rollout:?}");
            if rollout.new.available < rollout.new.wanted {
                rollout.new.available += 1;
            } else if scales.is_empty() {
                assert_eq!(rollout.new.wanted, rollout.replicas);
                assert!(rollout.old.iter().all(|set| set.wanted == 0));
                return step;
            }
        }
        panic!("the rollout never ends: {rollout:?}");
    }

    #[test]
    fn every_rollout_ends_and_keeps_its_bounds() {
        for replicas in 1..8 {
            for surge in 0..4 {
                for unavailable in 0..=replicas {
                    if surge == 0 && unavailable == 0 {
                        continue;
                    }
                    let old = vec![
                        set("a", replicas / 2, replicas / 2),
                        set("b", replicas - replicas / 2, replicas - replicas / 2),
                    ];
                    play(Rollout { replicas, surge, unavailable, new: set("n", 0, 0), old });
                }
            }
        }
    }

    #[test]
    fn the_last_old_pod_waits_for_the_new_one() {
        let rollout =
            Rollout { replicas: 1, surge: 1, unavailable: 0, new: set("n", 1, 0), old: vec![set("o", 1, 0)] };
        assert_eq!(next_scales(&rollout), [], "not before the new one can take over");
        let rollout = Rollout { new: set("n", 1, 1), ..rollout };
        assert_eq!(next_scales(&rollout), [("o".to_owned(), 0)]);
    }

    #[test]
    fn recreate_waits_for_the_old_pods() {
        let mut rollout =
            Rollout { replicas: 2, surge: 0, unavailable: 0, new: set("n", 0, 0), old: vec![set("o", 2, 2)] };
        assert_eq!(next_recreate(&rollout, 2), [("o".to_owned(), 0)]);
        rollout.old[0].wanted = 0;
        assert_eq!(next_recreate(&rollout, 1), []);
        assert_eq!(next_recreate(&rollout, 0), [("n".to_owned(), 2)]);
    }
}
