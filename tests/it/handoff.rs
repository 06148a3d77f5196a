//! What Airflow receives in the place of the caller's token, and Airflow's own tokens passing by.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::airflow;
use crate::support::config::SECRET;
use crate::support::entra::{APP, now, v1_app, v2_app, v2_user};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::Request;
use crate::support::keys::{hs256, hs512, open_hs512};
use crate::support::scene::Scene;
use crate::support::upstream::Answer;
use crate::support::wait::within;

#[test]
fn airflow_receives_a_token_that_it_could_have_signed_itself() {
    let scene = Scene::start();
    let before = now();
    let received = scene.forwarded(&dags().bearer(&v2_app().token()));
    let (header, claims) = open_hs512(received.bearer(), SECRET.as_bytes());
    assert_eq!(header["alg"], "HS512");
    assert_eq!(claims["sub"], APP);
    assert!(claims["role"].as_str().unwrap().eq_ignore_ascii_case("op"), "{claims}");
    assert_eq!(claims["teams"], json!([]));
    assert_eq!(claims["aud"], "apache-airflow");
    assert_eq!(claims.get("iss"), None);
    let [issued, from, until] = ["iat", "nbf", "exp"].map(|name| claims[name].as_i64().unwrap());
    assert!((before - 30..=now()).contains(&issued), "{claims}");
    assert!(from <= now(), "{claims}");
    assert_eq!(until - issued, 300);
    let id = claims["jti"].as_str().unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{claims}");
}

#[test]
fn audience_issuer_and_lifetime_are_configurable() {
    let scene = Scene::with(|config| {
        config
            .set("/handoff/audience", "airflow-of-contoso")
            .set("/handoff/issuer", "https://airflow.contoso.example")
            .set("/handoff/lifetime", "2m")
    });
    let claims = minted(&scene, &v2_app().token());
    assert_eq!(claims["aud"], "airflow-of-contoso");
    assert_eq!(claims["iss"], "https://airflow.contoso.example");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 120);
}

#[test]
fn one_identity_has_one_token_while_it_is_fresh() {
    let scene = Scene::start();
    let first = minted(&scene, &v2_app().token());
    assert_eq!(minted(&scene, &v2_app().token())["jti"], first["jti"], "the same token");
    let again = v2_app().with("uti", "another").token();
    assert_eq!(minted(&scene, &again)["jti"], first["jti"], "another token of the same caller");
    assert_eq!(minted(&scene, &v1_app().token())["jti"], first["jti"], "in the other version");
    let other_role = v2_app().roles(&["Airflow.Viewer"]).token();
    assert_ne!(minted(&scene, &other_role)["jti"], first["jti"], "another role");
    assert_ne!(minted(&scene, &v2_user().token())["jti"], first["jti"], "another caller");
}

#[test]
fn a_token_is_signed_anew_before_it_grows_old() {
    let scene = Scene::with(|config| config.set("/handoff/lifetime", "30s"));
    let token = v2_app().token();
    let first = minted(&scene, &token);
    let second = within(Duration::from_secs(60), || {
        let next = minted(&scene, &token);
        (next["jti"] != first["jti"]).then_some(next)
    });
    let (until, then) = (first["exp"].as_i64(), second.unwrap()["iat"].as_i64());
    assert!(then < until, "while the first was still good");
}

