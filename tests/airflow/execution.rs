//! Workers under /execution/: their calls pass untouched, and Airflow alone judges them.

use serde_json::{Value, json};

use crate::flight::{Flight, assert_airflow_says, is_airflows, post, with_json};
use crate::programs::{beside_the_tests, command, said};
use crate::support::airflow::{self, task_claims};
use crate::support::entra::{now, v2_app};
use crate::support::expect::assert_refused;
use crate::support::http::Request;

/// A task instance that Airflow does not know.
const TASK: &str = "01a200a6-add8-7fb6-b02e-123f4a563095";

fn task_token() -> String {
    airflow::sign(&task_claims(TASK))
}

fn set_variable(flight: &Flight, key: &str, value: &str) {
    let body = json!({"key": key, "value": value});
    let answer = flight.ask(&post("/api/v2/variables", &body).bearer(&v2_app().token()));
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[test]
fn a_task_gets_airflows_own_answers() {
    let flight = Flight::start();
    set_variable(&flight, "for/tasks", "some value");
    let ask = |path: &str| flight.ask(&Request::get(path).bearer(&task_token()));
    let found = ask("/execution/variables/for%2Ftasks");
    assert_eq!(found.status, 200, "{}", found.text());
    assert_eq!(found.json(), json!({"key": "for/tasks", "value": "some value"}));
    for (path, message) in [
        ("/execution/variables/missing", "Variable with key 'missing' not found"),
        ("/execution/connections/missing", "Connection with ID missing not found"),
    ] {
        let detail = json!({"reason": "not_found", "message": message});
        assert_airflow_says(&ask(path), 404, &detail);
    }
    let beat = json!({"hostname": "worker", "pid": 1});
    let beat = |task: &str| {
        let path = format!("/execution/task-instances/{task}/heartbeat");
        flight.ask(&with_json("PUT", &path, &beat).bearer(&task_token()))
    };
    let unknown = json!({"reason": "not_found", "message": "Task Instance not found"});
    assert_airflow_says(&beat(TASK), 404, &unknown);
    let other = beat("01a200a6-add8-7fb6-b02e-000000000000");
    assert_airflow_says(&other, 403, &json!("Token subject does not match task instance ID"));
}

#[test]
fn airflow_alone_refuses_who_is_not_a_task() {
    let flight = Flight::start();
    set_variable(&flight, "not for everybody", "some value");
    let variable = Request::get("/execution/variables/not%20for%20everybody");
    assert_airflow_says(&flight.ask(&variable), 401, &json!("Missing auth token"));
    let expired = airflow::sign(&task_claims(TASK).with("exp", now() - 3600));
    for (who, token) in [
        ("Entra", v2_app().token()),
        ("Airflow's login", flight.airflow.login("admin")),
        ("an expired task", expired),
        ("nonsense", "worthless".to_owned()),
    ] {
        let answer = flight.ask(&variable.clone().bearer(&token));
        assert_eq!(answer.text(), r#"{"detail":"Invalid auth token"}"#, "{who}");
        assert_eq!(answer.status, 403, "{who}");
    }
    let cookie = format!("_token={}", flight.airflow.login("admin"));
    let answer = flight.ask(&variable.cookie(&cookie));
    assert_airflow_says(&answer, 401, &json!("Missing auth token"));
}

#[test]
fn health_of_the_execution_api_is_airflows_to_tell() {
    let flight = Flight::start();
    let health = flight.ask(&Request::get("/execution/health"));
    assert_eq!(health.status, 200, "{}", health.text());
    assert_eq!(health.json(), json!({"status": "healthy"}));
}

#[test]
fn the_token_of_a_task_does_not_open_the_api() {
    let flight = Flight::start();
    let dags = Request::get("/api/v2/dags");
    // As Airflow makes it, with the role of an admin added, and without the scope that tells.
    let with_role = airflow::sign(&task_claims(TASK).with("role", "admin"));
    let workload = airflow::sign(&task_claims(TASK).with("scope", "workload"));
    for token in [task_token(), with_role, workload] {
        assert_refused(&flight.ask(&dags.clone().bearer(&token)), 401, "token_kind");
    }
    let unscoped = airflow::sign(&task_claims(TASK).without("scope"));
    let answer = flight.ask(&dags.bearer(&unscoped));
    assert_refused(&answer, 401, "audience_mismatch");
}

#[test]
fn a_renewed_token_and_the_version_of_the_api_reach_the_worker() {
    a_token_is_renewed(&Flight::start());
}

/// A worker gets its token renewed by Airflow; fails the test when it does not.
pub(crate) fn a_token_is_renewed(flight: &Flight) {
    // Airflow renews a token that has little left of its life.
    let old = airflow::sign(&task_claims(TASK).with("exp", now() + 20));
    let variable = Request::get("/execution/variables/missing");
    let answer = flight.ask(&variable.header("Airflow-API-Version", "2025-04-11").bearer(&old));
    assert_eq!(answer.header("airflow-api-version"), Some("2025-04-11"), "{:?}", answer.head);
    let new = answer.header("refreshed-api-token").expect("a renewed token").to_owned();
    let health = flight.ask(&Request::get("/execution/connections/missing").bearer(&new));
    assert!(health.status == 404 && is_airflows(&health), "{}", health.text());
}

#[test]
fn airflows_own_worker_client_takes_a_task_from_start_to_success() {
    a_task_goes_from_start_to_success(&Flight::start());
}

/// Airflow's own worker client runs a task through airside; fails the test when it cannot.
pub(crate) fn a_task_goes_from_start_to_success(flight: &Flight) {
    let op = v2_app().token();
    let variable = json!({"key": "for the worker", "value": "some value"});
    let made = flight.ask(&post("/api/v2/variables", &variable).bearer(&op));
    assert!(matches!(made.status, 201 | 409), "{}", made.text());
    let run = json!({"logical_date": null});
    let started = flight.ask(&post("/api/v2/dags/demo/dagRuns", &run).bearer(&op));
    assert_eq!(started.status, 200, "{}", started.text());
    let run = started.json()["dag_run_id"].as_str().expect("an id").to_owned();
    let path = format!("/api/v2/dags/demo/dagRuns/{run}/taskInstances");
    let tasks = || flight.ask(&Request::get(&path).bearer(&op)).json()["task_instances"][0].clone();
    let task = tasks()["id"].as_str().expect("the id of the task").to_owned();

    let workload = airflow::sign(&task_claims(&task).with("scope", "workload"));
    let home = tempfile::tempdir().unwrap();
    let worker = command(&flight.airflow.program("python"), home.path())
        .arg(beside_the_tests("worker.py"))
        .args([&flight.url(), &workload])
        .arg(flight.airflow.database())
        .arg(&task)
        .output()
        .unwrap();
    let seen: Value = serde_json::from_str(said(&worker).lines().last().unwrap()).unwrap();
    assert_eq!(seen, json!({"renewed": true, "variable": "some value", "pushed": "42"}));
    assert_eq!(tasks()["state"], "success");
}
