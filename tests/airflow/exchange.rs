//! Tokens that airside gives in exchange: stock Airflow takes them for its own, wherever they come in.

use std::time::Duration;

use serde_json::{Value, json};

use crate::flight::{Flight, assert_airflow_says, post};
use crate::stock::Recipe;
use crate::support::config::Config;
use crate::support::entra::{APP, USER, now, v1_user, v2_app};
use crate::support::http::Request;
use crate::support::wait::within;

pub(crate) fn exchanging(config: Config) -> Config {
    config.set("/exchange", json!({"enabled": true}))
}

/// What is given for this token.
pub(crate) fn exchange(flight: &Flight, subject: &str) -> Value {
    let form = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
         &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
         &subject_token={subject}"
    );
    let request = Request::new("POST", "/airside/token")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(form);
    let answer = flight.ask(&request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn given(flight: &Flight, subject: &str) -> String {
    exchange(flight, subject)["access_token"].as_str().expect("a token").to_owned()
}

fn me(token: &str) -> Request {
    Request::get("/ui/auth/me").bearer(token)
}

#[test]
fn a_given_token_is_its_owner_past_airside_and_through_it() {
    let flight = Flight::with(&Recipe::usual(), exchanging);
    let variable = |key: &str| post("/api/v2/variables", &json!({"key": key, "value": "x"}));
    for (claims, oid) in [(v2_app(), APP), (v1_user(), USER)] {
        let op = given(&flight, &claims.clone().roles(&["Airflow.Op"]).token());
        assert_eq!(flight.ask_airflow(&me(&op)).json()["id"], oid);
        assert_eq!(flight.whoami(|request| request.bearer(&op)), oid);
        let viewer = given(&flight, &claims.roles(&["Airflow.Viewer"]).token());
        let key = format!("in exchange by {oid}");
        for ask in [Flight::ask_airflow, Flight::ask] {
            let refused = ask(&flight, &variable(&key).bearer(&viewer));
            assert_airflow_says(&refused, 403, &json!("Forbidden"));
        }
        assert_eq!(flight.ask_airflow(&variable(&key).bearer(&op)).status, 201);
    }
}

#[test]
fn a_given_token_ends_with_the_one_that_it_was_given_for() {
    let flight = Flight::with(&Recipe::usual(), exchanging);
    let expires = now() + 5;
    let answer = exchange(&flight, &v2_app().with("exp", expires).token());
    assert!(answer["expires_in"].as_i64().unwrap() <= 5, "{answer}");
    let token = answer["access_token"].as_str().unwrap().to_owned();
    assert_eq!(flight.ask_airflow(&me(&token)).status, 200);
    // Airflow gives it 10 s more, as it does to every token.
    let ended = within(Duration::from_mins(1), || {
        let answer = flight.ask_airflow(&me(&token));
        (answer.status != 200).then_some(answer)
    });
    assert_airflow_says(&ended.expect("it ends"), 401, &json!("Token Expired"));
    assert!(now() >= expires, "not before its time");
}

#[test]
fn logging_out_ends_a_given_token() {
    let flight = Flight::with(&Recipe::usual(), exchanging);
    let token = given(&flight, &v2_app().token());
    let out = flight.ask(&Request::get("/api/v2/auth/logout").bearer(&token));
    assert_eq!(out.status, 307, "{}", out.text());
    assert_airflow_says(&flight.ask_airflow(&me(&token)), 403, &json!("Invalid JWT token"));
    let another = given(&flight, &v2_app().token());
    assert_eq!(flight.ask_airflow(&me(&another)).status, 200, "the owner gets another");
}
