//! Applies a plan to the network namespace of this process.

use std::fs;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use tracing::{info, warn};

use super::args::CaptureArgs;
use super::layout::plan;
use super::plan::{Options, OptionsError, Plan};
use super::restore::{cleanup, restore, undo};
use super::rule::Family;

/// Why capture could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A flag makes no sense.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// A program cannot be started.
    #[error("cannot run {program}: {source}; install the package `iptables` (and `iproute2`) in this image")]
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
    /// `MELTEMI_BYPASS_MARK` is not a number.
    #[error("MELTEMI_BYPASS_MARK={0:?}: expected a number, such as 1337")]
    Mark(String),
}

/// Runs `istio-iptables`.
///
/// # Errors
/// When a flag makes no sense or the rules cannot be written.
pub fn run(args: &CaptureArgs) -> Result<(), CaptureError> {
    for text in args.unsupported() {
        warn!("{text}");
    }
    let mark = match std::env::var("MELTEMI_BYPASS_MARK") {
        Ok(text) if !text.is_empty() => Some(text.parse().map_err(|_| CaptureError::Mark(text))?),
        _ => None,
    };
    let options = Options::new(args, mark, &user, &group)?;
    let families: &[Family] =
        if args.dry_run || args.dual_stack || has_ipv6() { &[Family::V4, Family::V6] } else { &[Family::V4] };
    for family in families {
        let plan = plan(&options, *family);
        if args.dry_run {
            print_plan(&plan, args.cleanup);
        } else if args.cleanup {
            take_away(&plan)?;
        } else if !args.skip_rule_apply {
            apply(&plan)?;
        }
    }
    Ok(())
}

fn print_plan(plan: &Plan, remove: bool) {
    let name = Programs::of(plan.family).restore;
    if remove {
        // Without a look at the tables: what a plan of these options would have to take away.
        println!("# {name} --noflush\n{}", cleanup(plan, &restore(plan, "")));
        return;
    }
    println!("# {name} --noflush\n{plan}");
}

fn apply(plan: &Plan) -> Result<(), CaptureError> {
    let programs = Programs::of(plan.family);
    let text = restore(plan, &command(programs.save, &[], "")?);
    command(programs.restore, &["--noflush"], &text)?;
    for line in &plan.routing {
        // A former run may have added it; the kernel answers that it exists.
        if let Err(error) = routing(plan.family, line)
            && !error.to_string().contains("File exists")
        {
            return Err(error);
        }
    }
    info!(program = programs.restore, rules = plan.rules.len(), "traffic capture is set up");
    Ok(())
}

fn take_away(plan: &Plan) -> Result<(), CaptureError> {
    let programs = Programs::of(plan.family);
    let text = cleanup(plan, &command(programs.save, &[], "")?);
    if !text.is_empty() {
        command(programs.restore, &["--noflush"], &text)?;
    }
    for line in undo(plan) {
        if let Err(error) = routing(plan.family, &line) {
            warn!(%error, "a route of ours was not there");
        }
    }
    info!(program = programs.restore, "traffic capture is taken away");
    Ok(())
}

struct Programs {
    save: &'static str,
    restore: &'static str,
}

impl Programs {
    fn of(family: Family) -> Self {
        match family {
            Family::V4 => Self { save: "iptables-save", restore: "iptables-restore" },
            Family::V6 => Self { save: "ip6tables-save", restore: "ip6tables-restore" },
        }
    }
}

fn routing(family: Family, line: &str) -> Result<(), CaptureError> {
    let v6: &[&str] = if family == Family::V6 { &["-6"] } else { &[] };
    let args: Vec<&str> = v6.iter().copied().chain(line.split(' ')).collect();
    command("ip", &args, "").map(drop)
}

/// Runs a program with `input` and gives its output.
fn command(program: &str, args: &[&str], input: &str) -> Result<String, CaptureError> {
    let start = |source| CaptureError::Start { program: program.to_owned(), source };
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that fails early closes its input; its exit status says more than the broken pipe.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(CaptureError::Failed {
        program: format!("{program} {}", args.join(" ")),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
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
