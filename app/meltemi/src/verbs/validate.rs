//! `validate`: whether files hold what the mesh would take, each mistake shown in its line.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use meltemi_config::render::{self, Style};
use meltemi_config::{Severity, validate};

use super::analyze::corpus::Corpus;
use super::analyze::files::{self, Source};
use crate::cli::Global;

/// Arguments of `validate`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  meltemi validate -f bookinfo-gateway.yaml\n  kubectl get vs -o yaml | meltemi validate -f -"
)]
pub struct Args {
    /// File or directory; `-` is standard input (repeatable).
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Validates.
///
/// # Errors
/// When a file cannot be read. What is wrong inside of files is printed, and gives exit code 1.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let style = if std::io::stderr().is_terminal() { Style::Coloured } else { Style::Plain };
    let mut valid = true;
    for source in files::read(&args.files, true)? {
        let (shown, errors) = check(&source, global.namespace(), style);
        shown.iter().for_each(|finding| eprintln!("{finding}\n"));
        if errors {
            valid = false;
        } else {
            println!("{:?} is valid", source.name);
        }
    }
    Ok(if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The findings of a file as they are shown, and whether there is an error among them.
fn check(source: &Source, namespace: &str, style: Style) -> (Vec<String>, bool) {
    let mut corpus = Corpus::default();
    if let Err(error) = corpus.add_file(source, namespace) {
        return (vec![render::yaml_error(&source.text, &error, style)], true);
    }
    let flaws = corpus.flaws.iter().map(|flaw| (flaw.origin, flaw.diagnostic.clone()));
    let broken = corpus.objects.iter().zip(&corpus.origins);
    let broken = broken.flat_map(|(object, origin)| {
        let unsupported = meltemi_config::unsupported::object(object);
        validate(object).into_iter().chain(unsupported).map(|diagnostic| (*origin, diagnostic))
    });
    let mut shown = Vec::new();
    let mut errors = false;
    let mut found: Vec<_> = flaws.chain(broken).collect();
    found.sort_by_key(|(origin, diagnostic)| {
        corpus.document(*origin).map_or(0, |(file, document)| file.place(document, diagnostic).start)
    });
    for (origin, diagnostic) in found {
        errors |= diagnostic.severity == Severity::Error;
        match corpus.document(origin) {
            Some((file, document)) => shown.push(render::finding(file, document, &diagnostic, style)),
            None => shown.push(diagnostic.to_string()),
        }
    }
    (shown, errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> (Vec<String>, bool) {
        check(&Source { name: "a.yaml".into(), text: text.into() }, "default", Style::Plain)
    }

    #[test]
    fn mistakes_are_shown_in_their_line() {
        let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: a\nspec:\n  hosts: [a]\n  http:\n  - match:\n    - urii: {exact: /}\n    timeout: 10\n    route: [{destination: {host: b}}]\n";
        let (shown, errors) = checked(text);
        assert!(errors);
        assert_eq!(shown.len(), 2, "{shown:#?}");
        assert!(
            shown[0].contains("a.yaml:9:7") && shown[0].contains("did you mean \"uri\"?"),
            "{}",
            shown[0]
        );
        assert!(shown[1].contains("a.yaml:10:5") && shown[1].contains("a duration"), "{}", shown[1]);
    }

    #[test]
    fn duplicate_keys_are_shown_in_their_line() {
        let (shown, errors) = checked("a: 1\na: 2\n");
        assert!(errors);
        assert!(shown[0].contains("a.yaml:2:1") && shown[0].contains("stands twice"), "{}", shown[0]);
    }

    #[test]
    fn the_samples_are_valid() {
        for text in crate::local::demo::BOOKINFO {
            let (shown, errors) = checked(text);
            assert!(!errors && shown.is_empty(), "{shown:#?}");
        }
    }
}
