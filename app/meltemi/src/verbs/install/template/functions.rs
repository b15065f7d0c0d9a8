//! The functions of Helm and Sprig that our charts use.

use std::collections::HashMap;

use base64::Engine as _;
use gtmpl_ng::{Func, FuncError, Value};
use serde_json::Value as Json;

use super::convert;

type Answer = Result<Value, FuncError>;

/// Name and function, in alphabetical order.
pub(super) static TABLE: &[(&str, Func)] = &[
    ("b64enc", b64enc),
    ("coalesce", coalesce),
    ("contains", contains),
    ("default", default),
    ("dict", dict),
    ("empty", empty),
    ("fail", fail),
    ("fromYaml", from_yaml),
    ("hasKey", has_key),
    ("hasPrefix", has_prefix),
    ("hasSuffix", has_suffix),
    ("include", include),
    ("indent", indent),
    ("int", int),
    ("join", join),
    ("list", list),
    ("lower", lower),
    ("merge", merge),
    ("nindent", nindent),
    ("omit", omit),
    ("quote", quote),
    ("replace", replace),
    ("required", required),
    ("squote", squote),
    ("ternary", ternary),
    ("toJson", to_json),
    ("toString", to_text),
    ("toYaml", to_yaml),
    ("tpl", tpl),
    ("trim", trim),
    ("trimPrefix", trim_prefix),
    ("trimSuffix", trim_suffix),
    ("trunc", trunc),
    ("upper", upper),
];

fn failed(message: impl Into<String>) -> FuncError {
    FuncError::Generic(message.into())
}

fn argument<'a>(arguments: &'a [Value], position: usize, function: &str) -> Result<&'a Value, FuncError> {
    arguments.get(position).ok_or_else(|| FuncError::AtLeastXArgs(function.to_owned(), position + 1))
}

/// An argument as text; what is not there is the empty text.
fn text(arguments: &[Value], position: usize, function: &str) -> Result<String, FuncError> {
    Ok(match argument(arguments, position, function)? {
        Value::NoValue | Value::Nil => String::new(),
        other => other.to_string(),
    })
}

fn number(arguments: &[Value], position: usize, function: &str) -> Result<usize, FuncError> {
    text(arguments, position, function)?
        .parse()
        .map_err(|_| failed(format!("{function}: argument {} is not a whole number", position + 1)))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::NoValue | Value::Nil => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) | Value::Map(entries) => entries.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

fn default(arguments: &[Value]) -> Answer {
    let fallback = argument(arguments, 0, "default")?;
    Ok(match arguments.get(1) {
        Some(value) if !is_empty(value) => value.clone(),
        _ => fallback.clone(),
    })
}

fn coalesce(arguments: &[Value]) -> Answer {
    Ok(arguments.iter().find(|value| !is_empty(value)).cloned().unwrap_or(Value::Nil))
}

fn empty(arguments: &[Value]) -> Answer {
    Ok(Value::Bool(arguments.first().is_none_or(is_empty)))
}

fn ternary(arguments: &[Value]) -> Answer {
    let condition = !is_empty(argument(arguments, 2, "ternary")?);
    Ok(argument(arguments, usize::from(!condition), "ternary")?.clone())
}

fn required(arguments: &[Value]) -> Answer {
    let value = argument(arguments, 1, "required")?;
    if matches!(value, Value::NoValue | Value::Nil) || matches!(value, Value::String(text) if text.is_empty())
    {
        return Err(failed(text(arguments, 0, "required")?));
    }
    Ok(value.clone())
}

fn fail(arguments: &[Value]) -> Answer {
    Err(failed(text(arguments, 0, "fail")?))
}

fn include(arguments: &[Value]) -> Answer {
    let name = text(arguments, 0, "include")?;
    let dot = argument(arguments, 1, "include")?.clone();
    super::include(&name, dot).map(Value::String).map_err(failed)
}

fn tpl(arguments: &[Value]) -> Answer {
    let template = text(arguments, 0, "tpl")?;
    let dot = argument(arguments, 1, "tpl")?.clone();
    super::render_text(&template, dot).map(Value::String).map_err(failed)
}

fn to_yaml(arguments: &[Value]) -> Answer {
    let value = convert::to_json(argument(arguments, 0, "toYaml")?);
    let written = meltemi_config::yaml::write(&value);
    Ok(Value::String(written.trim_end_matches('\n').to_owned()))
}

fn to_json(arguments: &[Value]) -> Answer {
    Ok(Value::String(convert::to_json(argument(arguments, 0, "toJson")?).to_string()))
}

fn from_yaml(arguments: &[Value]) -> Answer {
    let written = text(arguments, 0, "fromYaml")?;
    let mut parsed = super::documents(&written).map_err(|error| failed(format!("fromYaml: {error}")))?;
    Ok(convert::from_json(&if parsed.is_empty() { Json::Null } else { parsed.remove(0) }))
}

fn to_text(arguments: &[Value]) -> Answer {
    text(arguments, 0, "toString").map(Value::String)
}

fn int(arguments: &[Value]) -> Answer {
    let value = text(arguments, 0, "int")?;
    Ok(value.parse::<f64>().map_or(0, |number| number as i64).into())
}

