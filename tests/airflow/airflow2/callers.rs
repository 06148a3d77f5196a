//! Callers with an Entra token: who they are to Airflow 2, what they may do, who is turned away.

use std::thread;

use serde_json::json;

use super::{app, asserting, chained, key, mapped, owner_of, variable};
use crate::compatibility::{self, Subject};
use crate::flight::{Flight, post, with_json};
use crate::support::entra::{APP, USER, now, v1_app, v1_user, v2_app, v2_user};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Connection, Request, Response};

fn flight() -> Flight {
    Flight::with(&chained(), asserting)
}

/// Whether Airflow itself refused, and with what.
fn is_airflows(answer: &Response, status: u16) -> bool {
    let ours = answer.text().contains("urn:airside:");
    answer.status == status && !ours && answer.json()["status"] == status
}

#[test]
fn every_kind_of_entra_token_is_told_apart_by_its_roles() {
    let flight = Flight::with(&chained(), mapped);
    let subject = Subject {
        airflow: chained().version(),
        manager: "FabAuthManager",
        handoff: "`headers`, assertion",
    };
    compatibility::prove(&flight, &subject);
}

#[test]
fn each_role_does_what_airflow_lets_it_do() {
    let flight = flight();
    let mut verdicts = Verdicts::default();
    let requests = [
        ("reads DAGs", Request::get("/api/v1/dags")),
        ("pauses a DAG", with_json("PATCH", "/api/v1/dags/demo", &json!({"is_paused": false}))),
        ("writes a variable", variable("of-a-role")),
        ("reads a role", Request::get("/api/v1/roles/Op")),
        ("lists roles", Request::get("/auth/fab/v1/roles")),
    ];
    for (role, allowed) in [
        ("Viewer", [true, false, false, false, false]),
        ("User", [true, true, false, false, false]),
        ("Op", [true, true, true, false, false]),
        ("Admin", [true, true, true, true, true]),
    ] {
        let token = app(&format!("with-role-{role}"), &[role]);
        for ((what, request), allowed) in requests.iter().zip(allowed) {
            let answer = flight.ask(&request.clone().bearer(&token));
            let fits = if allowed { answer.status == 200 } else { is_airflows(&answer, 403) };
            verdicts.check(&format!("{role} {what}"), fits, answer.text());
        }
    }
}

#[test]
fn tokens_of_every_kind_are_the_user_of_their_oid() {
    let flight = flight();
    for (kind, claims, oid) in [
        ("v1-app", v1_app(), APP),
        ("v2-app", v2_app(), APP),
        ("v1-user", v1_user(), USER),
        ("v2-user", v2_user(), USER),
    ] {
        let token = claims.roles(&["Op"]).token();
        let key = format!("by-{kind}");
        let answer = flight.ask(&variable(&key).bearer(&token));
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
        assert_eq!(owner_of(&flight, "api.variable.create", &key), oid, "{kind}");
    }
}

#[test]
fn a_triggered_run_stands_in_the_audit_log_under_its_caller() {
    let flight = flight();
    let run =
        post("/api/v1/dags/demo/dagRuns", &json!({"dag_run_id": "triggered", "note": "mine"}));
    let answer = flight.ask(&run.bearer(&app("trigger", &["User"])));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(owner_of(&flight, "api.post_dag_run", "mine"), "trigger");
}

#[test]
fn several_roles_and_roles_of_ones_own_count_together() {
    let map = json!({"Reads": ["Viewer"], "Writes": ["VariableWriter"]});
    let flight =
        Flight::with(&chained(), |config| asserting(config).set("/roles", json!({"map": map})));
    // Made by an administrator of another airside, so to say: this one's map has none.
    let actions = json!([{"action": {"name": "can_create"}, "resource": {"name": "Variables"}}]);
    let role = post("/auth/fab/v1/roles", &json!({"name": "VariableWriter", "actions": actions}));
    let made = flight.ask_airflow(&asserted(role, "POST", "/auth/fab/v1/roles", &["Admin"]));
    assert_eq!(made.status, 200, "{}", made.text());
    let read = Request::get("/api/v1/dags");
    for (roles, reads, writes) in [
        (&["Reads"][..], 200, 403),
        (&["Writes"], 403, 200),
        (&["Reads", "Writes"], 200, 200),
        // What the last request was allowed is not left over.
        (&["Reads"], 200, 403),
    ] {
        let token = app("of-several-roles", roles);
        let key = format!("of-several-roles-{}", roles.len());
        let answer = flight.ask(&read.clone().bearer(&token));
        assert_eq!(answer.status, reads, "{roles:?}: {}", answer.text());
        let answer = flight.ask(&variable(&key).bearer(&token));
        assert_eq!(answer.status, writes, "{roles:?}: {}", answer.text());
    }
}

#[test]
fn a_role_that_airflow_does_not_know_is_airflows_own_403() {
    let map = json!({"Reads": ["Viewer"], "Commands": ["Captain"]});
    let flight =
        Flight::with(&chained(), |config| asserting(config).set("/roles", json!({"map": map})));
    let ask = |roles| flight.ask(&Request::get("/api/v1/dags").bearer(&app("captain", roles)));
    let answer = ask(&["Commands"]);
    assert!(is_airflows(&answer, 403), "{}", answer.text());
    assert_eq!(ask(&["Commands", "Reads"]).status, 200);
    // And one that airside does not know is not even asked about.
    assert_refused(&ask(&["Unheard.Of"]), 403, "role_missing");
}

