//! The JSON Schema of a configuration file, derived from the types of [`super::written`]: what the
//! lint goes by, and what editors complete and check by.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use super::lint::shape::{alternatives, tag};
use super::tree::{Node, Step, steps};
use super::written::{Written, format};

/// The schema (draft 7, the newest that editors of YAML know), without references, so that walking
/// it needs no look-ups.
pub(super) static SCHEMA: LazyLock<Json> = LazyLock::new(|| {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Written>().to_value()
});

/// The schema for editors, as it is published: `${NAME}` may stand in every value, and what a flag
/// can say may be missing.
#[must_use]
pub fn published() -> String {
    let mut schema = SCHEMA.clone();
    publish(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.shift_remove("required");
        root.insert("title".to_owned(), "Configuration of airside".into());
    }
    format!("{schema:#}\n")
}

fn publish(schema: &mut Json) {
    let Some(members) = schema.as_object_mut() else { return };
    let pattern = members.get("format").and_then(Json::as_str).and_then(pattern);
    members.shift_remove("format");
    if members.get("default").is_some_and(Json::is_null) {
        // Where a section has it, the YAML language server offers nothing that comes after it.
        members.shift_remove("default");
    }
    if let Some(pattern) = pattern {
        members.insert("pattern".to_owned(), format!("{pattern}|{VARIABLE}").into());
    }
    allow_variable(members);
    for name in ["oneOf", "anyOf"] {
        let choices = members.get_mut(name).and_then(Json::as_array_mut);
        choices.into_iter().flatten().for_each(publish);
    }
    for name in ["items", "additionalProperties"] {
        members.get_mut(name).into_iter().for_each(publish);
    }
    let properties = members.get_mut("properties").and_then(Json::as_object_mut);
    properties.into_iter().flat_map(Map::values_mut).for_each(publish);
}

/// Numbers, truth values and words may come from the environment, too.
fn allow_variable(members: &mut Map<String, Json>) {
    let is_word = |choice: &Json| choice.get("const").is_some();
    if let Some(choices) = members.get_mut("oneOf").and_then(Json::as_array_mut)
        && choices.iter().all(is_word)
    {
        choices.push(json!({ "type": "string", "pattern": VARIABLE }));
    }
    let types = match members.get("type") {
        Some(Json::String(one)) => vec![one.clone()],
        Some(Json::Array(many)) => {
            many.iter().filter_map(Json::as_str).map(str::to_owned).collect()
        }
        _ => return,
    };
    if types.iter().any(|name| matches!(name.as_str(), "integer" | "boolean")) {
        let all: Vec<_> = types.into_iter().chain(["string".to_owned()]).collect();
        members.insert("type".to_owned(), all.into());
        members.insert("pattern".to_owned(), VARIABLE.into());
    }
}

/// What the setting at `key` is for, and its default, as the schema tells it; of the nearest one
/// around it where it is none itself. `root` knows of which type an entry is.
pub(super) fn purpose(key: &str, root: &Node) -> Option<String> {
    let (mut schema, mut node) = (&*SCHEMA, Some(root));
    let (mut told, mut name) = (None, String::new());
    for step in steps(key) {
        let inner = match &step {
            Step::Key(key) => member(schema, node, key),
            Step::Index(_) => schema.get("items"),
        };
        let Some(inner) = inner else { break };
        schema = inner;
        node = node.and_then(|node| node.step(&step)).map(|(_, inner)| inner);
        if let (Step::Key(key), Some(description)) = (&step, schema.get("description")) {
            told = description.as_str();
            name.clone_from(key);
        }
    }
    let told = told?.replace('\n', " ");
    let default =
        schema.get("default").filter(|default| !default.is_null() && !default.is_object());
    let default = default.map(|default| format!(" Default: {default}."));
    Some(format!("{name}: {told}{}", default.unwrap_or_default()))
}

/// The schema of a key of a mapping, which may be one of several.
fn member<'s>(schema: &'s Json, node: Option<&Node>, key: &str) -> Option<&'s Json> {
    let within = |schema: &'s Json| {
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        schema.get("properties").and_then(|all| all.get(key)).or(others)
    };
    let Some(choices) = alternatives(schema) else { return within(schema) };
    let of_type = node.and_then(|node| node.get("type")).and_then(Node::text);
    let is_it = |choice: &&Json| of_type.is_some() && tag(choice).and_then(Json::as_str) == of_type;
    choices.iter().find(is_it).and_then(within).or_else(|| choices.iter().find_map(within))
}

/// A value of the environment in a text.
const VARIABLE: &str = r"\$\{[^}]+\}";

/// What editors can see of a format; the lint looks closer.
fn pattern(format: &str) -> Option<&'static str> {
    match format {
        format::LAPSE => Some("^ *([0-9]+ *[a-zA-Z]+ *)+$"),
        format::SOCKET => Some(r"^([0-9.]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$"),
        format::WEB => Some("^https?://[^/]"),
        format::UPSTREAM => Some("^(https?://[^/]|unix:/)"),
        format::NETWORK => Some("^[0-9a-fA-F:.]+(/[0-9]{1,3})?$"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;
    use super::*;

    #[test]
    fn a_key_has_its_purpose_from_the_schema() {
        let tree = Tree::parse("a", "issuers: [{type: oidc}, {type: airflow}, {}]").unwrap();
        for (key, expected) in [
            (
                "leeway",
                "leeway: What `exp`, `nbf` and `iat` are given for clocks that differ; at most 300s. Default: \"60s\".",
            ),
            ("issuers[0].issuer", "issuer: The expected `iss`, exactly"),
            ("issuers[1].issuer", "issuer: `[api_auth] jwt_issuer`"),
            ("issuers[2].tenant", "tenant: The directory (tenant) id"),
            ("issuers[0].tenant.x", "tenant: The directory"),
            ("roles.map.Some.Value", "map: Token value to Airflow roles"),
            ("handoff.assertion.kid", "kid: The name of that key"),
            ("upstream.urls[3]", "urls: Where several"),
        ] {
            let told = purpose(key, &tree.root).unwrap();
            assert!(told.starts_with(expected), "{key}: {told}");
        }
        assert_eq!(purpose("", &tree.root), None);
        assert_eq!(purpose("nothing", &tree.root), None);
    }

    #[test]
    fn the_schema_beside_the_examples_is_what_the_program_prints() {
        let committed = include_str!("../../config/airside.schema.json");
        assert!(committed == published(), "airside schema > config/airside.schema.json");
    }
}
