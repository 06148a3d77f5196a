//! The request that airside began with: `GET /api/v1/roles/DataEngineer` with an app-only token of
//! version 1 whose `roles` claim is `["Admin"]`. A backend of the reporter's kind answered 403.

use serde_json::json;

use super::{BASIC, SESSION, airflow_2, app, asserting, chained};
use crate::flight::{Flight, post};
use crate::support::http::Request;

fn role() -> Request {
    Request::get("/api/v1/roles/DataEngineer").bearer(&app("pipeline", &["Admin"]))
}

#[test]
fn a_role_that_airflow_has_is_found_and_one_that_it_has_not_is_not() {
    let flight = Flight::with(&chained(), asserting);
    let answer = flight.ask(&role());
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert_eq!(answer.json()["title"], "Role not found");
    let actions = json!([{"action": {"name": "can_read"}, "resource": {"name": "DAGs"}}]);
    let made = post("/auth/fab/v1/roles", &json!({"name": "DataEngineer", "actions": actions}));
    let made = flight.ask(&made.bearer(&app("pipeline", &["Admin"])));
    assert_eq!(made.status, 200, "{}", made.text());
    let answer = flight.ask(&role());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["name"], "DataEngineer");
}

#[test]
fn a_backend_that_checks_the_token_and_names_nobody_is_403_whatever_the_role() {
    let recipe = airflow_2("discussion", "2.10.5", &["azure_ad_auth_backend", BASIC, SESSION]);
    let flight = Flight::with(&recipe, asserting);
    for path in ["/api/v1/roles/DataEngineer", "/auth/fab/v1/roles", "/api/v1/dags"] {
        let request = Request::get(path);
        let answer = flight.ask_airflow(&request.clone().bearer(&app("pipeline", &["Admin"])));
        assert_eq!((answer.status, &answer.json()["title"]), (403, &json!("Forbidden")), "{path}");
        assert_eq!(flight.ask_airflow(&request.bearer("x.y.z")).status, 401, "{path}");
    }
}