#[test]
fn many_first_requests_at_once_make_one_user() {
    let flight = flight();
    let token = app("newcomer", &["Viewer"]);
    thread::scope(|scope| {
        let ask = || flight.ask(&Request::get("/api/v1/dags").bearer(&token)).status;
        let running: Vec<_> = (0..12).map(|_| scope.spawn(ask)).collect();
        for asked in running {
            assert_eq!(asked.join().unwrap(), 200);
        }
    });
    let rows = flight
        .airflow
        .query("SELECT username, email, password FROM ab_user WHERE username = 'newcomer'");
    assert_eq!(rows, json!([["newcomer", "newcomer@airside.invalid", "!"]]));
}

#[test]
fn no_session_comes_out_of_a_token() {
    let flight = flight();
    let path = "/auth/fab/v1/roles";
    let admin = app("administrator", &["Admin"]);
    let answer = flight.ask(&Request::get(path).bearer(&admin));
    assert_eq!((answer.status, answer.header("set-cookie")), (200, None));
    // Airflow hands one out, but nobody stands in it.
    let answer = flight.ask_airflow(&asserted(Request::get(path), "GET", path, &["Admin"]));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cookie = answer.header("set-cookie").expect("Airflow's session").split(';').next().unwrap();
    let answer = flight.ask_airflow(&Request::get(path).cookie(cookie));
    assert!(is_airflows(&answer, 401), "{}", answer.text());
}

#[test]
fn past_airside_names_without_a_signature_open_nothing() {
    let flight = flight();
    let mut verdicts = Verdicts::default();
    let (path, other) = ("/api/v1/dags", "/api/v1/pools");
    let forged = Request::get(path)
        .header("X-Airside-User", "admin")
        .header("X-Airside-Roles", "Admin")
        .header("X-Remote-User", "admin")
        .header("Remote-User", "admin");
    let bearer = Request::get(path).bearer(&app("a", &["Admin"]));
    let elsewhere = asserted(Request::get(other), "GET", path, &["Admin"]);
    let otherwise = asserted(Request::new("HEAD", path), "GET", path, &["Admin"]);
    for (what, request) in [
        ("names", &forged),
        ("a token", &bearer),
        ("another path", &elsewhere),
        ("another method", &otherwise),
    ] {
        let answer = flight.ask_airflow(request);
        verdicts.check(what, answer.status == 401, (answer.status, answer.text()));
    }
    let good = flight.ask_airflow(&asserted(Request::get(path), "GET", path, &["Admin"]));
    verdicts.check("an assertion", good.status == 200, good.text());
    // Through airside nobody brings one along.
    let brought = asserted(Request::get(path), "GET", path, &["Admin"]);
    verdicts.refused("one brought along", &flight.ask(&brought), 401, &["credential_missing"]);
}

#[test]
fn encoded_paths_are_asserted_as_they_came() {
    let flight = flight();
    let op = app("encoder", &["Op"]);
    for (key, path) in [
        ("folder/leaf", "folder%2Fleaf"),
        ("a+b%2F c", "a%2Bb%252F%20c"),
        ("ü", "%C3%BC"),
        ("x", "%78"),
    ] {
        let made = flight.ask(&variable(key).bearer(&op));
        assert_eq!(made.status, 200, "{key}: {}", made.text());
        let read = flight.ask(&Request::get(&format!("/api/v1/variables/{path}")).bearer(&op));
        assert_eq!(read.status, 200, "{key}: {}", read.text());
        assert_eq!(read.json()["key"], key);
    }
}

#[test]
fn a_large_body_of_unknown_length_passes_whole() {
    let flight = flight();
    let value = "x".repeat(300_000);
    let body = json!({"key": "large", "value": value}).to_string();
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let op = app("sender", &["Op"]);
    let request = Request::new("POST", "/api/v1/variables")
        .header("Content-Type", "application/json")
        .header("Transfer-Encoding", "chunked")
        .bearer(&op);
    let mut bytes = request.bytes(flight.airside.proxy);
    bytes.extend_from_slice(chunked.as_bytes());
    let mut connection = Connection::open(flight.airside.proxy);
    connection.send(&bytes).unwrap();
    let made = connection.response_to("POST").unwrap();
    assert_eq!(made.status, 200, "{}", made.text());
    let read = flight.ask(&Request::get("/api/v1/variables/large").bearer(&op));
    assert_eq!(read.json()["value"], value);
}

/// The request with an assertion as airside would make it for this method and path.
fn asserted(request: Request, method: &str, path: &str, roles: &[&str]) -> Request {
    let header = json!({"typ": "airside-assertion+jwt", "alg": "EdDSA"});
    let claims = json!({
        "iss": "airside", "sub": "asserted", "roles": roles, "aud": "airflow", "iat": now(),
        "exp": now() + 30, "jti": "0123456789abcdef", "htm": method, "htu": path,
    });
    request.header("X-Airside-Assertion", &key().sign(&header, &claims))
}
