//! The programs that write the rules: those of iptables, or nft where they are missing or not wanted.

use std::io::Write;
use std::process::{Command, Stdio};

use tracing::{info, warn};

use super::apply::CaptureError;
use super::args::CaptureArgs;
use super::nft;
use super::plan::Plan;
use super::restore::{cleanup, restore};
use super::rule::Family;

/// What writes the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    /// `iptables-restore` and `ip6tables-restore`, or a variant of them (`-nft`, `-legacy`).
    Iptables {
        /// What stands after `iptables` in the programs' names.
        variant: &'static str,
    },
    /// `nft`.
    Nft,
}

impl Backend {
    /// The one that was asked for.
    fn wanted(args: &CaptureArgs) -> Result<Option<Self>, CaptureError> {
        let variant = match args.force_iptables_binary.as_str() {
            _ if args.native_nftables => return Ok(Some(Self::Nft)),
            "" => return Ok(None),
            "iptables" => "",
            "iptables-nft" => "-nft",
            "iptables-legacy" => "-legacy",
            other => return Err(CaptureError::Binary(other.to_owned())),
        };
        Ok(Some(Self::Iptables { variant }))
    }

    /// The one that the dry run shows: no program is asked.
    pub(super) fn of_dry_run(args: &CaptureArgs) -> Result<Self, CaptureError> {
        Ok(Self::wanted(args)?.unwrap_or(Self::Iptables { variant: "" }))
    }

    /// The one to use: the one asked for, else iptables, else nft.
    pub(super) fn choose(args: &CaptureArgs) -> Result<Self, CaptureError> {
        if let Some(wanted) = Self::wanted(args)? {
            return Ok(wanted);
        }
        let iptables = Self::Iptables { variant: "" };
        let problem = match iptables.usable() {
            Ok(()) => return Ok(iptables),
            Err(problem) => problem,
        };
        match Self::Nft.usable() {
            Ok(()) => {
                info!(%problem, "iptables cannot be used; nft is used in its place");
                Ok(Self::Nft)
            }
            Err(nft) => Err(CaptureError::NoProgram { iptables: problem.to_string(), nft: nft.to_string() }),
        }
    }

    /// Can its programs be run, and does the kernel answer them?
    fn usable(&self) -> Result<(), CaptureError> {
        match self {
            Self::Iptables { .. } => {
                command(&self.program(Family::V4, "-save"), &["-t", "nat"], "")?;
                command(&self.program(Family::V4, "-restore"), &["--version"], "").map(drop)
            }
            Self::Nft => command("nft", &["list", "tables"], "").map(drop),
        }
    }

    fn program(&self, family: Family, what: &str) -> String {
        let Self::Iptables { variant } = self else { return "nft".to_owned() };
        let name = if family == Family::V6 { "ip6tables" } else { "iptables" };
        format!("{name}{variant}{what}")
    }

    /// The text that would be given to the programs where there is nothing yet.
    pub(super) fn show(&self, plan: &Plan, families: &[Family], remove: bool) -> String {
        match self {
            Self::Nft if remove => format!("# nft -f -\n{}", nft::cleanup()),
            Self::Nft => format!("# nft -f -\n{}", nft::script(plan, families)),
            Self::Iptables { .. } => {
                let one = |family: &Family| {
                    let text = restore(plan, *family, "");
                    // Without a look at the tables: what a plan of these options would have to take away.
                    let text = if remove { cleanup(plan, &text) } else { text };
                    format!("# {} --noflush\n{text}", self.program(*family, "-restore"))
                };
                families.iter().map(one).collect::<Vec<_>>().join("\n")
            }
        }
    }

    /// Brings the kernel's rules to the plan.
    pub(super) fn apply(&self, plan: &Plan, families: &[Family]) -> Result<(), CaptureError> {
        if *self == Self::Nft {
            command("nft", &["-f", "-"], &nft::script(plan, families))?;
        } else {
            for family in families {
                let saved = command(&self.program(*family, "-save"), &[], "")?;
                let text = restore(plan, *family, &saved);
                command(&self.program(*family, "-restore"), &["--noflush"], &text)?;
            }
        }
        info!(backend = ?self, rules = plan.rules.len(), "traffic capture is set up");
        Ok(())
    }
}

/// Takes all of our rules away, whichever program wrote them.
pub(super) fn take_away(args: &CaptureArgs, plan: &Plan, families: &[Family]) -> Result<(), CaptureError> {
    let iptables = match Backend::wanted(args)? {
        Some(Backend::Iptables { variant }) => Backend::Iptables { variant },
        _ => Backend::Iptables { variant: "" },
    };
    let (with_iptables, with_nft) = (iptables.usable(), Backend::Nft.usable());
    if let (Err(iptables), Err(nft)) = (&with_iptables, &with_nft) {
        return Err(CaptureError::NoProgram { iptables: iptables.to_string(), nft: nft.to_string() });
    }
    if with_iptables.is_ok() {
        for family in families {
            let saved = command(&iptables.program(*family, "-save"), &[], "")?;
            let text = cleanup(plan, &saved);
            if !text.is_empty() {
                command(&iptables.program(*family, "-restore"), &["--noflush"], &text)?;
            }
        }
    }
    if with_nft.is_ok() {
        command("nft", &["-f", "-"], &nft::cleanup())?;
    }
    for (family, line) in plan.undo().iter().filter(|(family, _)| families.contains(family)) {
        if let Err(error) = routing(*family, line) {
            warn!(%error, "a route or address of ours was not there");
        }
    }
    info!("traffic capture is taken away");
    Ok(())
}

/// Runs `ip` with these arguments.
pub(super) fn routing(family: Family, line: &str) -> Result<(), CaptureError> {
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
