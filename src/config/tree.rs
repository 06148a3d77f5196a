//! The configuration as a tree in which every value knows where it was written.

mod raw;

use serde_saphyr::Spanned;

use raw::Raw;

/// A value and where it came from.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it was written.
    pub origin: Origin,
}

/// A value as YAML has it.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
    /// Text from a flag or a variable: it may stand for a number or a truth value.
    Loose(String),
    /// The same, from a text with a `${NAME}` in it.
    Expanded {
        /// What the text says now.
        text: String,
        /// How it stands in the file.
        written: String,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written; keys are unique.
    Map(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key was written.
    pub origin: Origin,
    /// Its value.
    pub node: Node,
}

impl Entry {
    /// Where the key was written, or what took the place of its value in the file.
    #[must_use]
    pub const fn place(&self) -> &Origin {
        match &self.node.origin {
            Origin::File { .. } => &self.origin,
            other => other,
        }
    }
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the file, at a line and column counted from 1.
    File {
        /// The line.
        line: u64,
        /// The column.
        column: u64,
    },
    /// On the command line.
    Flag(String),
    /// In an environment variable.
    Variable(String),
    /// Nowhere: a default.
    Default,
}

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The name of the file, for messages.
    pub file: String,
    /// The topmost mapping.
    pub root: Node,
}

impl Tree {
    /// A tree without any value.
    #[must_use]
    pub fn empty(file: &str) -> Self {
        Self { file: file.to_owned(), root: Node::map(Origin::Default) }
    }

    /// Parses YAML; duplicate keys are errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, serde_saphyr::Error> {
        let root = match serde_saphyr::from_str::<Option<Spanned<Raw>>>(text)? {
            Some(root) => Node::from_raw(root),
            None => Node::map(Origin::Default),
        };
        Ok(Self { file: file.to_owned(), root })
    }

    /// Where the value at `key` was written, or else what should hold it.
    #[must_use]
    pub fn place(&self, key: &str) -> String {
        match self.origin(key) {
            Origin::File { line, column } => format!("{}:{line}:{column}", self.file),
            Origin::Flag(flag) => format!("flag {flag}"),
            Origin::Variable(name) => format!("environment variable {name}"),
            Origin::Default => self.file.clone(),
        }
    }

    /// The same, to be compared: what is not of the file comes last.
    pub(super) fn position(&self, key: &str) -> (u64, u64) {
        match self.origin(key) {
            Origin::File { line, column } => (*line, *column),
            Origin::Flag(_) | Origin::Variable(_) | Origin::Default => (u64::MAX, 0),
        }
    }

    fn origin(&self, key: &str) -> &Origin {
        let mut node = &self.root;
        let mut origin = &self.root.origin;
        for step in steps(key) {
            let Some((at, inner)) = node.step(&step) else {
                break;
            };
            origin = at;
            node = inner;
        }
        origin
    }

    /// Whether there is a value at `key`.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.node(key).is_some()
    }

    /// The text at `key` and how it is written, where a variable has given it.
    pub(super) fn given_by_variable(&self, key: &str) -> Option<(&str, String)> {
        let node = self.node(key)?;
        match (&node.value, &node.origin) {
            (Value::Expanded { text, written }, _) => Some((text, written.clone())),
            (Value::Loose(text), Origin::Variable(name)) => Some((text, format!("${{{name}}}"))),
            _ => None,
        }
    }

    fn node(&self, key: &str) -> Option<&Node> {
        let step = |node, step: &Step| Node::step(node, step).map(|(_, inner)| inner);
        steps(key).iter().try_fold(&self.root, step)
    }

    /// The files that it names: every key that ends in `file` says where one is.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.root.files().into_iter()
    }

    /// Sets the value at a path of keys, making mappings on the way.
    pub fn set(&mut self, path: &[&str], node: Node) {
        let origin = node.origin.clone();
        let mut at = &mut self.root;
        for key in path {
            at = at.child(key, &origin);
        }
        *at = node;
    }
}

impl Node {
    /// An empty mapping.
    #[must_use]
    pub const fn map(origin: Origin) -> Self {
        Self { value: Value::Map(Vec::new()), origin }
    }

    /// Text that may stand for a number or a truth value.
    #[must_use]
    pub fn loose(text: &str, origin: &Origin) -> Self {
        Self { value: Value::Loose(text.to_owned()), origin: origin.clone() }
    }

