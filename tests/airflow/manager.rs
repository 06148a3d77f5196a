//! Airflow with an auth manager of config/airflow3: callers with an Entra token come to it as an
//! assertion of airside, and everybody else as before.

mod assertions;
mod fab;
mod simple;
mod start;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::json;

use crate::check;
use crate::clients::Airflowctl;
use crate::compatibility::{Subject, prove};
use crate::execution::a_task_goes_from_start_to_success;
use crate::flight::{Flight, assert_airflow_says, post};
use crate::programs::said;
use crate::stock::{Recipe, password};
use crate::support::config::Config;
use crate::support::entra::{USER, v2_app, v2_user};
use crate::support::expect::Verdicts;
use crate::support::http::{Request, Response};
use crate::support::keys::CurveKey;

/// The auth managers and the releases of Airflow in which they are tried.
fn each() -> Vec<Recipe> {
    [simple::recipes(), fab::recipes()].concat()
}

/// An Airflow with this auth manager of ours, which trusts the key of the tests.
fn with_manager(recipe: Recipe, class: &str) -> Recipe {
    recipe
        .set("AIRFLOW__CORE__AUTH_MANAGER", &format!("airside_auth_manager.{class}"))
        .set("PYTHONPATH", &module_folder().display().to_string())
        .set("PYTHONDONTWRITEBYTECODE", "1")
        .set("AIRSIDE_ASSERTION_PUBLIC_KEY", "{home}/airside.pem")
        .file("airside.pem", key().public_pem())
}

fn module_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/airflow3")
}

/// The key that airside signs assertions with.
fn key() -> &'static CurveKey {
    static KEY: OnceLock<CurveKey> = OnceLock::new();
    KEY.get_or_init(CurveKey::ed25519)
}

/// airside that asserts, signing with this key.
fn asserting_with(key: &CurveKey) -> impl FnOnce(Config) -> Config {
    let pem = key.private_pem();
    move |config| {
        let file = config.file("assertion.pem", &pem);
        let assertion = json!({"private_key_file": file});
        config
            .set("/handoff", json!({"type": "headers", "assertion": assertion}))
            .set("/roles/map/Airflow.Ghost", json!(["Ghost"]))
            .set("/roles/map/Airflow.Reader", json!(["Reader"]))
            .set("/roles/map/Airflow.OfDemo", json!(["OfDemo"]))
            .set("/roles/map/Airflow.OfOther", json!(["OfOther"]))
    }
}

/// airside in front of an Airflow of this recipe.
fn flight(recipe: &Recipe) -> Flight {
    Flight::with(recipe, asserting_with(key()))
}

fn token(roles: &[&str]) -> String {
    v2_app().roles(roles).token()
}

fn variable(key: &str) -> Request {
    post("/api/v2/variables", &json!({"key": key, "value": "some value"}))
}

#[test]
fn each_kind_of_caller_is_who_it_is_and_may_what_its_role_allows() {
    for (manager, recipes) in
        [("AirsideAuthManager", simple::recipes()), ("AirsideFabAuthManager", fab::recipes())]
    {
        for recipe in recipes {
            let flight = flight(&recipe);
            local_users(&flight);
            let handoff = "`headers`, assertion";
            prove(&flight, &Subject { airflow: recipe.version(), manager, handoff });
        }
    }
}

#[test]
fn check_shows_that_an_assertion_is_verified_and_makes_nobody_a_user() {
    for recipe in each() {
        let flight = flight(&recipe);
        let before = check::users(flight.airflow);
        let ended = check::checked(&flight, |config| config);
        check::is_all_well(&ended);
        assert!(ended.about("hand-off to ").contains("was verified"), "{}", ended.stdout);
        let other_key = |config: Config| {
            let file = config.file("other.pem", &CurveKey::ed25519().private_pem());
            config.set("/handoff/assertion/private_key_file", file.to_str())
        };
        let other_audience = |config: Config| config.set("/handoff/assertion/audience", "contoso");
        for (ended, word) in [
            (check::checked(&flight, other_key), "AIRSIDE_ASSERTION_PUBLIC_KEY"),
            (check::checked(&flight, other_audience), "AIRSIDE_ASSERTION_AUDIENCE"),
        ] {
            assert_eq!(ended.code, Some(78), "{}", ended.log());
            assert!(ended.about("hand-off to ").contains(word), "{word} in {}", ended.stdout);
        }
        assert_eq!(before, check::users(flight.airflow));
    }
}

#[test]
fn another_role_counts_from_the_next_request_on() {
    for recipe in each() {
        let flight = flight(&recipe);
        let mut verdicts = Verdicts::default();
        for (number, (role, status)) in
            [("Viewer", 403), ("Op", 201), ("Viewer", 403), ("Admin", 201)].into_iter().enumerate()
        {
            let request = variable(&format!("next-{number}"));
            let answer = flight.ask(&request.bearer(&token(&[&format!("Airflow.{role}")])));
            let label = format!("{}: {role}", recipe.name());
            verdicts.check(&label, answer.status == status, answer.text());
        }
    }
}

