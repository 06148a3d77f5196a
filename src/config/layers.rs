//! File, environment and command line, put together: flag before variable before file before
//! default.

mod environment;

use std::path::PathBuf;

use super::problem::{Findings, Problem, Problems};
use super::tree::{Node, Origin, Tree, Value, origin};
pub use environment::Environment;
use environment::expand;

/// What the command line says.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Overrides {
    /// The configuration file, YAML.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where callers connect (default 0.0.0.0:8080).
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Where probes and scrapes connect (default 127.0.0.1:9090).
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<String>,
    /// Where Airflow listens.
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,
    /// The Entra directory (tenant) id.
    #[arg(long, value_name = "GUID")]
    pub entra_tenant: Option<String>,
    /// The application (client) id of the API's registration in Entra.
    #[arg(long, value_name = "GUID")]
    pub entra_client_id: Option<String>,
    /// An accepted audience of Entra's tokens; may be repeated.
    #[arg(long, value_name = "AUD")]
    pub entra_audience: Vec<String>,
    /// The file with Airflow's `[api_auth] jwt_secret`.
    #[arg(long, value_name = "FILE")]
    pub airflow_jwt_secret_file: Option<String>,
    /// Maps a role value of tokens to an Airflow role; may be repeated.
    #[arg(long, value_name = "VALUE=ROLE")]
    pub role: Vec<String>,
    /// A folder in which fetched keys survive a restart.
    #[arg(long, value_name = "DIR")]
    pub keys_cache_dir: Option<String>,
    /// How log lines look: text or json.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// From which level on is logged: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// What was put together, and what is wrong with it already.
#[derive(Debug)]
pub struct Layers {
    /// The whole.
    pub tree: Tree,
    /// Variables that are not set, and flags that say nothing.
    pub problems: Vec<Problem>,
}

/// Reads the file, if one is named, and lays environment and flags over it. An error where the file
/// is none.
pub fn read(overrides: &Overrides, environment: &Environment) -> Result<Layers, Problems> {
    let mut layers = match overrides.file(environment) {
        Some(file) => parse(&file, environment)?,
        None => Layers { tree: Tree::empty("(no configuration file)"), problems: Vec::new() },
    };
    layers.problems.extend(overrides.lay_over(&mut layers.tree, environment));
    Ok(layers)
}

/// An Airflow and a hand-off, where none are named.
pub(super) fn make_up_airflow(tree: &mut Tree) {
    let text = |text: &str| Node::loose(text, &Origin::Default);
    if tree.root.get("upstream").is_none() {
        tree.set(&["upstream", "url"], text("http://127.0.0.1:8081"));
    }
    if tree.root.get("handoff").is_none() {
        tree.set(&["handoff", "type"], text("headers"));
    }
}

fn parse(file: &PathBuf, environment: &Environment) -> Result<Layers, Problems> {
    let name = file.display().to_string();
    let refused = |origin: Origin, found: String, expected: &str, hint| {
        let nothing = Tree { file: name.clone(), root: Node::map(origin) };
        let mut findings = Findings::about(&nothing);
        findings.add("", found, expected, Some(hint));
        Problems::from(findings.problems())
    };
    let text = std::fs::read_to_string(file).map_err(|error| {
        let hint = "see that the name is right, and the user that airside runs as may read it";
        refused(Origin::Default, error.to_string(), "a readable YAML file in UTF-8", hint)
    })?;
    let mut tree = Tree::parse(&name, &text).map_err(|error| {
        let hint = "look at indents, quotes and brackets at this place and before it";
        let origin = error.location().map_or(Origin::Default, |place| origin(&place));
        // The lines around it may hold a secret.
        refused(origin, error.without_snippet().to_string(), "YAML", hint)
    })?;
    let unset = expand(&mut tree.root, "", environment);
    let mut findings = Findings::about(&tree);
    for (key, name) in unset {
        let hint = "set the variable, or write $${…} for a literal ${…}";
        findings.add(&key, format!("${{{name}}}"), format!("{name} to be set"), Some(hint));
    }
    let problems = findings.problems();
    Ok(Layers { tree, problems })
}

impl Overrides {
    /// The configuration file, where one is named.
    #[must_use]
    pub fn file(&self, environment: &Environment) -> Option<PathBuf> {
        self.config.clone().or_else(|| environment.get("AIRSIDE_CONFIG").map(PathBuf::from))
    }

