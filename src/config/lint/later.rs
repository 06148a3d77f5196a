//! What a later version of airside has.

use super::super::tree::{Node, Value};

/// Whether the key, or this value of it, belongs to a later version.
pub(super) fn is_later(key: &str, value: Option<&str>) -> bool {
    let plain: String = key
        .split('.')
        .map(|part| part.split('[').next().unwrap_or(part))
        .collect::<Vec<_>>()
        .join(".");
    LATER.iter().any(|(name, values)| {
        let within = plain == *name || plain.strip_prefix(name).is_some_and(|r| r.starts_with('.'));
        match value {
            None => plain == *name && values.is_empty(),
            Some(value) => within && values.contains(&value),
        }
    })
}

/// Whether a section asks for nothing: everything in it is null, false or empty.
pub(super) fn is_inert(node: &Node) -> bool {
    match &node.value {
        Value::Null | Value::Bool(false) => true,
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.iter().all(|entry| is_inert(&entry.node)),
        _ => false,
    }
}

/// Keys and values of the configuration's design that this version does not have: refused by name
/// rather than as unknown. Without values: the whole key.
const LATER: [(&str, &[&str]); 1] = [("access.ui", &["login"])];

pub(super) const NOT_YET: &str = "this belongs to a later version of airside; remove it";
