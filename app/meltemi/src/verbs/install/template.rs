//! Renders a Helm chart: Go templates over gtmpl-ng, with the functions of Helm that our charts use.

mod convert;
mod functions;

use std::cell::RefCell;

use gtmpl_ng::{Context, Limits, Template};
use serde_json::Value;

/// A chart, as it stands in `manifests/charts`.
#[derive(Debug, Clone, Copy)]
pub struct Chart {
    /// As in `Chart.yaml`.
    pub name: &'static str,
    /// `values.yaml`: what every value is unless someone says otherwise.
    pub values: &'static str,
    /// `templates/_*.tpl`: definitions that the others include.
    pub helpers: &'static [&'static str],
    /// `templates/*.yaml` with their names, in the order of application.
    pub templates: &'static [(&'static str, &'static str)],
}

/// Why a chart does not render.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The template itself fails: a missing value, a wrong argument, `fail`.
    #[error("chart {chart}, template {template}: {message}")]
    Template {
        /// The chart.
        chart: &'static str,
        /// The template file.
        template: &'static str,
        /// What the engine says.
        message: String,
    },
    /// What the template wrote is no YAML.
    #[error(
        "chart {chart}, template {template} wrote no valid YAML: {message}; check the values that it uses"
    )]
    Yaml {
        /// The chart.
        chart: &'static str,
        /// The template file.
        template: &'static str,
        /// What the parser says.
        message: String,
    },
}

/// What a template finds under `.Release`.
#[derive(Debug, Clone)]
pub struct Release<'a> {
    /// Name of the release.
    pub name: &'a str,
    /// Namespace of the release.
    pub namespace: &'a str,
}

thread_local! {
    /// Functions of the engine are bare pointers, so what `include` and `tpl` need is handed to them here.
    static HELPERS: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

impl Chart {
    /// The objects of the chart, in the order of application.
    ///
    /// # Errors
    /// When a template fails or writes no YAML; the error names it.
    pub fn render(&self, release: &Release<'_>, values: &Value) -> Result<Vec<Value>, RenderError> {
        let root = serde_json::json!({
            "Values": values,
            "Release": {"Name": release.name, "Namespace": release.namespace, "Service": "Helm"},
            "Chart": {"Name": self.name, "Version": meltemi_proto::version::ISTIO_COMPAT},
        });
        let context = convert::from_json(&root);
        let _helpers = Helpers::enter(self.helpers);
        let mut objects = Vec::new();
        for (name, text) in self.templates {
            let template = |message| RenderError::Template { chart: self.name, template: name, message };
            let rendered = render_text(text, context.clone()).map_err(template)?;
            let yaml = |message| RenderError::Yaml { chart: self.name, template: name, message };
            objects.extend(documents(&rendered).map_err(yaml)?);
        }
        Ok(objects)
    }
}

/// Puts the helpers back even when a template fails.
struct Helpers(Vec<&'static str>);

impl Helpers {
    fn enter(helpers: &[&'static str]) -> Self {
        Self(HELPERS.replace(helpers.to_vec()))
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        HELPERS.set(std::mem::take(&mut self.0));
    }
}

/// Charts are ours and bounded; Envoy-sized lists of ports still fit.
const OUTPUT_BYTES: usize = 4 << 20;

fn render_text(text: &str, dot: gtmpl_ng::Value) -> Result<String, String> {
    let mut template = Template::with_limits(Limits::default().with_output_bytes(OUTPUT_BYTES));
    template.add_funcs(functions::TABLE);
    let helpers = HELPERS.with_borrow(Clone::clone);
    for (position, helper) in helpers.iter().enumerate() {
        template.add_template(format!("_helper{position}"), *helper).map_err(|error| error.to_string())?;
    }
    template.parse(text).map_err(|error| error.to_string())?;
    template.render(&Context::from(dot)).map_err(|error| error.to_string())
}

/// Calls a definition of the helpers.
fn include(name: &str, dot: gtmpl_ng::Value) -> Result<String, String> {
    render_text(&format!("{{{{ template {name:?} . }}}}"), dot)
}

/// All documents of a YAML text that are not empty.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    let read = meltemi_config::yaml::read("output", text).map_err(|error| error.to_string())?;
    Ok(read.documents.into_iter().map(|document| document.value).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(text: &str, values: &Value) -> String {
        let _helpers = Helpers::enter(&["{{- define \"greet\" -}}hello {{ .name }}{{- end -}}"]);
        render_text(text, convert::from_json(&json!({"Values": values}))).expect("renders")
    }

    #[test]
    fn helm_idioms_work() {
        let values = json!({
            "a": {"b": 1, "c": [true, "x"]}, "name": "Ann", "empty": {}, "port": 15012, "text": "yes", "n": null,
        });
        for (template, expected) in [
            ("{{ toYaml .Values.a | nindent 2 }}", "\n  b: 1\n  c:\n  - true\n  - x"),
            ("{{ .Values.missing | default \"d\" }}", "d"),
            ("{{ .Values.empty | default \"d\" }}", "d"),
            ("{{ .Values.name | default \"d\" | quote }}", "\"Ann\""),
            ("{{ .Values.port | quote }}", "\"15012\""),
            ("{{ toYaml .Values.text }}", "'yes'"),
            ("{{ include \"greet\" (dict \"name\" \"you\") | upper }}", "HELLO YOU"),
            ("{{ with .Values.missing }}x{{ else }}y{{ end }}", "y"),
            ("{{ if not .Values.empty }}e{{ end }}", "e"),
            ("{{ range $k, $v := .Values.a }}{{ $k }};{{ end }}", "b;c;"),
            ("{{ toJson .Values.a }}", "{\"b\":1,\"c\":[true,\"x\"]}"),
            ("{{ if eq .Values.name \"Ann\" }}1{{ end }}", "1"),
            ("{{ ternary \"a\" \"b\" (eq 1 1) }}", "a"),
            ("{{ .Values.name | trimPrefix \"A\" }}", "nn"),
            ("{{ hasKey .Values.a \"b\" }}", "true"),
            ("{{ tpl \"{{ .Values.name }}\" . }}", "Ann"),
        ] {
            assert_eq!(render(template, &values), expected, "{template}");
        }
    }

    #[test]
    fn errors_name_the_cause() {
        let fails = |text| render_text(text, convert::from_json(&json!({}))).expect_err("must fail");
        assert!(fails("{{ required \"hub is missing\" .hub }}").contains("hub is missing"));
        assert!(fails("{{ fail \"no\" }}").contains("no"));
        assert!(fails("{{ include \"nothing\" . }}").contains("nothing"));
    }
}
