//! `POST /airside/token`: a token of Airflow's own form for the token of an issuer (RFC 8693).

use std::collections::HashSet;
use std::thread;

use serde_json::{Value, json};

use crate::keys_of_ours::opened;
use crate::support::airflow::{self, task_claims};
use crate::support::config::{Config, SECRET};
use crate::support::entra::{APP, now, v2_app, v2_user};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Connection, Request, Response};
use crate::support::issuer::Issuer;
use crate::support::keys::{CurveKey, SigningKey, open_hs512};
use crate::support::scene::Scene;
use crate::support::upstream::Upstream;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

fn exchanging(config: Config) -> Config {
    config.set("/exchange", json!({"enabled": true}))
}

/// A request for a token, some of its parameters replaced or, where empty, left out.
fn form(subject: &str, replaced: &[(&str, &str)]) -> Request {
    let mut pairs = vec![
        ("grant_type", GRANT),
        ("subject_token", subject),
        ("subject_token_type", ACCESS_TOKEN),
    ];
    pairs.retain(|(name, _)| replaced.iter().all(|(other, _)| other != name));
    pairs.extend(replaced.iter().filter(|(_, value)| !value.is_empty()));
    let body: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    posted(&body.join("&"))
}

fn posted(body: &str) -> Request {
    Request::new("POST", "/airside/token")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body)
}

fn exchange(scene: &Scene, subject: &str) -> Value {
    let answer = scene.ask(&form(subject, &[]));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The claims of a token that was given.
fn claims(answer: &Value) -> Value {
    open_hs512(answer["access_token"].as_str().unwrap(), SECRET.as_bytes()).1
}

/// Whether this is a refusal of a token endpoint (RFC 6749, section 5.2) for that reason of ours.
fn refusal(answer: &Response, status: u16, error: &str, reason: &str) -> Result<(), String> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let holds = answer.status == status
        && answer.header("content-type") == Some("application/json")
        && answer.header("cache-control") == Some("no-store")
        && body["error"] == error
        && !body["error_description"].as_str().unwrap_or_default().is_empty()
        && body["reason"] == reason
        && body["request_id"].as_str() == answer.header("x-request-id")
        && body.get("access_token").is_none();
    let said = || format!("expected {status} {error} {reason}, found {:?} {body}", answer.head);
    holds.then_some(()).ok_or_else(said)
}

#[test]
fn an_issuers_token_is_exchanged_for_one_of_airflows_form() {
    let scene = Scene::with(exchanging);
    let before = now();
    let answer = scene.ask(&form(&v2_app().token(), &[]));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    assert!(answer.header("x-request-id").is_some());
    let body = answer.json();
    assert_eq!(
        (&body["token_type"], &body["issued_token_type"]),
        (&json!("Bearer"), &json!(ACCESS_TOKEN))
    );
    assert_eq!(body["expires_in"], 300);
    let claims = claims(&body);
    assert_eq!((&claims["sub"], &claims["role"]), (&json!(APP), &json!("op")));
    assert_eq!((&claims["aud"], &claims["teams"]), (&json!("apache-airflow"), &json!([])));
    let issued = claims["iat"].as_i64().unwrap();
    assert!((before..=now()).contains(&issued) && claims["nbf"] == issued, "{claims}");
    assert_eq!(claims["exp"], issued + 300);
    assert!(scene.upstream.requests().is_empty(), "Airflow has no part in it");
}

#[test]
fn each_exchange_gives_another_token_than_the_one_that_is_handed_on() {
    let scene = Scene::with(exchanging);
    let token = v2_app().token();
    let handed_on = scene.forwarded(&Request::get("/api/v2/dags").bearer(&token));
    let mut ids = HashSet::new();
    ids.insert(open_hs512(handed_on.bearer(), SECRET.as_bytes()).1["jti"].to_string());
    for _ in 0..3 {
        let claims = claims(&exchange(&scene, &token));
        assert_eq!(claims["jti"].as_str().map(str::len), Some(32));
        ids.insert(claims["jti"].to_string());
    }
    assert_eq!(ids.len(), 4);
}

