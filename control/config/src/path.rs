//! Where in an object something stands: as users read it (`spec.http[0].match`) and as a JSON pointer.

use std::fmt;

/// One step from an object to its part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A field or a key of a map.
    Key(String),
    /// A position in a list, from 0.
    Index(usize),
}

/// A place in an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    steps: Vec<Step>,
}

impl Path {
    /// The whole object.
    pub fn root() -> Self {
        Self::default()
    }

    /// A place from steps as users write them: `spec.http[0].route`. Keys with dots are not written so.
    pub fn parse(text: &str) -> Self {
        let mut steps = Vec::new();
        for part in text.split('.').filter(|part| !part.is_empty()) {
            let mut rest = part;
            if let Some(open) = part.find('[') {
                if open > 0 {
                    steps.push(Step::Key(part[..open].to_owned()));
                }
                rest = &part[open..];
                for index in rest.split('[').skip(1) {
                    if let Ok(index) = index.trim_end_matches(']').parse() {
                        steps.push(Step::Index(index));
                    }
                }
            } else {
                steps.push(Step::Key(rest.to_owned()));
            }
        }
        Self { steps }
    }

    /// This place's field or map entry.
    pub fn key(&self, key: impl Into<String>) -> Self {
        self.with(Step::Key(key.into()))
    }

    /// This place's list element.
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = Vec::with_capacity(self.steps.len() + 1);
        steps.extend_from_slice(&self.steps);
        steps.push(step);
        Self { steps }
    }

    /// Goes one step down in place.
    pub fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Goes one step up in place.
    pub fn pop(&mut self) {
        self.steps.pop();
    }

    /// The steps from the object to this place.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// RFC 6901.
    pub fn pointer(&self) -> String {
        let mut out = String::new();
        for step in &self.steps {
            out.push('/');
            match step {
                Step::Key(key) => out.push_str(&key.replace('~', "~0").replace('/', "~1")),
                Step::Index(index) => out.push_str(&index.to_string()),
            }
        }
        out
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.steps.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if key.contains(['.', '/', '[', ' ']) || key.is_empty() => {
                    write!(f, "[{key:?}]")?
                }
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_for_users_and_as_a_pointer() {
        let path = Path::root().key("spec").key("http").index(0).key("match").index(1).key("urii");
        assert_eq!(path.to_string(), "spec.http[0].match[1].urii");
        assert_eq!(path.pointer(), "/spec/http/0/match/1/urii");
        assert_eq!(Path::parse("spec.http[0].match[1].urii"), path);
        let label = Path::root().key("metadata").key("labels").key("a.b/c");
        assert_eq!(label.to_string(), "metadata.labels[\"a.b/c\"]");
        assert_eq!(label.pointer(), "/metadata/labels/a.b~1c");
    }
}
