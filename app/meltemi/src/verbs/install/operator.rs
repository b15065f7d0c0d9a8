//! IstioOperator: what a user asks to be installed, from a profile, files and `--set`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use meltemi_config::mesh_config::MeshConfig;
use serde_json::{Value, json};

use super::charts::{PROFILE_VALUES, PROFILES};
use super::values;

mod check;

/// An IstioOperator whose spec is complete: profile, files and flags are merged.
#[derive(Debug, Clone, PartialEq)]
pub struct Operator {
    spec: Value,
    warnings: Vec<String>,
}

/// What was given on the command line.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// IstioOperator files, later ones over earlier ones.
    pub files: Vec<PathBuf>,
    /// `path=value`, over the files.
    pub sets: Vec<String>,
    /// `--revision`, over everything.
    pub revision: Option<String>,
}

impl Operator {
    /// Merges profile, files and flags.
    ///
    /// # Errors
    /// When a file, a profile or a flag cannot be read; the message says which and what to do.
    pub fn load(request: &Request) -> anyhow::Result<Self> {
        let mut asked = json!({});
        for file in &request.files {
            values::merge(&mut asked, read_file(file)?);
        }
        for assignment in &request.sets {
            values::set(&mut asked, assignment)?;
        }
        if let Some(revision) = &request.revision {
            asked["revision"] = json!(revision);
        }
        Self::from_spec(asked)
    }

    /// Lays a spec over its profile.
    fn from_spec(mut asked: Value) -> anyhow::Result<Self> {
        let problems = check::check(&asked);
        if !problems.is_empty() {
            bail!("the IstioOperator cannot be installed as it stands:\n  {}", problems.join("\n  "));
        }
        Self::texts(&mut asked);
        let warnings = mesh_warnings(asked.get("meshConfig"))?;
        let profile = asked.get("profile").and_then(Value::as_str).unwrap_or("default");
        let mut spec = profile_spec(profile)?;
        merge_spec(&mut spec, asked);
        spec["profile"] = json!(spec["profile"].as_str().unwrap_or("default"));
        Ok(Self { spec, warnings })
    }

    /// What the user asked for that will not be, a line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// A profile as it is.
    ///
    /// # Errors
    /// When there is no such profile.
    pub fn profile(name: &str) -> anyhow::Result<Self> {
        Ok(Self { spec: profile_spec(name)?, warnings: Vec::new() })
    }

    /// The whole document.
    pub fn document(&self) -> Value {
        json!({"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": self.spec})
    }

    /// The spec.
    pub fn spec(&self) -> &Value {
        &self.spec
    }

    /// The profile's name.
    pub fn profile_name(&self) -> &str {
        self.text("profile").unwrap_or("default")
    }

    /// The revision; empty for the default one.
    pub fn revision(&self) -> &str {
        let own = self.text("revision");
        own.or_else(|| self.spec.pointer("/values/revision").and_then(Value::as_str))
            .filter(|revision| *revision != "default")
            .unwrap_or_default()
    }

    /// Where the control plane is installed.
    pub fn namespace(&self) -> &str {
        self.text("namespace")
            .or_else(|| self.spec.pointer("/values/global/istioNamespace").and_then(Value::as_str))
            .unwrap_or("istio-system")
    }

    /// Image tag.
    pub fn tag(&self) -> &str {
        self.text("tag").unwrap_or(meltemi_proto::version::ISTIO_COMPAT)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.spec.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// `--set tag=7` makes a number of what is meant as a text.
    fn texts(spec: &mut Value) {
        for key in ["profile", "hub", "tag", "revision", "namespace"] {
            if let Some(number @ Value::Number(_)) = spec.get(key) {
                spec[key] = Value::String(number.to_string());
            }
        }
    }

    /// The user's values over the profile's, before any chart's own.
    pub fn values(&self) -> anyhow::Result<Value> {
        let mut merged = json!({});
        if let Some((_, text)) = PROFILE_VALUES.iter().find(|(name, _)| *name == self.profile_name()) {
            merged = first(text)?;
        }
        values::merge(&mut merged, self.spec.get("values").cloned().unwrap_or_else(|| json!({})));
        values::merge(&mut merged, self.spec.get("unvalidatedValues").cloned().unwrap_or_else(|| json!({})));
        let mesh = self.spec.get("meshConfig").cloned().unwrap_or_else(|| json!({}));
        values::merge(&mut merged, json!({"meshConfig": mesh}));
        for key in ["hub", "tag"] {
            if let Some(text) = self.text(key) {
                values::merge(&mut merged, json!({"global": {key: text}}));
            }
        }
        values::merge(
            &mut merged,
            json!({"revision": self.revision(), "global": {"istioNamespace": self.namespace()}}),
        );
        Ok(merged)
    }
}

fn profile_spec(name: &str) -> anyhow::Result<Value> {
    let Some((_, text)) = PROFILES.iter().find(|(known, _)| *known == name) else {
        if name.contains("ambient") {
            bail!(
                "profile {name:?} needs a node proxy (ztunnel) and its CNI plugin, which are not built yet; choose a profile with sidecars, such as demo"
            );
        }
        let known: Vec<&str> = PROFILES.iter().map(|(name, _)| *name).collect();
        bail!("there is no profile {name:?}; choose one of {}", known.join(", "));
    };
    Ok(first(text)?["spec"].take())
}

/// The document of one of our own files.
pub(super) fn first(text: &str) -> anyhow::Result<Value> {
    let documents = meltemi_config::yaml::read("built-in", text)?.documents;
    Ok(documents.into_iter().next().map(|document| document.value).unwrap_or_else(|| json!({})))
}

fn read_file(path: &Path) -> anyhow::Result<Value> {
    let text = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())?
    } else {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
    };
    let name = path.display().to_string();
    let documents = meltemi_config::yaml::read(&name, &text)?.documents;
    let mut spec = json!({});
    for document in &documents {
        let value = &document.value;
        if value.get("kind").and_then(Value::as_str) != Some("IstioOperator") {
            bail!("{name} holds a document that is no IstioOperator; give other kinds to `kubectl apply`");
        }
        values::merge(&mut spec, value.get("spec").cloned().unwrap_or_else(|| json!({})));
    }
    Ok(spec)
}