    /// The value of a key, when this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// A key with its value, when this is a mapping that has it.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        entries.iter().find(|entry| entry.key == key)
    }

    /// An item, when this is a list that has it.
    #[must_use]
    pub fn item(&self, index: usize) -> Option<&Self> {
        let Value::List(items) = &self.value else {
            return None;
        };
        items.get(index)
    }

    fn files(&self) -> Vec<&str> {
        let named = |entry: &'_ Entry| entry.key.ends_with("file");
        match &self.value {
            Value::Map(entries) => {
                let here = entries.iter().filter(|entry| named(entry));
                let here = here.filter_map(|entry| entry.node.text());
                here.chain(entries.iter().flat_map(|entry| entry.node.files())).collect()
            }
            Value::List(items) => items.iter().flat_map(Self::files).collect(),
            _ => Vec::new(),
        }
    }

    /// The text, when this is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Loose(text) | Value::Expanded { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Sets the value of a key, of a mapping made for it if need be.
    pub fn set_key(&mut self, key: &str, node: Self) {
        let origin = node.origin.clone();
        *self.child(key, &origin) = node;
    }

    /// Removes a key, if it is there.
    pub fn remove_key(&mut self, key: &str) {
        if let Value::Map(entries) = &mut self.value {
            entries.retain(|entry| entry.key != key);
        }
    }

    /// The value of a key, made if absent.
    pub fn child(&mut self, key: &str, origin: &Origin) -> &mut Self {
        if !matches!(self.value, Value::Map(_)) {
            *self = Self::map(origin.clone());
        }
        let Value::Map(entries) = &mut self.value else { unreachable!("made a mapping just now") };
        let index = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
            let node = Self { value: Value::Null, origin: origin.clone() };
            entries.push(Entry { key: key.to_owned(), origin: origin.clone(), node });
            entries.len() - 1
        });
        let last = entries.len() - 1;
        let Some(entry) = entries.get_mut(index.min(last)) else {
            unreachable!("the index was found or made just now")
        };
        &mut entry.node
    }

    pub(super) fn step(&self, step: &Step) -> Option<(&Origin, &Self)> {
        match step {
            Step::Key(key) => self.entry(key).map(|entry| (entry.place(), &entry.node)),
            Step::Index(index) => self.item(*index).map(|item| (&item.origin, item)),
        }
    }

    fn from_raw(raw: Spanned<Raw>) -> Self {
        let origin = origin(&raw.referenced);
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Bool(value) => Value::Bool(value),
            Raw::Integer(value) => Value::Integer(value),
            Raw::Float(value) => Value::Float(value),
            Raw::Text(text) => Value::Text(text),
            Raw::List(items) => Value::List(items.into_iter().map(Self::from_raw).collect()),
            Raw::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, node)| Entry {
                        origin: self::origin(&key.referenced),
                        key: key.value,
                        node: Self::from_raw(node),
                    })
                    .collect(),
            ),
        };
        Self { value, origin }
    }
}

pub(super) fn origin(location: &serde_saphyr::Location) -> Origin {
    Origin::File { line: location.line(), column: location.column() }
}

/// One step of a key.
pub(super) enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// `issuers[0].tenant` as steps.
pub(super) fn steps(key: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in key.split('.').filter(|part| !part.is_empty()) {
        let (name, indexes) = part.split_once('[').unwrap_or((part, ""));
        if !name.is_empty() {
            steps.push(Step::Key(name.to_owned()));
        }
        let numbers =
            indexes.split('[').filter_map(|index| index.trim_end_matches(']').parse().ok());
        steps.extend(numbers.map(Step::Index));
    }
    steps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_knows_its_place() {
        let tree =
            Tree::parse("a.yaml", "listen: x\nissuers:\n  - name: entra\n    tenant: t\n").unwrap();
        for (key, place) in [
            ("listen", "a.yaml:1:1"),
            ("issuers[0].tenant", "a.yaml:4:5"),
            ("issuers[0].missing", "a.yaml:3:5"),
            ("nothing", "a.yaml:1:1"),
        ] {
            assert_eq!(tree.place(key), place, "{key}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        assert!(Tree::parse("a.yaml", "listen: x\nlisten: y\n").is_err());
    }

    #[test]
    fn an_empty_file_is_an_empty_tree() {
        for text in ["", "# only a comment\n", "---\n", "null\n"] {
            let tree = Tree::parse("a.yaml", text).unwrap();
            assert!(tree.root.get("listen").is_none(), "{text:?}");
        }
    }

    #[test]
    fn setting_makes_the_way() {
        let mut tree = Tree::empty("a.yaml");
        let flag = Origin::Flag("--upstream".into());
        tree.set(&["upstream", "url"], Node::loose("http://x", &flag));
        assert_eq!(tree.place("upstream.url"), "flag --upstream");
    }

    #[test]
    fn what_takes_the_place_of_a_value_is_its_place() {
        let mut tree = Tree::parse("a.yaml", "upstream:\n  url: http://x\n").unwrap();
        tree.set(&["upstream", "url"], Node::loose("y", &Origin::Flag("--upstream".into())));
        assert_eq!(tree.place("upstream.url"), "flag --upstream");
        assert_eq!(tree.place("upstream"), "a.yaml:1:1");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(
            free in "\\PC{0,60}",
            yaml in "((listen|issuers|keys|roles|x|- |: |\\n|  |\\[|\\]|\\{|\\}|&a|\\*a|<<|!!|1e9|~|'|\"|\\||>|#|\\t|,|%|\\?|---|\\.\\.\\.|9999999999999999999)){0,40}",
        ) {
            for text in [free, yaml] {
                if let Ok(tree) = Tree::parse("a.yaml", &text) {
                    let _ = crate::config::from_tree(&tree);
                }
            }
        }
    }
}
