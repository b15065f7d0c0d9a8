//! `pods/exec` and `pods/attach`.

use super::wire::{Input, Output, Packet, pump_in, pump_out};
use super::{Target, choose, is_spdy, is_websocket, spdy, spdy_response, upgrade_required, websocket};
use crate::error::{ApiError, Result};
use crate::kubelet::{ExecOptions, ExecSession, ExitStatus};
use crate::request::Query;
use axum::body::Body;
use http::Response;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How long a client has to open its streams.
const SETUP: Duration = Duration::from_secs(30);

/// Runs a command, or attaches to the container's own, and carries its streams.
pub async fn handle(target: &Target, options: ExecOptions, mut parts: Parts) -> Result<Response<Body>> {
    let (websocket, spdy) = (is_websocket(&parts.headers), is_spdy(&parts.headers));
    let upgrade =
        parts.extensions.remove::<OnUpgrade>().filter(|_| websocket || spdy).ok_or_else(upgrade_required)?;
    let started = |options: ExecOptions| async move {
        match options.command.is_empty() {
            true => target.kubelet.attach(&target.pod, options).await,
            false => target.kubelet.exec(&target.pod, options).await,
        }
    };
    if websocket {
        let (protocol, response) = websocket::accept(&parts.headers, websocket::EXEC_PROTOCOLS)?;
        let session = started(options.clone()).await?;
        tokio::spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let streams = websocket::exec_streams(TokioIo::new(upgraded), protocol, &options).await;
            run(session, streams, websocket::reports_status(protocol)).await;
        });
        return Ok(response);
    }
    const PROTOCOLS: &[&str] =
        &["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
    let protocol = choose(&parts.headers, "x-stream-protocol-version", PROTOCOLS).ok_or_else(|| {
        ApiError::custom(
            http::StatusCode::FORBIDDEN,
            "Forbidden",
            "unable to upgrade: no stream protocol that both sides know",
        )
    })?;
    let session = started(options.clone()).await?;
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let connection = spdy::serve(TokioIo::new(upgraded));
        let streams = spdy_streams(connection, &options, protocol).await;
        if let Some(streams) = streams {
            run(session, streams, protocol == "v4.channel.k8s.io").await;
        }
    });
    Ok(spdy_response(protocol))
}

