//! `k8s.overlays`: patches of single fields of a rendered object, with paths such as `spec.containers.[name:discovery].args`.

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Carries out all overlays.
///
/// # Errors
/// When an overlay has no such object, or a path leads nowhere; the message has the overlay's place.
pub fn apply(overlays: Option<&Value>, path: &str, objects: &mut [Value]) -> anyhow::Result<()> {
    let overlays = match overlays {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(overlays)) => overlays,
        Some(_) => bail!("{path}: must be a list of overlays"),
    };
    for (index, overlay) in overlays.iter().enumerate() {
        one(overlay, objects).with_context(|| format!("{path}[{index}]"))?;
    }
    Ok(())
}

fn one(overlay: &Value, objects: &mut [Value]) -> anyhow::Result<()> {
    let (kind, name) = (text(overlay, "kind")?, text(overlay, "name")?);
    let known: Vec<String> = objects.iter().map(title).collect();
    let Some(object) =
        objects.iter_mut().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    else {
        bail!("this component has no {kind}/{name}; it has {}", known.join(", "));
    };
    let patches = overlay.get("patches").and_then(Value::as_array).context("needs a list `patches`")?;
    for (index, patch) in patches.iter().enumerate() {
        let path = text(patch, "path").with_context(|| format!("patches[{index}]"))?;
        let value = patch.get("value").filter(|value| !value.is_null()).cloned();
        set(object, &steps(path), value).with_context(|| format!("patches[{index}]: path {path:?}"))?;
    }
    Ok(())
}

fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

fn text<'a>(value: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    value.get(field).and_then(Value::as_str).with_context(|| format!("needs a text `{field}`"))
}

/// A step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A key of a map.
    Key(String),
    /// `[name:discovery]`: the item of a list that has this value at this key.
    With(String, String),
    /// `[:value]`: the item of a list that is this text.
    Is(String),
    /// `[3]`; `[-1]` is the last one.
    At(i64),
}

/// Splits at dots that stand outside brackets and have no `\` before them.
fn steps(path: &str) -> Vec<Step> {
    let mut texts = vec![String::new()];
    let (mut depth, mut escaped) = (0_u32, false);
    for character in path.chars() {
        match character {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '.' if depth == 0 && !escaped => texts.push(String::new()),
            '[' if depth == 0 && texts.last().is_some_and(|text| !text.is_empty()) => {
                texts.push("[".to_owned());
                depth += 1;
            }
            other => {
                depth = if other == '[' { depth + 1 } else { depth.saturating_sub(u32::from(other == ']')) };
                if let Some(text) = texts.last_mut() {
                    text.push(other);
                }
            }
        }
        escaped = false;
    }
    texts.iter().filter(|text| !text.is_empty()).map(|text| step(text)).collect()
}

fn step(text: &str) -> Step {
    let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else {
        return Step::Key(text.to_owned());
    };
    match inner.split_once(':') {
        Some(("", value)) => Step::Is(value.to_owned()),
        Some((key, value)) => Step::With(key.to_owned(), value.to_owned()),
        None => inner.parse().map_or_else(|_| Step::Key(inner.to_owned()), Step::At),
    }
}

/// Sets a place, or takes it away where there is no value. Only the last step may be new.
fn set(at: &mut Value, steps: &[Step], value: Option<Value>) -> anyhow::Result<()> {
    let Some((step, rest)) = steps.split_first() else { bail!("is empty") };
    match (at, step) {
        (Value::Object(map), Step::Key(key)) => match (rest.is_empty(), value) {
            (true, Some(value)) => _ = map.insert(key.clone(), value),
            (true, None) => _ = map.remove(key),
            (false, value) => {
                set(map.get_mut(key).with_context(|| format!("there is no {key:?}"))?, rest, value)?;
            }
        },
        (Value::Array(items), step) => {
            let index = position(items, step).with_context(|| format!("no item is {step:?}"))?;
            match (rest.is_empty(), value) {
                (true, Some(value)) if index < items.len() => items[index] = value,
                (true, Some(value)) => items.push(value),
                (true, None) => _ = (index < items.len()).then(|| items.remove(index)),
                (false, value) => set(items.get_mut(index).context("the list ends before it")?, rest, value)?,
            }
        }
        (_, Step::Key(key)) => bail!("{key:?} is asked of what is no map"),
        (_, step) => bail!("{step:?} is asked of what is no list"),
    }
    Ok(())
}

fn position(items: &[Value], step: &Step) -> Option<usize> {
    match step {
        Step::At(-1) => items.len().checked_sub(1),
        // One past the end appends.
        Step::At(index) => usize::try_from(*index).ok().filter(|index| *index <= items.len()),
        Step::Is(text) => items.iter().position(|item| item.as_str() == Some(text)),
        Step::With(key, wanted) => items.iter().position(|item| match &item[key.as_str()] {
            Value::String(text) => text == wanted,
            Value::Number(number) => number.to_string().as_str() == wanted,
            Value::Bool(truth) => truth.to_string().as_str() == wanted,
            _ => false,
        }),
        Step::Key(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment() -> Vec<Value> {
        vec![json!({
            "kind": "Deployment",
            "metadata": {"name": "istiod"},
            "spec": {"containers": [{"name": "discovery", "args": ["a", "b"], "ports": [{"containerPort": 80}]}]},
        })]
    }

    fn overlay(path: &str, value: Value) -> anyhow::Result<Value> {
        let mut objects = deployment();
        let overlays =
            json!([{"kind": "Deployment", "name": "istiod", "patches": [{"path": path, "value": value}]}]);
        apply(Some(&overlays), "k8s.overlays", &mut objects)?;
        Ok(objects.remove(0)["spec"]["containers"][0].take())
    }

    #[test]
    fn paths_select_by_key_value_and_position() {
        let set = |path, value| overlay(path, value).expect("a place");
        assert_eq!(set("spec.containers.[name:discovery].args.[:b]", json!("c"))["args"], json!(["a", "c"]));
        assert_eq!(set("spec.containers[0].args.[-1]", json!("c"))["args"], json!(["a", "c"]));
        assert_eq!(
            set("spec.containers.[name:discovery].args.[2]", json!("c"))["args"],
            json!(["a", "b", "c"])
        );
        assert_eq!(set("spec.containers.[name:discovery].args.[0]", Value::Null)["args"], json!(["b"]));
        assert_eq!(
            set("spec.containers.[name:discovery].ports.[containerPort:80].name", json!("x"))["ports"][0]["name"],
            "x"
        );
        assert_eq!(set(r"spec.containers.[0].a\.b", json!(1))["a.b"], 1);
        assert!(set("spec.containers.[0].args", Value::Null).get("args").is_none());
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = |path| format!("{:#}", overlay(path, json!(1)).expect_err("no place"));
        assert_eq!(
            error("spec.template.x"),
            "k8s.overlays[0]: patches[0]: path \"spec.template.x\": there is no \"template\""
        );
        assert!(error("spec.containers.[name:x].y").contains("no item is With(\"name\", \"x\")"));
        let overlays = json!([{"kind": "Service", "name": "istiod", "patches": []}]);
        let error = apply(Some(&overlays), "o", &mut deployment()).expect_err("no object");
        assert_eq!(
            format!("{error:#}"),
            "o[0]: this component has no Service/istiod; it has Deployment/istiod"
        );
    }
}
