//! Holds a tree against the schema of [`super::written`] and finds everything that does not fit,
//! where deserialising would stop at the first. What fits is deserialised.

mod later;
pub(super) mod shape;

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value as Json};

use super::problem::Findings;
use super::schema::SCHEMA;
use super::tree::{Entry, Node, Tree, Value};
use super::written::{Written, format};
use later::{NOT_YET, is_inert, is_later};
use shape::{accepts, alternatives, constant, expected, one_of, stand_in, tag, types, words};

/// Reads what fits the schema and adds the rest to `findings`. What does not fit is left out, so
/// that what does can be looked at further.
pub fn read(tree: &Tree, findings: &mut Findings<'_>) -> Option<Written> {
    let value = Lint { findings }.value("", &tree.root, &SCHEMA)?;
    findings.take("", serde_json::from_value(value), "a valid value")
}

const ALL_KEYS: &str = "`airside schema` and config/reference.yaml have every key";

struct Lint<'f, 't> {
    findings: &'f mut Findings<'t>,
}

impl Lint<'_, '_> {
    fn value(&mut self, key: &str, node: &Node, schema: &Json) -> Option<Json> {
        if let Some(choices) = alternatives(schema) {
            return self.alternative(key, node, choices);
        }
        if let Some(words) = words(schema) {
            return self.word(key, node, &words);
        }
        let types = types(schema);
        let allows = |name: &str| types.contains(&name);
        match &node.value {
            Value::Null if allows("null") => Some(Json::Null),
            Value::Map(entries) if allows("object") => self.map(key, entries, schema),
            Value::List(items) if allows("array") => Some(self.list(key, items, schema)),
            Value::Text(text) if allows("string") => self.text(key, text, schema),
            Value::Bool(value) if allows("boolean") => Some(Json::from(*value)),
            Value::Integer(value) if allows("integer") => self.number(key, *value, schema),
            Value::Loose(text) | Value::Expanded { text, .. } => {
                self.loose(key, text, schema, &types)
            }
            _ => self.misfit(key, node, &expected(schema)),
        }
    }

    fn misfit(&mut self, key: &str, node: &Node, expected: &str) -> Option<Json> {
        let hint = match &node.value {
            Value::Integer(_) | Value::Float(_) | Value::Bool(_) if expected.contains("text") => {
                Some("put it in quotes")
            }
            _ => None,
        };
        self.findings.add(key, shown(node), expected, hint);
        None
    }

