//! A proxy as a process: ours or Envoy.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{self, Answer};

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    Meltemi,
    Envoy,
}

/// Both, ours last, so that what is expected is known first.
pub const PLANES: [Plane; 2] = [Plane::Envoy, Plane::Meltemi];

impl Plane {
    /// The program, with the words that every run needs.
    pub fn command(self) -> Command {
        match self {
            Self::Meltemi => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_meltemi"));
                command.arg("envoy");
                command
            }
            Self::Envoy => {
                let path = std::env::var("MELTEMI_ENVOY").unwrap_or_default();
                assert!(
                    Path::new(&path).is_file(),
                    "MELTEMI_ENVOY={path:?} names no Envoy: run `make envoy` and set it to .tools/envoy/envoy (`make test` does both)"
                );
                let mut command = Command::new(path);
                command.arg("--disable-hot-restart");
                command
            }
        }
    }

    /// Runs to the end.
    pub fn run(self, args: &[&str]) -> Output {
        self.command().args(args).output().unwrap()
    }
}

/// A running proxy; ends with the value.
pub struct Proxy {
    child: Child,
    admin: String,
    files: tempfile::TempDir,
}

impl Proxy {
    /// Starts on a bootstrap and waits until it says that it is live.
    pub fn start(plane: Plane, bootstrap: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let config = files.path().join("bootstrap.yaml");
        std::fs::write(&config, bootstrap).unwrap();
        let told = files.path().join("admin");
        let mut command = plane.command();
        command.arg("-c").arg(&config).arg("--admin-address-path").arg(&told);
        command.args(["--concurrency", "1", "-l", "info"]);
        let log = std::fs::File::create(files.path().join("log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut proxy = Self { child, admin: String::new(), files };
        proxy.admin =
            proxy.eventually(|_| std::fs::read_to_string(&told).ok().filter(|text| text.contains(':')));
        proxy.eventually(|proxy| (proxy.admin("/ready").status == 200).then_some(()));
        proxy
    }

    /// What the admin interface says.
    pub fn admin(&self, path: &str) -> Answer {
        client::request(&self.admin, "GET", path, &[]).unwrap_or_default()
    }

    /// POSTs to the admin interface.
    pub fn post(&self, path: &str) -> Answer {
        client::request(&self.admin, "POST", path, &[]).unwrap_or_default()
    }

    /// A counter or gauge.
    pub fn stat(&self, name: &str) -> Option<u64> {
        let text = self.admin("/stats").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.and_then(|value| value.parse().ok())
    }

    /// Where the listener of a name can be reached; `None` if there is none.
    pub fn listener(&self, name: &str) -> Option<String> {
        let all: Value = serde_json::from_str(&self.admin("/listeners?format=json").body).ok()?;
        let one = all["listener_statuses"].as_array()?.iter().find(|status| status["name"] == name)?;
        let address = &one["local_address"]["socket_address"];
        Some(format!("{}:{}", address["address"].as_str()?, address["port_value"]))
    }

    /// Waits for something to be there.
    pub fn eventually<T>(&mut self, look: impl Fn(&Self) -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "{ended:?} {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it wrote on standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.files.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file beside the tests, and its name.
pub fn file(name: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/envoy/files").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}
