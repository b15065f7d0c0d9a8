//! Real Envoy as the proxy, beside the agent: the same bootstrap, sockets and life cycle as for our engine.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use meltemi_proto::envoy::config::bootstrap::v3::{Bootstrap, ClusterManager};
use meltemi_proto::envoy::config::core::v3::address::Address;
use meltemi_proto::envoy::config::core::v3::socket_address::PortSpecifier;
use meltemi_proto::envoy::config::core::v3::socket_option::{SocketState, Value as OptionValue};
use meltemi_proto::envoy::config::core::v3::{BindConfig, Extension, SocketOption};
use meltemi_proto::json::{Style, to_json_as};
use meltemi_proto::ports;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, watch};
use tracing::info;

use crate::admin::Admin;
use crate::data_plane::{DataPlane, StartOptions, Starter};
use crate::istiod::Failure;

/// Starts the program `envoy`.
#[derive(Clone, Debug)]
pub struct Envoy {
    program: PathBuf,
}

impl Envoy {
    /// The program named by `MELTEMI_ENVOY`, or `envoy` on the path.
    pub fn new(program: Option<&str>) -> Self {
        Self { program: program.unwrap_or("envoy").into() }
    }

    fn command(&self, config: &Path, options: &StartOptions) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(config);
        command.args([
            "--disable-hot-restart",
            "--allow-unknown-static-fields",
            "--drain-strategy",
            "immediate",
        ]);
        command.arg("--drain-time-s").arg(options.drain_time.as_secs().to_string());
        let mut components = Vec::new();
        for part in options.log_level.split(',').filter(|part| !part.is_empty()) {
            if part.contains(':') {
                components.push(part);
            } else {
                command.args(["-l", part]);
            }
        }
        if !components.is_empty() {
            command.args(["--component-log-level", &components.join(",")]);
        }
        if let Some(concurrency) = options.concurrency {
            command.args(["--concurrency", &concurrency.to_string()]);
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

#[tonic::async_trait]
impl Starter for Envoy {
    /// Envoy tells its extensions itself.
    fn extensions(&self) -> Vec<Extension> {
        Vec::new()
    }

    async fn start(
        &self,
        mut bootstrap: Bootstrap,
        options: StartOptions,
    ) -> Result<Arc<dyn DataPlane>, Failure> {
        if let Some(mark) = options.bypass_mark {
            bootstrap.cluster_manager = Some(marked(mark));
        }
        let admin = Admin { port: admin_port(&bootstrap) };
        let json = to_json_as(&bootstrap, Style { proto_names: true })?;
        meltemi_proto::json::forget();
        let path = options.config_dir.join("envoy-rev.json");
        tokio::fs::create_dir_all(&options.config_dir).await?;
        tokio::fs::write(&path, serde_json::to_vec_pretty(&json)?).await?;
        let child = self.command(&path, &options).spawn().map_err(|error| {
            format!("{}: {error}; set MELTEMI_ENVOY to the path of an Envoy binary (`meltemi up --envoy PATH`; `make envoy` brings one)", self.program.display())
        })?;
        info!(pid = child.id(), program = %self.program.display(), "Envoy is started");
        let (ended, why) = watch::channel(None);
        let stop = Arc::new(Mutex::new(Some(tokio::sync::oneshot::channel::<()>())));
        let kill = stop.lock().await.take().map(|(sender, receiver)| {
            tokio::spawn(wait(child, receiver, ended));
            sender
        });
        Ok(Arc::new(Running { admin, kill: Mutex::new(kill), why }))
    }
}

/// Waits for the process to end or for the wish to end it.
async fn wait(
    mut child: Child,
    stop: tokio::sync::oneshot::Receiver<()>,
    ended: watch::Sender<Option<String>>,
) {
    let status = tokio::select! {
        status = child.wait() => status,
        _ = stop => {
            if let Err(error) = child.kill().await {
                tracing::warn!(%error, "Envoy could not be killed");
            }
            child.wait().await
        }
    };
    let text = status.map_or_else(|error| error.to_string(), |status| format!("Envoy ended: {status}"));
    ended.send_replace(Some(text));
}

/// Linux's `SOL_SOCKET` and `SO_MARK`.
const SOL_SOCKET: i64 = 1;
const SO_MARK: i64 = 36;

/// Marks every upstream connection whose cluster does not bind by itself, as the engine does.
fn marked(mark: u32) -> ClusterManager {
    let option = SocketOption {
        description: "passes traffic capture".into(),
        level: SOL_SOCKET,
        name: SO_MARK,
        state: SocketState::StatePrebind.into(),
        value: Some(OptionValue::IntValue(mark.into())),
        ..Default::default()
    };
    ClusterManager {
        upstream_bind_config: Some(BindConfig { socket_options: vec![option], ..Default::default() }),
        ..Default::default()
    }
}

fn admin_port(bootstrap: &Bootstrap) -> u16 {
    let address = bootstrap.admin.as_ref().and_then(|admin| admin.address.as_ref()?.address.as_ref());
    match address {
        Some(Address::SocketAddress(socket)) => match socket.port_specifier {
            Some(PortSpecifier::PortValue(port)) => u16::try_from(port).unwrap_or(ports::ADMIN),
            _ => ports::ADMIN,
        },
        _ => ports::ADMIN,
    }
}

struct Running {
    admin: Admin,
    kill: Mutex<Option<tokio::sync::oneshot::Sender<()>>>,
    why: watch::Receiver<Option<String>>,
}

#[tonic::async_trait]
impl DataPlane for Running {
    async fn ready(&self) -> Result<(), String> {
        match self.admin.ask("GET", "/ready").await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err(String::from_utf8_lossy(&answer.body).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn drain(&self) {
        if let Err(error) = self.admin.ask("POST", "/drain_listeners?graceful&skip_exit").await {
            tracing::warn!(%error, "Envoy does not take the wish to drain");
        }
    }

    async fn active_connections(&self) -> Option<u64> {
        self.admin.active_connections().await
    }

    async fn shutdown(&self) {
        if let Some(kill) = self.kill.lock().await.take() {
            // The task is gone when Envoy ended by itself, which is as good.
            let _ = kill.send(());
        }
        let mut why = self.why.clone();
        let _ = why.wait_for(Option::is_some).await;
    }

    async fn ended(&self) -> String {
        let mut why = self.why.clone();
        match why.wait_for(Option::is_some).await {
            Ok(text) => text.clone().unwrap_or_default(),
            Err(_) => "Envoy is gone".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn levels_become_envoys_flags() {
        let options = StartOptions {
            concurrency: Some(2),
            drain_time: Duration::from_secs(45),
            bypass_mark: None,
            log_level: "warning,misc:error".into(),
            config_dir: ".".into(),
        };
        let command = Envoy::new(None).command(Path::new("c.json"), &options);
        let args: Vec<_> =
            command.as_std().get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let text = args.join(" ");
        assert!(text.contains("-l warning --component-log-level misc:error --concurrency 2"), "{text}");
    }
}
