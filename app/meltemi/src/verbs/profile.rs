//! `profile`: the named starting points of an installation.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::Value;

use super::install::What;
use super::install::charts::PROFILES;
use super::install::operator::Operator;
use super::install::values;

/// Arguments of `profile`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with profiles.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
    /// List the profiles.
    List,
    /// Print a profile as an IstioOperator.
    Dump {
        /// The profile [default: default].
        profile: Option<String>,
        /// Print only what stands at this path of the spec, such as components.ingressGateways.
        #[arg(short = 'p', long, value_name = "PATH")]
        config_path: Option<String>,
        /// Files and flags laid over the profile.
        #[command(flatten)]
        what: What,
        /// yaml, json, or flags for `path=value` lines.
        #[arg(short, long, default_value = "yaml")]
        output: Output,
    },
}

/// How a profile is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// YAML.
    Yaml,
    /// JSON, indented.
    Json,
    /// `path=value` lines, as `--set` takes them.
    Flags,
}

/// Lists or prints.
///
/// # Errors
/// When there is no such profile or path.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List => {
            println!("Istio configuration profiles:");
            PROFILES.iter().for_each(|(name, _)| println!("    {name}"));
        }
        Action::Dump { profile, config_path, what, output } => {
            println!("{}", dump(profile.as_deref(), config_path.as_deref(), what, *output)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn dump(profile: Option<&str>, path: Option<&str>, what: &What, output: Output) -> anyhow::Result<String> {
    let operator = if what.files.is_empty() && what.sets.is_empty() {
        Operator::profile(profile.unwrap_or("default"))?
    } else {
        let mut what = what.clone();
        what.sets.extend(profile.map(|profile| format!("profile={profile}")));
        what.operator()?
    };
    let mut shown = match path {
        None => operator.document(),
        Some(path) => {
            let path = path.strip_prefix("spec.").unwrap_or(path);
            let found = values::part(operator.spec(), path);
            found.cloned().with_context(|| format!("the profile has nothing at {path:?}"))?
        }
    };
    values::without_nulls(&mut shown);
    Ok(match output {
        Output::Yaml => meltemi_config::yaml::write(&shown).trim_end().to_owned(),
        Output::Json => serde_json::to_string_pretty(&shown)?,
        Output::Flags => flags(&shown, path.unwrap_or_default()).join("\n"),
    })
}

fn flags(value: &Value, prefix: &str) -> Vec<String> {
    let below = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
    match value {
        Value::Object(entries) => entries.iter().flat_map(|(key, value)| flags(value, &below(key))).collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(index, item)| flags(item, &format!("{prefix}[{index}]")))
            .collect(),
        Value::String(text) => vec![format!("{prefix}={text:?}")],
        other => vec![format!("{prefix}={other}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_as_istioctl_did() {
        let dumped = |profile, path| dump(profile, path, &What::default(), Output::Yaml).expect("a dump");
        assert_eq!(
            dumped(None, Some("components.ingressGateways")),
            "- enabled: true\n  name: istio-ingressgateway"
        );
        assert_eq!(dumped(None, Some("values.gateways.istio-ingressgateway")), "{}");
        let demo = dumped(Some("demo"), None);
        assert!(demo.starts_with("apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n  components:\n    base:\n      enabled: true\n    egressGateways:\n"), "{demo}");
        assert!(demo.ends_with("  profile: demo"), "{demo}");
        assert!(dump(None, Some("no.such"), &What::default(), Output::Yaml).is_err());
    }

    #[test]
    fn flags_can_be_set_again() {
        let lines =
            dump(Some("demo"), Some("components.pilot"), &What::default(), Output::Flags).expect("a dump");
        assert_eq!(lines, "components.pilot.enabled=true");
    }
}