#[test]
fn no_token_outlives_the_one_that_it_was_given_for() {
    let scene = Scene::with(|config| exchanging(config).set("/exchange/lifetime", "2h"));
    for (left, at_most) in [(90, 90), (36_000, 7200)] {
        let expires = now() + left;
        let body = exchange(&scene, &v2_app().with("exp", expires).token());
        let claims = claims(&body);
        let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert!(lifetime <= at_most && lifetime > at_most - 30, "{claims}");
        assert_eq!(body["expires_in"], lifetime);
        assert!(claims["exp"].as_i64().unwrap() <= expires, "{claims}");
    }
    // Good for a request, by the leeway; too late for another token.
    let ending = v2_app().with("exp", now() - 5).token();
    assert_eq!(scene.present(&ending).status, 200);
    refusal(&scene.ask(&form(&ending, &[])), 400, "invalid_request", "token_expired").unwrap();
}

#[test]
fn the_forms_of_a_request_are_read_as_the_rfc_has_them() {
    let scene = Scene::with(exchanging);
    let token = v2_user().token();
    let mut verdicts = Verdicts::default();
    for (label, request, issued) in [
        ("jwt offered", form(&token, &[("subject_token_type", JWT)]), ACCESS_TOKEN),
        ("jwt wanted", form(&token, &[("requested_token_type", JWT)]), JWT),
        ("the audience", form(&token, &[("audience", "apache-airflow")]), ACCESS_TOKEN),
        ("a public client", form(&token, &[("client_id", "somebody")]), ACCESS_TOKEN),
        ("what nobody knows", form(&token, &[("whatever", "x")]), ACCESS_TOKEN),
        (
            "percent-encoded",
            form(&token, &[("subject_token_type", &JWT.replace(':', "%3A"))]),
            ACCESS_TOKEN,
        ),
        ("a cookie beside it", form(&token, &[]).cookie("_token=x; session=y"), ACCESS_TOKEN),
    ] {
        let answer = scene.ask(&request);
        let fits = answer.status == 200 && answer.json()["issued_token_type"] == issued;
        verdicts.check(label, fits, answer.text());
    }
    let charset = form(&token, &[]);
    let body = String::from_utf8(charset.bytes(scene.airside.proxy)).unwrap();
    let charset = body.replace("urlencoded\r\n", "urlencoded; charset=UTF-8\r\n");
    let mut connection = Connection::open(scene.airside.proxy);
    connection.send(charset.as_bytes()).unwrap();
    verdicts.check("charset", connection.response_to("POST").unwrap().status == 200, ());
}

