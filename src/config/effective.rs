//! The settings in effect, as a file that says the same, each line with where it comes from.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use super::password_login;
use super::tree::{Node, Origin, Tree, Value};
use super::used::default_audiences;
use super::written::{Issuer, Written};

/// What `written` says, which was read from `tree`. What has a default that depends on other
/// settings is written out where it can be.
pub(super) fn text(tree: &Tree, written: &mut Written) -> String {
    settle(written);
    let whole = serde_json::to_value(written).unwrap_or_default();
    let mut page = Page { file: &tree.file, lines: Vec::new() };
    if let Json::Object(members) = whole {
        page.members(&members, Some(&tree.root), "");
    }
    page.lines.concat()
}

fn settle(written: &mut Written) {
    written.access.password_login = Some(password_login(&written.access));
    for issuer in written.issuers.iter_mut().flatten().flatten() {
        if let Issuer::Entra(entra) = issuer
            && entra.audiences.is_empty()
        {
            entra.audiences = default_audiences(&entra.client_id.to_ascii_lowercase());
        }
    }
}

struct Page<'t> {
    file: &'t str,
    lines: Vec<String>,
}

impl Page<'_> {
    fn members(&mut self, members: &Map<String, Json>, node: Option<&Node>, indent: &str) {
        for (name, value) in members {
            let entry = node.and_then(|node| node.entry(name));
            let origin = entry.map_or(&Origin::Default, |entry| entry.place());
            let node = entry.map(|entry| &entry.node);
            self.member(&format!("{indent}{}:", word(name)), value, origin, node, indent);
        }
    }

    fn member(
        &mut self,
        start: &str,
        value: &Json,
        origin: &Origin,
        node: Option<&Node>,
        indent: &str,
    ) {
        match value {
            Json::Object(inner) if !inner.is_empty() => {
                self.line(start, origin);
                self.members(inner, node, &format!("{indent}  "));
            }
            Json::Array(items) if items.iter().any(Json::is_object) => {
                self.line(start, origin);
                for (index, item) in items.iter().enumerate() {
                    self.item(item, node.and_then(|node| node.item(index)), indent);
                }
            }
            _ => self.line(&format!("{start} {}", inline(value, node)), origin),
        }
    }

    /// An entry of a list: its first line has the dash.
    fn item(&mut self, item: &Json, node: Option<&Node>, indent: &str) {
        let first = self.lines.len();
        if let Json::Object(inner) = item {
            self.members(inner, node, &format!("{indent}    "));
        }
        if let Some(line) = self.lines.get_mut(first) {
            let rest = line.split_off(indent.len() + 4);
            *line = format!("{indent}  - {rest}");
        }
    }

    fn line(&mut self, setting: &str, origin: &Origin) {
        let mut line = format!("{setting:<WIDTH$}  # ");
        let _infallible = match origin {
            Origin::File { line: number, .. } => writeln!(line, "{}:{number}", self.file),
            Origin::Flag(name) | Origin::Variable(name) => writeln!(line, "{name}"),
            Origin::Default => writeln!(line, "default"),
        };
        self.lines.push(line);
    }
}

fn inline(value: &Json, node: Option<&Node>) -> String {
    match (value, node.map(|node| &node.value)) {
        // What a variable puts into the query of an address is likely a key: the file names it.
        (Json::String(text), Some(Value::Expanded { written, .. })) if has_query(text) => {
            Json::from(written.as_str()).to_string()
        }
        (Json::String(text), _) => word(text),
        (Json::Array(items), _) => {
            let item = |(index, item)| inline(item, node.and_then(|node| node.item(index)));
            let items: Vec<String> = items.iter().enumerate().map(item).collect();
            format!("[{}]", items.join(", "))
        }
        (other, _) => other.to_string(),
    }
}

fn has_query(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, place)| place.contains('?'))
}

/// A text as YAML has it: in quotes unless it can be nothing else, and never taken for a variable.
fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic());
    let other = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if begins && text.bytes().all(plain) && !other.contains(&&*text.to_ascii_lowercase()) {
        return text.to_owned();
    }
    Json::from(text.replace("${", "$${")).to_string()
}

