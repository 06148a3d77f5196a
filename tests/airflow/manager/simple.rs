//! `AirsideAuthManager`: nobody is known beforehand.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{asserting_with, key, token, with_manager};
use crate::flight::{Flight, post};
use crate::stock::{Recipe, free_port};
use crate::support::entra::APP;
use crate::support::expect::Verdicts;
use crate::support::http::Request;
use crate::support::keys::CurveKey;
use crate::support::wait::eventually;

/// With the passwords of Airflow's own users.
pub(super) fn recipes() -> Vec<Recipe> {
    in_each_release(["manager", "manager-3.2"], Recipe::simple)
}

/// Without any password, below a path, with teams, and with the key set of airside at this port.
fn with_teams(port: u16) -> Vec<Recipe> {
    let address = format!("http://127.0.0.1:{port}/jwks.json");
    in_each_release(["manager-teams", "manager-teams-3.2"], |name, server| {
        Recipe::new(name, server)
            .set("AIRFLOW__CORE__MULTI_TEAM", "True")
            .set("AIRFLOW__API__BASE_URL", "http://airflow.contoso.example/below")
    })
    .into_iter()
    .map(|recipe| recipe.set("AIRSIDE_ASSERTION_PUBLIC_KEY", &address))
    .collect()
}

fn in_each_release(
    [newest, oldest]: [&'static str; 2],
    recipe: impl Fn(&'static str, &'static str) -> Recipe,
) -> Vec<Recipe> {
    let mut servers = vec![(newest, "3.3.2")];
    if cfg!(feature = "airflow-releases") {
        // FAB is there as well, and not used.
        servers.push((oldest, "3.2.2-fab"));
    }
    let with_manager = |(name, server)| with_manager(recipe(name, server), "AirsideAuthManager");
    servers.into_iter().map(with_manager).collect()
}

/// What `test` promises of an Airflow with teams, and with airside's key set: airside signs with
/// `key`, and its admin listener is where that Airflow looks.
fn in_teams(key: &CurveKey, test: impl Fn(&Flight)) {
    static PORT: OnceLock<u16> = OnceLock::new();
    let port = *PORT.get_or_init(free_port);
    for recipe in with_teams(port) {
        let flight = Flight::with(&recipe, |config| {
            asserting_with(key)(config)
                .set("/admin/listen", format!("127.0.0.1:{port}"))
                .set("/roles/teams", json!({"Team.A": ["team_a"], "Team.B": ["team_b"]}))
                .set("/upstream/base_path", "/below")
        });
        flight.airflow.query("INSERT OR IGNORE INTO team VALUES ('team_a'), ('team_b')");
        flight
            .airflow
            .query("INSERT OR IGNORE INTO dag_bundle_team VALUES ('dags-folder', 'team_a')");
        let dags = Request::get("/api/v2/dags").bearer(&token(&["Airflow.Admin"]));
        // Airflow asks for an unknown key not more often than every five seconds.
        eventually("the key is found", || (flight.ask(&dags).status == 200).then_some(()));
        test(&flight);
    }
}

#[test]
fn the_key_set_of_airside_is_enough_and_a_new_key_in_it_is_found() {
    for key in [CurveKey::ed25519(), CurveKey::p256()] {
        in_teams(&key, |flight| {
            let me = flight.whoami(|request| request.bearer(&token(&["Airflow.Viewer"])));
            assert_eq!(me, APP);
        });
    }
}

#[test]
fn an_assertion_fits_its_request_below_a_path_too() {
    in_teams(key(), |flight| {
        for path in ["/api/v2/variables/a%2Fb", "/below/api/v2/variables/a%2Fb?x=1"] {
            let answer = flight.ask(&Request::get(path).bearer(&token(&["Airflow.Admin"])));
            assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        }
    });
}

#[test]
fn a_team_sees_and_changes_what_is_its_own_alone() {
    in_teams(key(), a_team_has_what_is_its_own_alone);
}

fn a_team_has_what_is_its_own_alone(flight: &Flight) {
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
    in_teams(key(), nobody_logs_in_with_a_password);
}

fn nobody_logs_in_with_a_password(flight: &Flight) {
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
