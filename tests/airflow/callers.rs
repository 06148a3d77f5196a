//! Callers with an Entra token: who they are to Airflow, what they may do, who is turned away.

use std::time::Duration;

use serde_json::json;

use crate::flight::{Flight, assert_airflow_says, is_airflows, post};
use crate::support::airside::Airside;
use crate::support::claims::Claims;
use crate::support::config::Config;
use crate::support::entra::{APP, USER, id_token, v1_app, v1_user, v2_app, v2_user};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Connection, Request};
use crate::support::issuer::Issuer;

/// Every kind of Entra access token, and the `oid` that names its caller.
fn kinds() -> [(&'static str, Claims, &'static str); 4] {
    [
        ("v1, app-only", v1_app(), APP),
        ("v2, app-only", v2_app(), APP),
        ("v1, delegated", v1_user(), USER),
        ("v2, delegated", v2_user(), USER),
    ]
}

fn variable(key: &str) -> Request {
    post("/api/v2/variables", &json!({"key": key, "value": "some value"}))
}

fn run(id: &str) -> Request {
    post("/api/v2/dags/demo/dagRuns", &json!({"dag_run_id": id, "logical_date": null}))
}

#[test]
fn app_only_and_delegated_tokens_of_both_versions_read_dags() {
    let flight = Flight::start();
    let mut verdicts = Verdicts::default();
    for (kind, claims, _) in kinds() {
        let answer = flight.ask(&Request::get("/api/v2/dags").bearer(&claims.token()));
        let dag = &answer.json()["dags"][0]["dag_id"];
        verdicts.check(kind, answer.status == 200 && dag == "demo", answer.text());
    }
}

#[test]
fn airflow_takes_the_caller_for_the_oid_of_the_token() {
    let flight = Flight::start();
    for (kind, claims, oid) in kinds() {
        assert_eq!(flight.whoami(|request| request.bearer(&claims.token())), oid, "{kind}");
    }
}

#[test]
fn a_viewer_reads_and_airflow_itself_refuses_it_writing() {
    let flight = Flight::start();
    for (kind, claims, _) in kinds() {
        let token = claims.roles(&["Airflow.Viewer"]).token();
        let read = flight.ask(&Request::get("/api/v2/dags/demo").bearer(&token));
        assert_eq!(read.status, 200, "{kind}: {}", read.text());
        let write = flight.ask(&variable("not-for-viewers").bearer(&token));
        assert_airflow_says(&write, 403, &json!("Forbidden"));
    }
}

#[test]
fn an_op_writes() {
    let flight = Flight::start();
    for (number, (kind, claims, _)) in kinds().into_iter().enumerate() {
        let token = claims.roles(&["Airflow.Op"]).token();
        let answer = flight.ask(&variable(&format!("of-an-op-{number}")).bearer(&token));
        assert_eq!(answer.status, 201, "{kind}: {}", answer.text());
    }
}

