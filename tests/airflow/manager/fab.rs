//! `AirsideFabAuthManager`: users and roles of FAB follow the assertions.

use std::thread;

use serde_json::{Value, json};

use super::{flight, local_user, local_users, token, variable, with_manager};
use crate::flight::{Flight, assert_airflow_says, post};
use crate::stock::Recipe;
use crate::support::entra::{APP, v2_app, v2_user};
use crate::support::expect::Verdicts;
use crate::support::http::{Request, Response};

/// FAB in each release that has it here.
pub(super) fn recipes() -> Vec<Recipe> {
    let recipe = |name, server| {
        with_manager(Recipe::new(name, server), "AirsideFabAuthManager")
            .set("AIRSIDE_ASSERTION_ADOPT", "somebody-else, adopted")
    };
    let mut recipes = vec![recipe("manager-fab", "3.3.2-fab")];
    if cfg!(feature = "airflow-releases") {
        recipes.push(recipe("manager-fab-3.2", "3.2.2-fab"));
    }
    recipes
}

/// A token of the user with this `oid`.
fn of(oid: &str, roles: &[&str]) -> String {
    v2_user().with("oid", oid).roles(roles).token()
}

fn dags(flight: &Flight, token: &str) -> Response {
    flight.ask(&Request::get("/api/v2/dags").bearer(token))
}

/// Name, e-mail and each role of the users with this name, in any case.
fn users(flight: &Flight, name: &str) -> Value {
    let statement = format!(
        "SELECT username, email, name FROM ab_user u
         LEFT JOIN ab_user_role r ON r.user_id = u.id LEFT JOIN ab_role ON ab_role.id = r.role_id
         WHERE lower(username) = lower('{name}') ORDER BY u.id, name"
    );
    flight.airflow.query(&statement)
}

#[test]
fn a_user_is_made_once_and_keeps_the_roles_of_the_latest_token() {
    for recipe in recipes() {
        let flight = flight(&recipe);
        let oid = "11111111-aaaa-4bbb-8ccc-000000000001";
        let email = format!("{oid}@airside.invalid");
        for (roles, expected) in [
            (&["Airflow.Viewer"][..], &["Viewer"][..]),
            (&["Airflow.Op", "Airflow.Viewer"], &["Op", "Viewer"]),
            (&["Airflow.Admin"], &["Admin"]),
        ] {
            let answer = dags(&flight, &of(oid, roles));
            assert_eq!(answer.status, 200, "{}", answer.text());
            let rows: Vec<Value> = expected.iter().map(|role| json!([oid, email, role])).collect();
            assert_eq!(users(&flight, oid), json!(rows), "{}", recipe.name());
        }
    }
}

