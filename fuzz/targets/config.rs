//! Which configurations are taken: those that say everything that is needed, and nothing unheard of.
//!
//! Input: a configuration file. The files that it names are those of `fuzz/fixtures`, whatever it
//! calls them: an `absent`, `empty` or `junk` in the name asks for a bad one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use airside::config::tree::{Entry, Node, Origin, Tree, Value};
use airside::config::{Config, Problems, from_tree};
use airside::route::{AIRFLOW_2, AIRFLOW_3, Access, Door, Execution, LoginPage, Table, Ui};

/// `accepted` or `refused`.
pub(crate) fn run(data: &[u8]) -> &'static str {
    let parsed = std::str::from_utf8(data).ok().map(|text| Tree::parse("airside.yaml", text));
    let Some(Ok(mut tree)) = parsed else { return "refused" };
    confine(&mut tree.root);
    match from_tree(&tree) {
        Err(problems) => {
            can_be_mended(&problems);
            assert_eq!(from_tree(&tree).err(), Some(problems), "the same each time");
            "refused"
        }
        Ok(config) => {
            is_what_was_written(&config, &tree.root);
            is_safe(&config);
            for (bend, bent) in Bends::of(&tree).all {
                assert!(from_tree(&bent).is_err(), "taken with {bend}");
            }
            "accepted"
        }
    }
}

/// Nothing outside of the fixtures is read, and nothing is written.
fn confine(node: &mut Node) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(confine),
        Value::Map(entries) => {
            for Entry { key, node, .. } in entries {
                let fixture = FILES.iter().find(|(name, _)| name == key);
                match (fixture, &node.value) {
                    (Some((_, good)), Value::Text(name) | Value::Loose(name)) => {
                        let bad =
                            ["absent", "empty", "junk"].iter().find(|bad| name.contains(**bad));
                        let path = FIXTURES.join(bad.unwrap_or(good));
                        *node = text(&path.display().to_string());
                    }
                    _ => confine(node),
                }
            }
        }
        _ => {}
    }
}

/// Something is named, and no secret with it.
fn can_be_mended(problems: &Problems) {
    assert!(!problems.all().is_empty());
    for problem in problems.all() {
        assert!(!problem.place.is_empty() && !problem.found.is_empty(), "{problem:?}");
        assert!(!problem.expected.is_empty(), "{problem:?}");
    }
    assert!(!problems.to_string().contains(SECRET));
}

/// Every door is as open as the file says, or as closed as it is without a word.
fn is_what_was_written(config: &Config, root: &Node) {
    let access = |key: &str| root.get("access").and_then(|access| access.get(key));
    let says = |key: &str, word: &str| access(key).and_then(Node::text) == Some(word);
    let door = |open: bool| if open { Door::Open } else { Door::Closed };
    let Access {
        airflow,
        ui,
        password_login,
        login_page,
        execution_api,
        workers_apart,
        exchange,
        docs,
        preflight,
        public,
        base_path,
    } = &config.gate.access;
    let second = root.get("upstream").and_then(|upstream| upstream.get("airflow"));
    let second = second.is_some_and(|node| matches!(node.value, Value::Integer(2)));
    let table: &Table = if second { &AIRFLOW_2 } else { &AIRFLOW_3 };
    assert!(std::ptr::eq(*airflow, table));
    let closed = says("ui", "closed");
    assert_eq!(*ui, if closed { Ui::Closed } else { Ui::Airflow });
    assert_eq!(config.gate.sessions, !closed);
    let unsaid = access("password_login").is_none_or(|node| matches!(node.value, Value::Null));
    assert_eq!(*password_login, door(says("password_login", "open") || (unsaid && !closed)));
    let workers = match access("execution_api").and_then(Node::text) {
        Some("closed") => Execution::Closed,
        Some("verify") => Execution::Verify,
        _ => Execution::Forward,
    };
    assert_eq!(*execution_api, workers);
    assert_eq!(*workers_apart, config.execution.is_some());
    let address = root.get("execution_listen").and_then(Node::text);
    assert_eq!(config.execution.map(Ok), address.map(str::parse::<SocketAddr>));
    let enabled = root.get("exchange").and_then(|exchange| exchange.get("enabled"));
    let enabled = enabled.is_some_and(|node| matches!(node.value, Value::Bool(true)));
    assert_eq!(*exchange, door(enabled));
    let handoff = |key: &str| root.get("handoff").and_then(|it| it.get(key)).and_then(Node::text);
    let forms = ["type", "auth_manager"].map(handoff);
    let for_fab = forms == [Some("airflow_token"), Some("fab")];
    assert_eq!(*login_page, if for_fab { LoginPage::Token } else { LoginPage::Everyone });
    assert_eq!(*docs, door(says("docs", "open")));
    assert_eq!(*preflight, door(says("preflight", "airflow")));
    let listed = texts(access("public"));
    let opened: Vec<String> =
        public.iter().map(|(method, path)| format!("{method} {path}")).collect();
    assert_eq!(opened, listed);
    let base = root.get("upstream").and_then(|upstream| upstream.get("base_path"));
    let base = base.and_then(Node::text).unwrap_or_default();
    assert_eq!(base_path, base.trim_end_matches('/'));
    let trusted = texts(root.get("forwarded").and_then(|forwarded| forwarded.get("trusted")));
    assert_eq!(config.gate.sanitizer.trusted().len(), trusted.len());
}

