//! From an image's name to the sample that stands for it.

/// How a sample container starts: what an image's configuration would say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The applet name for [`crate::run`].
    pub applet: &'static str,
    /// What runs when the container names neither command nor arguments; empty means the applet alone.
    pub args: Vec<String>,
    /// Environment that the image brings.
    pub env: Vec<(&'static str, String)>,
}

impl Sample {
    fn of(applet: &'static str) -> Self {
        Self { applet, args: Vec::new(), env: Vec::new() }
    }

    fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }
}

/// Images by the last part of their name, and the sample each stands for.
const IMAGES: &[(&str, &str)] = &[
    ("examples-bookinfo-productpage-v1", "productpage"),
    ("examples-bookinfo-details-v1", "details"),
    ("examples-bookinfo-ratings-v1", "ratings"),
    ("examples-helloworld-v1", "helloworld"),
    ("examples-helloworld-v2", "helloworld"),
    ("httpbin", "httpbin"),
    ("go-httpbin", "httpbin"),
    ("tcp-echo-server", "tcp-echo"),
    ("curl", "sleep"),
    ("netshoot", "sleep"),
    ("sleep", "sleep"),
];

/// Finds the sample for an image reference such as `docker.io/istio/examples-bookinfo-reviews-v2:1.20.3`.
///
/// The registry and the tag do not matter: the manifests of every Istio release name the same programs.
pub fn lookup(image: &str) -> Option<Sample> {
    let (owner, name) = owner_and_name(image);
    if let Some(version) = name.strip_prefix("examples-bookinfo-reviews-") {
        return reviews(version);
    }
    let applet = IMAGES.iter().find(|(image, _)| *image == name).map(|(_, applet)| *applet)?;
    let sample = Sample::of(applet);
    match (owner, name) {
        (_, "examples-helloworld-v1") => Some(sample.env("SERVICE_VERSION", "v1")),
        (_, "examples-helloworld-v2") => Some(sample.env("SERVICE_VERSION", "v2")),
        // Python's httpbin of the books, on the port that its image serves.
        ("citizenstig", "httpbin") => Some(sample.args(&["--port", "8000"])),
        (_, "go-httpbin") => Some(sample.args(&["--port", "8080"])),
        ("curlimages", "curl") | ("nicolaka", "netshoot") | (_, "sleep") => Some(sample),
        (_, "curl" | "netshoot") => None,
        _ => Some(sample),
    }
}

/// The three reviews differ only in their environment.
fn reviews(version: &str) -> Option<Sample> {
    let sample = Sample::of("reviews").env("SERVICE_VERSION", version);
    match version {
        "v1" => Some(sample.env("ENABLE_RATINGS", "false")),
        "v2" => Some(sample.env("ENABLE_RATINGS", "true")),
        "v3" => Some(sample.env("ENABLE_RATINGS", "true").env("STAR_COLOR", "red")),
        _ => None,
    }
}

/// The last two path segments of an image reference, without tag and digest.
fn owner_and_name(image: &str) -> (&str, &str) {
    let without_digest = image.split('@').next().unwrap_or(image);
    let (path, last) = without_digest.rsplit_once('/').unwrap_or(("", without_digest));
    let name = last.split(':').next().unwrap_or(last);
    (path.rsplit('/').next().unwrap_or(path), name)
}

/// The names of all samples, for messages.
pub(crate) fn applets() -> String {
    let mut names: Vec<&str> = IMAGES.iter().map(|(_, applet)| *applet).chain(["reviews"]).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_any_registry_and_tag_are_found() {
        for (image, applet) in [
            ("docker.io/istio/examples-bookinfo-productpage-v1:1.17.0", "productpage"),
            ("registry.istio.io/release/examples-bookinfo-details-v1:1.20.3", "details"),
            ("istio/examples-bookinfo-ratings-v1", "ratings"),
            ("localhost:5000/istio/examples-bookinfo-reviews-v3:1.20.3@sha256:00", "reviews"),
            ("docker.io/mccutchen/go-httpbin:v2.15.0", "httpbin"),
            ("curlimages/curl", "sleep"),
            ("nicolaka/netshoot", "sleep"),
        ] {
            assert_eq!(lookup(image).map(|s| s.applet), Some(applet), "{image}");
        }
        let args = |image: &str| lookup(image).map(|s| s.args.join(" "));
        assert_eq!(args("citizenstig/httpbin").as_deref(), Some("--port 8000"));
        assert_eq!(args("docker.io/kennethreitz/httpbin").as_deref(), Some(""));
        assert_eq!(lookup("nginx:1.25"), None);
        assert_eq!(lookup("examples-bookinfo-reviews-v9"), None);
        assert_eq!(lookup("example.com/someone/curl"), None);
    }

    #[test]
    fn reviews_versions_differ_in_stars() {
        let colour =
            |image: &str| lookup(image).and_then(|s| s.env.into_iter().find(|(n, _)| *n == "STAR_COLOR"));
        assert_eq!(colour("examples-bookinfo-reviews-v2"), None);
        assert_eq!(colour("examples-bookinfo-reviews-v3"), Some(("STAR_COLOR", "red".into())));
    }
}
