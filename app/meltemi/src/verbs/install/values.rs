//! Values: deep merge, and the paths of `--set` and `--config-path`.

use serde_json::{Map, Value};

/// Helm's merge: maps are merged, everything else is replaced, and `null` takes a value away.
pub fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                if value.is_null() {
                    base.remove(&key);
                } else {
                    merge(base.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (base, over) => *base = over,
    }
}

/// A path or an assignment that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--set {text}: {message}")]
pub struct SetError {
    text: String,
    message: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Longest list that `--set a[N]` may make.
const MAX_INDEX: usize = 1000;

/// Splits `a.b\.c[0].d`.
fn steps(path: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut key = String::new();
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => key.extend(characters.next()),
            '.' => push_key(&mut steps, &mut key),
            '[' => {
                push_key(&mut steps, &mut key);
                let index: String = characters.by_ref().take_while(|c| *c != ']').collect();
                let index = index.parse().ok().filter(|index| *index < MAX_INDEX);
                steps.push(Step::Index(index.ok_or("a list position is not a number below 1000")?));
            }
            other => key.push(other),
        }
    }
    push_key(&mut steps, &mut key);
    if steps.is_empty() { Err("the path is empty".to_owned()) } else { Ok(steps) }
}

fn push_key(steps: &mut Vec<Step>, key: &mut String) {
    if !key.is_empty() {
        steps.push(Step::Key(std::mem::take(key)));
    }
}

/// Carries out `path=value`, as `--set` has it: `true`, `false`, `null` and whole numbers are what they look like.
///
/// # Errors
/// When there is no `=`, or the path cannot be.
pub fn set(target: &mut Value, assignment: &str) -> Result<(), SetError> {
    let error = |message: &str| SetError { text: assignment.to_owned(), message: message.to_owned() };
    let (path, value) =
        assignment.split_once('=').ok_or_else(|| error("write it as path=value, such as profile=demo"))?;
    let steps = steps(path).map_err(|message| error(&message))?;
    assign(target, &steps, typed(value)).map_err(|message| error(&message))
}

fn typed(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => Value::Null,
        _ if text.starts_with('{') && text.ends_with('}') => {
            let items = text.trim_matches(['{', '}']).split(',').filter(|item| !item.is_empty());
            Value::Array(items.map(|item| typed(item.trim())).collect())
        }
        _ if text.len() > 1 && text.starts_with('0') => Value::String(text.to_owned()),
        _ => text.parse::<i64>().map_or_else(|_| Value::String(text.to_owned()), Value::from),
    }
}

fn assign(target: &mut Value, steps: &[Step], value: Value) -> Result<(), String> {
    let Some((first, rest)) = steps.split_first() else {
        *target = value;
        return Ok(());
    };
    match first {
        Step::Key(key) => {
            if target.is_null() {
                *target = Value::Object(Map::new());
            }
            let entries = target
                .as_object_mut()
                .ok_or_else(|| format!("{key:?} stands below a value that is no map"))?;
            assign(entries.entry(key.clone()).or_insert(Value::Null), rest, value)
        }
        Step::Index(index) => {
            if target.is_null() {
                *target = Value::Array(Vec::new());
            }
            let items = target
                .as_array_mut()
                .ok_or_else(|| format!("[{index}] stands behind a value that is no list"))?;
            while items.len() <= *index {
                items.push(Value::Null);
            }
            match items.get_mut(*index) {
                Some(item) => assign(item, rest, value),
                None => Ok(()),
            }
        }
    }
}

/// The part of a value that a path names, for `profile dump --config-path`.
pub fn part<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let steps = steps(path).ok()?;
    steps.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    })
}

/// Takes out entries that are null or empty maps, as users expect of a dump.
pub fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|_, value| !value.is_null());
            entries.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn assignments_build_what_is_missing() {
        let mut value = json!({"values": {"global": {"hub": "a"}}});
        for assignment in [
            "profile=demo",
            "values.global.hub=docker.io/istio",
            "components.egressGateways[1].enabled=true",
            "values.pilot.env.PILOT_X=1",
            "values.pilot.podAnnotations.a\\.b/c=x",
            "meshConfig.trustDomainAliases={a,b}",
            "tag=007",
        ] {
            set(&mut value, assignment).expect("valid");
        }
        assert_eq!(
            value,
            json!({
                "profile": "demo", "tag": "007",
                "values": {
                    "global": {"hub": "docker.io/istio"},
                    "pilot": {"env": {"PILOT_X": 1}, "podAnnotations": {"a.b/c": "x"}},
                },
                "components": {"egressGateways": [null, {"enabled": true}]},
                "meshConfig": {"trustDomainAliases": ["a", "b"]},
            })
        );
    }

    #[test]
    fn bad_assignments_are_named() {
        let mut value = json!({"a": "text"});
        for (assignment, part) in
            [("profile", "path=value"), ("=x", "empty"), ("a.b=1", "no map"), ("a[x]=1", "position")]
        {
            let error = set(&mut value, assignment).expect_err(assignment).to_string();
            assert!(error.contains(part) && error.contains(assignment), "{error}");
        }
    }

    #[test]
    fn merge_and_part() {
        let mut base = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        merge(&mut base, json!({"a": {"b": 3, "c": null}, "d": [9]}));
        assert_eq!(base, json!({"a": {"b": 3}, "d": [9]}));
        assert_eq!(part(&base, "a.b"), Some(&json!(3)));
        assert_eq!(part(&base, "d[0]"), Some(&json!(9)));
        assert_eq!(part(&base, "a.x"), None);
    }
}