fn is_safe(config: &Config) {
    for source in config.keys.iter().filter_map(|keys| keys.source.as_ref()) {
        let url = source.url();
        let host = url.host_str().unwrap_or_default();
        let near = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        assert!(url.scheme() == "https" || near, "keys over {url}");
    }
    assert!(!config.keys.is_empty());
    let headers = config.gate.handoff.headers.all();
    let folded = headers.each_ref().map(|name| name.as_str().replace(['_', '.'], "-"));
    for (at, name) in folded.iter().enumerate() {
        assert!(!folded[..at].contains(name), "{folded:?}");
        assert!(!TAKEN.contains(&name.as_str()), "{folded:?}");
    }
    assert!(!config.upstream.addresses.is_empty());
    assert!((256..=1 << 20).contains(&config.gate.token_bytes));
    assert!(config.gate.in_flight > 0 && config.connections > 0);
    assert!(config.drain.delay + config.drain.timeout <= Duration::from_secs(3600));
    let limits = &config.limits;
    assert!(limits.header_timeout.min(limits.idle_timeout) >= Duration::from_millis(10));
    assert!((1024..=1 << 20).contains(&limits.header_bytes));
    assert!(!format!("{config:?}").contains(SECRET));
}

/// What was taken, bent in each way that has to be refused, and how.
struct Bends<'t> {
    tree: &'t Tree,
    all: Vec<(String, Tree)>,
}

impl<'t> Bends<'t> {
    fn of(tree: &'t Tree) -> Self {
        let mut bends = Self { tree, all: Vec::new() };
        bends.of_the_whole();
        for (at, issuer) in issuers(&mut tree.root.clone()).iter().enumerate() {
            names_one_source_of_keys(issuer);
            bends.of_an_issuer(at, issuer.get("type").and_then(Node::text));
        }
        bends.of_unknown_keys();
        bends
    }

    fn add(&mut self, what: String, change: impl Fn(&mut Node)) {
        let mut bent = self.tree.clone();
        change(&mut bent.root);
        self.all.push((what, bent));
    }

    fn of_the_whole(&mut self) {
        for path in NEEDED {
            self.add(format!("no {path}"), |root| remove(root, path));
        }
        for (path, value) in BAD {
            self.add(format!("{path}: {value:?}"), |root| *reach(root, path) = text(value));
        }
        self.add("no address of Airflow".into(), |root| {
            remove(root, "upstream.url");
            remove(root, "upstream.urls");
        });
        self.add("two addresses of different safety".into(), |root| {
            remove(root, "upstream.url");
            *reach(root, "upstream.urls") = list(&["https://airflow", "http://airflow"]);
        });
        self.add("no issuer".into(), |root| *reach(root, "issuers") = list(&[]));
    }

    fn of_an_issuer(&mut self, at: usize, kind: Option<&str>) {
        let (_, needed, filled) = KINDS.iter().find(|it| kind == Some(it.0)).expect("a known type");
        for name in *needed {
            let without = format!("issuer {at} without {name}");
            self.add(without, |root| remove(&mut issuers(root)[at], name));
        }
        for name in *filled {
            let empty = format!("issuer {at} with no {name}");
            self.add(empty, |root| *reach(&mut issuers(root)[at], name) = list(&[]));
        }
        self.add(format!("issuer {at} for an audience without a name"), |root| {
            *reach(&mut issuers(root)[at], "audiences") = list(&[""]);
        });
        self.add(format!("issuer {at} twice"), |root| {
            let mut twin = issuers(root)[at].clone();
            twin.set_key("name", text("twin"));
            issuers(root).push(twin);
        });
    }

    fn of_unknown_keys(&mut self) {
        let root = &self.tree.root;
        for at in (0..).take_while(|at| plant(&mut root.clone(), &mut at.clone(), false)) {
            self.add(format!("an unknown key in section {at}"), |root| {
                plant(root, &mut at.clone(), false);
            });
        }
    }
}