/// Unknown fields of `meshConfig`, and those that have no effect.
fn mesh_warnings(mesh: Option<&Value>) -> anyhow::Result<Vec<String>> {
    let Some(mesh) = mesh else { return Ok(Vec::new()) };
    let loaded = MeshConfig::load(&mesh.to_string()).context("spec.meshConfig")?;
    let odd = loaded.warnings.iter().map(|warning| format!("spec.meshConfig.{warning}"));
    let idle = meltemi_config::unsupported::mesh(&loaded.config);
    Ok(odd.chain(idle.iter().map(|finding| format!("spec.meshConfig.{finding}"))).collect())
}

/// Merges specs. Gateways are told apart by their names, other lists are replaced.
fn merge_spec(spec: &mut Value, mut asked: Value) {
    for list in ["ingressGateways", "egressGateways"] {
        let Some(gateways) = asked.pointer_mut(&format!("/components/{list}")).map(Value::take) else {
            continue;
        };
        let Value::Array(gateways) = gateways else { continue };
        let default_name =
            if list == "ingressGateways" { "istio-ingressgateway" } else { "istio-egressgateway" };
        let mut merged: Vec<Value> = spec
            .pointer(&format!("/components/{list}"))
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for gateway in gateways.into_iter().filter(|gateway| !gateway.is_null()) {
            let name = gateway.get("name").and_then(Value::as_str).unwrap_or(default_name).to_owned();
            match merged.iter_mut().find(|known| known["name"] == name.as_str()) {
                Some(known) => values::merge(known, gateway),
                None => {
                    let mut added = json!({"name": name});
                    values::merge(&mut added, gateway);
                    merged.push(added);
                }
            }
        }
        asked["components"][list] = Value::Array(merged);
    }
    values::merge(spec, asked);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(sets: &[&str]) -> anyhow::Result<Operator> {
        let sets = sets.iter().map(|set| (*set).to_owned()).collect();
        Operator::load(&Request { sets, ..Request::default() })
    }

    #[test]
    fn every_profile_loads() {
        for (name, _) in PROFILES {
            let operator = load(&[&format!("profile={name}")]).expect(name);
            assert_eq!(operator.profile_name(), *name);
            assert_eq!(operator.spec().pointer("/values/profile").is_some(), *name != "default");
        }
    }

    #[test]
    fn flags_lie_over_files_and_files_over_the_profile() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("op.yaml");
        let text = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n  profile: demo\n  hub: h\n  tag: t\n  components:\n    egressGateways:\n    - name: istio-egressgateway\n      enabled: false\n    - name: second\n      enabled: true\n  meshConfig: {accessLogFile: ''}\n";
        std::fs::write(&file, text).expect("written");
        let request =
            Request { files: vec![file], sets: vec!["tag=t2".into()], revision: Some("canary".into()) };
        let operator = Operator::load(&request).expect("valid");
        assert_eq!((operator.tag(), operator.revision()), ("t2", "canary"));
        let egress = &operator.spec()["components"]["egressGateways"];
        assert_eq!(egress[0], json!({"name": "istio-egressgateway", "enabled": false}));
        assert_eq!(egress[1]["name"], "second");
        let values = operator.values().expect("valid");
        assert_eq!(values["global"]["hub"], "h");
        assert_eq!(values["meshConfig"]["accessLogFile"], "");
        assert_eq!(values["pilot"]["traceSampling"], 100);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(load(&["profile=ambient"]).unwrap_err().to_string().contains("not built yet"));
        assert!(load(&["profile=dmeo"]).unwrap_err().to_string().contains("default, demo, empty"));
        assert!(load(&["porfile=demo"]).unwrap_err().to_string().contains("did you mean \"profile\"?"));
        assert!(load(&["meshConfig.rootNamespace.x=1"]).unwrap_err().to_string().contains("spec.meshConfig"));
        let warnings = load(&["meshConfig.accessLogFil=/dev/stdout"]).expect("no error").warnings().join(" ");
        assert!(warnings.contains("spec.meshConfig.accessLogFil"), "{warnings}");
        assert!(load(&["profile"]).unwrap_err().to_string().contains("path=value"));
    }
}
