//! A bare cluster to try by hand: API server, node and controllers, with the host's own programs as images.
//!
//! `cargo run -p meltemi-node --example by_hand -- /tmp/c1`, then `kubectl --kubeconfig /tmp/c1/kubeconfig …`.
//! The image `shell` is the host's `sh`; any other image `host/NAME` runs the host's program NAME.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meltemi_apiserver::{ApiServer, Options};
use meltemi_node::cluster::{Cluster, ClusterOptions};
use meltemi_node::images::{Image, Images};
use meltemi_node::launch::{self, LaunchOptions, Report};

struct HostPrograms;

impl Images for HostPrograms {
    fn resolve(&self, image: &str) -> Option<Image> {
        let name = if image == "shell" { "sh" } else { image.strip_prefix("host/")? };
        Some(Image { entrypoint: vec![name.to_owned()], ..Image::default() })
    }

    fn cure(&self, _: &str) -> String {
        "use the image `shell` or `host/NAME`".into()
    }
}

fn main() -> anyhow::Result<()> {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = launch::hidden(&args) {
        std::process::exit(code);
    }
    if args.first().is_some_and(|a| a == launch::DAEMON) {
        return daemon(Path::new(args.get(1).map_or("", |a| a.to_str().unwrap_or_default())));
    }
    let data_dir = args.first().cloned().unwrap_or_else(|| "/tmp/by-hand".into());
    let data_dir = std::path::absolute(data_dir)?;
    let options =
        LaunchOptions { daemon_args: vec![data_dir.display().to_string()], data_dir, detach: args.len() > 1 };
    let outcome = launch::start(&options, &mut |report| match report {
        Report::Progress(line) => println!("{line}"),
        Report::Ready(value) => println!("ready: {value}"),
        Report::Failed(reason) => eprintln!("failed: {reason}"),
    })?;
    println!("{outcome:?}");
    Ok(())
}

fn daemon(data_dir: &Path) -> anyhow::Result<()> {
    let launched = launch::enter(data_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let reporter = launched.reporter.clone();
    let result = runtime.block_on(serve(data_dir, launched));
    if let Err(error) = &result {
        reporter.report(Report::Failed(format!("{error:#}")));
    }
    // We are process 1: what is left ends with us, so there is nothing to wait for.
    std::process::exit(i32::from(result.is_err()))
}

async fn serve(data_dir: &Path, launched: launch::Daemon) -> anyhow::Result<()> {
    let mut options = Options::new(data_dir.join("api"));
    options.advertise = Some((meltemi_node::net::API_IP.into(), 443));
    let apiserver = ApiServer::open(options).await?;
    let inside = std::net::TcpListener::bind((meltemi_node::net::API_IP, 443))?;
    let outside = launched.host.listen(0).await?.into_std()?;
    let url = format!("https://{}", outside.local_addr()?);
    std::fs::write(data_dir.join("kubeconfig"), apiserver.kubeconfig(&url)?)?;
    for listener in [inside, outside] {
        let apiserver = apiserver.clone();
        tokio::spawn(async move { apiserver.serve(listener).await });
    }
    let client = kube::Client::new(apiserver.local_service(), "default");
    launched.reporter.report(Report::Progress("API server up".into()));
    let cluster = Cluster::start(ClusterOptions {
        client,
        images: Arc::new(HostPrograms),
        host: launched.host,
        data_dir: data_dir.to_path_buf(),
    })
    .await?;
    apiserver.set_kubelet(cluster.kubelet());
    launched.reporter.report(Report::Ready(serde_json::json!({"server": url})));
    let mut end = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    end.recv().await;
    let begun = std::time::Instant::now();
    cluster.shutdown(Duration::from_secs(5)).await;
    println!("stopped in {:?}", begun.elapsed());
    apiserver.shutdown();
    Ok(())
}
