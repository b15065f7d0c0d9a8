//! Which program this process is, decided from `argv` alone.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// The programs that this one binary can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// `meltemi` or `istioctl`: the command line.
    Cli,
    /// `pilot-discovery` or `meltemi discovery`: the control plane.
    Discovery,
    /// `pilot-agent`, or `meltemi proxy|istio-iptables|…`: the proxy with its agent.
    Agent,
    /// `envoy` or `meltemi envoy`: the engine by itself, on a bootstrap.
    Engine,
    /// A sample application, by its applet name.
    Sample(String),
}

/// First arguments that make a plain `meltemi` the agent, as `pilot-agent` has them.
const AGENT_VERBS: &[&str] = &["proxy", "istio-iptables", "wait", "request"];

impl Role {
    /// Decides the role from the whole argument vector, `argv[0]` included.
    pub fn of(arguments: &[OsString]) -> Self {
        let called = arguments.first().map(Path::new).and_then(Path::file_name);
        let called = called.and_then(|name| name.to_str()).unwrap_or("meltemi");
        let first = arguments.get(1).and_then(|argument| argument.to_str()).unwrap_or("");
        match (called, first) {
            ("pilot-discovery", _) | (_, "discovery") => Self::Discovery,
            ("pilot-agent" | "istio-iptables", _) => Self::Agent,
            ("istioctl", _) => Self::Cli,
            ("envoy", _) | (_, "envoy") => Self::Engine,
            (_, verb) if AGENT_VERBS.contains(&verb) => Self::Agent,
            (_, "sample") => Self::Sample(argument(arguments, 2)),
            (name, _) if meltemi_samples::is_applet(name) => Self::Sample(name.to_owned()),
            _ => Self::Cli,
        }
    }

    /// Runs the program to its end.
    pub fn run(self, arguments: Vec<OsString>) -> ExitCode {
        match self {
            Self::Cli => crate::cli::run(arguments),
            Self::Discovery => crate::verbs::discovery::run(arguments),
            Self::Agent => crate::verbs::agent::run(arguments),
            Self::Engine => crate::verbs::envoy::run(arguments),
            Self::Sample(applet) => {
                let skip = if argument(&arguments, 1) == "sample" { 3 } else { 1 };
                let rest = arguments.into_iter().skip(skip);
                meltemi_samples::run(&applet, rest.map(|a| a.to_string_lossy().into_owned()).collect())
            }
        }
    }
}

fn argument(arguments: &[OsString], index: usize) -> String {
    arguments.get(index).map(|a| a.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(arguments: &[&str]) -> Role {
        Role::of(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_called_name_decides_first() {
        assert_eq!(role(&["/usr/local/bin/istioctl", "proxy-status"]), Role::Cli);
        assert_eq!(role(&["pilot-discovery", "discovery", "--httpAddr", ":8080"]), Role::Discovery);
        assert_eq!(role(&["pilot-agent", "proxy", "sidecar"]), Role::Agent);
        assert_eq!(role(&["istio-iptables", "-p", "15001"]), Role::Agent);
        assert_eq!(role(&["/usr/local/bin/curl", "-s", "x"]), Role::Sample("curl".into()));
    }

    #[test]
    fn then_the_first_argument() {
        assert_eq!(role(&["meltemi", "discovery"]), Role::Discovery);
        assert_eq!(role(&["meltemi", "proxy", "router"]), Role::Agent);
        assert_eq!(role(&["meltemi", "envoy", "-c", "simple.yaml"]), Role::Engine);
        assert_eq!(role(&["meltemi", "sample", "ratings"]), Role::Sample("ratings".into()));
        assert_eq!(role(&["meltemi", "up"]), Role::Cli);
        assert_eq!(role(&["meltemi"]), Role::Cli);
    }
}
