//! Workers whose tokens are verified first: Airflow's own client works on, and nobody is refused whom
//! an Airflow would let in.

use serde_json::{Value, json};

use crate::execution::{a_task_goes_from_start_to_success, a_token_is_renewed};
use crate::flight::Flight;
use crate::programs::{beside_the_tests, command, said};
use crate::stock::Recipe;
use crate::support::airflow::{self, task_claims};
use crate::support::claims::Claims;
use crate::support::config::Config;
use crate::support::entra::{now, v2_app};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Request, Response};

/// Task instances that Airflow does not know.
const TASK: &str = "01a200a6-add8-7fb6-b02e-123f4a563095";
const OTHER: &str = "01a200a6-add8-7fb6-b02e-000000000000";

fn verifying(config: Config) -> Config {
    // As strict on time as it can be set.
    config.set("/access/execution_api", "verify").set("/leeway", "0s")
}

#[test]
fn airflows_own_worker_client_does_not_notice_that_its_token_is_verified() {
    a_task_goes_from_start_to_success(&Flight::with(&Recipe::usual(), verifying));
}

#[test]
fn a_renewed_token_reaches_the_worker_and_verifies() {
    a_token_is_renewed(&Flight::with(&Recipe::usual(), verifying));
}

#[test]
fn what_airflow_would_refuse_does_not_reach_it() {
    let flight = Flight::with(&Recipe::usual(), verifying);
    let variable = Request::get("/execution/variables/x");
    for (token, reason) in [
        (v2_app().token(), "token_kind"),
        (flight.airflow.login("admin"), "audience_mismatch"),
        (airflow::sign(&task_claims(TASK).with("exp", now() - 3600)), "token_expired"),
        (airflow::sign(&task_claims(TASK).with("scope", "workload")), "token_kind"),
    ] {
        let original = flight.ask_airflow(&variable.clone().bearer(&token));
        assert_eq!(original.status, 403, "{}", original.text());
        assert_refused(&flight.ask(&variable.clone().bearer(&token)), 401, reason);
    }
    assert_refused(&flight.ask(&variable), 401, "credential_missing");
    let health = flight.ask(&Request::get("/execution/health"));
    assert_eq!(health.json(), json!({"status": "healthy"}));
}

#[test]
fn the_current_release_refuses_whomever_airside_refuses() {
    compare(&Recipe::usual());
}

#[cfg(feature = "airflow-releases")]
#[test]
fn every_release_refuses_whomever_airside_refuses() {
    for recipe in Recipe::earlier() {
        compare(&recipe);
    }
}

/// Every route of this Airflow's task API and every kind of token: whoever gets in at Airflow gets in
/// through airside, and whom airside knows to refuse, Airflow refuses.
fn compare(recipe: &Recipe) {
    let flight = Flight::with(recipe, verifying);
    let mut verdicts = Verdicts::default();
    let routes = routes(&flight);
    assert!(routes.len() > 25, "the task API has more routes than {}", routes.len());
    for (method, template) in &routes {
        let mut paths = [TASK, OTHER].map(|id| filled(template, id)).to_vec();
        paths.dedup();
        for path in paths {
            let line = format!("{method} /execution{path}");
            for (kind, token) in tokens(recipe) {
                let request = request(&line).bearer(&token);
                let (original, answer) = (flight.ask_airflow(&request), flight.ask(&request));
                let label = format!("{} {kind} {line}", recipe.version());
                verdicts.case(&label, agree(&original, &answer, is_left_to_airflow(template)));
            }
        }
    }
    for (kind, claims) in variants() {
        let token = airflow::sign(&claims);
        for line in ["GET /execution/variables/x", &format!("{BEAT}/{TASK}/heartbeat")] {
            let request = request(line).bearer(&token);
            let (original, answer) = (flight.ask_airflow(&request), flight.ask(&request));
            let label = format!("{} {kind} {line}", recipe.version());
            verdicts.case(&label, agree(&original, &answer, true));
        }
    }
}

const BEAT: &str = "PUT /execution/task-instances";

