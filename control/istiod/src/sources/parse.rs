//! From what the API server stores to typed objects.

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::DynamicObject;
use meltemi_config::{AnyObject, FieldError, Kind, Severity};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What is wrong with a stored object.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which object of that name.
    pub uid: String,
    /// Which state of the object.
    pub generation: i64,
    /// Field by field.
    pub errors: Vec<FieldError>,
    /// The object cannot be used at all, so that what was there before it stays in force.
    pub refused: bool,
}

/// Reads an object of `kind`. A problem may come with the object: unknown fields are left out, the rest is used.
pub fn read(kind: Kind, mut object: DynamicObject) -> (Option<AnyObject>, Option<Problem>) {
    // Who wrote which field is half of an object's size and none of our business.
    object.metadata.managed_fields = None;
    let problem = |errors, refused| Problem {
        kind,
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        errors,
        refused,
    };
    match parse(kind, &object) {
        // It was stored while nobody validated, or by another version.
        Ok((parsed, _)) if !broken_rules(&parsed).is_empty() => {
            (None, Some(problem(broken_rules(&parsed), true)))
        }
        Ok((parsed, unknown)) if unknown.is_empty() => (Some(parsed), None),
        Ok((parsed, unknown)) => (Some(parsed), Some(problem(unknown, false))),
        Err(errors) => (None, Some(problem(errors, true))),
    }
}

fn broken_rules(object: &AnyObject) -> Vec<FieldError> {
    let found = meltemi_config::validate(object).into_iter();
    let errors = found.filter(|found| found.severity == Severity::Error);
    errors.map(|found| FieldError { path: found.path, message: found.message, hint: found.cure }).collect()
}

fn parse(kind: Kind, object: &DynamicObject) -> Result<(AnyObject, Vec<FieldError>), Vec<FieldError>> {
    let fault =
        |error: serde_json::Error| vec![FieldError::new(meltemi_config::Path::root(), error.to_string())];
    let mut value = serde_json::to_value(object).map_err(fault)?;
    // Items of a list do not carry their type.
    value["apiVersion"] = kind.api_version().into();
    value["kind"] = kind.name().into();
    let known = |object: AnyObject| (object, Vec::new());
    match kind {
        Kind::Service => typed::<Service>(value).map(known),
        Kind::EndpointSlice => typed::<EndpointSlice>(value).map(known),
        Kind::Pod => typed::<Pod>(value).map(known),
        Kind::Namespace => typed::<Namespace>(value).map(known),
        Kind::Node => typed::<Node>(value).map(known),
        Kind::Secret => typed::<Secret>(value).map(known),
        _ => meltemi_config::parse_lenient(&value),
    }
}

/// Kubernetes has checked its own kinds, and fields that are new to us are none of our business.
fn typed<T: DeserializeOwned>(value: Value) -> Result<AnyObject, Vec<FieldError>>
where
    AnyObject: From<T>,
{
    let typed: Result<T, _> = serde_json::from_value(value);
    typed
        .map(AnyObject::from)
        .map_err(|error| vec![FieldError::new(meltemi_config::Path::root(), error.to_string())])
}