#[test]
fn a_token_that_airflow_denies_is_not_used_again() {
    let mut verdicts = Verdicts::default();
    for (label, status, body, dropped) in [
        ("401", 401, r#"{"detail":"Token Expired"}"#, true),
        ("403 of the token", 403, r#"{"detail":"Invalid JWT token"}"#, true),
        ("403 of the role", 403, r#"{"detail":"Forbidden"}"#, false),
    ] {
        let scene = Scene::answering(move |request| match request.target() {
            "/api/v2/denied" => Answer::json(status, &[], body),
            _ => Answer::ok(&[]),
        });
        let token = v2_app().token();
        let first = minted(&scene, &token);
        let answer = scene.ask(&Request::get("/api/v2/denied").bearer(&token));
        verdicts.check(label, answer.status == status && answer.text() == body, answer.text());
        let second = minted(&scene, &token);
        verdicts.check(label, (first["jti"] != second["jti"]) == dropped, (first, second));
    }
}

#[test]
fn airflows_own_tokens_pass_as_they_came() {
    let scene = Scene::start();
    let claims = airflow::claims;
    let mut verdicts = Verdicts::default();
    for (label, claims, role) in [
        ("3.3", claims(), Some("admin")),
        ("no jti (3.0)", claims().without("jti"), Some("admin")),
        ("iss [] (3.0)", claims().with("iss", json!([])), Some("admin")),
        ("teams null", claims().with("teams", json!(null)), Some("admin")),
        ("aud list", claims().with("aud", json!(["apache-airflow"])), Some("admin")),
        ("another role", claims().with("role", "viewer"), Some("viewer")),
        ("FAB: no role", claims().without("role").with("sub", "1"), None),
        (
            "a claim that nobody knows",
            claims().with("scope_of_ours", json!({"x": [1]})),
            Some("admin"),
        ),
    ] {
        let kidless = json!({"alg": "HS512", "typ": "JWT"});
        let kidless = hs512(SECRET.as_bytes(), &kidless, claims.value());
        for token in [airflow::sign(&claims), kidless] {
            let request = dags().bearer(&token).cookie("_token=stale; session=x");
            let received = scene.forwarded(&request);
            verdicts.check(label, received.bearer() == token, received.text());
            let user = received.header("x-airside-user");
            verdicts.check(label, user == claims.value()["sub"].as_str(), received.text());
            let roles = received.header("x-airside-roles").map(str::to_lowercase);
            verdicts.check(label, roles.as_deref() == role, received.text());
            verdicts.check(label, received.header("cookie").is_none(), received.text());
        }
    }
}

#[test]
fn an_issuer_of_airflow_is_compared_when_configured() {
    let issuer = "https://airflow.contoso.example";
    let scene = Scene::with(|config| config.set("/issuers/1/issuer", issuer));
    let good = airflow::sign(&airflow::claims().with("iss", issuer));
    assert_eq!(scene.forwarded(&dags().bearer(&good)).bearer(), good);
    for issuer in ["https://other.example", ""] {
        let other = airflow::sign(&airflow::claims().with("iss", issuer));
        assert_refused(&scene.present(&other), 401, "issuer_unknown");
    }
    assert_refused(&scene.present(&airflow::token()), 401, "issuer_unknown");
}

#[test]
fn airflows_own_tokens_are_verified_here_as_well() {
    let scene = Scene::start();
    let claims = airflow::claims;
    let task = "urn:airflow.apache.org:task";
    let mut verdicts = Verdicts::default();
    for (label, claims, reasons) in [
        ("expired", claims().with("exp", now() - 3600), &["token_expired"][..]),
        ("future", claims().with("nbf", now() + 3600), &["token_not_yet_valid"]),
        ("no exp", claims().without("exp"), &["claim_missing"]),
        ("no iat", claims().without("iat"), &["claim_missing"]),
        ("no nbf", claims().without("nbf"), &["claim_missing"]),
        ("no aud", claims().without("aud"), &["claim_missing"]),
        ("no sub", claims().without("sub"), &["claim_missing"]),
        ("exp as text", claims().with("exp", "9999999999"), &["claim_invalid"]),
        ("sub as number", claims().with("sub", 1), &["claim_invalid"]),
        ("other audience", claims().with("aud", "other"), &["audience_mismatch"]),
        ("task audience", claims().with("aud", task), &["audience_mismatch", "token_kind"]),
        ("execution", claims().with("scope", "execution"), &["token_kind"]),
        ("workload", claims().with("scope", "workload"), &["token_kind"]),
        ("a task's", claims().with("scope", "execution").with("aud", task), &["token_kind"]),
        (
            "both audiences",
            claims().with("scope", "execution").with("aud", json!([task, "apache-airflow"])),
            &["token_kind"],
        ),
        (
            "a scope of the wrong type",
            claims().with("scope", json!(["execution"])),
            &["claim_invalid"],
        ),
        (
            "an Edge worker's",
            claims().with("aud", "api").with("method", "x"),
            &["audience_mismatch"],
        ),
        ("foreign iss", claims().with("iss", "https://other.example"), &["issuer_unknown"]),
    ] {
        verdicts.refused(label, &scene.present(&airflow::sign(&claims)), 401, reasons);
    }
    let sign = |secret: &str| hs512(secret.as_bytes(), &airflow::header(), claims().value());
    let wrong = scene.present(&sign("another secret"));
    verdicts.refused("wrong secret", &wrong, 401, &["signature_invalid"]);
    let unstripped = scene.present(&sign(&format!("{SECRET}\n")));
    verdicts.refused("line break", &unstripped, 401, &["signature_invalid"]);
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let short = scene.present(&hs256(SECRET.as_bytes(), &header, claims().value()));
    verdicts.refused("HS256", &short, 401, &["algorithm_not_allowed"]);
    let unsafe_name = scene.present(&airflow::sign(&claims().with("sub", "a\r\nb")));
    verdicts.refused("name", &unsafe_name, 403, &["identity_unsafe"]);
    verdicts.check("nothing forwarded", scene.upstream.requests().is_empty(), ());
}

#[test]
fn cookies_of_a_session_are_not_given_to_the_bearer_of_a_token() {
    let cookies = &[
        "Set-Cookie: session=secret; Path=/; HttpOnly",
        "Set-Cookie: _token=secret; Path=/",
        "set-cookie: _token=\"\"; Max-Age=0",
        "Set-Cookie: theme=dark",
    ];
    let scene = Scene::answering(|_| Answer::ok(cookies));
    for token in [v2_app().token(), airflow::token()] {
        let answer = scene.present(&token);
        assert_eq!(answer.all("set-cookie"), ["theme=dark"]);
    }
    let by_cookie = scene.ask(&dags().cookie("_token=airflow-judges-this"));
    assert_eq!(by_cookie.all("set-cookie").len(), 4);
    let shell = scene.ask(&Request::get("/"));
    assert_eq!(shell.all("set-cookie").len(), 4);
}

#[test]
fn a_cookie_beside_a_bearer_is_dropped() {
    let scene = Scene::start();
    let request = dags()
        .bearer(&v2_app().token())
        .cookie("_token=of-somebody-else")
        .cookie("session=of-somebody-else; theme=dark");
    let received = scene.forwarded(&request);
    assert!(received.header("cookie").is_none(), "{}", received.text());
    assert!(!received.text().contains("somebody"), "{}", received.text());
}

#[test]
fn the_callers_token_never_reaches_airflow() {
    let scene = Scene::start();
    let token = v2_app().token();
    let received = scene.forwarded(&dags().bearer(&token));
    let signature = token.rsplit('.').next().unwrap();
    assert!(!received.text().contains(signature), "{}", received.text());
    assert_eq!(received.all("authorization").len(), 1);
}

fn dags() -> Request {
    Request::get("/api/v2/dags")
}

/// The claims of the token with which this caller's request arrives.
fn minted(scene: &Scene, token: &str) -> Value {
    let received = scene.forwarded(&dags().bearer(token));
    open_hs512(received.bearer(), SECRET.as_bytes()).1
}
