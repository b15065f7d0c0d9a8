//! Why a resource was not accepted: the field, and what is wrong with it. This is what a NACK says.

use std::fmt;

/// A field of a resource that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    field: String,
    reason: String,
}

/// The outcome of compiling a proto.
pub type Compiled<T> = Result<T, Reject>;

impl Reject {
    /// A rejection at `field` (a path such as `filter_chains[0].filters`), relative to what is being compiled.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }

    /// The same rejection seen from the message that holds the field.
    #[must_use]
    pub fn at(mut self, outer: impl fmt::Display) -> Self {
        self.field = match (self.field.is_empty(), self.field.starts_with(['[', '('])) {
            (true, _) => outer.to_string(),
            (false, true) => format!("{outer}{}", self.field),
            (false, false) => format!("{outer}.{}", self.field),
        };
        self
    }

    /// The path of the field.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            return f.write_str(&self.reason);
        }
        write!(f, "{}: {}", self.field, self.reason)
    }
}

impl std::error::Error for Reject {}

/// Adds the outer field's name to a rejection.
pub trait At<T> {
    /// Prefixes the path of a rejection with `outer`.
    fn at(self, outer: impl fmt::Display) -> Compiled<T>;
}

impl<T> At<T> for Compiled<T> {
    fn at(self, outer: impl fmt::Display) -> Compiled<T> {
        self.map_err(|reject| reject.at(outer))
    }
}

/// Compiles every item of a repeated field, naming the index of the one that fails.
pub fn each<'a, P: 'a, T>(
    field: &str,
    items: impl IntoIterator<Item = &'a P>,
    mut compile: impl FnMut(&'a P) -> Compiled<T>,
) -> Compiled<Vec<T>> {
    items.into_iter().enumerate().map(|(i, item)| compile(item).at(format_args!("{field}[{i}]"))).collect()
}

/// Rejects the first field that is set (`true`) but has no effect here: to pass over it would do something else than was asked for.
pub fn unsupported(fields: &[(bool, &str)]) -> Compiled<()> {
    match fields.iter().find(|(set, _)| *set) {
        Some((_, field)) => Err(Reject::new(*field, "is not supported")),
        None => Ok(()),
    }
}

/// A message that must be there.
pub fn required<'a, T>(field: &str, value: &'a Option<T>) -> Compiled<&'a T> {
    value.as_ref().ok_or_else(|| Reject::new(field, "is required"))
}

/// Unpacks a `typed_config`, naming the type expected.
pub fn unpack<M>(field: &str, any: &meltemi_proto::google::protobuf::Any) -> Compiled<M>
where
    M: prost::Message + prost::Name + Default,
{
    meltemi_proto::any::unpack::<M>(any).map_err(|error| Reject::new(field, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_grows_from_the_inside_out() {
        let inner: Compiled<Vec<u32>> =
            each("filters", &[1, 2], |n| if *n == 2 { Err(Reject::new("name", "is empty")) } else { Ok(*n) });
        let error = inner.at("filter_chains[0]").unwrap_err();
        assert_eq!(error.to_string(), "filter_chains[0].filters[1].name: is empty");
    }
}
