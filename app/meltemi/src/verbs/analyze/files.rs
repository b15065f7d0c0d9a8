//! YAML files that users name: files, directories, standard input.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// A file's name and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As the user named it.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// Deepest directory that is followed.
const MAX_DEPTH: usize = 16;

/// The texts of all files; a directory stands for the YAML and JSON files in it, and below it when `recursive`.
///
/// # Errors
/// When a path cannot be read.
pub fn read(paths: &[PathBuf], recursive: bool) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let text = std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?;
            sources.push(Source { name: "-".to_owned(), text });
        } else if path.is_dir() {
            directory(path, if recursive { MAX_DEPTH } else { 1 }, &mut sources)?;
        } else {
            sources.push(file(path)?);
        }
    }
    Ok(sources)
}

fn directory(path: &Path, depth: usize, sources: &mut Vec<Source>) -> anyhow::Result<()> {
    if depth == 0 {
        return Ok(());
    }
    let entries = fs::read_dir(path).with_context(|| format!("cannot read directory {}", path.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if path.is_dir() {
            directory(&path, depth - 1, sources)?;
        } else if matches!(extension, "yaml" | "yml" | "json") {
            sources.push(file(&path)?);
        }
    }
    Ok(())
}

fn file(path: &Path) -> anyhow::Result<Source> {
    let name = path.display().to_string();
    let length = fs::metadata(path).with_context(|| format!("cannot read {name}"))?.len();
    if length > meltemi_config::yaml::MAX_BYTES as u64 {
        bail!("{name} has {length} bytes; at most {} are read", meltemi_config::yaml::MAX_BYTES);
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    Ok(Source { name, text })
}