    fn map(&mut self, key: &str, entries: &[Entry], schema: &Json) -> Option<Json> {
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&empty);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let mut map = Map::new();
        for entry in entries {
            let inner = join(key, &entry.key);
            if let Some(schema) = properties.get(&entry.key).or(others) {
                map.extend(self.value(&inner, &entry.node, schema).map(|v| (entry.key.clone(), v)));
            } else {
                self.unknown(&inner, entry, properties);
            }
        }
        let mut whole = true;
        for name in schema.get("required").and_then(Json::as_array).into_iter().flatten() {
            let Some(name) = name.as_str() else { continue };
            let needed = properties.get(name).unwrap_or(&Json::Null);
            if !entries.iter().any(|entry| entry.key == name) {
                let hint = missing_hint(key, name);
                self.findings.add(&join(key, name), "nothing", expected(needed), hint);
            }
            if !map.contains_key(name) && !key.is_empty() {
                // What is beside it is still looked at; nobody is told of this twice.
                let stand_in = stand_in(needed);
                whole &= stand_in.is_some();
                map.extend(stand_in.map(|value| (name.to_owned(), value)));
            }
        }
        whole.then_some(Json::Object(map))
    }

    fn unknown(&mut self, key: &str, entry: &Entry, properties: &Map<String, Json>) {
        if is_later(key, None) {
            if !is_inert(&entry.node) {
                self.findings.add(key, shown(&entry.node), "nothing", Some(NOT_YET));
            }
            return;
        }
        let nearest = nearest(&entry.key, properties.keys().map(String::as_str));
        let hint = nearest.map_or(ALL_KEYS.to_owned(), |name| format!("did you mean `{name}`?"));
        let known: Vec<&str> = properties.keys().map(String::as_str).collect();
        let expected = format!("one of the keys {}", known.join(", "));
        self.findings.add(key, "an unknown key", expected, Some(&hint));
    }

    fn list(&mut self, key: &str, items: &[Node], schema: &Json) -> Json {
        let anything = Json::Object(Map::new());
        let schema = schema.get("items").unwrap_or(&anything);
        let mut list = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let value = self.value(&format!("{key}[{index}]"), item, schema);
            match (value, &item.value) {
                (Some(value), _) => list.push(value),
                // Keeps the places of those behind it.
                (None, Value::Map(_)) => list.push(Json::Null),
                (None, _) => {}
            }
        }
        Json::Array(list)
    }

    fn text(&mut self, key: &str, text: &str, schema: &Json) -> Option<Json> {
        let format = schema.get("format").and_then(Json::as_str).unwrap_or_default();
        let misfit = match format {
            format::LAPSE => !humantime::parse_duration(text).is_ok_and(|span| span <= LONGEST),
            format::SOCKET => text.parse::<SocketAddr>().is_err(),
            format::WEB => !is_web_address(text),
            format::UPSTREAM => !is_web_address(text) && !text.starts_with(UNIX),
            format::NETWORK => network(text).is_none(),
            _ => false,
        };
        if misfit {
            self.findings.add(key, quoted(text), expected(schema), None);
            return None;
        }
        Some(Json::from(text))
    }

    fn number(&mut self, key: &str, value: i64, schema: &Json) -> Option<Json> {
        let bound = |name: &str| schema.get(name).and_then(Json::as_i64);
        let fits = bound("minimum").is_none_or(|least| value >= least)
            && bound("maximum").is_none_or(|most| value <= most);
        if fits {
            return Some(Json::from(value));
        }
        self.findings.add(key, value.to_string(), expected(schema), None);
        None
    }

    fn loose(&mut self, key: &str, text: &str, schema: &Json, types: &[&str]) -> Option<Json> {
        let allows = |name: &str| types.contains(&name);
        if allows("string") {
            return self.text(key, text, schema);
        }
        match text.parse::<i64>() {
            Ok(number) if allows("integer") => return self.number(key, number, schema),
            _ => {}
        }
        match text.parse::<bool>() {
            Ok(value) if allows("boolean") => Some(Json::from(value)),
            _ => {
                self.findings.add(key, quoted(text), expected(schema), None);
                None
            }
        }
    }

    fn word(&mut self, key: &str, node: &Node, words: &[&Json]) -> Option<Json> {
        let found = match &node.value {
            Value::Bool(value) => Some(Json::from(*value)),
            _ => node.text().map(Json::from),
        };
        if let Some(word) = found.as_ref().filter(|found| words.contains(found)) {
            return Some(word.clone());
        }
        let text = found
            .as_ref()
            .map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned));
        let hint = match &text {
            Some(text) if is_later(key, Some(text)) => Some(NOT_YET.to_owned()),
            Some(text) => nearest(text, words.iter().filter_map(|word| word.as_str()))
                .map(|word| format!("did you mean `{word}`?")),
            None => None,
        };
        self.findings.add(key, shown(node), one_of(words), hint.as_deref());
        None
    }

    /// One of several schemas: told apart by `type` where they are mappings with one, otherwise by
    /// the kind of value.
    fn alternative(&mut self, key: &str, node: &Node, choices: &[Json]) -> Option<Json> {
        let tags: Vec<&Json> = choices.iter().filter_map(|choice| tag(choice)).collect();
        if tags.len() == choices.len() {
            let Some(written) = node.get("type") else {
                self.findings.add(&join(key, "type"), "nothing", one_of(&tags), None);
                return None;
            };
            self.word(&join(key, "type"), written, &tags)?;
            let chosen = choices
                .iter()
                .find(|choice| tag(choice).and_then(Json::as_str) == written.text())?;
            return self.value(key, node, chosen);
        }
        let all: Option<Vec<&Json>> = choices.iter().map(constant).collect();
        if let Some(all) = all {
            return self.word(key, node, &all);
        }
        match choices.iter().find(|choice| accepts(choice, &node.value)) {
            Some(choice) => self.value(key, node, choice),
            None => {
                let each: Vec<String> = choices.iter().map(expected).collect();
                self.misfit(key, node, &each.join(" or "))
            }
        }
    }
}

/// A value for a message. Settings hold the names of files with secrets; an address may hold one
/// itself.
fn shown(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(text) | Value::Loose(text) | Value::Expanded { text, .. } => quoted(text),
        Value::List(_) => "a list".into(),
        Value::Map(_) => "a mapping".into(),
    }
}

/// A text for a message, without what may be a secret in an address: user information and query.
/// It need not be one that can be parsed.
fn quoted(text: &str) -> String {
    if text.split_once(':').is_some_and(|(_, rest)| rest.contains('@')) {
        return "an address with a credential in it".to_owned();
    }
    match text.split_once('?') {
        Some((place, _)) if text.contains("://") => format!("{:?}", format!("{place}?…")),
        _ => format!("{text:?}"),
    }
}

/// How the commonest gaps are filled.
fn missing_hint(key: &str, name: &str) -> Option<&'static str> {
    match (key, name) {
        ("", "upstream") => Some("--upstream URL, AIRSIDE_UPSTREAM, or `upstream: {url: …}`"),
        ("", "issuers") => Some(
            "--entra-tenant with --entra-client-id, AAD_TENANT_ID with AAD_CLIENT_ID, or an entry of `issuers`",
        ),
        ("", "handoff") => Some(
            "--airflow-jwt-secret-file FILE, or `handoff: {type: airflow_token, secret_file: …}`",
        ),
        _ => None,
    }
}

fn nearest<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let close = names.map(|name| (strsim::damerau_levenshtein(written, name), name));
    let (distance, name) = close.min()?;
    (distance <= 1 + written.len() / 4).then_some(name)
}

fn join(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
}

/// Nothing is waited for longer, and no sum of two can overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// What stands before the path of a socket.
pub(super) const UNIX: &str = "unix:";

fn is_web_address(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| {
        let no_login = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && no_login
    })
}

/// A CIDR, or an address as the CIDR of itself alone.
pub(super) fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from)).ok()
}

#[cfg(test)]
mod tests;