#[test]
fn twelve_first_requests_at_once_make_one_user() {
    for recipe in recipes() {
        let flight = flight(&recipe);
        let oid = "11111111-aaaa-4bbb-8ccc-000000000012";
        let token = of(oid, &["Airflow.User"]);
        let statuses: Vec<u16> = thread::scope(|scope| {
            let asked: Vec<_> =
                (0..12).map(|_| scope.spawn(|| dags(&flight, &token).status)).collect();
            asked.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(statuses, [200; 12], "{}", recipe.name());
        assert_eq!(users(&flight, oid).as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_role_of_the_operators_own_gives_what_it_says_and_no_more() {
    for recipe in recipes() {
        let flight = flight(&recipe);
        let admin = token(&["Airflow.Admin"]);
        let role = json!({"name": "Reader", "actions": [
            {"action": {"name": "can_read"}, "resource": {"name": "Variables"}},
        ]});
        let made = flight.ask(&post("/auth/fab/v1/roles", &role).bearer(&admin));
        assert_eq!(made.status, 200, "{}", made.text());
        let reader = of("11111111-aaaa-4bbb-8ccc-000000000002", &["Airflow.Reader"]);
        let ask = |request: Request| flight.ask(&request.bearer(&reader)).status;
        assert_eq!(ask(Request::get("/api/v2/variables")), 200);
        assert_eq!(ask(Request::get("/api/v2/dags")), 403);
        assert_eq!(ask(variable("not-for-readers")), 403);
        // With another role beside it, both count.
        let both =
            of("11111111-aaaa-4bbb-8ccc-000000000002", &["Airflow.Reader", "Airflow.Viewer"]);
        assert_eq!(dags(&flight, &both).status, 200);
    }
}

#[test]
fn a_role_for_one_dag_shows_that_dag_alone() {
    for recipe in recipes() {
        let flight = flight(&recipe);
        let admin = token(&["Airflow.Admin"]);
        for (role, dag, expected) in
            [("OfDemo", "demo", json!(["demo"])), ("OfOther", "other", json!([]))]
        {
            // As the DAG processor does for a DAG with access control.
            let resource = format!("DAG:{dag}");
            flight
                .airflow
                .query(&format!("INSERT OR IGNORE INTO ab_view_menu (name) VALUES ('{resource}')"));
            let read = json!({"action": {"name": "can_read"}, "resource": {"name": resource}});
            let role_of_dag = json!({"name": role, "actions": [read]});
            let made = flight.ask(&post("/auth/fab/v1/roles", &role_of_dag).bearer(&admin));
            assert_eq!(made.status, 200, "{}", made.text());
            let reader = of(&format!("reader-of-{dag}"), &[&format!("Airflow.{role}")]);
            let listed = dags(&flight, &reader);
            let ids: Value = listed.json()["dags"]
                .as_array()
                .unwrap()
                .iter()
                .map(|dag| dag["dag_id"].clone())
                .collect();
            assert_eq!(ids, expected, "{}", listed.text());
        }
    }
}

#[test]
fn a_local_user_is_not_taken_over_unless_adopted() {
    for recipe in recipes() {
        let flight = flight(&recipe);
        local_users(&flight);
        let admin = token(&["Airflow.Admin"]);
        let made = local_user(&flight, &admin, "adopted", "Viewer");
        assert!([200, 409].contains(&made.status), "{}", made.text());
        let mut verdicts = Verdicts::default();
        for (name, status, words) in [
            ("viewer", 403, "AIRSIDE_ASSERTION_ADOPT"),
            ("Viewer", 403, "which is not 'Viewer'"),
            ("adopted", 200, ""),
            ("Adopted", 403, "which is not 'Adopted'"),
        ] {
            let answer = dags(&flight, &of(name, &["Airflow.Op"]));
            verdicts.check(name, answer.status == status, answer.text());
            verdicts.check(name, answer.text().contains(words), answer.text());
        }
        let kept = json!([["viewer", "viewer@contoso.example", "Viewer"]]);
        verdicts.check("left alone", users(&flight, "viewer") == kept, users(&flight, "viewer"));
        let synced = json!([["adopted", "adopted@contoso.example", "Op"]]);
        verdicts.check(
            "kept in step",
            users(&flight, "adopted") == synced,
            users(&flight, "adopted"),
        );
        // An adopted user goes on logging in, and has the role from the token.
        let own = flight.airflow.login("adopted");
        let write = flight.ask(&variable("of-an-adopted").bearer(&own));
        verdicts.check("logs in", write.status == 201, write.text());
    }
}

#[test]
fn nobody_logs_in_as_a_user_that_airside_made() {
    for recipe in recipes() {
        let flight = flight(&recipe);
        assert_eq!(dags(&flight, &v2_app().token()).status, 200);
        for password in ["", "!airside", "!", "airside"] {
            for user in [APP.to_owned(), format!("{APP}@airside.invalid")] {
                let body = json!({"username": user, "password": password});
                let answer = flight.ask(&post("/auth/token", &body));
                assert!([400, 401].contains(&answer.status), "{}", answer.text());
            }
        }
    }
}

#[test]
fn a_user_who_was_made_inactive_or_local_stays_out() {
    for recipe in recipes() {
        let flight = flight(&recipe);
        let admin = token(&["Airflow.Admin"]);
        for (name, change, words) in [
            ("inactive", "active = 0", "not active"),
            ("localized", "password = 'scrypt:1:1:1$a$b'", "AIRSIDE_ASSERTION_ADOPT"),
        ] {
            assert_eq!(dags(&flight, &of(name, &["Airflow.Viewer"])).status, 200);
            flight.airflow.query(&format!("UPDATE ab_user SET {change} WHERE username = '{name}'"));
            // Other roles are looked up at once; the same ones within `[fab] cache_ttl`.
            let answer = dags(&flight, &of(name, &["Airflow.Op"]));
            assert!(answer.status == 403 && answer.text().contains(words), "{}", answer.text());
        }
        assert_eq!(dags(&flight, &admin).status, 200);
    }
}

#[test]
fn a_lowered_role_lowers_the_users_own_session_at_once() {
    for recipe in recipes() {
        let flight = flight(&recipe);
        let made = local_user(&flight, &token(&["Airflow.Admin"]), "somebody-else", "Viewer");
        assert!([200, 409].contains(&made.status), "{}", made.text());
        let own = flight.airflow.login("somebody-else");
        for (number, (role, status)) in
            [("Airflow.Op", 201), ("Airflow.Viewer", 403), ("Airflow.Op", 201)].iter().enumerate()
        {
            assert_eq!(dags(&flight, &of("somebody-else", &[role])).status, 200);
            let write = flight.ask(&variable(&format!("own-{number}")).bearer(&own));
            assert_eq!(write.status, *status, "{}: {}", recipe.name(), write.text());
        }
    }
}

#[test]
fn a_name_that_fab_has_no_room_for_is_told_so() {
    for recipe in recipes() {
        let flight = flight(&recipe);
        assert_eq!(dags(&flight, &of(&"x".repeat(256), &["Airflow.Viewer"])).status, 200);
        let answer = dags(&flight, &of(&"y".repeat(257), &["Airflow.Viewer"]));
        let why = "A user name has up to 256 characters.";
        assert_airflow_says(&answer, 403, &json!(why));
    }
}

#[test]
fn fabs_own_pages_know_the_caller_and_leave_no_session() {
    for recipe in recipes() {
        let flight = Flight::with(&recipe, |config| {
            super::asserting_with(super::key())(config).set("/access/ui", "closed")
        });
        let page = |role: &str, path: &str| flight.ask(&Request::get(path).bearer(&token(&[role])));
        let listed = page("Airflow.Admin", "/auth/users/list/");
        assert!(listed.status == 200 && listed.text().contains(APP), "{}", listed.text());
        let viewer = page("Airflow.Viewer", "/auth/users/list/");
        assert_eq!(viewer.status, 302, "{}", viewer.text());
        for path in ["/auth/users/list/", "/auth/login/"] {
            let answer = page("Airflow.Admin", path);
            let sessions = answer.all("set-cookie");
            assert!(sessions.is_empty(), "{path}: {sessions:?}");
        }
    }
}