/// `lenient`, where airside may let somebody pass whom this Airflow refuses.
fn agree(original: &Response, answer: &Response, lenient: bool) -> Result<(), String> {
    let refused = answer.header("content-type") == Some("application/problem+json");
    let would_be = is_refusal(original);
    let said = || format!("airside: {}; Airflow: {}", answer.text(), original.text());
    match (refused, would_be) {
        (true, false) => Err(format!("stricter than Airflow: {}", said())),
        (false, true) if !lenient => Err(format!("lets pass: {}", said())),
        (false, _) if answer.status != original.status => Err(format!("changed: {}", said())),
        _ => Ok(()),
    }
}

/// Whether Airflow refused the token itself; 500 is what 3.2 and later make of a subject that is none
/// of a task's.
fn is_refusal(answer: &Response) -> bool {
    matches!(answer.status, 401 | 403 | 500)
}

/// Where one release compares and another does not, or asks for less than a task's token.
fn is_left_to_airflow(template: &str) -> bool {
    ["/task-reschedules/", "/connection-tests/"].iter().any(|root| template.starts_with(root))
}

/// The kinds of token that this Airflow gives its workers.
fn tokens(recipe: &Recipe) -> Vec<(&'static str, String)> {
    let plain = task_claims(TASK).without("scope");
    let mut tokens = vec![("of a task", airflow::sign(&plain))];
    // 3.0 and 3.1 neither write a scope nor look at one.
    if !["3.0.6", "3.1.8"].contains(&recipe.version()) {
        for scope in ["execution", "workload"] {
            tokens.push((scope, airflow::sign(&plain.clone().with("scope", scope))));
        }
    }
    tokens
}

/// Tokens that Airflow might make, or once made.
fn variants() -> Vec<(&'static str, Claims)> {
    let task = || task_claims(TASK);
    vec![
        ("no nbf", task().without("nbf")),
        ("no jti", task().without("jti")),
        ("no scope", task().without("scope")),
        ("aud list", task().with("aud", json!(["urn:airflow.apache.org:task", "x"]))),
        ("iss []", task().with("iss", json!([]))),
        ("further claims", task().with("x", json!({"y": [1, null]}))),
        ("sub in upper case", task().with("sub", TASK.to_uppercase())),
        ("sub without hyphens", task().with("sub", TASK.replace('-', ""))),
        ("sub in braces", task().with("sub", format!("{{{TASK}}}"))),
        ("sub as a URN", task().with("sub", format!("urn:uuid:{TASK}"))),
        ("exp with a fraction", task().with("exp", json!(i32::MAX).as_f64().unwrap() + 0.5)),
        ("expired within the leeway", task().with("exp", now() - 5)),
        ("expired", task().with("exp", now() - 60)),
        ("nbf within the leeway", task().with("nbf", now() + 5)),
        ("nbf", task().with("nbf", now() + 60)),
        ("iat within the leeway", task().with("iat", now() + 5)),
        ("iat", task().with("iat", now() + 60)),
        ("no exp", task().without("exp")),
        ("no iat", task().without("iat")),
        ("no aud", task().without("aud")),
        ("another aud", task().with("aud", "apache-airflow")),
        ("sub is no UUID", task().with("sub", "admin")),
    ]
}

fn routes(flight: &Flight) -> Vec<(String, String)> {
    let home = tempfile::tempdir().unwrap();
    let listed = command(&flight.airflow.program("python"), home.path())
        .arg(beside_the_tests("task_routes.py"))
        .output()
        .unwrap();
    let routes: Value = serde_json::from_str(said(&listed).lines().last().unwrap()).unwrap();
    serde_json::from_value(routes).unwrap()
}

/// The path with this id, and `x` for everything else.
fn filled(template: &str, id: &str) -> String {
    let segment = |segment: &str| match segment {
        "{task_instance_id}" | "{connection_test_id}" => id.to_owned(),
        other if other.starts_with('{') => "x".to_owned(),
        other => other.to_owned(),
    };
    template.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn request(line: &str) -> Request {
    let (method, path) = line.split_once(' ').unwrap();
    let request = Request::new(method, path);
    let bodiless = matches!(method, "GET" | "HEAD" | "DELETE");
    if bodiless { request } else { request.header("Content-Type", "application/json").body("{}") }
}
