//! The daemon of the local cluster: process 1 of its own namespaces.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use kube::Client;
use meltemi_node::cluster::{Cluster, ClusterOptions};
use meltemi_node::host_ports::HostPorts;
use meltemi_node::launch::{self, Daemon, Report, Reporter};
use meltemi_process::{logging, shutdown};
use tokio::sync::mpsc;

use super::api::Api;
use super::place::Place;
use super::summary::Summary;
use super::{demo, images};
use crate::verbs::install::component::Component;
use crate::verbs::install::operator::{Operator, Request};
use crate::verbs::install::run::{self as installation, Step};
use crate::verbs::up;

/// The ingress gateway's port for plain HTTP: by name in the demo profile, else by number.
const HTTP_PORTS: [&str; 2] = ["http", "80"];
/// How long containers may take to end when the cluster stops.
const GRACE: Duration = Duration::from_secs(5);
/// How long the demo's pods and page may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    up: up::Args,
}

/// `main` of the daemon; `arguments` are those after [`launch::DAEMON`].
pub fn main(arguments: &[OsString]) -> ExitCode {
    let whole = std::iter::once(OsString::from("meltemi")).chain(arguments.iter().cloned());
    let outcome = Cli::try_parse_from(whole).map_err(anyhow::Error::from).and_then(|cli| start(cli.up));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Fails only before the outer process can be told: what goes wrong later, that one says.
fn start(args: up::Args) -> anyhow::Result<ExitCode> {
    let place = Place::new(args.data_dir.as_deref())?;
    // Namespaces are entered while the process still has one thread.
    let daemon = launch::enter(place.root())?;
    let reporter = daemon.reporter.clone();
    logging::init(&logging::LogOptions {
        output_level: "default:warn".into(),
        target: logging::Target::Stderr,
        ..Default::default()
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(daemon, args, place));
    runtime.shutdown_timeout(Duration::from_millis(200));
    Ok(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            reporter.report(Report::Failed(format!("{error:#}")));
            ExitCode::FAILURE
        }
    })
}

async fn serve(daemon: Daemon, args: up::Args, place: Place) -> anyhow::Result<()> {
    let shutdown = shutdown::signals()?;
    let begun = Instant::now();
    let say = daemon.reporter.clone();
    let (server, address) = api_server(&daemon, &args, &place).await?;
    say.report(Report::Progress(format!("✔ API server at {address}")));
    let client = server.client().await?;
    let images = Arc::new(images::BuiltIn::new(&args.images, args.proxies()?)?);
    let cluster = Cluster::start(ClusterOptions {
        client: client.clone(),
        images,
        host: daemon.host.clone(),
        data_dir: place.root().to_owned(),
    })
    .await?;
    server.set_kubelet(cluster.kubelet()).await?;
    say.report(Report::Progress("✔ Node ready".into()));
    let mut summary = Summary { kubeconfig: place.kubeconfig(), server: address, ..Summary::default() };
    let installed = async {
        if args.profile != "none" {
            install(&client, &args, &say).await?;
        }
        addresses(&cluster, &daemon.host, &args, &mut summary, &say).await
    };
    tokio::select! {
        outcome = installed => outcome?,
        () = shutdown.requested() => {}
    }
    if !shutdown.is_requested() {
        summary.started_in_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        summary.write(&place)?;
        say.report(Report::Ready(serde_json::to_value(&summary)?));
    }
    shutdown.requested().await;
    cluster.shutdown(GRACE).await;
    server.shutdown();
    let _ = std::fs::remove_file(place.summary());
    Ok(())
}

/// Opens the API server, for the host on 127.0.0.1 and for pods at the `kubernetes` service.
async fn api_server(daemon: &Daemon, args: &up::Args, place: &Place) -> anyhow::Result<(Api, String)> {
    let listener = daemon
        .host
        .listen(args.api_port)
        .await
        .with_context(|| format!("no port for the API server (--api-port {})", args.api_port))?;
    let address = format!("https://{}", listener.local_addr()?);
    let server = match &args.kubernetes {
        None => Api::own(place.root(), listener).await?,
        Some(built) => Api::kubernetes(built, place.root(), listener).await?,
    };
    write_private(place.kubeconfig(), &server.kubeconfig(&address)?)?;
    Ok((server, address))
}

/// Writes a file that only its owner may read: a kubeconfig holds the administrator's key.
fn write_private(path: PathBuf, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let _ = std::fs::remove_file(&path);
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Installs the mesh, as `meltemi install` does, and the demo as soon as istiod can inject.
async fn install(client: &Client, args: &up::Args, say: &Reporter) -> anyhow::Result<()> {
    let request = Request { sets: vec![format!("profile={}", args.profile)], ..Request::default() };
    let operator = Operator::load(&request)?;
    let (tell, mut heard) = mpsc::unbounded_channel();
    let demo = {
        let (client, demo, say) = (client.clone(), args.demo, say.clone());
        async move {
            let mut injects = false;
            while let Some(step) = heard.recv().await {
                let done: &Step = &step;
                if done.is_lasting() {
                    say.report(Report::Progress(done.to_string()));
                }
                injects |= matches!(done, Step::Installed(Component::Pilot));
                if injects {
                    break;
                }
            }
            let relay = async {
                while let Some(step) = heard.recv().await {
                    if step.is_lasting() {
                        say.report(Report::Progress(step.to_string()));
                    }
                }
                anyhow::Ok(())
            };
            let deploy = async {
                match demo.filter(|_| injects) {
                    Some(up::Demo::Bookinfo) => bookinfo(&client).await,
                    None => Ok(()),
                }
            };
            tokio::try_join!(relay, deploy).map(|_| ())
        }
    };
    let mut progress = move |step: Step| {
        let _ = tell.send(step);
    };
    let installing = async move {
        let outcome =
            installation::install(client, &operator, installation::READINESS_TIMEOUT, &mut progress).await;
        drop(progress);
        outcome
    };
    tokio::try_join!(installing, demo)?;
    if args.demo.is_some() {
        demo::pods_ready(client, "default", 6, PATIENCE).await?;
        say.report(Report::Progress("✔ Bookinfo ready, every pod 2/2".into()));
    }
    Ok(())
}

async fn bookinfo(client: &Client) -> anyhow::Result<()> {
    demo::enable_injection(client, "default").await?;
    for text in demo::BOOKINFO {
        demo::apply(client, "default", text).await?;
    }
    Ok(())
}

/// Finds where the gateway is on this machine, and waits until the demo's page answers there.
async fn addresses(
    cluster: &Cluster,
    host: &HostPorts,
    args: &up::Args,
    summary: &mut Summary,
    say: &Reporter,
) -> anyhow::Result<()> {
    let has_gateway = ["demo", "default", "preview"].contains(&args.profile.as_str());
    if !has_gateway {
        return Ok(());
    }
    let port = HTTP_PORTS[usize::from(args.profile != "demo")];
    let Some(local) = cluster.forward_of("istio-system", "istio-ingressgateway", port).await else {
        return Ok(());
    };
    summary.urls.insert("ingressgateway".into(), format!("http://{local}"));
    if args.demo.is_some() {
        let page = format!("http://{local}/productpage");
        demo::page_answers(host, local, "/productpage", PATIENCE).await?;
        say.report(Report::Progress(format!("✔ {page} answers")));
        summary.urls.insert("productpage".into(), page);
    }
    Ok(())
}
