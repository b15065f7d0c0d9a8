//! ProxyConfig.

use crate::istio::ProxyConfig;
use crate::path::Path;

use super::names;
use super::report::Report;

pub(super) fn check(spec: &ProxyConfig, path: &Path, report: &mut Report) {
    if let Some(selector) = &spec.selector {
        names::labels(&selector.match_labels, &path.key("selector").key("matchLabels"), report);
    }
    if let Some(concurrency) = spec.concurrency {
        report.not_negative(&path.key("concurrency"), concurrency);
    }
    if let Some(image) = &spec.image
        && !matches!(image.image_type.as_str(), "" | "default" | "debug" | "distroless")
    {
        let message = format!("{:?} is no type of image", image.image_type);
        report.error(&path.key("image").key("imageType"), message, "write default, debug or distroless");
    }
    for name in spec.environment_variables.keys() {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(good) || name.starts_with(|c: char| c.is_ascii_digit()) {
            report.error(
                &path.key("environmentVariables").key(name),
                format!("{name:?} is no name of a variable"),
                "",
            );
        }
    }
}
