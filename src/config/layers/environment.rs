//! The one door to the environment, and what of it the file asks for.

use std::collections::HashMap;

use super::super::tree::{Node, Value};

/// The environment, read once.
#[derive(Clone, Debug, Default)]
pub struct Environment(HashMap<String, String>);

impl Environment {
    /// The environment of this process. Empty variables are unset; those that are not UTF-8 are
    /// not ours.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).filter(|(_, value)| !value.is_empty()).collect())
    }

    /// An environment of these variables.
    #[must_use]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self(variables.iter().filter(|(_, value)| !value.is_empty()).map(pair).collect())
    }

    /// The value of a variable that is set and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Replaces `${NAME}` in every scalar; gives the keys and names of those that are not set.
pub(super) fn expand(
    node: &mut Node,
    key: &str,
    environment: &Environment,
) -> Vec<(String, String)> {
    match &mut node.value {
        Value::Text(text) if text.contains("${") => {
            let (expanded, unset) = expand_text(text, environment);
            let written = std::mem::take(text);
            node.value = Value::Expanded { text: expanded, written };
            unset.into_iter().map(|name| (key.to_owned(), name)).collect()
        }
        Value::List(items) => {
            let each = items.iter_mut().enumerate();
            each.flat_map(|(at, item)| expand(item, &format!("{key}[{at}]"), environment)).collect()
        }
        Value::Map(entries) => {
            let name = |name: &str| {
                if key.is_empty() { name.into() } else { format!("{key}.{name}") }
            };
            let each = entries.iter_mut();
            each.flat_map(|entry| expand(&mut entry.node, &name(&entry.key), environment)).collect()
        }
        _ => Vec::new(),
    }
}

fn expand_text(text: &str, environment: &Environment) -> (String, Vec<String>) {
    let (mut expanded, mut unset, mut rest) = (String::new(), Vec::new(), text);
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = from.get(2..).unwrap_or_default();
            continue;
        }
        expanded.push_str(before);
        let Some((name, after)) = from.get(2..).and_then(|inner| inner.split_once('}')) else {
            rest = from;
            break;
        };
        match environment.get(name) {
            Some(value) => expanded.push_str(value),
            None => unset.push(name.to_owned()),
        }
        rest = after;
    }
    expanded.push_str(rest);
    (expanded, unset)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn variables_expand_and_escape() {
        let environment = Environment::of(&[("A", "1"), ("B", "${A}")]);
        for (text, expanded, unset) in [
            ("${A}", "1", vec![]),
            ("x${A}y${A}", "x1y1", vec![]),
            ("$${A}", "${A}", vec![]),
            ("${B}", "${A}", vec![]),
            ("${C}-${D}", "-", vec!["C", "D"]),
            ("${A", "${A", vec![]),
            ("$A", "$A", vec![]),
        ] {
            let (found, missing) = expand_text(text, &environment);
            assert_eq!(
                (found.as_str(), missing),
                (expanded, unset.into_iter().map(str::to_owned).collect()),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn expansion_replaces_what_is_named_and_nothing_else(
            pieces in prop::collection::vec((0..4, "[^$]{0,8}"), 0..6),
        ) {
            let environment = Environment::of(&[("SET", "a ${SET} $ }")]);
            let (mut text, mut expected, mut missing) = (String::new(), String::new(), Vec::new());
            for (kind, literal) in pieces {
                let (written, read) = match kind {
                    0 => ("${SET}", "a ${SET} $ }"),
                    1 => ("$${SET}", "${SET}"),
                    2 => ("${UNSET}", ""),
                    _ => ("", ""),
                };
                missing.extend((kind == 2).then(|| "UNSET".to_owned()));
                text.extend([written, &literal]);
                expected.extend([read, &literal]);
            }
            prop_assert_eq!(expand_text(&text, &environment), (expected, missing));
        }

        #[test]
        fn any_text_expands(text in "[${}A \\PC]{0,40}") {
            let (expanded, _) = expand_text(&text, &Environment::of(&[]));
            prop_assert!(expanded.len() <= text.len());
        }
    }
}
