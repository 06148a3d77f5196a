//! What is remembered of a caller: never more than it says of itself, never for longer than it holds,
//! and only so much of it.

use std::ops::Range;
use std::thread;

use serde_json::json;

use crate::support::claims::Claims;
use crate::support::config::SECRET;
use crate::support::entra::{v2_app, v2_user};
use crate::support::expect::{Verdicts, assert_refused, refusal};
use crate::support::http::{Connection, Request, Response};
use crate::support::issuer::Issuer;
use crate::support::keys::{CurveKey, SigningKey, encode, open_hs512, parts};
use crate::support::oidc;
use crate::support::scene::Scene;
use crate::support::upstream::{Answer, Upstream};

/// CVE-2026-33496, CVE-2026-48096: a verdict was found again for a request it was not about.
#[test]
fn a_remembered_caller_is_judged_anew_for_each_request() {
    let scene = Scene::with(|config| {
        config.set("/access/execution_api", "closed").set("/access/password_login", "closed")
    });
    let (token, no_role) = (v2_app().token(), v2_app().roles(&[]).token());
    let mut verdicts = Verdicts::default();
    for _ in 0..3 {
        verdicts.check("known", scene.present(&token).status == 200, ());
        for (request, status, reason) in [
            (Request::post("/execution/x"), 403, "access_closed"),
            (Request::post("/auth/token"), 403, "access_closed"),
            (Request::get("/api/v2/%2e%2e/x"), 400, "path_ambiguous"),
            (Request::get("/airside/x"), 404, "not_found"),
            (Request::new("TRACE", "/api/v2/dags"), 405, "method_refused"),
            (Request::get("/api/v2/dags").bearer("a.b.c"), 400, "credential_ambiguous"),
        ] {
            let label = format!("{request:?}");
            verdicts.refused(&label, &scene.ask(&request.bearer(&token)), status, &[reason]);
        }
        verdicts.refused("no role", &scene.present(&no_role), 403, &["role_missing"]);
    }
    verdicts.check("forwarded", scene.upstream.take().len() == 3, ());
}

#[test]
fn callers_who_look_alike_are_not_taken_for_each_other() {
    let (sso, entra) = (Issuer::start(), Issuer::start());
    let mut entry = oidc::entry(&sso);
    entry["username_prefix"] = json!("");
    let scene = Scene::of(entra, Upstream::start(), |config| {
        config
            .set("/issuers/0/username_claim", "preferred_username")
            .set("/issuers/1/name", "airflow|sso")
            .set("/issuers/1", entry)
    });
    let person = |name: &str, role: &str| v2_user().with("preferred_username", name).roles(&[role]);
    let at_sso = |name: &str, role: &str| {
        oidc::claims(&sso).with("sub", name).with("realm_access", json!({"roles": [role]}))
    };
    let cases: [(Claims, [&str; 3]); 8] = [
        (person("alice", "Airflow.Op"), ["alice", "Op", "entra"]),
        (at_sso("alice", "pipelines"), ["alice", "Op", "sso"]),
        (person("alice", "Airflow.Viewer"), ["alice", "Viewer", "entra"]),
        (at_sso("alice", "readers"), ["alice", "Viewer", "sso"]),
        (person("alice,Op", "Airflow.Viewer"), ["alice,Op", "Viewer", "entra"]),
        (person("alice|Op", "Airflow.Viewer"), ["alice|Op", "Viewer", "entra"]),
        (person("sso:alice", "Airflow.User"), ["sso:alice", "User", "entra"]),
        (person("Alice", "Airflow.Op"), ["Alice", "Op", "entra"]),
    ];
    let mut verdicts = Verdicts::default();
    for _ in 0..2 {
        for (claims, [user, role, issuer]) in &cases {
            let request = Request::get("/api/v2/dags").bearer(&claims.token());
            let received = scene.forwarded(&request);
            let (_, minted) = open_hs512(received.bearer(), SECRET.as_bytes());
            let said = [
                ("user", received.header("x-airside-user") == Some(user)),
                ("roles", received.header("x-airside-roles") == Some(role)),
                ("issuer", received.header("x-airside-issuer") == Some(issuer)),
                ("sub", minted["sub"] == *user),
                ("role", minted["role"] == role.to_lowercase()),
            ];
            for (what, holds) in said {
                verdicts.check(&format!("{user} {role} {issuer}: {what}"), holds, received.text());
            }
        }
    }
}

#[test]
fn a_twin_of_a_remembered_token_is_a_stranger() {
    let scene = Scene::start();
    let token = v2_app().token();
    let [header, claims, signature] = parts(&token);
    assert_eq!(scene.present(&token).status, 200);
    let spaced = v2_app().value().to_string().replacen(':', ": ", 1);
    let mut verdicts = Verdicts::default();
    for (label, twin, reason) in [
        ("another case", token.to_uppercase(), "token_malformed"),
        ("cut", token[..token.len() - 6].to_owned(), "signature_invalid"),
        ("longer", format!("{token}AAAA"), "signature_invalid"),
        ("no signature", format!("{header}.{claims}."), "signature_invalid"),
        ("a part more", format!("{token}.{signature}"), "token_malformed"),
        (
            "the same claims, spaced",
            { format!("{header}.{}.{signature}", encode(spaced.as_bytes())) },
            "signature_invalid",
        ),
        (
            "another header",
            {
                let header = json!({"alg": "RS256", "kid": "first-key"}).to_string();
                format!("{}.{claims}.{signature}", encode(header.as_bytes()))
            },
            "signature_invalid",
        ),
    ] {
        verdicts.refused(label, &scene.present(&twin), 401, &[reason]);
    }
    verdicts.check("itself", scene.present(&token).status == 200, ());
}

