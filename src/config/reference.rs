//! Holds `config/reference.yaml` against the schema: every key stands there, with the default that
//! the code has, and nothing else does.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::lint::shape::{alternatives, tag};
use super::problem::Findings;
use super::schema::SCHEMA;
use super::tree::{Node, Origin, Tree, Value};
use super::written::format;
use super::{from_tree, lint};

const REFERENCE: &str = include_str!("../../config/reference.yaml");

#[test]
fn every_key_stands_in_the_reference_with_its_default_and_nothing_else_does() {
    let tree = Tree::parse("reference.yaml", &opened()).unwrap();
    let mut keys = Keys::default();
    keys.walk("", &SCHEMA, Some(&tree.root));
    assert!(keys.missing.is_empty(), "not in the reference: {:#?}", keys.missing);
    assert!(keys.defaults.len() > 80, "{}", keys.defaults.len());
    let lines: Vec<&str> = REFERENCE.lines().collect();
    for (key, Found { line, is_default, default_is_nothing, default_is_empty }) in keys.defaults {
        let text = lines[line - 1];
        let live = !text.trim_start().starts_with('#');
        assert_eq!(is_default, text.contains("# ="), "{key}, line {line}: {text}");
        let example = (default_is_nothing || default_is_empty && !live) && !is_default;
        // What has a default shows it, or is an example of what is left out.
        assert!(is_default || example, "{key}, line {line}: another value than the default");
        assert!(!is_default || live || inside_of_an_example(&key), "{key}, line {line}");
    }
    // Unknown keys are problems of the lint.
    let mut findings = Findings::about(&tree);
    let written = lint::read(&tree, &mut findings);
    findings.conclude(written).unwrap();
}

#[test]
fn every_setting_of_the_reference_has_its_reason() {
    let lines: Vec<&str> = REFERENCE.lines().collect();
    let said = |line: &str| line.trim_start().starts_with("# ") && line.trim().len() > 10;
    for (index, line) in lines.iter().enumerate() {
        let setting = line.trim_start().trim_start_matches('#');
        let Some((_, value)) = setting.split_once(':') else { continue };
        if said(line) || value.trim().is_empty() {
            continue;
        }
        let beside = value.contains(" # ");
        assert!(beside || index > 0 && said(lines[index - 1]), "line {}: {line}", index + 1);
    }
}

#[test]
fn the_reference_as_it_is_asks_for_nothing_but_its_files() {
    let tree = Tree::parse("reference.yaml", REFERENCE).unwrap();
    let problems = from_tree(&tree).map(|_| ()).unwrap_err();
    let keys: Vec<&str> = problems.all().iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["issuers[1].secret_file", "handoff.secret_file"], "{problems}");
}

/// The text with every setting that is left out: `#` directly before it, at the end of the indent.
fn opened() -> String {
    let open = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        let (indent, rest) = line.split_at(indent);
        match rest.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => {
                format!("{indent}{setting}\n")
            }
            _ => format!("{line}\n"),
        }
    };
    REFERENCE.lines().map(open).collect()
}

fn inside_of_an_example(key: &str) -> bool {
    ["handoff.assertion.", "handoff.fab."].iter().any(|section| key.starts_with(section))
}

#[derive(Default)]
struct Keys {
    defaults: BTreeMap<String, Found>,
    missing: Vec<String>,
}

#[derive(Debug)]
struct Found {
    line: usize,
    is_default: bool,
    /// There is none, or it is null.
    default_is_nothing: bool,
    /// It is an empty list.
    default_is_empty: bool,
}

impl Keys {
    fn walk(&mut self, path: &str, schema: &Json, node: Option<&Node>) {
        for choice in alternatives(schema).into_iter().flatten() {
            let Some(of_type) = tag(choice).and_then(Json::as_str) else {
                self.walk(path, choice, node);
                continue;
            };
            let items = node.map(|node| &node.value);
            let Some(Value::List(items)) = items else { continue };
            let is_it = |item: &&Node| item.get("type").and_then(Node::text) == Some(of_type);
            self.walk(&format!("{path}[{of_type}]"), choice, items.iter().find(is_it));
        }
        if let Some(items) = schema.get("items") {
            let tagged =
                alternatives(items).is_some_and(|all| all.iter().any(|one| tag(one).is_some()));
            let inner = if tagged { node } else { node.and_then(|node| node.item(0)) };
            self.walk(path, items, inner);
        }
        let properties = schema.get("properties").and_then(Json::as_object);
        for (name, schema) in properties.into_iter().flatten() {
            let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let Some(node) = node.and_then(|node| node.get(name)) else {
                self.missing.push(key);
                continue;
            };
            self.leaf(&key, schema, node);
            self.walk(&key, schema, Some(node));
        }
    }

    fn leaf(&mut self, key: &str, schema: &Json, node: &Node) {
        let Origin::File { line, .. } = node.origin else { panic!("{key} is not of the file") };
        let default = schema.get("default").filter(|default| !default.is_null());
        if matches!(node.value, Value::Map(_)) && default.is_none_or(Json::is_object) {
            return;
        }
        // Of more use with an example; its default is told in words.
        let told = key == "issuers[oidc].roles_claim";
        let found = Found {
            line: usize::try_from(line).unwrap(),
            is_default: default.is_some_and(|default| same(default, node, schema)),
            default_is_nothing: default.is_none() || told,
            default_is_empty: default.and_then(Json::as_array).is_some_and(Vec::is_empty),
        };
        self.defaults.insert(key.to_owned(), found);
    }
}

fn same(default: &Json, node: &Node, schema: &Json) -> bool {
    let lapse = schema.get("format").and_then(Json::as_str) == Some(format::LAPSE);
    match (&node.value, default) {
        (Value::Text(text), Json::String(default)) if lapse => {
            humantime::parse_duration(text) == humantime::parse_duration(default)
        }
        (Value::Text(text), Json::String(default)) => text == default,
        (Value::Bool(value), default) => default.as_bool() == Some(*value),
        (Value::Integer(value), default) => default.as_i64() == Some(*value),
        (Value::List(items), Json::Array(defaults)) => {
            let same = |(item, default)| same(default, item, &Json::Null);
            items.len() == defaults.len() && items.iter().zip(defaults).all(same)
        }
        _ => false,
    }
}
