//! Which proxy the cluster's sidecars and gateways run, and where Envoy is on this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use meltemi_node::images::Image;

/// Where `make envoy` puts it, in the tree or beside the binary.
const TOOL: &str = ".tools/envoy/envoy";
/// What of the host every container sees anyway.
const SHARED: [&str; 4] = ["/usr", "/bin", "/sbin", "/opt"];
/// The exception: every container has its own.
const OWN: &str = "/usr/local/bin";

/// What carries the traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DataPlane {
    /// Our engine.
    #[default]
    Meltemi,
    /// Envoy itself.
    Envoy,
}

impl DataPlane {
    /// As users write it, also in the pod annotation `meltemi.io/data-plane`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meltemi => "meltemi",
            Self::Envoy => "envoy",
        }
    }
}

/// What the proxies of a cluster run, unless a pod's annotation says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    plane: DataPlane,
    envoy: Option<PathBuf>,
}

impl Proxies {
    /// The plane wished for, with the Envoy given or found on this machine. Pods may ask for Envoy also where it is
    /// not the default, so it is looked for in any case.
    ///
    /// # Errors
    /// When Envoy is wished for and is not there.
    pub fn new(plane: DataPlane, envoy: Option<&Path>) -> anyhow::Result<Self> {
        let named = std::env::var_os("MELTEMI_ENVOY").filter(|value| !value.is_empty()).map(PathBuf::from);
        let envoy = match envoy.map(Path::to_owned).or(named) {
            Some(path) => Some(
                path.canonicalize()
                    .with_context(|| format!("no Envoy at {} (--envoy or MELTEMI_ENVOY)", path.display()))?,
            ),
            None => candidates().into_iter().find(|path| path.is_file()),
        };
        anyhow::ensure!(
            plane == DataPlane::Meltemi || envoy.is_some(),
            "--data-plane envoy: no Envoy on this machine; `make envoy` brings it into .tools/envoy, or give its path with --envoy or MELTEMI_ENVOY"
        );
        Ok(Self { plane, envoy })
    }

    /// The arguments of `up` that mean the same, wherever they are read.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![format!("--data-plane={}", self.plane.name())];
        arguments.extend(self.envoy.iter().map(|path| format!("--envoy={}", path.display())));
        arguments
    }

    /// Lets a proxy's image know.
    pub fn equip(&self, image: Image) -> Image {
        let mut env = image.env;
        env.extend(self.environment());
        let hidden = |path: &&PathBuf| {
            path.starts_with(OWN) || !SHARED.iter().any(|directory| path.starts_with(directory))
        };
        let mut host_paths = image.host_paths;
        host_paths.extend(self.envoy.iter().filter(hidden).cloned());
        Image { env, host_paths, ..image }
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let mut env = BTreeMap::from([("MELTEMI_DATA_PLANE".to_owned(), self.plane.name().to_owned())]);
        if let Some(path) = &self.envoy {
            env.insert("MELTEMI_ENVOY".into(), path.display().to_string());
        }
        env
    }
}

/// Places where Envoy may be: above the working directory, above the binary, on the path.
fn candidates() -> Vec<PathBuf> {
    let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    let above = starts.iter().flatten().flat_map(|start| start.ancestors()).map(|dir| dir.join(TOOL));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("envoy")).collect::<Vec<_>>();
    above.chain(on_path).filter_map(|path| path.canonicalize().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_see_envoy_once() {
        let at = |path: &str| Proxies { plane: DataPlane::Envoy, envoy: Some(path.into()) };
        for (path, bound) in [("/home/me/envoy", 1), ("/usr/local/bin/envoy", 1), ("/usr/bin/envoy", 0)] {
            let image = at(path).equip(Image::default());
            assert_eq!(image.host_paths.len(), bound, "{path}");
            assert_eq!(image.env["MELTEMI_ENVOY"], path);
            assert_eq!(image.env["MELTEMI_DATA_PLANE"], "envoy");
        }
        assert_eq!(at("/x/envoy").arguments(), ["--data-plane=envoy", "--envoy=/x/envoy"]);
    }

    #[test]
    fn a_wrong_path_is_named() {
        let error = Proxies::new(DataPlane::Envoy, Some(Path::new("/no/envoy"))).unwrap_err();
        assert!(error.to_string().contains("/no/envoy"), "{error}");
    }
}