fn indent(arguments: &[Value]) -> Answer {
    let pad = " ".repeat(number(arguments, 0, "indent")?.min(200));
    let body = text(arguments, 1, "indent")?;
    let lines: Vec<String> = body.split('\n').map(|line| format!("{pad}{line}")).collect();
    Ok(Value::String(lines.join("\n")))
}

fn nindent(arguments: &[Value]) -> Answer {
    indent(arguments).map(|indented| Value::String(format!("\n{indented}")))
}

fn quote(arguments: &[Value]) -> Answer {
    let quoted = arguments
        .iter()
        .filter(|value| !matches!(value, Value::NoValue | Value::Nil))
        .map(|value| Json::String(value.to_string()).to_string());
    Ok(Value::String(quoted.collect::<Vec<_>>().join(" ")))
}

fn squote(arguments: &[Value]) -> Answer {
    Ok(Value::String(format!("'{}'", text(arguments, 0, "squote")?)))
}

fn dict(arguments: &[Value]) -> Answer {
    let mut entries = HashMap::new();
    for pair in arguments.chunks(2) {
        entries.insert(text(pair, 0, "dict")?, pair.get(1).cloned().unwrap_or(Value::Nil));
    }
    Ok(Value::Map(entries))
}

fn list(arguments: &[Value]) -> Answer {
    Ok(Value::Array(arguments.to_vec()))
}

fn entries<'a>(value: &'a Value, function: &str) -> Result<&'a HashMap<String, Value>, FuncError> {
    match value {
        Value::Object(entries) | Value::Map(entries) => Ok(entries),
        _ => Err(failed(format!("{function}: expected a map, found {value}"))),
    }
}

fn has_key(arguments: &[Value]) -> Answer {
    let map = argument(arguments, 0, "hasKey")?;
    Ok(Value::Bool(!is_empty(map) && entries(map, "hasKey")?.contains_key(&text(arguments, 1, "hasKey")?)))
}

fn omit(arguments: &[Value]) -> Answer {
    let mut kept = entries(argument(arguments, 0, "omit")?, "omit")?.clone();
    for position in 1..arguments.len() {
        kept.remove(&text(arguments, position, "omit")?);
    }
    Ok(Value::Map(kept))
}

/// Deep; what stands first wins, as in Sprig.
fn merge(arguments: &[Value]) -> Answer {
    let mut merged = Json::Null;
    for value in arguments.iter().rev() {
        super::super::values::merge(&mut merged, convert::to_json(value));
    }
    Ok(convert::from_json(&merged))
}

fn join(arguments: &[Value]) -> Answer {
    let separator = text(arguments, 0, "join")?;
    let Value::Array(items) = argument(arguments, 1, "join")? else {
        return Ok(Value::String(text(arguments, 1, "join")?));
    };
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    Ok(Value::String(items.join(&separator)))
}

fn contains(arguments: &[Value]) -> Answer {
    Ok(Value::Bool(text(arguments, 1, "contains")?.contains(&text(arguments, 0, "contains")?)))
}

fn has_prefix(arguments: &[Value]) -> Answer {
    Ok(Value::Bool(text(arguments, 1, "hasPrefix")?.starts_with(&text(arguments, 0, "hasPrefix")?)))
}

fn has_suffix(arguments: &[Value]) -> Answer {
    Ok(Value::Bool(text(arguments, 1, "hasSuffix")?.ends_with(&text(arguments, 0, "hasSuffix")?)))
}

fn trim_prefix(arguments: &[Value]) -> Answer {
    let (prefix, value) = (text(arguments, 0, "trimPrefix")?, text(arguments, 1, "trimPrefix")?);
    Ok(Value::String(value.strip_prefix(&prefix).unwrap_or(&value).to_owned()))
}

fn trim_suffix(arguments: &[Value]) -> Answer {
    let (suffix, value) = (text(arguments, 0, "trimSuffix")?, text(arguments, 1, "trimSuffix")?);
    Ok(Value::String(value.strip_suffix(&suffix).unwrap_or(&value).to_owned()))
}

fn trim(arguments: &[Value]) -> Answer {
    Ok(Value::String(text(arguments, 0, "trim")?.trim().to_owned()))
}

fn trunc(arguments: &[Value]) -> Answer {
    let length = number(arguments, 0, "trunc")?;
    Ok(Value::String(text(arguments, 1, "trunc")?.chars().take(length).collect()))
}

fn replace(arguments: &[Value]) -> Answer {
    let (from, to) = (text(arguments, 0, "replace")?, text(arguments, 1, "replace")?);
    Ok(Value::String(text(arguments, 2, "replace")?.replace(&from, &to)))
}

fn lower(arguments: &[Value]) -> Answer {
    Ok(Value::String(text(arguments, 0, "lower")?.to_lowercase()))
}

fn upper(arguments: &[Value]) -> Answer {
    Ok(Value::String(text(arguments, 0, "upper")?.to_uppercase()))
}

fn b64enc(arguments: &[Value]) -> Answer {
    let encoded = base64::engine::general_purpose::STANDARD.encode(text(arguments, 0, "b64enc")?);
    Ok(Value::String(encoded))
}
