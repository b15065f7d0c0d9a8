//! `analyze`: what is wrong with the objects of files and of a cluster, with Istio's codes.

mod cluster;
pub mod corpus;
pub mod files;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use meltemi_analyze::code;
use meltemi_config::mesh_config::{MeshConfig, MeshNetworks};
use meltemi_config::{Diagnostic, Kind, Severity, unsupported};
use owo_colors::{OwoColorize as _, Stream};
use serde_json::json;

use crate::cli::Global;
use crate::render::Format;
use corpus::{Corpus, Origin};

/// Arguments of `analyze`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  meltemi analyze                         The current cluster, namespace default\n  meltemi analyze -A                      All namespaces\n  meltemi analyze -k=false bookinfo.yaml  Files alone"
)]
pub struct Args {
    /// Files and directories; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// Read the cluster too.
    #[arg(short = 'k', long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub use_kube: bool,
    /// Findings of all namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// List the codes.
    #[arg(short = 'L', long)]
    pub list_analyzers: bool,
    /// Leave out findings, such as IST0102=Namespace default; `*` stands for any part (repeatable).
    #[arg(short = 'S', long, value_name = "CODE=KIND NAMESPACE/NAME")]
    pub suppress: Vec<String>,
    /// Follow directories.
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Fail from this severity on.
    #[arg(long, value_enum, default_value = "error", ignore_case = true)]
    pub failure_threshold: Level,
    /// Print from this severity on.
    #[arg(long, value_enum, default_value = "info", ignore_case = true)]
    pub output_threshold: Level,
    /// Mesh configuration; else the cluster's, else Istio's defaults.
    #[arg(long = "meshConfigFile", value_name = "FILE")]
    pub mesh_config_file: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Format,
}

/// A severity on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Works, but probably not as meant.
    Warning,
    /// Refused, or traffic is affected.
    Error,
}

impl Level {
    fn severity(self) -> Severity {
        match self {
            Self::Info => Severity::Info,
            Self::Warning => Severity::Warning,
            Self::Error => Severity::Error,
        }
    }
}

/// A finding as it is printed.
struct Line {
    diagnostic: Diagnostic,
    /// `Kind namespace/name`.
    object: String,
    namespace: String,
    /// `file:line`, or empty.
    reference: String,
}

/// Exit code when the threshold is reached, as istioctl's.
const FOUND_ISSUES: u8 = 79;

/// Analyzes.
///
/// # Errors
/// When a file or the cluster cannot be read.
pub async fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    if args.list_analyzers {
        for (code, name) in code::ALL {
            println!("{code}  {name}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut corpus = Corpus::default();
    for source in files::read(&args.files, args.recursive)? {
        corpus.add_file(&source, global.namespace())?;
    }
    let (mut mesh, mut networks) = (MeshConfig::default(), MeshNetworks::default());
    if args.use_kube {
        (mesh, networks) = cluster::read(global, &mut corpus).await?;
    }
    if let Some(file) = &args.mesh_config_file {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        mesh = MeshConfig::load(&text)
            .with_context(|| format!("{} holds no mesh configuration", file.display()))?
            .config;
    }
    corpus.prefer_files();
    let mut lines = lines(&corpus, &mesh, &networks);
    lines.retain(|line| shown(args, global, line));
    print(args, global, &lines)?;
    let worst = lines.iter().map(|line| line.diagnostic.severity).max();
    let failed = worst.is_some_and(|worst| worst >= args.failure_threshold.severity());
    Ok(if failed { ExitCode::from(FOUND_ISSUES) } else { ExitCode::SUCCESS })
}

fn lines(corpus: &Corpus, mesh: &MeshConfig, networks: &MeshNetworks) -> Vec<Line> {
    let flaws = corpus.flaws.iter().map(|flaw| Line {
        diagnostic: flaw.diagnostic.clone(),
        object: flaw.object.clone(),
        namespace: namespace_of(&flaw.object).to_owned(),
        reference: corpus.reference(flaw.origin, &flaw.diagnostic),
    });
    let found = meltemi_analyze::analyze(&corpus.objects, mesh).into_iter().map(|finding| {
        let origin = corpus.origins.get(finding.object).copied().unwrap_or(Origin::Cluster);
        let object = if finding.namespace.is_empty() {
            format!("{} {}", finding.kind, finding.name)
        } else {
            format!("{} {}/{}", finding.kind, finding.namespace, finding.name)
        };
        let namespace = if finding.kind == Kind::Namespace { finding.name } else { finding.namespace };
        Line {
            reference: corpus.reference(origin, &finding.diagnostic),
            diagnostic: finding.diagnostic,
            object,
            namespace,
        }
    });
    let of_mesh = unsupported::mesh(mesh).into_iter().map(|diagnostic| ("MeshConfig istio", diagnostic));
    let of_networks =
        unsupported::networks(networks).into_iter().map(|diagnostic| ("MeshNetworks istio", diagnostic));
    let settings = of_mesh.chain(of_networks).map(|(object, diagnostic)| Line {
        diagnostic,
        object: object.to_owned(),
        namespace: mesh.root_namespace.clone(),
        reference: String::new(),
    });
    flaws.chain(found).chain(settings).collect()
}

fn namespace_of(object: &str) -> &str {
    object.split_once(' ').and_then(|(_, name)| name.split_once('/')).map_or("", |(namespace, _)| namespace)
}

fn shown(args: &Args, global: &Global, line: &Line) -> bool {
    let wanted = args.all_namespaces || !line.reference.is_empty() || line.namespace == global.namespace();
    let loud = line.diagnostic.severity >= args.output_threshold.severity();
    let suppressed = args.suppress.iter().any(|rule| {
        let Some((code, object)) = rule.split_once('=') else { return false };
        code == line.diagnostic.code && wildcard(object, &line.object)
    });
    wanted && loud && !suppressed
}

/// `*` stands for any text.
fn wildcard(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| wildcard(after, &rest[at..]))
        }),
    }
}