    fn lay_over(&self, tree: &mut Tree, environment: &Environment) -> Vec<Problem> {
        let one = |flag: &Option<String>, name| Layer::one(flag.as_deref(), name, environment);
        let many = |flags: &[String], name| Layer::many(flags, name, environment);

        let places: [(&[&str], Option<Layer>); 5] = [
            (&["listen"], one(&self.listen, "listen")),
            (&["admin", "listen"], one(&self.admin_listen, "admin-listen")),
            (&["upstream", "url"], one(&self.upstream, "upstream")),
            (&["keys", "cache_dir"], one(&self.keys_cache_dir, "keys-cache-dir")),
            (&["log", "format"], one(&self.log_format, "log-format")),
        ];
        for (path, layer) in places {
            if let Some(layer) = layer {
                tree.set(path, layer.text());
            }
        }
        if let Some(upstream) = one(&self.upstream, "upstream") {
            // Said by a flag or a variable, it is the only one.
            tree.root.child("upstream", &upstream.origin).remove_key("urls");
        }
        if let Some(level) = one(&self.log_level, "log-level") {
            tree.set(&["log", "level"], level.text());
        }
        if let Some(secret) = one(&self.airflow_jwt_secret_file, "airflow-jwt-secret-file") {
            set_secret(tree, &secret);
        }
        let entra = [
            ("tenant", one(&self.entra_tenant, "entra-tenant")),
            ("client_id", one(&self.entra_client_id, "entra-client-id")),
        ];
        for (key, layer) in entra {
            if let Some(layer) = layer {
                issuer(tree, "entra", &layer.origin).set_key(key, layer.text());
            }
        }
        if let Some(audiences) = many(&self.entra_audience, "entra-audience") {
            issuer(tree, "entra", &audiences.origin).set_key("audiences", audiences.list());
        }
        if !has_entra(tree) {
            for (key, name) in [("tenant", "AAD_TENANT_ID"), ("client_id", "AAD_CLIENT_ID")] {
                if let Some(layer) = Layer::variable(name, environment) {
                    issuer(tree, "entra", &layer.origin).set_key(key, layer.text());
                }
            }
        }
        match many(&self.role, "role") {
            Some(roles) => set_roles(tree, &roles),
            None => Vec::new(),
        }
    }
}

/// What one flag or its variable says.
struct Layer {
    values: Vec<String>,
    origin: Origin,
}

impl Layer {
    fn one(flag: Option<&str>, name: &str, environment: &Environment) -> Option<Self> {
        let given = |value: &str| Self {
            values: vec![value.to_owned()],
            origin: Origin::Flag(format!("--{name}")),
        };
        flag.map(given).or_else(|| Self::variable(&variable(name), environment))
    }

    fn many(flags: &[String], name: &str, environment: &Environment) -> Option<Self> {
        if !flags.is_empty() {
            return Some(Self {
                values: flags.to_vec(),
                origin: Origin::Flag(format!("--{name}")),
            });
        }
        let mut layer = Self::variable(&variable(name), environment)?;
        let parts = layer.values.iter().flat_map(|value| value.split(','));
        layer.values = parts.map(|part| part.trim().to_owned()).collect();
        Some(layer)
    }

    fn variable(name: &str, environment: &Environment) -> Option<Self> {
        let value = environment.get(name)?;
        Some(Self { values: vec![value.to_owned()], origin: Origin::Variable(name.to_owned()) })
    }

    fn text(&self) -> Node {
        Node::loose(&self.values.concat(), &self.origin)
    }

    fn list(&self) -> Node {
        let items = self.values.iter().map(|value| Node::loose(value, &self.origin)).collect();
        Node { value: Value::List(items), origin: self.origin.clone() }
    }
}

fn variable(flag: &str) -> String {
    format!("AIRSIDE_{}", flag.to_ascii_uppercase().replace('-', "_"))
}

/// One secret serves both directions: signing what Airflow takes for its own, and verifying what
/// Airflow issued.
fn set_secret(tree: &mut Tree, secret: &Layer) {
    issuer(tree, "airflow", &secret.origin).set_key("secret_file", secret.text());
    tree.set(&["handoff", "secret_file"], secret.text());
    if tree.root.get("handoff").and_then(|handoff| handoff.get("type")).is_none() {
        tree.set(&["handoff", "type"], Node::loose("airflow_token", &secret.origin));
    }
}

fn set_roles(tree: &mut Tree, roles: &Layer) -> Vec<Problem> {
    let mut map: Vec<(String, Vec<Node>)> = Vec::new();
    for pair in &roles.values {
        let Some((value, role)) =
            pair.split_once('=').filter(|(v, r)| !v.is_empty() && !r.is_empty())
        else {
            tree.set(&["roles", "map"], roles.text());
            let mut findings = Findings::about(tree);
            let hint = "--role airflow_viewer=Viewer, once for each";
            findings.add("roles.map", format!("{pair:?}"), "VALUE=ROLE", Some(hint));
            return findings.problems();
        };
        let role = Node::loose(role, &roles.origin);
        match map.iter_mut().find(|(known, _)| known == value) {
            Some((_, all)) => all.push(role),
            None => map.push((value.to_owned(), vec![role])),
        }
    }
    tree.set(&["roles", "map"], Node::map(roles.origin.clone()));
    for (value, all) in map {
        let list = Node { value: Value::List(all), origin: roles.origin.clone() };
        tree.set(&["roles", "map", &value], list);
    }
    Vec::new()
}

