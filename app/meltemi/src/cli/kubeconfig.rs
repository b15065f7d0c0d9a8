//! The kubeconfig that the flags, `KUBECONFIG` (one file or several) or the home directory name.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use kube::config::Kubeconfig;

const CURE: &str = "name another with --kubeconfig, or start a local cluster with `meltemi up`";

/// Reads it; `None` when nobody names one and the home directory has none, as in a pod.
///
/// # Errors
/// When a file cannot be read, or none of those that `KUBECONFIG` names is there.
pub fn read(flag: Option<&Path>) -> anyhow::Result<Option<Kubeconfig>> {
    match flag {
        Some(path) => one(path).map(Some),
        None => {
            let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
            let files: Vec<PathBuf> =
                std::env::split_paths(&listed).filter(|p| !p.as_os_str().is_empty()).collect();
            if !files.is_empty() {
                return merged(&files).map(Some);
            }
            let own = std::env::home_dir().map(|home| home.join(".kube/config"));
            own.filter(|path| path.exists()).map(|path| one(&path)).transpose()
        }
    }
}

fn one(path: &Path) -> anyhow::Result<Kubeconfig> {
    Kubeconfig::read_from(path).with_context(|| format!("cannot read kubeconfig {}; {CURE}", path.display()))
}

/// Of what several files say, the first wins; files that are not there are left out, as kubectl does.
fn merged(files: &[PathBuf]) -> anyhow::Result<Kubeconfig> {
    let mut found = files.iter().filter(|path| path.exists()).map(|path| one(path)).peekable();
    if found.peek().is_none() {
        let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        bail!("cannot read kubeconfig {}: no such file; {CURE}", names.join(", "));
    }
    found.try_fold(Kubeconfig::default(), |all, next| Ok(all.merge(next?)?))
}

/// The namespace of a context, or of the current one.
pub fn namespace(config: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let wanted = context.or(config.current_context.as_deref())?;
    let found = config.contexts.iter().find(|context| context.name == wanted)?;
    found.context.as_ref()?.namespace.clone().filter(|namespace| !namespace.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_files_the_first_wins() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, namespace: &str, current: &str| {
            let path = dir.path().join(name);
            let text = format!(
                "apiVersion: v1\nkind: Config\n{current}contexts:\n- name: {name}\n  context: {{cluster: {name}, namespace: {namespace}}}\n- name: both\n  context: {{cluster: c, namespace: of-{name}}}\n"
            );
            std::fs::write(&path, text).unwrap();
            path
        };
        let (a, b) = (file("a", "first", ""), file("b", "second", "current-context: b\n"));
        let config = merged(&[dir.path().join("none"), a, b]).unwrap();
        assert_eq!(namespace(&config, None).as_deref(), Some("second"));
        assert_eq!(namespace(&config, Some("a")).as_deref(), Some("first"));
        assert_eq!(namespace(&config, Some("both")).as_deref(), Some("of-a"));
        assert_eq!(namespace(&config, Some("c")), None);
        let error = merged(&[dir.path().join("none")]).unwrap_err().to_string();
        assert!(error.contains("/none") && error.contains("meltemi up"), "{error}");
    }
}
