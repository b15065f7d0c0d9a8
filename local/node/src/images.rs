//! What an image name stands for on this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a container of an image runs when the pod does not say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// The image's entry point; a pod's `command` replaces it (and `cmd`).
    pub entrypoint: Vec<String>,
    /// The default arguments; a pod's `args` replaces them.
    pub cmd: Vec<String>,
    /// The image's environment.
    pub env: BTreeMap<String, String>,
    /// The user id the image runs as; root if `None`.
    pub user: Option<u32>,
    /// The image's working directory; `/` if `None`.
    pub working_dir: Option<String>,
    /// Names put into /usr/local/bin as links to our own binary.
    pub applets: Vec<String>,
    /// Paths of the host that the container sees, read-only, beyond the system's own directories.
    pub host_paths: Vec<PathBuf>,
    /// Files the image brings, by absolute path, with their contents.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Resolves image names. The program decides which names it knows; the node knows none.
pub trait Images: Send + Sync + 'static {
    /// The image of this name (any registry and tag), or `None` if it is unknown.
    fn resolve(&self, image: &str) -> Option<Image>;

    /// What a user can do about an unknown image; ends the message of `ErrImagePull`.
    fn cure(&self, image: &str) -> String {
        let _ = image;
        "map the image to a program of this machine or use an image that is built in".into()
    }
}
