//! How a credential is brought, and how not.

use crate::support::entra::v2_app;
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::Request;
use crate::support::keys::SigningKey;
use crate::support::scene::Scene;

#[test]
fn a_request_without_a_credential_is_told_to_bring_one() {
    let scene = Scene::start();
    let answer = scene.ask(&Request::get("/api/v2/dags"));
    assert_refused(&answer, 401, "credential_missing");
    assert!(scene.upstream.requests().is_empty());
}

#[test]
fn a_refused_head_request_gets_the_head_of_the_refusal() {
    let scene = Scene::start();
    let answer = scene.ask(&Request::new("HEAD", "/api/v2/dags"));
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert!(answer.header("www-authenticate").is_some() && answer.header("x-request-id").is_some());
}

#[test]
fn two_authorization_headers_are_refused() {
    let scene = Scene::start();
    let (good, bad) = (v2_app().token(), SigningKey::stranger().token(v2_app().value()));
    let mut verdicts = Verdicts::default();
    for (label, first, second) in
        [("good, bad", &good, &bad), ("bad, good", &bad, &good), ("good, good", &good, &good)]
    {
        let request = Request::get("/api/v2/dags")
            .bearer(first)
            .header("authorization", &format!("bearer {second}"));
        verdicts.refused(label, &scene.ask(&request), 400, &["credential_ambiguous"]);
    }
    let request = Request::get("/api/v2/dags").bearer(&good).header("AUTHORIZATION", "Basic eDp5");
    verdicts.refused("bearer, basic", &scene.ask(&request), 400, &["credential_ambiguous"]);
    let request = Request::get("/api/v2/dags").bearer(&good).header("Authorization", "");
    verdicts.refused("bearer, empty", &scene.ask(&request), 400, &["credential_ambiguous"]);
    verdicts.check("nothing forwarded", scene.upstream.requests().is_empty(), ());
}

#[test]
fn an_authorization_header_has_one_scheme_one_space_and_one_token() {
    const MALFORMED: &[&str] = &["credential_malformed"];
    const NOT_A_TOKEN: &[&str] = &["credential_malformed", "token_malformed"];
    const NO_SCHEME: &[&str] = &["credential_malformed", "scheme_unsupported"];
    let scene = Scene::start();
    let token = v2_app().token();
    let mut verdicts = Verdicts::default();
    for (value, reasons) in [
        (String::new(), MALFORMED),
        ("Bearer".to_owned(), MALFORMED),
        ("Bearer ".to_owned(), MALFORMED),
        (format!("Bearer  {token}"), MALFORMED),
        (format!("Bearer\t{token}"), MALFORMED),
        (format!("Bearer {token} {token}"), MALFORMED),
        (format!("Bearer {token}, Bearer {token}"), MALFORMED),
        (format!("Bearer {token},"), NOT_A_TOKEN),
        (format!("Bearer \"{token}\""), NOT_A_TOKEN),
        (format!("Bearer\u{a0}{token}"), NO_SCHEME),
        (format!("Bearer,{token}"), NO_SCHEME),
        (token.clone(), NO_SCHEME),
        ("Basic YWRtaW46YWRtaW4=".to_owned(), &["scheme_unsupported"]),
        ("Negotiate YII".to_owned(), &["scheme_unsupported"]),
        (format!("DPoP {token}"), &["scheme_unsupported"]),
        (format!("PoP {token}"), &["scheme_unsupported"]),
        ("Digest username=\"a\"".to_owned(), &["scheme_unsupported"]),
    ] {
        let request = Request::get("/api/v2/dags").header("Authorization", &value);
        verdicts.refused(&value, &scene.ask(&request), 401, reasons);
    }
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let request =
            Request::get("/api/v2/dags").header("Authorization", &format!("{scheme} {token}"));
        let answer = scene.ask(&request);
        verdicts.check(scheme, answer.status == 200, answer.text());
    }
    verdicts.check("only the good ones", scene.upstream.requests().len() == 4, ());
}

#[test]
fn a_token_in_the_query_is_never_read() {
    let scene = Scene::start();
    let token = v2_app().token();
    let mut verdicts = Verdicts::default();
    for name in ["access_token", "token", "_token", "jwt", "Authorization"] {
        let request = Request::get(&format!("/api/v2/dags?{name}={token}"));
        verdicts.refused(name, &scene.ask(&request), 401, &["credential_missing"]);
    }
}