fn names_one_source_of_keys(issuer: &Node) {
    let written =
        |name: &&&str| !matches!(issuer.get(name).map(|it| &it.value), None | Some(Value::Null));
    let count = AIRFLOW_KEYS.iter().filter(written).count();
    assert!(issuer.get("type").and_then(Node::text) != Some("airflow") || count == 1);
}

fn issuers(root: &mut Node) -> &mut Vec<Node> {
    match &mut reach(root, "issuers").value {
        Value::List(issuers) => issuers,
        other => panic!("taken with issuers that are no list: {other:?}"),
    }
}

/// Puts an unknown key into the mapping at this place, of those whose keys are airside's and not the
/// user's; `false` where there are not so many.
fn plant(node: &mut Node, at: &mut usize, in_issuer: bool) -> bool {
    match &mut node.value {
        Value::List(items) => items.iter_mut().any(|item| plant(item, at, in_issuer)),
        Value::Map(entries) if *at == 0 => {
            let (key, origin, node) = ("unheard_of".into(), Origin::Default, text("x"));
            entries.push(Entry { key, origin, node });
            true
        }
        Value::Map(entries) => {
            *at -= 1;
            entries.iter_mut().any(|Entry { key, node, .. }| {
                let users =
                    key == "map" || key == "required_claims" || (in_issuer && key == "roles");
                !users && plant(node, at, in_issuer || key == "issuers")
            })
        }
        _ => false,
    }
}

fn reach<'n>(node: &'n mut Node, path: &str) -> &'n mut Node {
    path.split('.').fold(node, |node, key| node.child(key, &Origin::Default))
}

fn remove(node: &mut Node, path: &str) {
    let (node, last) = match path.rsplit_once('.') {
        Some((way, last)) => (reach(node, way), last),
        None => (node, path),
    };
    if let Value::Map(entries) = &mut node.value {
        entries.retain(|entry| entry.key != last);
    }
}

fn text(text: &str) -> Node {
    Node { value: Value::Text(text.to_owned()), origin: Origin::Default }
}

fn list(items: &[&str]) -> Node {
    let items = items.iter().map(|item| text(item)).collect();
    Node { value: Value::List(items), origin: Origin::Default }
}

fn texts(node: Option<&Node>) -> Vec<&str> {
    match node.map(|node| &node.value) {
        Some(Value::List(items)) => items.iter().filter_map(Node::text).collect(),
        _ => Vec::new(),
    }
}

/// The keys that name files, and which fixture stands for a good one.
const FILES: [(&str, &str); 8] = [
    ("secret_file", "secret"),
    ("public_key_file", "public.pem"),
    ("keys_file", "keys.json"),
    ("ca_file", "ca.pem"),
    ("client_cert_file", "ca.pem"),
    // No private key is kept here.
    ("client_key_file", "absent"),
    ("file", "revoked.yaml"),
    // A folder would be written to: there is none.
    ("cache_dir", "secret/folder"),
];
/// What the fixture of that name holds.
const SECRET: &str = "an-example-secret-for-the-fuzzer";
const TASK: &str = "urn:airflow.apache.org:task";
/// What a configuration cannot do without.
const NEEDED: [&str; 5] = ["upstream", "issuers", "handoff", "handoff.type", "handoff.secret_file"];
/// What it cannot have.
const BAD: [(&str, &str); 4] = [
    ("leeway", "301s"),
    ("handoff.audience", ""),
    ("handoff.audience", TASK),
    ("handoff.headers.user", "Authorization"),
];
/// What an issuer of each type cannot do without, and which lists of it cannot be empty.
const KINDS: [(&str, &[&str], &[&str]); 3] = [
    ("entra", &["name", "type", "tenant", "client_id"], &["tenant", "versions"]),
    ("airflow", &["name", "type"], &["audiences"]),
    (
        "oidc",
        &["name", "type", "issuer", "audiences", "username_prefix", "roles"],
        &["audiences", "algorithms"],
    ),
];
/// Where Airflow's keys may come from.
const AIRFLOW_KEYS: [&str; 4] = ["secret_file", "public_key_file", "keys_url", "keys_file"];
/// Headers that mean something else already.
const TAKEN: [&str; 10] = [
    "authorization",
    "cookie",
    "host",
    "content-length",
    "content-type",
    "origin",
    "connection",
    "transfer-encoding",
    "x-forwarded-for",
    "x-request-id",
];

/// `fuzz/fixtures`, for the package that this is compiled into.
static FIXTURES: LazyLock<PathBuf> = LazyLock::new(|| {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = package.ancestors().map(|folder| folder.join("fuzz/fixtures"));
    folders.into_iter().find(|folder| folder.is_dir()).expect("the repository is whole")
});