/// The entry of `issuers` with this name, which is also its type; made if absent.
fn issuer<'t>(tree: &'t mut Tree, name: &str, origin: &Origin) -> &'t mut Node {
    let issuers = tree.root.child("issuers", origin);
    if !matches!(issuers.value, Value::List(_)) {
        *issuers = Node { value: Value::List(Vec::new()), origin: origin.clone() };
    }
    let Value::List(items) = &mut issuers.value else { unreachable!("made a list just now") };
    let named = |item: &Node| item.get("name").and_then(Node::text) == Some(name);
    let index = items.iter().position(named).unwrap_or_else(|| {
        let mut entry = Node::map(origin.clone());
        entry.set_key("name", Node::loose(name, origin));
        entry.set_key("type", Node::loose(name, origin));
        items.push(entry);
        items.len() - 1
    });
    let last = items.len() - 1;
    let Some(item) = items.get_mut(index.min(last)) else { unreachable!("found or made just now") };
    item
}

/// Whether file or flags name an issuer other than Airflow, which the secret alone brings.
fn has_entra(tree: &Tree) -> bool {
    let Some(Value::List(items)) = tree.root.get("issuers").map(|node| &node.value) else {
        return false;
    };
    items.iter().any(|item| {
        let from_secret = |node: &Node| !matches!(node.origin, Origin::File { .. });
        item.get("type").and_then(Node::text) != Some("airflow") || !from_secret(item)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(overrides: &Overrides, variables: &[(&str, &str)]) -> Tree {
        read(overrides, &Environment::of(variables)).unwrap().tree
    }

    fn at<'t>(tree: &'t Tree, path: &[&str]) -> Option<&'t str> {
        path.iter().try_fold(&tree.root, |node, key| node.get(key)).and_then(Node::text)
    }

    #[test]
    fn a_flag_beats_a_variable() {
        let overrides = Overrides { listen: Some("flag".into()), ..Overrides::default() };
        let tree = tree(&overrides, &[("AIRSIDE_LISTEN", "variable"), ("AIRSIDE_UPSTREAM", "u")]);
        assert_eq!(at(&tree, &["listen"]), Some("flag"));
        assert_eq!(at(&tree, &["upstream", "url"]), Some("u"));
        assert_eq!(tree.place("upstream.url"), "environment variable AIRSIDE_UPSTREAM");
    }

    #[test]
    fn an_empty_or_foreign_variable_is_none() {
        let tree =
            tree(&Overrides::default(), &[("AIRSIDE_LISTEN", ""), ("AIRSIDE_PORT", "tcp://x")]);
        assert!(tree.root.get("listen").is_none());
    }

    #[test]
    fn the_secret_serves_both_directions() {
        let tree = tree(&Overrides::default(), &[("AIRSIDE_AIRFLOW_JWT_SECRET_FILE", "/s")]);
        assert_eq!(at(&tree, &["handoff", "secret_file"]), Some("/s"));
        assert_eq!(at(&tree, &["handoff", "type"]), Some("airflow_token"));
        assert_eq!(
            tree.place("issuers[0].secret_file"),
            "environment variable AIRSIDE_AIRFLOW_JWT_SECRET_FILE"
        );
    }

    #[test]
    fn aad_variables_count_only_where_nothing_else_names_an_issuer() {
        let aad = [("AAD_TENANT_ID", "t"), ("AAD_CLIENT_ID", "c")];
        let from_aad = tree(&Overrides::default(), &aad);
        assert_eq!(from_aad.place("issuers[0].tenant"), "environment variable AAD_TENANT_ID");
        let flags = Overrides { entra_tenant: Some("other".into()), ..Overrides::default() };
        let from_flags = tree(&flags, &aad);
        assert_eq!(from_flags.place("issuers[0].tenant"), "flag --entra-tenant");
        assert_eq!(from_flags.place("issuers[0].client_id"), "flag --entra-tenant");
    }

    #[test]
    fn roles_gather_by_value() {
        let role = vec!["a=Op".to_owned(), "b=Admin".to_owned(), "a=User".to_owned()];
        let tree = tree(&Overrides { role, ..Overrides::default() }, &[]);
        let map = tree.root.get("roles").and_then(|roles| roles.get("map")).unwrap();
        let Value::List(roles) = &map.get("a").unwrap().value else { panic!("a list") };
        assert_eq!(roles.iter().filter_map(Node::text).collect::<Vec<_>>(), ["Op", "User"]);
    }
}
