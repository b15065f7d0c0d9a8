//! What is analyzed: objects from files, laid over objects of a cluster.

use meltemi_config::parse::read;
use meltemi_config::yaml::{self, Document, Documents};
use meltemi_config::{AnyObject, Diagnostic, Kind, Path};
use serde_json::Value;

use super::files::Source;

/// Where an object comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A document of a file, both by position.
    File(usize, usize),
    /// The cluster.
    Cluster,
}

/// Something that is wrong before any analysis: a field that does not parse.
#[derive(Debug, Clone)]
pub struct Flaw {
    /// Where the document stands.
    pub origin: Origin,
    /// `Kind namespace/name`, as far as the document says.
    pub object: String,
    /// What is wrong.
    pub diagnostic: Diagnostic,
}

/// Files, the objects in them and in the cluster, and what was wrong with reading them.
#[derive(Debug, Default)]
pub struct Corpus {
    /// The files with all documents.
    pub files: Vec<Documents>,
    /// Objects, each with its origin.
    pub objects: Vec<AnyObject>,
    /// The origin of the object at the same position.
    pub origins: Vec<Origin>,
    /// What was wrong with reading.
    pub flaws: Vec<Flaw>,
    /// Documents of kinds that are none of the mesh's.
    pub foreign: usize,
}

impl Corpus {
    /// Reads a file's documents. Objects without a namespace are of `namespace`.
    ///
    /// # Errors
    /// When the text is not YAML.
    pub fn add_file(&mut self, source: &Source, namespace: &str) -> Result<(), yaml::YamlError> {
        let documents = yaml::read(&source.name, &source.text)?;
        let file = self.files.len();
        for (position, document) in documents.documents.iter().enumerate() {
            self.add_document(document, namespace, Origin::File(file, position));
        }
        self.files.push(documents);
        Ok(())
    }

    fn add_document(&mut self, document: &Document, namespace: &str, origin: Origin) {
        if is_foreign(&document.value) {
            self.foreign += 1;
            return;
        }
        self.add_value(with_namespace(&document.value, namespace), origin);
    }

    /// Reads an object. Pods inside of workloads are not looked at: what the cluster makes of them is.
    pub fn add_value(&mut self, value: Value, origin: Origin) {
        let title = title(&value);
        let flaw = |diagnostic: Diagnostic| Flaw { origin, object: title.clone(), diagnostic };
        match read(&value) {
            Ok(parsed) => {
                self.flaws.extend(parsed.unknown.into_iter().map(Diagnostic::from).map(flaw));
                let deprecated = parsed.deprecated.into_iter().map(|field| {
                    let code = meltemi_config::diagnostic::DEPRECATED;
                    let found = Diagnostic::warning(field.path, field.message).code(code);
                    Diagnostic { cure: field.hint, ..found }
                });
                self.flaws.extend(deprecated.map(flaw));
                self.objects.push(parsed.object);
                self.origins.push(origin);
            }
            Err(errors) => self.flaws.extend(errors.into_iter().map(Diagnostic::from).map(flaw)),
        }
    }

    /// Takes out objects of the cluster that a file replaces.
    pub fn prefer_files(&mut self) {
        let of_files: Vec<(Kind, String, String)> = self
            .objects
            .iter()
            .zip(&self.origins)
            .filter(|(_, origin)| matches!(origin, Origin::File(..)))
            .map(|(object, _)| (object.kind(), object.namespace().to_owned(), object.name().to_owned()))
            .collect();
        let kept: Vec<bool> = self
            .objects
            .iter()
            .zip(&self.origins)
            .map(|(object, origin)| {
                let same = |(kind, namespace, name): &(Kind, String, String)| {
                    *kind == object.kind() && namespace == object.namespace() && name == object.name()
                };
                matches!(origin, Origin::File(..)) || !of_files.iter().any(same)
            })
            .collect();
        let mut keep = kept.iter();
        self.objects.retain(|_| keep.next().copied().unwrap_or(true));
        let mut keep = kept.iter();
        self.origins.retain(|_| keep.next().copied().unwrap_or(true));
    }

    /// The file and document of an origin.
    pub fn document(&self, origin: Origin) -> Option<(&Documents, &Document)> {
        let Origin::File(file, document) = origin else { return None };
        let file = self.files.get(file)?;
        Some((file, file.documents.get(document)?))
    }

    /// `file:line` of a finding; empty for objects of the cluster.
    pub fn reference(&self, origin: Origin, diagnostic: &Diagnostic) -> String {
        match self.document(origin) {
            Some((file, document)) => format!("{}:{}", file.file, file.place(document, diagnostic).line),
            None => String::new(),
        }
    }
}

/// Whether a document is of a kind that the mesh does not know and need not.
fn is_foreign(value: &Value) -> bool {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    !api_version.is_empty()
        && !kind.is_empty()
        && !group.ends_with(".istio.io")
        && Kind::of(api_version, kind).is_none()
        || group == "install.istio.io"
}

fn with_namespace(value: &Value, namespace: &str) -> Value {
    let mut value = value.clone();
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    let cluster_scoped = matches!(kind, "Namespace" | "Node");
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut)
        && !cluster_scoped
        && !meta.contains_key("namespace")
    {
        meta.insert("namespace".to_owned(), Value::String(namespace.to_owned()));
    }
    value
}

fn title(value: &Value) -> String {
    let text =
        |path: Path| value.pointer(&path.pointer()).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name) = (text(Path::parse("kind")), text(Path::parse("metadata.name")));
    let namespace = text(Path::parse("metadata.namespace"));
    if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") }
}
