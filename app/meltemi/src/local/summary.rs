//! What a running cluster tells its user: where its pages are, and how to reach it with kubectl.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::place::Place;

/// The answer of `up --detach -o json` and of `status -o json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Pages by name: `productpage`, `ingressgateway`.
    pub urls: BTreeMap<String, String>,
    /// The kubeconfig to set `KUBECONFIG` to.
    pub kubeconfig: PathBuf,
    /// The API server's address on this machine.
    #[serde(default)]
    pub server: String,
    /// How long the start took, in milliseconds.
    #[serde(default)]
    pub started_in_ms: u64,
}

impl Summary {
    /// Writes the summary where `status` finds it, at once or not at all.
    pub fn write(&self, place: &Place) -> anyhow::Result<()> {
        let path = place.summary();
        let draft = path.with_extension("json.new");
        std::fs::write(&draft, serde_json::to_vec_pretty(self)?)
            .and_then(|()| std::fs::rename(&draft, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads the summary of the cluster that lives there.
    pub fn read(place: &Place) -> anyhow::Result<Self> {
        let path = place.summary();
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    /// The summary for people.
    pub fn text(&self) -> String {
        let width = self.urls.keys().map(String::len).max().unwrap_or(0).max("kubeconfig".len());
        let mut text = String::new();
        for (name, url) in &self.urls {
            text.push_str(&format!("  {name:<width$}  {url}\n"));
        }
        text.push_str(&format!("  {:<width$}  {}\n", "kubeconfig", self.kubeconfig.display()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_summaries_are_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(Some(dir.path())).unwrap();
        let mut summary = Summary { kubeconfig: place.kubeconfig(), ..Summary::default() };
        summary.urls.insert("productpage".into(), "http://127.0.0.1:8080/productpage".into());
        summary.write(&place).unwrap();
        assert_eq!(Summary::read(&place).unwrap(), summary);
        assert!(summary.text().contains("productpage  http://127.0.0.1:8080/productpage"));
    }
}