fn print(args: &Args, global: &Global, lines: &[Line]) -> anyhow::Result<()> {
    let values: Vec<_> = lines
        .iter()
        .map(|line| {
            json!({
                "code": line.diagnostic.code, "level": line.diagnostic.severity, "origin": line.object,
                "reference": line.reference, "message": line.diagnostic.message,
                "field": line.diagnostic.path.to_string(), "cure": line.diagnostic.cure,
            })
        })
        .collect();
    if let Some(text) = args.output.structured(&values) {
        println!("{text}");
        return Ok(());
    }
    for line in lines {
        println!("{}", text(line));
    }
    let place = if args.all_namespaces {
        "all namespaces".to_owned()
    } else {
        format!("namespace: {}", global.namespace())
    };
    if lines.is_empty() {
        println!("\u{2714} No validation issues found when analyzing {place}.");
    } else if lines.iter().any(|line| line.diagnostic.severity >= args.failure_threshold.severity()) {
        eprintln!("Error: Analyzers found issues when analyzing {place}.");
    }
    Ok(())
}

fn text(line: &Line) -> String {
    let severity = line.diagnostic.severity.to_string();
    let severity = match line.diagnostic.severity {
        Severity::Error => severity.if_supports_color(Stream::Stdout, |s| s.red()).to_string(),
        Severity::Warning => severity.if_supports_color(Stream::Stdout, |s| s.yellow()).to_string(),
        Severity::Info => severity.if_supports_color(Stream::Stdout, |s| s.blue()).to_string(),
    };
    let reference = if line.reference.is_empty() { String::new() } else { format!(" {}", line.reference) };
    let mut text = format!(
        "{severity} [{}] ({}{reference}) {}",
        line.diagnostic.code, line.object, line.diagnostic.message
    );
    if !line.diagnostic.path.steps().is_empty() {
        text.push_str(&format!("\n    at {}", line.diagnostic.path));
    }
    if let Some(cure) = &line.diagnostic.cure {
        text.push_str(&format!("\n    cure: {cure}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_analyzed_with_their_lines() {
        let mut corpus = Corpus::default();
        let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a]\n  http:\n  - route:\n    - destination:\n        host: nowhere\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n";
        corpus
            .add_file(&files::Source { name: "a.yaml".into(), text: text.into() }, "default")
            .expect("YAML");
        assert_eq!(corpus.foreign, 1);
        let lines = lines(&corpus, &MeshConfig::default(), &MeshNetworks::default());
        let printed: Vec<String> = lines.iter().map(text_of).collect();
        assert_eq!(
            printed,
            ["Error [IST0101] (VirtualService default/a a.yaml:9) Referenced host not found: \"nowhere\""]
        );
    }

    fn text_of(line: &Line) -> String {
        text(line).lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn suppressions_match_as_istioctls() {
        assert!(wildcard("Namespace default", "Namespace default"));
        assert!(wildcard("VirtualService *", "VirtualService a/b"));
        assert!(wildcard("* a/*", "Pod a/b"));
        assert!(!wildcard("Pod a/*", "Pod b/a/"));
    }
}
