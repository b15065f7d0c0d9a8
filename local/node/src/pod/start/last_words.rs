//! A container's last words: what it leaves at its `terminationMessagePath` is shown in its status.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Container;

use crate::container::log::{Log, Query};
use crate::container::spec::Mount;

/// How many bytes of the file are shown.
const MOST: u64 = 4096;
/// How much of the log stands in for an empty file, where that is asked for.
const MOST_LOG: usize = 2048;
const LOG_LINES: u64 = 80;

/// The file of one run of a container, below its pod's directory.
pub fn place(pod_dir: &Path, container: &str, run: u32) -> PathBuf {
    pod_dir.join("last-words").join(format!("{container}-{run}"))
}

/// Makes the file; anybody in the container may write to it.
pub fn mount(file: PathBuf, container: &Container) -> io::Result<Mount> {
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(&file)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666))?;
    let target = container.termination_message_path.as_deref().filter(|path| !path.is_empty());
    Ok(Mount {
        source: file,
        sub: None,
        target: target.unwrap_or("/dev/termination-log").into(),
        read_only: false,
    })
}

/// Takes the message of a run that has ended with `code`, and the file away.
pub async fn take(file: &Path, container: &Container, code: i32, log: &Log) -> String {
    let mut bytes = Vec::new();
    if let Ok(open) = File::open(file) {
        // What cannot be read was not said.
        let _ = open.take(MOST).read_to_end(&mut bytes);
    }
    let _ = fs::remove_file(file);
    let from_log = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if bytes.is_empty() && code != 0 && from_log {
        bytes = end_of(log).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn end_of(log: &Log) -> Vec<u8> {
    // The last lines come when the streams have ended, which a process that outlives its container's may delay.
    let _ = tokio::time::timeout(Duration::from_secs(1), log.ended()).await;
    let mut lines = log.read(Query { tail: Some(LOG_LINES), ..Query::default() });
    let mut bytes = Vec::new();
    while let Some(Ok(part)) = lines.recv().await {
        bytes.extend(part);
    }
    bytes.split_off(bytes.len().saturating_sub(MOST_LOG))
}
