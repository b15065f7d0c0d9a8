//! Logs of pods that ended under an earlier daemon: their files are there as long as the pods are.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::container::log::Log;

/// The log of a container's last run, or of the one before.
pub fn find(pod_dir: &Path, container: &str, previous: bool) -> Option<Log> {
    let mut runs: Vec<(u32, PathBuf)> = fs::read_dir(pod_dir.join(container))
        .ok()?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let run = path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()?;
            Some((run, path))
        })
        .collect();
    runs.sort();
    let (_, path) = runs.into_iter().rev().nth(usize::from(previous))?;
    Log::open(path).ok()
}

/// Removes the logs of pods that are no more.
pub fn prune(log_dir: &Path, pods: &HashSet<String>) {
    for entry in fs::read_dir(log_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let uid = name.to_str().and_then(|name| name.rsplit('_').next());
        if uid.is_none_or(|uid| !pods.contains(uid)) {
            // What cannot be removed now is tried at the next start.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::log::Query;

    async fn text(log: Option<Log>) -> Option<String> {
        // Following ends too: nothing more comes.
        let mut lines = log?.read(Query { follow: true, ..Query::default() });
        let mut text = String::new();
        while let Some(part) = lines.recv().await {
            text.push_str(std::str::from_utf8(&part.unwrap()).unwrap());
        }
        Some(text)
    }

    #[tokio::test]
    async fn logs_outlive_the_daemon_as_long_as_their_pods() {
        let dir = tempfile::tempdir().unwrap();
        let pod = dir.path().join("ns_name_uid-1");
        for run in [9, 10] {
            fs::create_dir_all(pod.join("c")).unwrap();
            let line = format!("2026-01-01T00:00:00.000000000Z stdout F run {run}\n");
            fs::write(pod.join(format!("c/{run}.log")), line).unwrap();
        }
        assert_eq!(text(find(&pod, "c", false)).await.as_deref(), Some("run 10\n"));
        assert_eq!(text(find(&pod, "c", true)).await.as_deref(), Some("run 9\n"));
        assert!(find(&pod, "other", false).is_none());
        fs::create_dir(dir.path().join("ns_gone_uid-2")).unwrap();
        prune(dir.path(), &HashSet::from(["uid-1".to_owned()]));
        assert!(pod.exists() && !dir.path().join("ns_gone_uid-2").exists());
    }
}
