//! The usual configuration of the tests, bent by a hook or two, written as YAML.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::entra::{CLIENT_ID, TENANT};

/// The secret of Airflow and of the hand-off: long enough for HS512, and not base64.
pub(crate) const SECRET: &str =
    "a secret of the tests only: not random, but of sixty-four bytes and some more";

/// A configuration with the environment and arguments that go with it.
#[derive(Clone)]
pub(crate) struct Config {
    tree: Value,
    env: Vec<(String, String)>,
    args: Vec<String>,
    folder: Arc<TempDir>,
}

impl Config {
    /// Entra by way of this authority, Airflow's own tokens, and the hand-off to this upstream.
    pub(crate) fn new(authority: &str, upstream: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config =
            Self { tree: Value::Null, env: vec![], args: vec![], folder: Arc::new(folder) };
        // The line break at the end is not part of the secret.
        let secret = config.file("airflow.secret", &format!("{SECRET}\n"));
        let tree = json!({
            "listen": "127.0.0.1:0",
            "admin": {"listen": "127.0.0.1:0"},
            "upstream": {"url": upstream},
            "issuers": [
                {
                    "name": "entra", "type": "entra", "tenant": TENANT, "client_id": CLIENT_ID,
                    "authority": authority,
                },
                {"name": "airflow", "type": "airflow", "secret_file": secret},
            ],
            "roles": {"map": {
                "Airflow.Admin": ["Admin"], "Airflow.Op": ["Op"],
                "Airflow.User": ["User"], "Airflow.Viewer": ["Viewer"],
            }},
            "handoff": {"type": "airflow_token", "secret_file": secret},
            "drain": {"delay": "0s", "timeout": "10s"},
        });
        Self { tree, ..config }
    }

    /// Sets the value at a JSON pointer (`/access/docs`, `/issuers/0/clients`), making what is
    /// missing on the way.
    pub(crate) fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let mut place = &mut self.tree;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/");
            place = match place {
                Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
                map => &mut map[step],
            };
        }
        *place = value.into();
        self
    }

    /// What is at the pointer.
    pub(crate) fn get(&self, pointer: &str) -> Value {
        self.tree.pointer(pointer).cloned().unwrap()
    }

    /// Removes what is at the pointer.
    pub(crate) fn without(mut self, pointer: &str) -> Self {
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        match self.tree.pointer_mut(parent).unwrap() {
            Value::Array(items) => drop(items.remove(last.parse().unwrap())),
            map => drop(map.as_object_mut().unwrap().remove(last)),
        }
        self
    }

    /// Sets a variable of the environment, which is empty otherwise but for `PATH`.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds arguments after `serve -c FILE`.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Writes a file beside the configuration.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn yaml(&self) -> String {
        let mut text = String::new();
        write_members(&self.tree, 0, &mut text);
        text
    }

    /// Everything after the program's name, the file written.
    pub(crate) fn command_line(&self) -> Vec<String> {
        let file = self.file("airside.yaml", &self.yaml());
        let mut line = vec!["serve".to_owned(), "-c".to_owned(), file.display().to_string()];
        line.extend(self.args.clone());
        line
    }

    pub(crate) fn environment(&self) -> &[(String, String)] {
        &self.env
    }
}

fn write_members(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                write!(text, "{indent}{}:", Value::from(name.as_str())).unwrap();
                write_value(member, depth, text);
            }
        }
        Value::Array(items) => {
            for item in items {
                write!(text, "{indent}-").unwrap();
                write_value(item, depth, text);
            }
        }
        _ => unreachable!("scalars are written by write_value"),
    }
}

fn write_value(value: &Value, depth: usize, text: &mut String) {
    let filled = match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if filled {
        text.push('\n');
        write_members(value, depth + 1, text);
    } else {
        writeln!(text, " {value}").unwrap();
    }
}
