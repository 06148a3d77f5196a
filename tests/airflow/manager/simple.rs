//! `AirsideAuthManager`: nobody is known beforehand.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{asserting_with, key, token, with_manager};
use crate::flight::{Flight, post};
use crate::stock::{Recipe, free_port};

use crate::support::expect::Verdicts;
use crate::support::http::Request;
use crate::support::keys::CurveKey;
use crate::support::wait::eventually;

/// With the passwords of Airflow's own users.
pub(super) fn recipe() -> Recipe {
    with_manager(Recipe::simple("manager", "3.3.2"), "AirsideAuthManager")
}

/// Without any password, with teams, and with the key set of airside at this port.
fn with_teams(port: u16) -> Recipe {
    let address = format!("http://127.0.0.1:{port}/jwks.json");
    with_manager(Recipe::new("manager-teams", "3.3.2"), "AirsideAuthManager")
        .set("AIRSIDE_ASSERTION_PUBLIC_KEY", &address)
        .set("AIRFLOW__CORE__MULTI_TEAM", "True")
}

/// airside with its admin listener where that Airflow looks for its keys.
fn flight(key: &CurveKey) -> Flight {
    static PORT: OnceLock<u16> = OnceLock::new();
    let port = *PORT.get_or_init(free_port);
    let teams = json!({"Team.A": ["team_a"], "Team.B": ["team_b"]});
    let flight = Flight::with(&with_teams(port), |config| {
        asserting_with(key)(config)
            .set("/admin/listen", format!("127.0.0.1:{port}"))
            .set("/roles/teams", teams)
    });
    let bundle = "INSERT OR IGNORE INTO dag_bundle_team VALUES ('dags-folder', 'team_a')";
    flight.airflow.query("INSERT OR IGNORE INTO team VALUES ('team_a'), ('team_b')");
    flight.airflow.query(bundle);
    flight
}

#[test]
fn the_key_set_of_airside_is_enough_and_a_new_key_in_it_is_found() {
    let dags = Request::get("/api/v2/dags").bearer(&token(&["Airflow.Admin"]));
    let first = flight(key());
    assert_eq!(first.ask(&dags).status, 200);
    drop(first);
    let second = flight(&CurveKey::p256());
    // Airflow asks for an unknown key not more often than every five seconds.
    eventually("the new key is found", || (second.ask(&dags).status == 200).then_some(()));
}

#[test]
fn a_team_sees_and_changes_what_is_its_own_alone() {
    let flight = flight(key());
    let dags = Request::get("/api/v2/dags").bearer(&token(&["Airflow.Op"]));
    eventually("the key is found", || (flight.ask(&dags).status == 200).then_some(()));
    let of = |team: &str| token(&["Airflow.Op", team]);
    let owned = |key: &str, team: &str| {
        post("/api/v2/variables", &json!({"key": key, "value": "x", "team_name": team}))
    };
    let mut verdicts = Verdicts::default();
    for (who, team, demo, dags, own, others) in [
        ("team A", "Team.A", 200, json!(["demo"]), 201, 403),
        ("team B", "Team.B", 403, json!([]), 403, 201),
        ("no team", "Team.C", 403, json!([]), 403, 403),
    ] {
        let ask = |request: Request| flight.ask(&request.bearer(&of(team)));
        let answer = ask(Request::get("/api/v2/dags/demo"));
        verdicts.check(&format!("{who}: the DAG"), answer.status == demo, answer.text());
        let listed = ask(Request::get("/api/v2/dags"));
        let ids: Value = listed.json()["dags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|dag| dag["dag_id"].clone())
            .collect();
        verdicts.check(&format!("{who}: DAGs"), ids == dags, listed.text());
        let answer = ask(owned(&format!("a of {team}"), "team_a"));
        verdicts.check(&format!("{who}: variable of A"), answer.status == own, answer.text());
        let answer = ask(owned(&format!("b of {team}"), "team_b"));
        verdicts.check(&format!("{who}: variable of B"), answer.status == others, answer.text());
    }
    let read = Request::get("/api/v2/variables/a%20of%20Team.A");
    assert_eq!(flight.ask(&read.clone().bearer(&of("Team.A"))).status, 200);
    assert_eq!(flight.ask(&read.bearer(&of("Team.B"))).status, 403);
}

#[test]
fn without_a_file_of_passwords_there_is_no_login_and_none_is_made_up() {
    let flight = flight(key());
    for page in ["/auth/login", "/auth/login?next=http%3A%2F%2Flocalhost%2Fdags"] {
        let page = flight.ask(&Request::get(page));
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(page.status == 403 && page.text().contains("airside"), "{}", page.text());
    }
    let body = json!({"username": "admin", "password": "admin"});
    for door in ["/auth/token", "/auth/token/cli"] {
        let answer = flight.ask(&post(door, &body));
        assert!(answer.status == 403 && answer.text().contains("airside"), "{}", answer.text());
    }
    assert!(!flight.airflow.file("simple_auth_manager_passwords.json.generated").exists());
    let log = std::fs::read_to_string(flight.airflow.file("log")).unwrap();
    for word in ["Password for user", "looks like production"] {
        assert!(!log.contains(word), "{log}");
    }
}