/// Where origins stand, unless a setting is longer.
const WIDTH: usize = 48;

#[cfg(test)]
mod tests {
    use super::super::problem::Findings;
    use super::super::{Environment, Overrides, layers, lint};
    use super::*;

    fn effective(tree: &Tree) -> String {
        let mut findings = Findings::about(tree);
        let written = lint::read(tree, &mut findings);
        text(tree, &mut findings.conclude(written).unwrap())
    }

    fn without_origins(page: &str) -> String {
        page.lines().map(|line| line.rsplit_once("  # ").unwrap().0.trim_end()).collect()
    }

    #[test]
    fn it_says_the_same_when_it_is_read_again() {
        let odd = "
listen: \"127.0.0.1:0\"
upstream: {urls: ['http://127.0.0.1:1', 'unix:/run/a b.sock']}
issuers:
  - {name: 'yes', type: entra, tenant: [t, '0x17'], client_id: AB, versions: [v2]}
  - {name: o, type: oidc, issuer: 'https://x', audiences: ['1'], username_prefix: '',
     roles: {'a: #b': [Op], \"line\\nbreak\": ['$${X}', 'é'], '1.5': []},
     required_claims: {c: ['null', '~']}}
handoff: {type: headers, assertion: {private_key_file: '/k', lifetime: 1500ms}, publish: [{public_key_file: p, kid: '7'}]}
limits: {body_bytes: 18446744073709551}
";
        let tree = Tree::parse("a.yaml", &odd.replace("$$", "$")).unwrap();
        let once = effective(&tree);
        // By way of a file, where variables are looked for.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &once).unwrap();
        let overrides = Overrides { config: Some(file.path().to_owned()), ..Overrides::default() };
        let again = layers::read(&overrides, &Environment::default()).unwrap().tree;
        assert_eq!(without_origins(&once), without_origins(&effective(&again)), "{once}");
        assert!(once.contains("$${X}") && once.contains("api://ab/"), "{once}");
    }

    #[test]
    fn a_key_that_a_variable_puts_into_an_address_is_named_and_not_told() {
        let text = "
upstream: {url: 'http://${HOST}:1'}
issuers: [{name: entra, type: entra, tenant: t, client_id: c, keys_url: 'https://x/?code=${KEY}'}]
handoff: {type: headers}
telemetry: {otlp_endpoint: 'https://c?key=${KEY}'}
";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let overrides = Overrides { config: Some(file.path().to_owned()), ..Overrides::default() };
        let environment = Environment::of(&[("KEY", "s3cret"), ("HOST", "airflow")]);
        let page = effective(&layers::read(&overrides, &environment).unwrap().tree);
        for expected in ["http://airflow:1", "https://x/?code=${KEY}", "https://c?key=${KEY}"] {
            assert!(page.contains(expected), "{expected} in\n{page}");
        }
        assert!(!page.contains("s3cret"), "{page}");
    }

    #[test]
    fn each_line_says_where_it_comes_from() {
        let mut tree = Tree::parse(
            "a.yaml",
            "
upstream:
  url: http://127.0.0.1:1
issuers:
  - name: entra
    type: entra
    tenant: t
    client_id: c
handoff: {type: headers}
",
        )
        .unwrap();
        tree.set(&["listen"], Node::loose("127.0.0.1:1", &Origin::Flag("--listen".into())));
        let variable = Origin::Variable("AIRSIDE_UPSTREAM".into());
        tree.set(&["upstream", "url"], Node::loose("http://127.0.0.1:2", &variable));
        let page = effective(&tree);
        let lines: Vec<String> = page
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for expected in [
            "listen: \"127.0.0.1:1\" # --listen",
            "upstream: # a.yaml:2",
            "url: \"http://127.0.0.1:2\" # AIRSIDE_UPSTREAM",
            "airflow: 3 # default",
            "- type: entra # a.yaml:6",
            "tenant: t # a.yaml:7",
            "password_login: open # default",
            "threads: null # default",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected} in\n{page}");
        }
    }
}
