//! Serves an API server on a loopback port: `serve DATA_DIR [PORT]` writes `DATA_DIR/kubeconfig` and runs until killed.
//!
//! Its kubelet runs `exec` commands as plain processes of this machine, for trying clients by hand. Bind a pod to a node by
//! `spec.nodeName` first.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use meltemi_apiserver::kubelet::{
    Duplex, ExecOptions, ExecSession, ExitStatus, Kubelet, KubeletError, LogOptions, PodRef,
};
use meltemi_apiserver::{ApiServer, Options};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

struct HostKubelet;

fn failed(error: impl std::fmt::Display) -> KubeletError {
    KubeletError::Internal(error.to_string())
}

#[async_trait]
impl Kubelet for HostKubelet {
    async fn logs(
        &self,
        pod: &PodRef,
        options: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, KubeletError> {
        let line = format!("a log line of {} ({})\n", pod.name, options.container);
        Ok(stream::iter([Ok(line.into())]).boxed())
    }

    async fn exec(&self, _pod: &PodRef, options: ExecOptions) -> Result<ExecSession, KubeletError> {
        let (program, args) = options.command.split_first().ok_or_else(|| failed("no command"))?;
        let mut child = tokio::process::Command::new(program)
            .args(args)
            .stdin(if options.stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (sender, exit) = oneshot::channel();
        let (resize, mut sizes) = mpsc::channel(4);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        tokio::spawn(async move {
            let status = child.wait().await;
            let code = status.map_or(1, |s| s.code().unwrap_or(137));
            let _ = sender.send(ExitStatus::Code(code));
        });
        tokio::spawn(async move {
            while let Some(size) = sizes.recv().await {
                println!("terminal size {size:?}")
            }
        });
        Ok(ExecSession {
            stdin: stdin.map(|s| Box::new(s) as Box<dyn AsyncWrite + Send + Unpin>),
            stdout: stdout.map(|s| Box::new(s) as Box<dyn AsyncRead + Send + Unpin>),
            stderr: stderr
                .filter(|_| options.stderr)
                .map(|s| Box::new(s) as Box<dyn AsyncRead + Send + Unpin>),
            resize: options.tty.then_some(resize),
            exit,
        })
    }

    async fn attach(&self, pod: &PodRef, options: ExecOptions) -> Result<ExecSession, KubeletError> {
        self.exec(pod, ExecOptions { command: vec!["cat".into()], ..options }).await
    }

    async fn port_forward(&self, _pod: &PodRef, port: u16) -> Result<Box<dyn Duplex>, KubeletError> {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map_err(failed)?;
        Ok(Box::new(stream))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().unwrap_or_else(|| "/tmp/meltemi-apiserver".into());
    let port: u16 = args.next().map_or(Ok(0), |p| p.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let address = listener.local_addr()?;
    let mut options = Options::new(&dir);
    options.advertise = Some((address.ip(), address.port()));
    let server = ApiServer::open(options).await?;
    server.set_kubelet(Arc::new(HostKubelet));
    let path = format!("{dir}/kubeconfig");
    std::fs::write(&path, server.kubeconfig(&format!("https://{address}"))?)?;
    println!("KUBECONFIG={path}");
    server.serve(listener).await
}