#[test]
fn what_is_no_request_for_a_token_is_refused_in_the_words_of_the_rfc() {
    let scene = Scene::with(exchanging);
    let token = v2_app().token();
    let long = "x".repeat(80_000);
    let mut verdicts = Verdicts::default();
    for (label, request, status, error, reason) in [
        ("empty", posted(""), 400, "invalid_request", "request_malformed"),
        ("no grant", form(&token, &[("grant_type", "")]), 400, "invalid_request", "request_malformed"),
        (
            "another grant",
            form(&token, &[("grant_type", "password")]),
            400,
            "unsupported_grant_type",
            "request_malformed",
        ),
        ("no subject", form("", &[]), 400, "invalid_request", "request_malformed"),
        ("no type", form(&token, &[("subject_token_type", "")]), 400, "invalid_request", "request_malformed"),
        ("SAML", form(&token, &[("subject_token_type", "x")]), 400, "invalid_request", "request_malformed"),
        (
            "twice",
            posted(&format!("grant_type={GRANT}&grant_type={GRANT}&subject_token={token}&subject_token_type={JWT}")),
            400,
            "invalid_request",
            "request_malformed",
        ),
        ("actor", form(&token, &[("actor_token", "a.b.c")]), 400, "invalid_request", "request_malformed"),
        ("audience", form(&token, &[("audience", "urn:airflow.apache.org:task")]), 400, "invalid_target", "request_malformed"),
        ("scope", form(&token, &[("scope", "execution")]), 400, "invalid_scope", "request_malformed"),
        ("a secret", form(&token, &[("client_secret", "s3cret")]), 400, "invalid_client", "request_malformed"),
        ("no token at all", form("a%20b", &[]), 400, "invalid_request", "credential_malformed"),
        ("too long a token", form(&"x".repeat(33_000), &[]), 400, "invalid_request", "token_too_large"),
        ("too long a form", form(&token, &[("x", &long)]), 413, "invalid_request", "body_too_large"),
        (
            "JSON",
            Request::post("/airside/token").header("Content-Type", "application/json"),
            400,
            "invalid_request",
            "request_malformed",
        ),
        ("no content type", Request::post("/airside/token"), 400, "invalid_request", "request_malformed"),
        (
            "in the query",
            Request::new("POST", &format!("/airside/token?grant_type={GRANT}&subject_token={token}&subject_token_type={JWT}"))
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(""),
            400,
            "invalid_request",
            "request_malformed",
        ),
    ] {
        verdicts.case(label, refusal(&scene.ask(&request), status, error, reason));
    }
    for (scheme, challenge) in
        [("Basic eDp5", "Basic realm=\"airflow\""), ("Bearer x", "Bearer realm=\"airflow\"")]
    {
        let answer = scene.ask(&form(&token, &[]).header("Authorization", scheme));
        verdicts.case(scheme, refusal(&answer, 401, "invalid_client", "scheme_unsupported"));
        verdicts.check(scheme, answer.header("www-authenticate") == Some(challenge), &answer.head);
    }
    verdicts.check("nothing forwarded", scene.upstream.requests().is_empty(), ());
}

#[test]
fn a_token_that_would_be_refused_gets_no_other() {
    let scene = Scene::with(exchanging);
    let mut verdicts = Verdicts::default();
    for (label, token, reason) in [
        ("expired", v2_app().with("exp", now() - 3600).token(), "token_expired"),
        ("another audience", v2_app().with("aud", "other").token(), "audience_mismatch"),
        ("another issuer", v2_app().with("iss", "https://other.example").token(), "issuer_unknown"),
        ("a stranger's", SigningKey::stranger().token(v2_app().value()), "signature_invalid"),
        ("no role", v2_app().roles(&[]).token(), "role_missing"),
        ("nonsense", "a.b.c".to_owned(), "token_malformed"),
        ("Airflow's own", airflow::token(), "token_kind"),
        (
            "a task's",
            airflow::sign(&task_claims("01a200a6-add8-7fb6-b02e-123f4a563095")),
            "token_kind",
        ),
    ] {
        let answer = scene.ask(&form(&token, &[]));
        verdicts.case(label, refusal(&answer, 400, "invalid_request", reason));
    }
    let given = exchange(&scene, &v2_app().token())["access_token"].as_str().unwrap().to_owned();
    let again = scene.ask(&form(&given, &[]));
    verdicts.case("one that was given", refusal(&again, 400, "invalid_request", "token_kind"));
}

#[test]
fn an_issuer_whose_keys_cannot_be_had_is_no_fault_of_the_client() {
    let scene =
        Scene::with(|config| exchanging(config).set("/issuers/0/authority", "http://127.0.0.1:1"));
    let answer = scene.ask(&form(&v2_app().token(), &[]));
    refusal(&answer, 503, "temporarily_unavailable", "keys_unavailable").unwrap();
    assert!(answer.header("retry-after").is_some());
}

#[test]
fn what_was_given_opens_the_api_here_too() {
    let scene = Scene::with(exchanging);
    let given = exchange(&scene, &v2_app().token())["access_token"].as_str().unwrap().to_owned();
    let received = scene.forwarded(&Request::get("/api/v2/dags").bearer(&given));
    assert_eq!(received.bearer(), given, "as it came");
    assert_eq!(received.header("x-airside-user"), Some(APP));
    // Without the entry of Airflow's tokens it is for Airflow alone.
    let alone = Scene::with(|config| exchanging(config).without("/issuers/1"));
    let given = exchange(&alone, &v2_app().token())["access_token"].as_str().unwrap().to_owned();
    assert_refused(&alone.present(&given), 401, "issuer_unknown");
}

