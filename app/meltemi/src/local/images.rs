//! What the image names in users' manifests stand for: our own binary in one of its roles, or a host command.

use std::collections::BTreeMap;

use meltemi_node::images::{Image, Images};

use super::data_plane::Proxies;

/// Our own binary, as containers see it.
const BINARY: &str = "/usr/local/bin/meltemi";
/// The image of sidecars and gateways.
const PROXY: &str = "proxyv2";
/// Programs that stand in every sample container, for `kubectl exec`.
const PILOT_AGENT: &[&str] = &["pilot-agent", "istio-iptables"];

/// Images known by name, and those that the user mapped with `--image NAME=COMMAND`.
#[derive(Debug, Default)]
pub struct BuiltIn {
    mapped: BTreeMap<String, Vec<String>>,
    proxies: Proxies,
}

impl BuiltIn {
    /// The built-in images, of which the mesh's proxies run what is said here, and `NAME=COMMAND ARG…` mappings to
    /// programs of this machine.
    ///
    /// # Errors
    /// When a mapping has no `=` or no command.
    pub fn new(mappings: &[String], proxies: Proxies) -> anyhow::Result<Self> {
        let mut mapped = BTreeMap::new();
        for mapping in mappings {
            let (name, command) = mapping.split_once('=').ok_or_else(|| {
                anyhow::anyhow!(
                    "--image {mapping:?}: write NAME=COMMAND, such as redis=/usr/bin/redis-server"
                )
            })?;
            let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            anyhow::ensure!(!command.is_empty(), "--image {mapping:?}: the command is missing");
            mapped.insert(name_of(name).to_owned(), command);
        }
        Ok(Self { mapped, proxies })
    }
}

impl Images for BuiltIn {
    fn resolve(&self, image: &str) -> Option<Image> {
        let name = name_of(image);
        if let Some(command) = self.mapped.get(name) {
            return Some(Image { entrypoint: command.clone(), ..Image::default() });
        }
        match mesh_image(name) {
            Some(proxy) if name == PROXY => Some(self.proxies.equip(proxy)),
            found => found.or_else(|| sample_image(image)),
        }
    }

    fn cure(&self, image: &str) -> String {
        format!(
            "no program of this name is built in; map it to a command of this machine: meltemi up --image {}=COMMAND",
            name_of(image)
        )
    }
}

/// The mesh's own images, of any registry and tag.
fn mesh_image(name: &str) -> Option<Image> {
    let (role, applets) = match name {
        PROXY => ("pilot-agent", PILOT_AGENT),
        "pilot" => ("pilot-discovery", &["pilot-discovery"][..]),
        _ => return None,
    };
    Some(Image {
        entrypoint: vec![format!("/usr/local/bin/{role}")],
        applets: applets
            .iter()
            .chain(meltemi_samples::SHELL_APPLETS)
            .map(|name| (*name).to_owned())
            .collect(),
        ..Image::default()
    })
}

fn sample_image(image: &str) -> Option<Image> {
    let sample = meltemi_samples::lookup(image)?;
    Some(Image {
        entrypoint: vec![BINARY.into(), "sample".into(), sample.applet.into()],
        cmd: sample.args,
        env: sample.env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        applets: meltemi_samples::SHELL_APPLETS.iter().map(|name| (*name).to_owned()).collect(),
        ..Image::default()
    })
}

/// The last part of an image reference, without tag and digest.
fn name_of(image: &str) -> &str {
    let without_digest = image.split('@').next().unwrap_or(image);
    let last = without_digest.rsplit('/').next().unwrap_or(without_digest);
    last.split(':').next().unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mesh_and_the_samples_are_built_in() {
        let images = BuiltIn::default();
        for (image, entrypoint) in [
            ("docker.io/istio/proxyv2:1.30.0", "/usr/local/bin/pilot-agent"),
            ("istio/pilot", "/usr/local/bin/pilot-discovery"),
            ("docker.io/istio/examples-bookinfo-reviews-v3:1.20.3", BINARY),
        ] {
            assert_eq!(
                images.resolve(image).map(|i| i.entrypoint[0].clone()).as_deref(),
                Some(entrypoint),
                "{image}"
            );
        }
        assert!(images.resolve("nginx:1.25").is_none());
        assert!(images.cure("docker.io/library/nginx:1.25").contains("--image nginx=COMMAND"));
    }

    #[test]
    fn users_map_images_to_commands() {
        let images =
            BuiltIn::new(&["redis=/usr/bin/redis-server --port 6379".into()], Proxies::default()).unwrap();
        let image = images.resolve("docker.io/library/redis:7").unwrap();
        assert_eq!(image.entrypoint, ["/usr/bin/redis-server", "--port", "6379"]);
        assert!(
            BuiltIn::new(&["redis".into()], Proxies::default())
                .unwrap_err()
                .to_string()
                .contains("NAME=COMMAND")
        );
    }
}
