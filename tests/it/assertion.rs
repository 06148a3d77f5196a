//! The hand-off by headers: who is calling, signed for the request that it is said of.

use serde_json::{Value, json};

use crate::keys_of_ours::opened;
use crate::support::airflow;
use crate::support::config::Config;
use crate::support::entra::{APP, now, v2_app};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::Request;
use crate::support::keys::CurveKey;
use crate::support::scene::Scene;

/// Identity headers alone.
fn headers_alone(config: Config) -> Config {
    config.set("/handoff", json!({"type": "headers"}))
}

/// Identity headers and an assertion.
fn with_assertion(config: Config) -> Config {
    let key = config.file("assertion.pem", &CurveKey::ed25519().private_pem());
    let assertion =
        json!({"private_key_file": key, "kid": "assertion-1", "audience": "airflow-prod"});
    config.set("/handoff", json!({"type": "headers", "assertion": assertion}))
}

#[test]
fn headers_name_the_caller_and_the_callers_own_credentials_stay_here() {
    let scene = Scene::with(headers_alone);
    let request = Request::get("/api/v2/dags").bearer(&v2_app().token()).cookie("session=stale");
    let received = scene.forwarded(&request);
    for (name, value) in [
        ("x-airside-user", Some(APP)),
        ("x-airside-roles", Some("Op")),
        ("x-airside-issuer", Some("entra")),
        ("x-airside-assertion", None),
        ("authorization", None),
        ("cookie", None),
    ] {
        assert_eq!(received.header(name), value, "{name}");
    }
}

#[test]
fn every_role_of_the_caller_is_named_in_the_order_of_the_map() {
    let map = json!({"Airflow.Viewer": ["Viewer"], "Data": ["DataEngineer", "Op"], "Ops": ["Op"]});
    let scene = Scene::with(|config| with_assertion(config).set("/roles/map", map));
    let token = v2_app().roles(&["Ops", "Data", "Unheard.Of", "Airflow.Viewer"]).token();
    let received = scene.forwarded(&Request::get("/api/v2/dags").bearer(&token));
    assert_eq!(received.header("x-airside-roles"), Some("Viewer,DataEngineer,Op"));
    let (_, claims) = assertion(&scene, &Request::get("/api/v2/dags").bearer(&token));
    assert_eq!(claims["roles"], json!(["Viewer", "DataEngineer", "Op"]));
}

#[test]
fn an_assertion_says_who_calls_what_and_is_signed_by_a_published_key() {
    let scene = Scene::with(with_assertion);
    let before = now();
    let request = Request::new("PATCH", "/api/v2/dags/a%2Fb?x=1").bearer(&v2_app().token());
    let (header, claims) = assertion(&scene, &request);
    assert_eq!(header["typ"], "airside-assertion+jwt");
    assert_eq!((&header["kid"], &header["alg"]), (&json!("assertion-1"), &json!("EdDSA")));
    let time = |name: &str| claims[name].as_i64().unwrap();
    assert!((before..=now()).contains(&time("iat")), "{claims}");
    assert_eq!(time("exp") - time("iat"), 30);
    for (claim, expected) in [
        ("iss", json!("airside")),
        ("sub", json!(APP)),
        ("roles", json!(["Op"])),
        ("aud", json!("airflow-prod")),
        ("htm", json!("PATCH")),
        ("htu", json!("/api/v2/dags/a%2Fb")),
    ] {
        assert_eq!(claims[claim], expected, "{claim}");
    }
    let (_, again) = assertion(&scene, &request);
    assert_ne!(again["jti"], claims["jti"], "each request has an assertion of its own");
}

#[test]
fn the_path_in_an_assertion_is_the_one_that_airflow_receives() {
    let scene = Scene::with(|config| {
        let url = format!("{}/below", config.get("/upstream/url").as_str().unwrap());
        with_assertion(config).set("/upstream/url", url)
    });
    let (_, claims) = assertion(&scene, &Request::get("/api/v2/dags").bearer(&v2_app().token()));
    assert_eq!(claims["htu"], "/below/api/v2/dags");
}

#[test]
fn an_assertion_says_teams_where_they_are_mapped_and_nothing_of_them_elsewhere() {
    let request = |role: &str| {
        let token = v2_app().roles(&["Airflow.Op", role]).token();
        Request::get("/api/v2/dags").bearer(&token)
    };
    let scene = Scene::with(with_assertion);
    assert_eq!(assertion(&scene, &request("Team.A")).1.get("teams"), None);
    let teams = json!({"Team.A": ["team_a"]});
    let scene = Scene::with(|config| with_assertion(config).set("/roles/teams", teams));
    assert_eq!(assertion(&scene, &request("Team.A")).1["teams"], json!(["team_a"]));
    assert_eq!(assertion(&scene, &request("Team.B")).1["teams"], json!([]));
}

#[test]
fn nobody_else_can_say_who_is_calling() {
    let scene = Scene::with(with_assertion);
    let token = v2_app().token();
    let mut verdicts = Verdicts::default();
    for name in ["X-Airside-Assertion", "x_airside_assertion", "X.Airside-Assertion"] {
        for path in ["/api/v2/dags", "/", "/api/v2/version", "/execution/health"] {
            let request = Request::get(path).bearer(&token).header(name, "forged");
            let received = scene.forwarded(&request);
            verdicts.check(&format!("{name} {path}"), !received.text().contains("forged"), path);
        }
    }
    let shell = scene.forwarded(&Request::get("/").bearer(&token));
    verdicts.check("the shell", shell.header("x-airside-assertion").is_none(), shell.text());
}

#[test]
fn nothing_is_asserted_of_tokens_that_airflow_issued() {
    let scene = Scene::with(with_assertion);
    let token = airflow::token();
    let received = scene.forwarded(&Request::get("/api/v2/dags").bearer(&token));
    assert_eq!(received.bearer(), token);
    assert_eq!(received.header("x-airside-assertion"), None);
    assert_eq!(received.header("x-airside-user"), airflow::claims().value()["sub"].as_str());
}

#[test]
fn no_role_is_no_entry_here_either() {
    let scene = Scene::with(with_assertion);
    assert_refused(&scene.present(&v2_app().roles(&[]).token()), 403, "role_missing");
    assert!(scene.upstream.requests().is_empty());
}

/// Header and claims of the assertion with which the request arrives, verified by `/jwks.json`.
fn assertion(scene: &Scene, request: &Request) -> (Value, Value) {
    let received = scene.forwarded(request);
    let text = received.header("x-airside-assertion").expect("an assertion").to_owned();
    opened(scene, &text)
}
