//! The programs that people use: the official Python client and airflowctl, stock, through airside.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::flight::Flight;
use crate::programs::{beside_the_tests, command, program, said};
use crate::stock::password;
use crate::support::entra::{APP, USER, v1_app, v2_app, v2_user};

/// Runs tests/airflow/client.py with this token and returns what it saw.
fn python_client(flight: &Flight, token: &str) -> Value {
    let home = tempfile::tempdir().unwrap();
    let output = command(&program("clients", "python"), home.path())
        .arg(beside_the_tests("client.py"))
        .args([&flight.url(), token])
        .output()
        .unwrap();
    serde_json::from_str(&said(&output)).unwrap()
}

/// airflowctl as somebody uses it, with a home of its own.
pub(crate) struct Airflowctl {
    home: TempDir,
    token: Option<String>,
}

impl Airflowctl {
    pub(crate) fn new(token: Option<String>) -> Self {
        Self { home: tempfile::tempdir().unwrap(), token }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let mut airflowctl = command(&program("clients", "airflowctl"), self.home.path());
        if let Some(token) = &self.token {
            airflowctl.env("AIRFLOW_CLI_TOKEN", token);
        } else {
            // Keeps the token in a file of its home; the alternative is the machine's keyring.
            airflowctl.env("AIRFLOW_CLI_DEBUG_MODE", "true");
        }
        airflowctl.args(args).output().unwrap()
    }

    pub(crate) fn log_in(&self, flight: &Flight, user: &str, password: &str) -> Output {
        let url = flight.url();
        let who = ["--username", user, "--password", password];
        self.run(&[&["auth", "login", "--api-url", &url], &who[..]].concat())
    }

    /// The identifiers that `airflowctl dags list` prints.
    pub(crate) fn dags(&self) -> Value {
        let listed = said(&self.run(&["dags", "list", "--output", "json"]));
        let start = listed.find('[').expect("a list");
        let dags: Vec<Value> = serde_json::from_str(&listed[start..]).unwrap();
        dags.into_iter().map(|dag| dag["dag_id"].clone()).collect()
    }

    fn file(&self, name: &str) -> Value {
        let path: &Path = &self.home.path().join(name);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}

#[test]
fn the_python_client_works_with_an_entra_token() {
    let flight = Flight::start();
    let user = python_client(&flight, &v1_app().roles(&["Airflow.User"]).token());
    let expected = json!({
        "dags": ["demo"], "triggering_user_name": APP, "writing": [403, "Forbidden"],
    });
    assert_eq!(user, expected);
    let op = python_client(&flight, &v2_user().roles(&["Airflow.Op"]).token());
    let expected = json!({"dags": ["demo"], "triggering_user_name": USER, "writing": [201, null]});
    assert_eq!(op, expected);
}

#[test]
fn the_python_client_is_told_why_it_is_refused() {
    let flight = Flight::start();
    let seen = python_client(&flight, &v2_app().without("roles").token());
    assert_eq!(seen["refused"][0], 403, "{seen}");
    assert_eq!(seen["refused"][1]["reason"], "role_missing", "{seen}");
}

#[test]
fn airflowctl_works_with_an_entra_token() {
    let flight = Flight::start();
    let airflowctl = Airflowctl::new(Some(v2_app().token()));
    said(&airflowctl.run(&["auth", "login", "--api-url", &flight.url(), "--skip-keyring"]));
    assert_eq!(airflowctl.dags(), json!(["demo"]));
    let version = said(&airflowctl.run(&["version", "--remote"]));
    assert!(version.contains("'version': '3.3.2'"), "{version}");
}

#[test]
fn airflowctl_logs_in_with_a_password() {
    let flight = Flight::start();
    let airflowctl = Airflowctl::new(None);
    let login = |password: &str| airflowctl.log_in(&flight, "viewer", password);
    assert!(!login("not the password").status.success());
    said(&login(&password("viewer")));
    assert_eq!(airflowctl.file("production.json")["api_url"], flight.url());
    assert_eq!(airflowctl.dags(), json!(["demo"]));
    let version = said(&airflowctl.run(&["version", "--remote"]));
    assert!(version.contains("'version': '3.3.2'"), "{version}");
}