#[test]
fn a_key_of_ours_signs_what_is_given() {
    let scene = Scene::with(|config| {
        let key = config.file("airside.pem", &CurveKey::ed25519().private_pem());
        exchanging(config)
            .without("/handoff/secret_file")
            .set("/handoff/private_key_file", key.to_str())
            .set("/handoff/kid", "airside-1")
            .set("/handoff/issuer", "https://airflow.contoso.example")
    });
    let answer = exchange(&scene, &v2_app().token());
    let (header, claims) = opened(&scene, answer["access_token"].as_str().unwrap());
    assert_eq!((&header["alg"], &header["kid"]), (&json!("EdDSA"), &json!("airside-1")));
    assert_eq!(claims["iss"], "https://airflow.contoso.example");
}

#[test]
fn tokens_are_exchanged_by_post_at_one_path_and_only_where_that_is_configured() {
    let scene = Scene::with(exchanging);
    let token = v2_app().token();
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let answer = scene.ask(&Request::new(method, "/airside/token").bearer(&token));
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
    for path in ["/airside/token/", "/airside/%74oken", "/airside/tokens", "/airside", "/airside/x"]
    {
        let answer = scene.ask(&Request::post(path));
        assert_refused(&answer, 404, "not_found");
    }
    let off = Scene::start();
    assert_refused(&off.ask(&form(&token, &[])), 404, "not_found");
    let off = Scene::with(|config| config.set("/exchange", json!({"enabled": false})));
    assert_refused(&off.ask(&form(&token, &[])), 404, "not_found");
}

#[test]
fn an_exchange_is_logged_and_counted_like_any_request() {
    let scene = Scene::with(exchanging);
    let token = v2_app().token();
    let good = scene.ask(&form(&token, &[]));
    let given = good.json()["access_token"].as_str().unwrap().to_owned();
    let refused = scene.ask(&form(&v2_app().roles(&[]).token(), &[]));
    let metrics = scene.airside.ask_admin("/metrics").text();
    for series in [
        r#"{class="exchange",outcome="answered",code="2xx",reason=""} 1"#,
        r#"{class="exchange",outcome="refused",code="",reason="role_missing"} 1"#,
    ] {
        assert!(metrics.contains(series), "{series} in {metrics}");
    }
    let log = scene.finish().log();
    let line = |answer: &Response| {
        let id = answer.header("x-request-id").unwrap();
        log.lines().find(|line| line.contains(id)).unwrap()
    };
    for word in
        ["class=exchange", "status=200", APP, "roles=\"Op\"", "issuer=\"entra\"", "bytes_in="]
    {
        assert!(line(&good).contains(word), "{word}: {}", line(&good));
    }
    assert!(!line(&good).contains("bytes_in=0"), "{}", line(&good));
    for word in ["class=exchange", "status=400", "reason=role_missing", APP] {
        assert!(line(&refused).contains(word), "{word}: {}", line(&refused));
    }
    for secret in [token, given] {
        assert!(!log.contains(secret.rsplit('.').next().unwrap()), "a token in the log");
    }
}

#[test]
fn a_form_that_does_not_come_is_not_waited_for_long() {
    let scene = Scene::with(|config| exchanging(config).set("/limits/header_timeout", "1s"));
    let head = "POST /airside/token HTTP/1.1\r\nHost: airflow\r\n\
        Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ngrant_type=";
    let mut connection = Connection::open(scene.airside.proxy);
    connection.send(head.as_bytes()).unwrap();
    let answer = connection.response_to("POST").unwrap();
    refusal(&answer, 408, "invalid_request", "request_timeout").unwrap();
}

#[test]
fn many_exchanges_at_once_are_answered() {
    let scene = Scene::of(Issuer::start(), Upstream::start(), exchanging);
    let token = v2_app().token();
    let address = scene.airside.proxy;
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let request = form(&token, &[]);
            thread::spawn(move || (0..20).all(|_| request.send(address).status == 200))
        })
        .collect();
    assert!(workers.into_iter().all(|worker| worker.join().unwrap()));
}