#[test]
fn the_highest_of_several_roles_counts() {
    let flight = Flight::start();
    let token = v2_app().roles(&["Airflow.Viewer", "Airflow.Op", "Unheard.Of"]).token();
    let answer = flight.ask(&variable("of-a-viewer-and-op").bearer(&token));
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[test]
fn a_triggered_run_names_its_caller() {
    let flight = Flight::start();
    for (number, (kind, claims, oid)) in kinds().into_iter().enumerate() {
        let token = claims.roles(&["Airflow.User"]).token();
        let answer = flight.ask(&run(&format!("named-{number}")).bearer(&token));
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
        assert_eq!(answer.json()["triggering_user_name"], oid, "{kind}");
    }
}

#[test]
fn a_token_without_a_role_that_counts_is_refused_before_airflow() {
    let flight = Flight::start();
    let mut verdicts = Verdicts::default();
    for (kind, claims, _) in kinds() {
        for (what, token) in [
            ("no roles", claims.clone().without("roles").token()),
            ("an empty list", claims.clone().roles(&[]).token()),
            ("an unmapped role", claims.clone().roles(&["Unheard.Of"]).token()),
            ("a mapped role in other case", claims.clone().roles(&["airflow.op"]).token()),
            ("Airflow's name of a role", claims.roles(&["Admin"]).token()),
        ] {
            for request in [Request::get("/api/v2/dags"), variable("of-nobody")] {
                let answer = flight.ask(&request.bearer(&token));
                verdicts.refused(&format!("{kind}, {what}"), &answer, 403, &["role_missing"]);
            }
        }
    }
}

#[test]
fn the_api_is_closed_without_a_token_and_to_an_id_token() {
    let flight = Flight::start();
    for path in ["/api/v2/dags", "/ui/auth/me", "/ui/config"] {
        assert_refused(&flight.ask(&Request::get(path)), 401, "credential_missing");
        let answer = flight.ask(&Request::get(path).bearer(&id_token().token()));
        assert_refused(&answer, 401, "token_kind");
    }
}

#[test]
fn health_and_version_are_open_to_everybody() {
    let flight = Flight::start();
    let health = flight.ask(&Request::get("/api/v2/monitor/health"));
    assert_eq!(health.status, 200, "{}", health.text());
    assert_eq!(health.json()["metadatabase"]["status"], "healthy");
    let version = flight.ask(&Request::get("/api/v2/version"));
    assert_eq!(version.status, 200, "{}", version.text());
    assert_eq!(version.json()["version"], "3.3.2");
    // A bearer that is worth nothing does no harm there: monitors send what they have.
    let answer = flight.ask(&Request::get("/api/v2/version").bearer("worthless"));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn the_bearer_counts_and_not_the_session_cookie_beside_it() {
    let flight = Flight::start();
    let admin = format!("_token={}", flight.airflow.login("admin"));
    let viewer = v2_user().roles(&["Airflow.Viewer"]).token();
    let with_both = |request: Request| request.bearer(&viewer).cookie(&admin);
    assert_eq!(flight.whoami(with_both), USER);
    let answer = flight.ask(&with_both(variable("by-the-cookie")));
    assert_airflow_says(&answer, 403, &json!("Forbidden"));

    let own = flight.airflow.login("viewer");
    assert_eq!(flight.whoami(|request| request.bearer(&own).cookie(&admin)), "viewer");
}

#[cfg(feature = "airflow-releases")]
#[test]
fn the_cookie_that_wins_in_other_releases_stays_here() {
    for recipe in crate::stock::Recipe::earlier() {
        let flight = Flight::with(&recipe, |config| config);
        let admin = format!("_token={}", flight.airflow.login("admin"));
        let own = flight.airflow.login("viewer");
        let with_both = |key: &str, token: &str| variable(key).bearer(token).cookie(&admin);
        for token in [v2_user().roles(&["Airflow.Viewer"]).token(), own.clone()] {
            let answer = flight.ask(&with_both("by-the-cookie", &token));
            assert_airflow_says(&answer, 403, &json!("Forbidden"));
        }
        // Without airside it is a viewer's bearer and an admin's rights.
        let wins = ["3.1.8", "3.2.2"].contains(&recipe.version());
        let direct = flight.ask_airflow(&with_both("by-the-cookie", &own));
        assert_eq!(direct.status, if wins { 201 } else { 403 }, "{}", direct.text());
    }
}

#[test]
fn encoded_paths_reach_airflow_as_they_came() {
    let flight = Flight::start();
    let op = v2_app().token();
    // A slash in a key, an escape in a key that is not one, a plus and colons in the id of a run.
    for (key, path) in
        [("folder/leaf", "folder%2Fleaf"), ("a+b%2F c", "a%2Bb%252F%20c"), ("ü", "%C3%BC")]
    {
        let made = flight.ask(&variable(key).bearer(&op));
        assert_eq!(made.status, 201, "{key}: {}", made.text());
        let read = flight.ask(&Request::get(&format!("/api/v2/variables/{path}")).bearer(&op));
        assert_eq!(read.status, 200, "{key}: {}", read.text());
        assert_eq!(read.json()["key"], key);
    }
    let id = "manual__2026-01-01T00:00:00+00:00";
    assert_eq!(flight.ask(&run(id).bearer(&op)).status, 200);
    let path = "/api/v2/dags/demo/dagRuns/manual__2026-01-01T00%3A00%3A00%2B00%3A00";
    let read = flight.ask(&Request::get(path).bearer(&op));
    assert_eq!(read.json()["dag_run_id"], id, "{}", read.text());
}

#[test]
fn what_airflow_streams_arrives_line_by_line() {
    let flight = Flight::start();
    let token = v2_app().token();
    assert_eq!(flight.ask(&run("never-finished").bearer(&token)).status, 200);
    // No scheduler runs, so this answer has no end: each line has to come when it is written.
    let wait = Request::get("/api/v2/dags/demo/dagRuns/never-finished/wait?interval=1");
    let mut connection = Connection::open(flight.airside.proxy);
    connection.patience(Duration::from_secs(20));
    connection.send(&wait.bearer(&token).bytes(flight.airside.proxy)).unwrap();
    let head = connection.head().unwrap();
    assert!(head.first.contains(" 200 "), "{head:?}");
    let mut seen = String::new();
    while seen.lines().count() < 2 || !seen.ends_with('\n') {
        let chunk = connection.chunk().unwrap();
        assert!(!chunk.is_empty(), "the stream ended after {seen:?}");
        seen.push_str(&String::from_utf8(chunk).unwrap());
    }
    assert_eq!(seen, "{\"state\": \"queued\"}\n".repeat(2));
}

#[test]
fn a_large_body_passes_whole() {
    let flight = Flight::start();
    let value = "x".repeat(3_000_000);
    let body = json!({"key": "large", "value": value});
    let token = v2_app().token();
    let made = flight.ask(&post("/api/v2/variables", &body).bearer(&token));
    assert_eq!(made.status, 201);
    let read = flight.ask(&Request::get("/api/v2/variables/large").bearer(&token));
    assert_eq!(read.json()["value"], value);
}

#[test]
fn airflows_refusal_of_a_wrong_body_reaches_the_caller() {
    let flight = Flight::start();
    let answer = flight.ask(&post("/api/v2/variables", &json!({})).bearer(&v2_app().token()));
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(is_airflows(&answer));
}

#[test]
fn an_airflow_that_is_not_there_is_502() {
    let issuer = Issuer::start();
    // Port 1 of this machine: nothing listens there, and connecting is refused at once.
    let airside = Airside::start(&Config::new(&issuer.url(), "http://127.0.0.1:1"));
    let with_token = Request::get("/api/v2/dags").bearer(&v2_app().token());
    for request in [with_token, Request::get("/"), Request::get("/api/v2/version")] {
        assert_refused(&airside.ask(&request), 502, "upstream_unavailable");
    }
}
