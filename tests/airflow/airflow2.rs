//! Promises about Airflow 2.10.5 with Flask-AppBuilder: its own webserver, with the backend that
//! ships in config/airflow2 and, beside it or alone, with Airflow's own.

mod backend;
mod browser;
mod callers;
mod discussion;
pub(crate) mod passwords;
mod routes;

use std::path::Path;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::flight::{Flight, post};
use crate::programs::{beside_the_tests, built};
use crate::stock::Recipe;
use crate::support::config::Config;
use crate::support::entra::v1_app;
use crate::support::http::Request;
use crate::support::keys::CurveKey;

/// Names of backends in `[api] auth_backends`.
pub(crate) const OURS: &str = "airside_auth_backend";
pub(crate) const BASIC: &str = "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth";
pub(crate) const SESSION: &str = "airflow.api.auth.backend.session";
#[cfg(feature = "kerberos-tests")]
pub(crate) const KERBEROS: &str =
    "airflow.providers.fab.auth_manager.api.auth.backend.kerberos_auth";

/// What signs assertions; Airflow's side has the public half.
pub(crate) fn key() -> &'static CurveKey {
    static KEY: OnceLock<CurveKey> = OnceLock::new();
    KEY.get_or_init(CurveKey::ed25519)
}

/// Airflow 2.10.5 that asks these backends in turn, by two processes of its own.
pub(crate) fn airflow_2(name: &'static str, server: &'static str, backends: &[&str]) -> Recipe {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/airflow2");
    let path = format!("{}:{}", ours.display(), beside_the_tests("airflow2").display());
    Recipe::new(name, server)
        .set("AIRFLOW__API__AUTH_BACKENDS", &backends.join(","))
        .set("AIRFLOW__WEBSERVER__WORKERS", "2")
        .set("PYTHONPATH", &path)
        // What Python compiles of these folders stays out of them.
        .set("PYTHONPYCACHEPREFIX", &built().join("compiled").display().to_string())
        .set("AIRSIDE_ASSERTION_PUBLIC_KEY", "{home}/assertion.pem")
        .file("assertion.pem", key().public_pem())
}

/// Our backend first, then passwords, then the browser's session.
pub(crate) fn chained() -> Recipe {
    airflow_2("airflow-2", "2.10.5", &[OURS, BASIC, SESSION])
}

/// airside in front of an Airflow 2, without a map of roles.
pub(crate) fn asserting(config: Config) -> Config {
    mapped(config).without("/roles")
}

/// With the usual map: each request carries an assertion.
fn mapped(config: Config) -> Config {
    let key = config.file("assertion.key", &key().private_pem());
    config
        .set("/upstream/airflow", 2)
        .set("/handoff", json!({"type": "headers", "assertion": {"private_key_file": key}}))
}

pub(crate) fn delegating(config: Config) -> Config {
    asserting(config).set("/access/delegate", json!({"basic": true, "negotiate": true}))
}

/// An application of this name with these app roles, as the discussion's: app-only, version 1.
pub(crate) fn app(name: &str, roles: &[&str]) -> String {
    v1_app().with("oid", name).with("sub", name).roles(roles).token()
}

pub(crate) fn variable(key: &str) -> Request {
    post("/api/v1/variables", &json!({"key": key, "value": "some value"}))
}

/// A user with a password, made through Airflow's own API by an administrator without one.
pub(crate) fn make_user(flight: &Flight, name: &str, password: &str, role: &str) {
    let user = json!({
        "username": name, "password": password, "email": format!("{name}@contoso.example"),
        "first_name": "A", "last_name": "User", "roles": [{"name": role}],
    });
    let admin = app("the-maker-of-users", &["Admin"]);
    let answer = flight.ask(&post("/auth/fab/v1/users", &user).bearer(&admin));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Who did this, in the words of Airflow's audit log: the owner of its last entry with this event
/// and text.
pub(crate) fn owner_of(flight: &Flight, event: &str, text: &str) -> Value {
    let path = format!("/api/v1/eventLogs?event={event}&order_by=-event_log_id&limit=100");
    let answer = flight.ask(&Request::get(&path).bearer(&app("the-auditor", &["Admin"])));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let logs = answer.json();
    let entry = logs["event_logs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["extra"].as_str().is_some_and(|extra| extra.contains(text)));
    entry.unwrap_or_else(|| panic!("no {event} with {text} in {logs}"))["owner"].clone()
}
