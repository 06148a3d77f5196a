//! An Airflow that serves TLS itself (`[api] ssl_cert`).

use crate::flight::Flight;
use crate::stock::{Airflow, Recipe};
use crate::support::entra::{APP, v2_app};
use crate::support::http::Request;
use crate::support::tls::Authority;

#[test]
fn an_airflow_with_tls_of_its_own_is_believed_by_its_authority_alone() {
    let authority = Authority::new();
    let recipe = Recipe::simple("tls", "3.3.2").behind_tls(&authority);
    let url = format!("https://localhost:{}", Airflow::of(&recipe).address.port());
    let by = |trusted: &Authority| {
        let pem = trusted.pem();
        Flight::with(&recipe, |config| {
            let file = config.file("ca.pem", &pem);
            config.set("/upstream/url", url.as_str()).set("/upstream/ca_file", file.to_str())
        })
    };
    let token = v2_app().token();
    let flight = by(&authority);
    assert_eq!(flight.whoami(|request| request.bearer(&token)), APP);
    let variable = serde_json::json!({"key": "over_tls", "value": "x".repeat(100_000)});
    let written = crate::flight::post("/api/v2/variables", &variable).bearer(&token);
    assert_eq!(flight.ask(&written).status, 201);
    drop(flight);
    let answer = by(&Authority::new()).ask(&Request::get("/api/v2/version"));
    assert_eq!((answer.status, &answer.json()["reason"]), (502, &"upstream_unavailable".into()));
}