/// The query's parameters for the standard streams.
pub type StreamNames = [&'static str; 3];

/// As the API server's clients call them (PodExecOptions).
pub const CLIENTS: StreamNames = ["stdin", "stdout", "stderr"];
/// As API servers call them when they ask a kubelet.
pub const KUBELETS: StreamNames = ["input", "output", "error"];

/// What a query asks for; `attach` takes no command.
///
/// # Errors
/// Without any stream, and an `exec` without a command.
pub fn options(query: &Query, names: StreamNames, container: String, attach: bool) -> Result<ExecOptions> {
    let [stdin, stdout, stderr] = names;
    let options = ExecOptions {
        container,
        command: if attach { Vec::new() } else { query.all("command").to_vec() },
        stdin: query.flag(stdin),
        stdout: query.flag(stdout),
        stderr: query.flag(stderr) && !query.flag("tty"),
        tty: query.flag("tty"),
    };
    if !options.stdin && !options.stdout && !options.stderr {
        return Err(ApiError::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    if options.command.is_empty() && !attach {
        return Err(ApiError::bad_request("you must specify at least one command for the container"));
    }
    Ok(options)
}

/// The client's ends of the process's streams.
pub struct Streams {
    /// What the client types.
    pub stdin: Option<Input>,
    /// Where output goes.
    pub stdout: Option<Output>,
    /// Where errors go.
    pub stderr: Option<Output>,
    /// Where the end is told.
    pub error: Output,
    /// Terminal sizes as JSON.
    pub resize: Option<Input>,
    /// Ends the connection.
    pub packets: mpsc::Sender<Packet>,
}

/// Waits until a SPDY client has opened all streams that its options call for.
async fn spdy_streams(
    mut connection: spdy::Connection,
    options: &ExecOptions,
    protocol: &str,
) -> Option<Streams> {
    let resizes = options.tty && protocol != "v2.channel.k8s.io" && protocol != "channel.k8s.io";
    let wanted = [
        ("error", true),
        ("stdin", options.stdin),
        ("stdout", options.stdout),
        ("stderr", options.stderr),
        ("resize", resizes),
    ];
    let count = wanted.iter().filter(|(_, on)| *on).count();
    let mut found: HashMap<String, spdy::Stream> = HashMap::new();
    let collect = async {
        while found.len() < count {
            let stream = connection.accept().await?;
            found.insert(stream.header("streamtype").to_owned(), stream);
        }
        Some(())
    };
    tokio::time::timeout(SETUP, collect).await.ok()??;
    let packets = connection.packets();
    let mut take = |name: &str| found.remove(name).map(|s| (s.id, s.input));
    let output = |id| Output::new(id, packets.clone());
    let (error, _) = take("error")?;
    let streams = Streams {
        stdin: take("stdin").map(|(_, input)| input),
        stdout: take("stdout").map(|(id, _)| output(id)),
        stderr: take("stderr").map(|(id, _)| output(id)),
        resize: take("resize").map(|(_, input)| input),
        error: output(error),
        packets,
    };
    // Streams opened later have no meaning; the connection lives on in its tasks.
    tokio::spawn(async move { while connection.accept().await.is_some() {} });
    Some(streams)
}

/// Carries the streams until the process has ended or the client has gone.
async fn run(session: ExecSession, streams: Streams, status: bool) {
    let ExecSession { stdin, stdout, stderr, resize, exit } = session;
    if let (Some(from), Some(to)) = (streams.stdin, stdin) {
        tokio::spawn(pump_in(from, to));
    }
    if let (Some(from), Some(to)) = (streams.resize, resize) {
        tokio::spawn(pump_sizes(from, to));
    }
    let mut pumps = tokio::task::JoinSet::new();
    let (end, over) = watch::channel(false);
    if let (Some(from), Some(to)) = (stdout, streams.stdout) {
        pumps.spawn(pump_out(from, to, over.clone()));
    }
    if let (Some(from), Some(to)) = (stderr, streams.stderr) {
        pumps.spawn(pump_out(from, to, over));
    }
    let ended = tokio::select! {
        ended = exit => ended.unwrap_or_else(|_| ExitStatus::Failed("the process was lost".into())),
        // The client has gone: dropping the session ends the process.
        () = streams.packets.closed() => return,
    };
    end.send_replace(true);
    tokio::select! {
        () = async { while pumps.join_next().await.is_some() {} } => {}
        () = streams.packets.closed() => return,
    }
    let report = if status { Some(self::status(&ended).to_string()) } else { plain(&ended) };
    if let Some(report) = report {
        streams.error.send(report.into()).await;
    }
    streams.error.finish().await;
    let _ = streams.packets.send(Packet::Close).await;
}

/// How the process ended, as a Status (protocol v4 and later).
fn status(ended: &ExitStatus) -> Value {
    match ended {
        ExitStatus::Code(0) => json!({"metadata": {}, "status": "Success"}),
        ExitStatus::Code(code) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        ExitStatus::Failed(text) => json!({
            "metadata": {}, "status": "Failure", "reason": "InternalError", "message": text,
            "details": {"causes": [{"message": text}]}, "code": 500,
        }),
    }
}

/// How the process ended, for older protocols: text, or nothing for success.
fn plain(ended: &ExitStatus) -> Option<String> {
    match ended {
        ExitStatus::Code(0) => None,
        ExitStatus::Code(code) => Some(format!("command terminated with exit code {code}")),
        ExitStatus::Failed(text) => Some(text.clone()),
    }
}

/// Passes terminal sizes on; each is a small JSON object.
async fn pump_sizes(mut from: Input, to: mpsc::Sender<(u16, u16)>) {
    let mut buffer = Vec::new();
    while let Some(bytes) = from.recv().await {
        buffer.extend_from_slice(&bytes);
        let mut sizes = serde_json::Deserializer::from_slice(&buffer).into_iter::<Value>();
        let mut used = 0;
        while let Some(Ok(size)) = sizes.next() {
            used = sizes.byte_offset();
            let side = |k: &str| size.get(k).and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok());
            if let (Some(columns), Some(rows)) = (side("Width"), side("Height"))
                && to.send((columns, rows)).await.is_err()
            {
                return;
            }
        }
        buffer.drain(..used);
        if buffer.len() > 1024 {
            return;
        }
    }
}