/// A key that stays in the set under its name, and is another one: what the old one signed is over.
#[test]
fn what_is_remembered_ends_with_the_key_it_was_verified_by() {
    let scene = Scene::with(|config| config.set("/keys/refresh", "1s"));
    let (token, header) = (v2_app().token(), SigningKey::stranger().header());
    for _ in 0..3 {
        assert_eq!(scene.present(&token).status, 200);
    }
    scene.issuer.publish(&[SigningKey::stranger().jwk()]);
    crate::support::wait::eventually("the old key is replaced", || {
        let answer = scene.present(&token);
        (answer.status != 200).then(|| assert_refused(&answer, 401, "signature_invalid"))
    });
    let new = SigningKey::stranger().sign(&header, v2_app().value());
    assert_eq!(scene.present(&new).status, 200);
    // The key comes back: so do the tokens it signed.
    scene.issuer.publish(&[SigningKey::shared().jwk()]);
    crate::support::wait::eventually("the old key is back", || {
        (scene.present(&token).status == 200).then_some(())
    });
    refusal(&scene.present(&new), 401, &["signature_invalid"]).unwrap();
}

/// The cache holds 65,536 callers: twice as many leave it where it was.
#[test]
fn the_number_of_tokens_does_not_grow_the_memory() {
    const FULL: usize = 70_000;
    let key = CurveKey::p256();
    let scene = oidc::scene(&[key.jwk()], |_| {});
    let claims = oidc::claims(&scene.issuer).without("realm_access");
    let present = |numbers: Range<usize>| {
        thread::scope(|scope| {
            for worker in 0..2 {
                let (scene, claims, key) = (&scene, &claims, &key);
                let mine = numbers.clone().skip(worker).step_by(2);
                scope.spawn(move || present_many(scene, claims, key, mine));
            }
        });
        scene.airside.memory()
    };
    let empty = present(0..100);
    let full = present(100..FULL);
    let twice = present(FULL..2 * FULL);
    let filled = full - empty;
    assert!(filled < 48 * 1024, "{filled} KiB for a full cache");
    // Without a bound it would be as much again.
    assert!(twice < full + filled / 2, "{empty} KiB became {full} and then {twice} KiB");
}

/// Tokens that are good but for a role: they are remembered, and cost no upstream.
fn present_many(
    scene: &Scene,
    claims: &Claims,
    key: &CurveKey,
    numbers: impl Iterator<Item = usize>,
) {
    const TOGETHER: usize = 50;
    let mut connection = Connection::open(scene.airside.proxy);
    let tokens =
        numbers.map(|number| key.token(claims.clone().with("jti", number.to_string()).value()));
    let tokens: Vec<_> = tokens.collect();
    for some in tokens.chunks(TOGETHER) {
        let request =
            |token: &String| Request::get("/api/v2/dags").bearer(token).bytes(scene.airside.proxy);
        connection.send(&some.iter().map(request).collect::<Vec<_>>().concat()).unwrap();
        for _ in some {
            refusal(&connection.response_to("GET").unwrap(), 403, &["role_missing"]).unwrap();
        }
    }
}

/// RUSTSEC-2026-0035 was a shared cache. airside has none, and says nothing to those around it.
#[test]
fn what_airflow_says_of_caching_passes_and_no_answer_serves_two_callers() {
    let scene = Scene::answering(|request| {
        let role = request.header("x-airside-roles").unwrap_or("none").to_owned();
        let token = format!("Refreshed-API-Token: for-{role}");
        let lines = [
            "Cache-Control: public, max-age=31536000, immutable",
            "Vary: Authorization",
            "Vary: Cookie",
            "Age: 7",
            "Expires: Thu, 01 Dec 2033 16:00:00 GMT",
            "ETag: \"canary\"",
            "Last-Modified: Thu, 01 Dec 1994 16:00:00 GMT",
            "CDN-Cache-Control: max-age=60",
            &token,
        ];
        Answer::json(200, &lines, &format!(r#"{{"for":"{role}"}}"#))
    });
    let fields = |answer: &Response, names: &[&str]| {
        names.iter().map(|name| answer.all(name).join(", ")).collect::<Vec<_>>()
    };
    let (op, admin) = (v2_app().token(), v2_user().token());
    let mut verdicts = Verdicts::default();
    for _ in 0..2 {
        for (token, role) in [(&op, "Op"), (&admin, "Admin")] {
            let answer = scene.present(token);
            verdicts.check(role, answer.json()["for"] == role, answer.text());
            let names = [
                "cache-control",
                "vary",
                "age",
                "expires",
                "etag",
                "last-modified",
                "cdn-cache-control",
                "refreshed-api-token",
            ];
            let expected = [
                "public, max-age=31536000, immutable",
                "Authorization, Cookie",
                "7",
                "Thu, 01 Dec 2033 16:00:00 GMT",
                "\"canary\"",
                "Thu, 01 Dec 1994 16:00:00 GMT",
                "max-age=60",
                &format!("for-{role}"),
            ];
            verdicts.check(role, fields(&answer, &names) == expected, &answer.head);
        }
        let stranger = scene.ask(&Request::get("/api/v2/dags"));
        verdicts.refused("a stranger", &stranger, 401, &["credential_missing"]);
    }
    verdicts.check("each was asked for", scene.upstream.requests().len() == 4, ());
    // A condition is Airflow's to judge.
    let conditional =
        Request::get("/api/v2/dags").bearer(&op).header("If-None-Match", "\"canary\"");
    let received = scene.forwarded(&conditional);
    verdicts.check("condition", received.header("if-none-match") == Some("\"canary\""), ());
}
