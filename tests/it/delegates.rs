//! Basic and Negotiate, where they are Airflow's to judge: passed on as they came, and no way round
//! a token that is judged here.

use serde_json::{Value, json};

use crate::support::config::Config;
use crate::support::entra::{now, v2_app};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::Request;
use crate::support::issuer::Issuer;
use crate::support::keys::CurveKey;
use crate::support::scene::Scene;
use crate::support::upstream::{Answer, Upstream};

const BASIC: &str = "Basic YWxpY2U6c2VjcmV0";
const NEGOTIATE: &str = "Negotiate YIICdwYGKwYBBQUCoIICazCCAme=";

fn delegating(delegate: Value) -> impl FnOnce(Config) -> Config {
    |config| config.set("/access/delegate", delegate)
}

fn both() -> Value {
    json!({"basic": true, "negotiate": true})
}

/// Airflow 2, told who is calling by an assertion.
fn airflow_2(config: Config) -> Config {
    let key = config.file("assertion.pem", &CurveKey::ed25519().private_pem());
    config
        .set("/upstream/airflow", 2)
        .set("/handoff", json!({"type": "headers", "assertion": {"private_key_file": key}}))
}

fn dags(credential: &str) -> Request {
    Request::get("/api/v2/dags").header("Authorization", credential)
}

#[test]
fn an_allowed_scheme_reaches_airflow_as_it_came_and_with_nothing_of_ours() {
    let mut verdicts = Verdicts::default();
    for version in [2, 3] {
        for ui in ["airflow", "closed"] {
            let scene = Scene::with(|config| {
                let config = if version == 2 { airflow_2(config) } else { config };
                delegating(both())(config).set("/access/ui", ui)
            });
            for credential in [BASIC, NEGOTIATE, "basic YWxpY2U6c2VjcmV0"] {
                let label = format!("Airflow {version}, ui {ui}, {credential}");
                let request =
                    dags(credential).cookie("session=other").header("X-Airside-User", "me");
                let received = scene.forwarded(&request);
                let text = received.text();
                verdicts.check(&label, received.all("authorization") == [credential], &text);
                verdicts.check(&label, !text.to_lowercase().contains("x-airside-"), &text);
                verdicts.check(&label, received.header("cookie").is_none(), &text);
            }
        }
    }
}

#[test]
fn a_scheme_that_is_not_allowed_is_refused_and_a_broken_one_too() {
    let mut verdicts = Verdicts::default();
    for (delegate, credential, reason) in [
        (json!({}), BASIC, "scheme_unsupported"),
        (json!({"basic": true}), NEGOTIATE, "scheme_unsupported"),
        (json!({"negotiate": true}), BASIC, "scheme_unsupported"),
        (both(), "Digest username=alice", "scheme_unsupported"),
        (both(), "Basic", "credential_malformed"),
        (both(), "Negotiate ", "credential_malformed"),
        (both(), "Basic YTpi, Negotiate YIIC", "credential_malformed"),
    ] {
        let scene = Scene::with(delegating(delegate.clone()));
        let answer = scene.ask(&dags(credential));
        verdicts.refused(&format!("{delegate} {credential}"), &answer, 401, &[reason]);
        verdicts.check("nothing upstream", scene.upstream.requests().is_empty(), ());
    }
}

#[test]
fn a_401_offers_the_allowed_schemes_beside_bearer() {
    let mut verdicts = Verdicts::default();
    for (delegate, offered) in [
        (json!({}), &[][..]),
        (json!({"basic": true}), &["Basic realm=\"airflow\""]),
        (json!({"negotiate": true}), &["Negotiate"]),
        (both(), &["Negotiate", "Basic realm=\"airflow\""]),
    ] {
        let scene = Scene::with(delegating(delegate));
        let expired = v2_app().with("exp", now() - 3600).token();
        for request in [Request::get("/api/v2/dags"), Request::get("/api/v2/dags").bearer(&expired)]
        {
            let answer = scene.ask(&request);
            let challenges = answer.all("www-authenticate");
            verdicts.check("Bearer first", challenges[0].starts_with("Bearer "), &challenges);
            verdicts.check("then the others", challenges[1..] == *offered, &challenges);
        }
        let answer = scene.present(&v2_app().roles(&[]).token());
        verdicts.check("none at 403", answer.all("www-authenticate").len() == 1, &answer.head);
    }
}

#[test]
fn a_token_that_is_denied_here_is_tried_nowhere_else() {
    let scene = Scene::with(delegating(both()));
    let expired = v2_app().with("exp", now() - 3600).token();
    assert_refused(&scene.present(&expired), 401, "token_expired");
    assert_refused(&scene.present("not-a-token"), 401, "token_malformed");
    assert_refused(&scene.present(&v2_app().roles(&[]).token()), 403, "role_missing");
    let two = dags(BASIC).bearer(&v2_app().token());
    assert_refused(&scene.ask(&two), 400, "credential_ambiguous");
    assert_refused(
        &scene.ask(&dags(NEGOTIATE).header("Authorization", BASIC)),
        400,
        "credential_ambiguous",
    );
    assert!(scene.upstream.requests().is_empty());
}

#[test]
fn open_paths_need_no_password_and_get_none() {
    let scene = Scene::with(delegating(both()));
    for path in ["/api/v2/version", "/", "/static/x.js"] {
        let received = scene.forwarded(&Request::get(path).header("Authorization", BASIC));
        assert_eq!(received.header("authorization"), None, "{path}");
    }
}

#[test]
fn what_airflow_says_to_it_reaches_the_caller_but_for_a_session() {
    let upstream = Upstream::answering(|_| {
        let headers =
            ["WWW-Authenticate: Negotiate oRQw", "Set-Cookie: session=abc", "Set-Cookie: x=y"];
        Answer::json(401, &headers, "{}")
    });
    let scene = Scene::of(Issuer::start(), upstream, delegating(both()));
    for credential in [BASIC, NEGOTIATE] {
        let answer = scene.ask(&dags(credential));
        assert_eq!(answer.status, 401);
        assert_eq!(answer.all("www-authenticate"), ["Negotiate oRQw"]);
        assert_eq!(answer.all("set-cookie"), ["x=y"]);
    }
}
