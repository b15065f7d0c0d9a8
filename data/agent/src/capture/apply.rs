//! Applies a plan to the network namespace of this process.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tracing::{info, warn};

use super::args::CaptureArgs;
use super::backend::{Backend, routing, take_away};
use super::layout::plan;
use super::options::{Options, OptionsError, Resolvers, Surroundings};
use super::plan::Plan;
use super::probe;
use super::rule::Family;

/// Why capture could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A flag makes no sense.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// A program cannot be started.
    #[error(
        "cannot run {program}: {source}; install the package that has it (iptables or nftables, and iproute2) in this image"
    )]
    Start {
        /// Its name.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed ({status}): {stderr}; capture needs the capabilities NET_ADMIN and NET_RAW")]
    Failed {
        /// Its name and arguments.
        program: String,
        /// Its exit status.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// Neither back end works.
    #[error("neither iptables nor nft can be used: {iptables}; {nft}")]
    NoProgram {
        /// What is wrong with iptables.
        iptables: String,
        /// What is wrong with nft.
        nft: String,
    },
    /// `--force-iptables-binary` names none.
    #[error("--force-iptables-binary {0:?}: expected iptables, iptables-nft or iptables-legacy")]
    Binary(String),
    /// `--probe-timeout` is no duration.
    #[error("--probe-timeout {0:?}: expected a duration such as 5s")]
    Timeout(String),
    /// `MELTEMI_BYPASS_MARK` is not a number.
    #[error("MELTEMI_BYPASS_MARK={0:?}: expected a number, such as 1337")]
    Mark(String),
    /// A network namespace cannot be entered.
    #[error(
        "--network-namespace {path}: {source}; expected the file of a network namespace, such as /var/run/netns/pod"
    )]
    Namespace {
        /// Its file.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// `--run-validation` found that capture does not work.
    #[error(
        "capture does not work, so the workload is not ready for the mesh: {0}; with a CNI plugin, the pod may have been started before its node was ready"
    )]
    Validation(String),
}

impl CaptureError {
    /// The exit status that tells this failure from others: CNI repair looks for that of the validation.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Validation(_) => 126,
            _ => 1,
        }
    }
}

/// Runs `istio-iptables`.
///
/// # Errors
/// When a flag makes no sense, the rules cannot be written, or they do not work.
pub fn run(args: &CaptureArgs) -> Result<(), CaptureError> {
    for text in args.unsupported() {
        warn!("{text}");
    }
    let options = options(args)?;
    if args.redirect_dns && options.dns == Resolvers::None {
        warn!(
            "DNS is not captured: /etc/resolv.conf names no server; --capture-all-dns would capture look-ups to any"
        );
    }
    let plan = plan(&options);
    if args.dry_run {
        print!("{}", dry_run(args, &plan)?);
        return Ok(());
    }
    enter(&args.network_namespace)?;
    let families: &[Family] = if args.dual_stack || has_ipv6() { &Family::ALL } else { &[Family::V4] };
    if args.cleanup_only {
        return take_away(args, &plan, families);
    }
    if !args.skip_rule_apply {
        Backend::choose(args)?.apply(&plan, families)?;
        route(&plan, families)?;
    }
    if args.run_validation { validate(args, &options, families) } else { Ok(()) }
}

fn options(args: &CaptureArgs) -> Result<Options, CaptureError> {
    let mark = match std::env::var("MELTEMI_BYPASS_MARK") {
        Ok(text) if !text.is_empty() => Some(text.parse().map_err(|_| CaptureError::Mark(text))?),
        _ => None,
    };
    let resolvers = servers(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    Ok(Options::new(args, &Surroundings { mark, users: &user, groups: &group, resolvers })?)
}

/// What would be done.
fn dry_run(args: &CaptureArgs, plan: &Plan) -> Result<String, CaptureError> {
    let mut text = Backend::of_dry_run(args)?.show(plan, &Family::ALL, args.cleanup_only);
    let routing = if args.cleanup_only { plan.undo() } else { plan.routing.clone() };
    for (family, line) in routing {
        let ip = if family == Family::V6 { "ip -6" } else { "ip" };
        text += &format!("# {ip} {line}\n");
    }
    Ok(text)
}

fn route(plan: &Plan, families: &[Family]) -> Result<(), CaptureError> {
    for (family, line) in plan.routing.iter().filter(|(family, _)| families.contains(family)) {
        // A former run may have added it; the kernel answers that it exists.
        if let Err(error) = routing(*family, line)
            && !error.to_string().contains("File exists")
        {
            return Err(error);
        }
    }
    Ok(())
}

fn validate(args: &CaptureArgs, options: &Options, families: &[Family]) -> Result<(), CaptureError> {
    let limit =
        seconds(&args.probe_timeout).ok_or_else(|| CaptureError::Timeout(args.probe_timeout.clone()))?;
    for family in families {
        probe::check(*family, options.outbound_port, args.iptables_probe_port, limit)
            .map_err(CaptureError::Validation)?;
    }
    info!("traffic capture works");
    Ok(())
}

fn seconds(text: &str) -> Option<Duration> {
    crate::settings::GoDuration::parse(text).map(|value| value.0)
}

/// The resolvers that a `resolv.conf` names.
pub(super) fn servers(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next()?.split('%').next()?.parse().ok())
        .collect()
}

fn enter(path: &str) -> Result<(), CaptureError> {
    if path.is_empty() {
        return Ok(());
    }
    let enter = || {
        let file = fs::File::open(path)?;
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
    };
    enter().map_err(|source| CaptureError::Namespace { path: path.to_owned(), source })
}

/// Does this namespace have an IPv6 address beyond its own link?
fn has_ipv6() -> bool {
    const GLOBAL_SCOPE: &str = "00";
    let Ok(table) = fs::read_to_string("/proc/net/if_inet6") else { return false };
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(3) == Some(&GLOBAL_SCOPE) && fields.get(5) != Some(&"lo")
    })
}

fn user(name: &str) -> Option<u32> {
    nix::unistd::User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

fn group(name: &str) -> Option<u32> {
    nix::unistd::Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}
