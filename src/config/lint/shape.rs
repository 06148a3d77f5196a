//! What a schema asks for: to look at, and in words.

use serde_json::{Map, Value as Json};

use super::super::tree::Value;
use super::super::written::format;

pub(in crate::config) fn alternatives(schema: &Json) -> Option<&[Json]> {
    let choices = schema.get("oneOf").or_else(|| schema.get("anyOf"))?;
    choices.as_array().map(Vec::as_slice)
}

pub(in crate::config) fn words(schema: &Json) -> Option<Vec<&Json>> {
    if let Some(constant) = constant(schema) {
        return Some(vec![constant]);
    }
    Some(schema.get("enum")?.as_array()?.iter().collect())
}

pub(in crate::config) fn constant(schema: &Json) -> Option<&Json> {
    schema.get("const")
}

pub(in crate::config) fn tag(schema: &Json) -> Option<&Json> {
    schema.get("properties")?.get("type")?.get("const")
}

pub(in crate::config) fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(one)) => vec![one.as_str()],
        Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

pub(in crate::config) fn accepts(schema: &Json, value: &Value) -> bool {
    let needed: &[&str] = match value {
        Value::Null => &["null"],
        Value::Bool(_) => &["boolean"],
        Value::Integer(_) => &["integer", "number"],
        Value::Float(_) => &["number"],
        Value::Text(_) => &["string"],
        Value::Loose(_) | Value::Expanded { .. } => &["string", "integer", "boolean"],
        Value::List(_) => &["array"],
        Value::Map(_) => &["object"],
    };
    let types = types(schema);
    let worded = alternatives(schema).is_some() || words(schema).is_some();
    types.iter().any(|name| needed.contains(name)) || (worded && needed.contains(&"string"))
}

/// What a schema asks for, in words.
pub(in crate::config) fn expected(schema: &Json) -> String {
    if let Some(choices) = alternatives(schema) {
        let each: Vec<String> = choices.iter().map(expected).collect();
        return each.join(" or ");
    }
    if let Some(words) = words(schema) {
        return one_of(&words);
    }
    let each: Vec<String> = types(schema).into_iter().map(|name| in_words(name, schema)).collect();
    each.join(" or ")
}

fn in_words(name: &str, schema: &Json) -> String {
    let bound = |name: &str| schema.get(name).and_then(Json::as_i64);
    match (name, schema.get("format").and_then(Json::as_str)) {
        ("string", Some(format::LAPSE)) => "a duration such as 5m or 90s, at most a year".into(),
        ("string", Some(format::SOCKET)) => "an address and port such as 0.0.0.0:8080".into(),
        ("string", Some(format::WEB)) => "an http or https address with a host".into(),
        ("string", Some(format::UPSTREAM)) => {
            "an http or https address with a host, or unix:/path.sock".into()
        }
        ("string", Some(format::NETWORK)) => "an address or a CIDR such as 10.0.0.0/8".into(),
        ("string", _) => "text".into(),
        ("boolean", _) => "true or false".into(),
        ("integer", _) => match (bound("minimum"), bound("maximum")) {
            (Some(least), Some(most)) if least == most => least.to_string(),
            (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
            (Some(least), None) => format!("a whole number from {least} on"),
            _ => "a whole number".into(),
        },
        ("array", _) => "a list".into(),
        ("object", _) => "a mapping".into(),
        ("null", _) => "null".into(),
        (other, _) => other.into(),
    }
}

pub(in crate::config) fn one_of(words: &[&Json]) -> String {
    let each: Vec<String> = words
        .iter()
        .map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned))
        .collect();
    match each.as_slice() {
        [only] => only.clone(),
        many => format!("one of {}", many.join(", ")),
    }
}

/// Something of the right kind and no meaning, for what is needed and not there.
pub(in crate::config) fn stand_in(schema: &Json) -> Option<Json> {
    if let Some(words) = words(schema) {
        return words.first().map(|word| (*word).clone());
    }
    if let Some(choices) = alternatives(schema) {
        return choices.iter().find_map(stand_in);
    }
    match types(schema).first() {
        Some(&"string") => Some(Json::from("")),
        Some(&"array") => Some(Json::Array(Vec::new())),
        Some(&"object") if schema.get("required").is_none() => Some(Json::Object(Map::new())),
        _ => None,
    }
}
