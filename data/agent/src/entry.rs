//! From the command line to the exit status.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::{Request, Uri};
use meltemi_process::logging::{self, LogOptions, Target as LogTarget};
use meltemi_process::shutdown;
use meltemi_proto::version;
use tracing::error;

use crate::capture;
use crate::cli::{Cli, Command, LogArgs, ProxyArgs, RequestArgs, VersionArgs, WaitArgs};
use crate::data_plane::Starter;
use crate::environment::Environment;
use crate::envoy::Envoy;
use crate::http_client::{Target, send};
use crate::istiod::Failure;
use crate::net::Dial;
use crate::proxyless::Proxyless;
use crate::settings::Settings;

/// Runs `pilot-agent` (or `istio-iptables`) with these arguments, the program's name first. `engine` is the data
/// plane of this process (see [`crate::engine::InProcess`]); Envoy takes its place where the pod asks for it.
pub fn run(arguments: Vec<OsString>, engine: Arc<dyn Starter>) -> ExitCode {
    let cli = match Cli::try_parse_from(words(arguments, |name| std::env::var_os(name))) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
            // Nowhere to tell when standard error is closed.
            let _ = error.print();
            return code;
        }
    };
    let result = match cli.command {
        Command::Proxy(args) => with_logs(&args.log, LogTarget::Stdout, || run_proxy(&args, engine)),
        Command::IstioIptables(args) => {
            let target = if args.capture.dry_run { LogTarget::Stderr } else { LogTarget::Stdout };
            let mut code = 1;
            let result = with_logs(&args.log, target, || {
                Ok(capture::run(&args.capture).inspect_err(|error| code = error.exit_code())?)
            });
            return match result {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("Error: {error}");
                    ExitCode::from(code)
                }
            };
        }
        Command::Request(args) => block_on(request(args)),
        Command::Wait(args) => block_on(wait(args)),
        Command::Version(args) => print_version(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Called as `istio-iptables`, the first word is missing. Its flags may come from the environment.
fn words(mut arguments: Vec<OsString>, variable: impl Fn(&str) -> Option<OsString>) -> Vec<OsString> {
    let name = arguments.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    if name == "istio-iptables" && arguments.get(1).is_none_or(|word| word != "istio-iptables") {
        arguments.insert(1, "istio-iptables".into());
    }
    if arguments.get(1).is_some_and(|word| word == "istio-iptables") {
        arguments.splice(2..2, capture::from_environment(variable));
    }
    arguments
}

fn with_logs(
    args: &LogArgs,
    target: LogTarget,
    role: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    logging::init(&LogOptions { output_level: args.output_level.clone(), json: args.as_json, target })?;
    role().inspect_err(|problem| error!(error = %problem, "the agent ends"))
}

/// One thread does for the agent: the traffic is on the proxy's threads.
fn block_on(task: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(task)
}

fn run_proxy(args: &ProxyArgs, engine: Arc<dyn Starter>) -> Result<(), Failure> {
    let env = Environment::read();
    let mut settings = Settings::new(args, &env)?;
    if args.concurrency > 0 && settings.proxy_config.concurrency.is_none() {
        settings.proxy_config.concurrency = Some(args.concurrency);
    }
    let starter: Arc<dyn Starter> = match wanted_plane(&env)? {
        _ if env.flag("DISABLE_ENVOY") == Some(true) => Arc::new(Proxyless::new(&settings)?),
        Plane::Engine => engine,
        Plane::Envoy => Arc::new(Envoy::new(env.get("MELTEMI_ENVOY"))),
    };
    block_on(async move { crate::run::proxy(settings, starter, shutdown::signals()?).await })
}

#[derive(Debug, PartialEq, Eq)]
enum Plane {
    Engine,
    Envoy,
}

/// The pod's annotation, else the environment.
fn wanted_plane(env: &Environment) -> Result<Plane, Failure> {
    let annotation = env.annotations.get("meltemi.io/data-plane").map(String::as_str);
    match annotation.or(env.get("MELTEMI_DATA_PLANE")).unwrap_or("meltemi") {
        "meltemi" => Ok(Plane::Engine),
        "envoy" => Ok(Plane::Envoy),
        other => Err(format!("meltemi.io/data-plane: {other:?}: expected meltemi or envoy").into()),
    }
}

/// Limit of an answer of the admin interface, in bytes: a whole configuration dump of a large mesh.
const MAX_ANSWER: usize = 256 << 20;

async fn request(args: RequestArgs) -> Result<(), Failure> {
    let target =
        Target { host: "127.0.0.1".into(), port: args.debug_port, tls: false, dial: Dial::default() };
    let request = Request::builder()
        .method(args.method.to_ascii_uppercase().as_str())
        .uri(format!("/{}", args.path.trim_start_matches('/')))
        .header("host", format!("localhost:{}", args.debug_port))
        .body(Bytes::from(args.body.unwrap_or_default()))?;
    let answer = send(&target, request, Duration::from_secs(60), MAX_ANSWER).await?;
    let text = String::from_utf8_lossy(&answer.body);
    if !answer.status.is_success() {
        return Err(format!("received unsuccessful status code {}: {text}", answer.status).into());
    }
    print!("{text}");
    Ok(())
}

async fn wait(args: WaitArgs) -> Result<(), Failure> {
    let uri: Uri = args.url.parse()?;
    let host = uri.host().ok_or_else(|| format!("{}: expected a URL with a host", args.url))?;
    let target = Target {
        host: host.to_owned(),
        port: uri.port_u16().unwrap_or(80),
        tls: false,
        dial: Dial::default(),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(args.timeout_seconds);
    loop {
        let request = Request::get(path).header("host", host).body(Bytes::new())?;
        let limit = Duration::from_millis(args.request_timeout_millis.max(1));
        let reason = match send(&target, request, limit, 64 << 10).await {
            Ok(answer) if answer.status.is_success() => return Ok(()),
            Ok(answer) => {
                format!("HTTP status {}: {}", answer.status, String::from_utf8_lossy(&answer.body).trim())
            }
            Err(error) => error.to_string(),
        };
        if tokio::time::Instant::now() >= deadline {
            return Err(format!("the proxy is not ready after {}s: {reason}", args.timeout_seconds).into());
        }
        tokio::time::sleep(Duration::from_millis(args.period_millis.max(1))).await;
    }
}

fn print_version(args: &VersionArgs) -> Result<(), Failure> {
    let json = serde_json::json!({"version": version::ISTIO_COMPAT, "meltemi": version::MELTEMI});
    match args.output.as_str() {
        "json" => println!("{}", serde_json::to_string_pretty(&json)?),
        "yaml" => print!("{}", yaml_serde::to_string(&json)?),
        "" if args.short => println!("{}", version::ISTIO_COMPAT),
        "" => println!("version {} (meltemi {})", version::ISTIO_COMPAT, version::MELTEMI),
        other => return Err(format!("-o {other:?}: expected json or yaml").into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::CaptureCommand;

    #[test]
    fn the_programs_name_may_be_the_verb() {
        let words = |line: &str| {
            let words = super::words(line.split(' ').map(OsString::from).collect(), |_| None);
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words("/usr/bin/istio-iptables -p 1"), "/usr/bin/istio-iptables istio-iptables -p 1");
        assert_eq!(words("pilot-agent istio-iptables -p 1"), "pilot-agent istio-iptables -p 1");
        assert_eq!(words("istio-iptables istio-iptables"), "istio-iptables istio-iptables");
    }

    #[test]
    fn the_command_line_wins_over_the_environment() {
        let variable = |name: &str| {
            let value = match name {
                "ENVOY_PORT" => "1",
                "ISTIO_INBOUND_PORTS" => "80",
                "ISTIO_META_DNS_CAPTURE" | "INVALID_DROP" => "true",
                "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE" => "7",
                _ => return None,
            };
            Some(OsString::from(value))
        };
        let line = "istio-iptables -p 2 -d 81 --drop-invalid=false";
        let cli =
            Cli::try_parse_from(words(line.split(' ').map(OsString::from).collect(), variable)).unwrap();
        let Command::IstioIptables(CaptureCommand { capture, .. }) = cli.command else { panic!("{cli:?}") };
        assert_eq!((capture.envoy_port, capture.istio_inbound_ports.as_str()), (2, "80"));
        assert_eq!(capture.istio_local_exclude_ports, "81");
        assert!(capture.redirect_dns && !capture.drop_invalid);
        assert_eq!(capture.owner_groups_exclude, "7");
        let other = words(vec!["pilot-agent".into(), "wait".into()], variable);
        assert_eq!(other.len(), 2, "the variables are those of istio-iptables alone");
    }

    #[test]
    fn every_flag_of_istio_is_known_and_no_other() {
        let known = [
            "-p=1",
            "-z=1",
            "-e=1",
            "-u=1",
            "-g=1",
            "-m=TPROXY",
            "-b=1",
            "-d=1",
            "-c=a",
            "-i=*",
            "-x=10.0.0.0/8",
            "-q=1",
            "-o=1",
            "-k=a",
            "-t=1",
            "-r=1",
            "-n",
            "--iptables-probe-port=1",
            "--probe-timeout=1s",
            "--skip-rule-apply",
            "--run-validation",
            "--redirect-dns",
            "--drop-invalid",
            "--dual-stack",
            "--capture-all-dns",
            "--network-namespace=a",
            "--cni-mode",
            "--reconcile",
            "--cleanup-only",
            "--force-apply",
            "--native-nftables",
            "--force-iptables-binary=iptables-nft",
            "--restore-format",
            "--iptables-trace-logging",
        ];
        for flag in known {
            if let Err(error) = Cli::try_parse_from(["pilot-agent", "istio-iptables", flag]) {
                panic!("{flag}: {error}");
            }
        }
        let error =
            Cli::try_parse_from(["pilot-agent", "istio-iptables", "--redirect-dsn"]).unwrap_err().to_string();
        assert!(error.contains("'--redirect-dsn'") && error.contains("'--redirect-dns'"), "{error}");
    }

    #[test]
    fn lines_of_the_injected_template_parse() {
        for line in [
            "pilot-agent proxy sidecar --domain default.svc.cluster.local --proxyLogLevel=warning \
             --proxyComponentLogLevel=misc:error --log_output_level=default:info",
            "pilot-agent proxy router --domain a.svc.cluster.local --log_as_json --outlierLogPath=/dev/stdout",
            "pilot-agent istio-iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x= -b * -d 15090,15021,15020 \
             --log_output_level=default:info",
            "pilot-agent request --debug-port=15020 POST drain",
            "pilot-agent request GET stats/prometheus",
            "pilot-agent wait",
            "pilot-agent version --short",
        ] {
            if let Err(error) = Cli::try_parse_from(line.split_whitespace()) {
                panic!("{line}: {error}");
            }
        }
        assert!(Cli::try_parse_from(["pilot-agent", "proxy", "waypoint"]).is_err());
    }

    #[test]
    fn the_pod_chooses_its_data_plane() {
        let mut env = Environment::default();
        assert_eq!(wanted_plane(&env).unwrap(), Plane::Engine);
        env.vars.insert("MELTEMI_DATA_PLANE".into(), "envoy".into());
        assert_eq!(wanted_plane(&env).unwrap(), Plane::Envoy);
        env.annotations.insert("meltemi.io/data-plane".into(), "meltemi".into());
        assert_eq!(wanted_plane(&env).unwrap(), Plane::Engine);
        env.annotations.insert("meltemi.io/data-plane".into(), "nginx".into());
        assert!(wanted_plane(&env).is_err());
    }
}