#[test]
fn roles_that_airflow_does_not_have_give_nothing() {
    for recipe in each() {
        let flight = flight(&recipe);
        let dags = |roles: &[&str]| {
            flight.ask(&Request::get("/api/v2/dags").bearer(&v2_user().roles(roles).token()))
        };
        let answer = dags(&["Airflow.Ghost"]);
        let why = format!("This Airflow has none of the roles of {USER}: Ghost");
        assert_airflow_says(&answer, 403, &json!(why));
        let answer = dags(&["Airflow.Ghost", "Airflow.Viewer"]);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn airflow_keeps_who_did_what() {
    for recipe in each() {
        let flight = flight(&recipe);
        let admin = v2_user().roles(&["Airflow.Admin"]).token();
        let run = json!({"dag_run_id": "kept", "logical_date": null});
        let run = flight.ask(&post("/api/v2/dags/demo/dagRuns", &run).bearer(&admin));
        assert_eq!(run.json()["triggering_user_name"], USER, "{}", run.text());
        let me = flight.ask(&Request::get("/ui/auth/me").bearer(&admin));
        assert_eq!(me.json()["username"], USER, "{}", me.text());
        let events = "/api/v2/eventLogs?event=trigger_dag_run&dag_id=demo&run_id=kept";
        let events = flight.ask(&Request::get(events).bearer(&admin)).json();
        assert_eq!(events["event_logs"][0]["owner"], USER, "{}: {events}", recipe.name());
    }
}

#[test]
fn airflows_own_logins_sessions_and_tokens_are_as_before() {
    for recipe in each() {
        let flight = flight(&recipe);
        local_users(&flight);
        let mut verdicts = Verdicts::default();
        for (user, status) in [("viewer", 403), ("op", 201)] {
            let own = flight.airflow.login(user);
            let cookie = format!("_token={own}");
            let ways: [(&str, &dyn Fn(Request) -> Request); 2] = [
                ("bearer", &|request| request.bearer(&own)),
                ("session", &|request| request.cookie(&cookie)),
            ];
            for (way, credential) in ways {
                let label = format!("{}: {way} of {user}", recipe.name());
                let me = flight.ask(&credential(Request::get("/ui/auth/me")));
                verdicts.check(&label, me.json()["username"] == user, me.text());
                let write = flight.ask(&credential(variable(&label)));
                verdicts.check(&label, write.status == status, write.text());
            }
            let out = Request::get("/api/v2/auth/logout").cookie(&cookie);
            verdicts.check(user, flight.ask(&out).status == 307, "logged out");
            let gone = flight.ask(&Request::get("/ui/auth/me").cookie(&cookie));
            // FAB's own way out is another one, and does not revoke.
            let revoked = gone.status == 403;
            verdicts.check(&format!("{}: {user} is out", recipe.name()), revoked, gone.text());
        }
    }
}

/// So Traefik sends what forward-auth states empty.
#[test]
fn an_empty_assertion_is_none() {
    for recipe in each() {
        let flight = flight(&recipe);
        local_users(&flight);
        let me = Request::get("/ui/auth/me").header("X-Airside-Assertion", "");
        let session = format!("_token={}", flight.airflow.login("op"));
        let answer = flight.ask_airflow(&me.clone().header("Authorization", "").cookie(&session));
        assert_eq!(answer.json()["username"], "op", "{}: {}", recipe.name(), answer.text());
        assert_eq!(flight.ask_airflow(&me).status, 401, "and lets nobody in");
    }
}

/// It is bound to a method and a path: those that airside was asked about.
#[cfg(feature = "proxy-tests")]
#[test]
fn an_assertion_fits_the_request_that_a_proxy_forwards() {
    use crate::proxies::front::{ALL, Front};
    use crate::support::entra::APP;
    for recipe in simple::recipes() {
        for kind in ALL {
            let front = Front::with(kind, &recipe, asserting_with(key()));
            let admin = token(&["Airflow.Admin"]);
            let me = front.ask(&Request::get("/ui/auth/me").bearer(&admin));
            assert_eq!(me.json()["id"], APP, "{kind:?}: {}", me.text());
            let absent = Request::get("/api/v2/variables/a%2Fb?x=%2e").bearer(&admin);
            let absent = front.ask(&absent);
            assert_eq!(absent.status, 404, "{kind:?}: {}", absent.text());
            let written = front.ask(&variable(&format!("by-{kind:?}")).bearer(&admin));
            assert_eq!(written.status, 201, "{kind:?}: {}", written.text());
            let forged = Request::get("/ui/auth/me").header("X-Airside-User", "admin");
            let forged = front.ask(&forged.header("X-Airside-Assertion", "a.b.c"));
            assert_eq!(forged.status, 401, "{kind:?}: {}", forged.text());
        }
    }
}

#[test]
fn airflowctl_and_workers_go_on_as_before() {
    for recipe in each() {
        let flight = flight(&recipe);
        local_users(&flight);
        let airflowctl = Airflowctl::new(None);
        said(&airflowctl.log_in(&flight, "op", &password("op")));
        assert_eq!(airflowctl.dags(), json!(["demo"]), "{}", recipe.name());
        let airflowctl = Airflowctl::new(Some(token(&["Airflow.Op"])));
        let login = ["auth", "login", "--api-url", &flight.url(), "--skip-keyring"];
        said(&airflowctl.run(&login));
        assert_eq!(airflowctl.dags(), json!(["demo"]), "{}", recipe.name());
        a_task_goes_from_start_to_success(&flight);
    }
}

/// Makes FAB know the users of Airflow's own login; `SimpleAuthManager` is configured with them.
fn local_users(flight: &Flight) {
    let admin = token(&["Airflow.Admin"]);
    for (user, role) in [("viewer", "Viewer"), ("op", "Op"), ("admin", "Admin")] {
        let answer = local_user(flight, &admin, user, role);
        // There already, or no FAB.
        assert!([200, 405, 409].contains(&answer.status), "{}", answer.text());
    }
}

fn local_user(flight: &Flight, admin: &str, user: &str, role: &str) -> Response {
    let body = json!({
        "username": user, "first_name": user, "last_name": "local",
        "email": format!("{user}@contoso.example"), "password": password(user),
        "roles": [{"name": role}],
    });
    flight.ask(&post("/auth/fab/v1/users", &body).bearer(admin))
}
