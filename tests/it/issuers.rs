//! Issuers other than Entra: any OpenID issuer, and Airflow with keys of its own.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::airflow;
use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::entra::{now, v2_app};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::Request;
use crate::support::issuer::Issuer;
use crate::support::keys::{CurveKey, SigningKey, hs256};
use crate::support::oidc::{self, REALM};
use crate::support::scene::Scene;
use crate::support::upstream::Upstream;

#[test]
fn an_openid_issuer_is_found_by_its_metadata() {
    let scene = oidc::scene(&[SigningKey::shared().jwk()], |_| {});
    let token = SigningKey::shared().token(oidc::claims(&scene.issuer).value());
    let received = scene.forwarded(&Request::get("/api/v2/dags").bearer(&token));
    assert_eq!(received.header("x-airside-user"), Some("sso:f:1:deploy"));
    assert_eq!(received.header("x-airside-roles"), Some("Op"));
    assert_eq!(received.header("x-airside-issuer"), Some("sso"));
    let fetched = scene.issuer.fetched();
    assert_eq!(fetched[0], format!("{REALM}/.well-known/openid-configuration"), "{fetched:?}");
}

#[test]
fn metadata_of_another_issuer_brings_no_keys() {
    let issuer = Issuer::start();
    issuer.misname("https://evil.example");
    let entry = oidc::entry(&issuer);
    let scene =
        Scene::of(issuer, Upstream::start(), |config| config.set("/issuers", json!([entry])));
    let token = SigningKey::shared().token(oidc::claims(&scene.issuer).value());
    assert_refused(&scene.present(&token), 503, "keys_unavailable");
}

#[test]
fn each_allowed_algorithm_verifies_with_its_own_kind_of_key_alone() {
    let scene = oidc::scene(&[SigningKey::shared().jwk()], |_| {});
    let (p256, ed25519, rsa) = (CurveKey::p256(), CurveKey::ed25519(), SigningKey::shared());
    scene.issuer.publish(&[rsa.jwk(), p256.jwk(), ed25519.jwk()]);
    let claims = oidc::claims(&scene.issuer);
    let claims = claims.value();
    let mut verdicts = Verdicts::default();
    for (label, token) in [
        ("RS256", rsa.token(claims)),
        ("ES256", p256.token(claims)),
        ("EdDSA", ed25519.token(claims)),
    ] {
        let answer = scene.present(&token);
        verdicts.check(label, answer.status == 200, answer.text());
    }
    let crossed = json!({"typ": "JWT", "alg": "ES256", "kid": rsa.kid()});
    let named = json!({"typ": "JWT", "alg": "HS256", "kid": "ES256"});
    let secret = p256.jwk()["x"].as_str().unwrap().to_owned();
    for (label, token, reason) in [
        ("RSA key, ES256 named", rsa.sign(&crossed, claims), "algorithm_not_allowed"),
        (
            "RS512 is not on the list",
            rsa.sign_rs512(&json!({"alg": "RS512", "kid": rsa.kid()}), claims),
            "algorithm_not_allowed",
        ),
        (
            "HMAC with a public key",
            hs256(secret.as_bytes(), &named, claims),
            "algorithm_not_allowed",
        ),
        ("another P-256 key", CurveKey::p256().token(claims), "signature_invalid"),
    ] {
        verdicts.refused(label, &scene.present(&token), 401, &[reason]);
    }
}

#[test]
fn what_an_openid_token_must_say_is_checked() {
    let scene = oidc::scene(&[SigningKey::shared().jwk()], |entry| {
        entry["required_claims"] = json!({"org": ["contoso"], "env": ["prod", "test"]});
    });
    let good = oidc::claims(&scene.issuer).with("org", "contoso").with("env", json!(["test", "x"]));
    assert_eq!(scene.present(&good.token()).status, 200);
    let mut verdicts = Verdicts::default();
    for (name, value, status, reason) in [
        ("iss", json!("https://evil.example"), 401, "issuer_unknown"),
        ("aud", json!("account"), 401, "audience_mismatch"),
        ("aud", Value::Null, 401, "claim_missing"),
        ("exp", Value::Null, 401, "claim_missing"),
        ("exp", json!(now() - 3600), 401, "token_expired"),
        ("nbf", json!(now() + 3600), 401, "token_not_yet_valid"),
        ("iat", json!("yesterday"), 401, "claim_invalid"),
        ("cnf", json!({"jkt": "x"}), 401, "token_bound"),
        ("jti", json!(7), 401, "claim_invalid"),
        ("org", json!("contoso-evil"), 401, "claim_invalid"),
        ("org", Value::Null, 401, "claim_missing"),
        ("env", json!({"prod": true}), 401, "claim_invalid"),
        ("sub", Value::Null, 401, "claim_missing"),
        ("sub", json!(""), 403, "identity_unsafe"),
        ("sub", json!("a b"), 403, "identity_unsafe"),
        ("realm_access", Value::Null, 403, "role_missing"),
        ("realm_access", json!({"roles": ["Pipelines"]}), 403, "role_missing"),
        ("realm_access", json!({"roles": 7}), 401, "claim_invalid"),
    ] {
        let label = format!("{name}: {value}");
        let bent = match value {
            Value::Null => good.clone().without(name),
            value => good.clone().with(name, value),
        };
        let answer = scene.present(&bent.token());
        verdicts.refused(&label, &answer, status, &[reason]);
    }
}

#[test]
fn a_key_of_one_issuer_never_signs_for_another() {
    let (sso, entra) = (Issuer::start(), Issuer::start());
    sso.publish(&[SigningKey::next().jwk()]);
    let entry = oidc::entry(&sso);
    let scene = Scene::of(entra, Upstream::start(), |config| config.set("/issuers/1", entry));
    let claims = oidc::claims(&sso);
    assert_eq!(scene.present(&SigningKey::next().token(claims.value())).status, 200);
    assert_refused(&scene.present(&claims.token()), 401, "key_unknown");
}

#[test]
fn an_entry_that_would_let_anybody_in_is_refused() {
    let refused = |bend: &dyn Fn(&mut Value), named: &str| {
        let issuer = Issuer::start();
        let mut entry = oidc::entry(&issuer);
        bend(&mut entry);
        let config =
            Config::new(&issuer.url(), "http://127.0.0.1:1").set("/issuers", json!([entry]));
        let ended = Airside::fails(&config);
        assert_eq!(ended.code, Some(78), "{named}: {}", ended.log());
        assert!(ended.stderr.contains(named), "{named}: {}", ended.stderr);
    };
    let github = "https://token.actions.githubusercontent.com";
    refused(&|entry| entry["issuer"] = json!(github), "required_claims");
    refused(&|entry| entry["issuer"] = json!("http://idp.example"), "issuer");
    refused(&|entry| entry["audiences"] = json!([]), "audiences");
    refused(&|entry| entry["algorithms"] = json!(["HS256"]), "algorithms");
    refused(&|entry| entry["roles"] = json!({}), "roles");
    for needed in ["username_prefix", "roles", "audiences"] {
        refused(&|entry| drop(entry.as_object_mut().unwrap().remove(needed)), needed);
    }
}

#[test]
fn airflows_own_tokens_verify_with_its_public_key_too() {
    let (rsa, p256, ed25519) = (SigningKey::shared(), CurveKey::p256(), CurveKey::ed25519());
    let claims = airflow::claims();
    let rs512 =
        rsa.sign_rs512(&json!({"alg": "RS512", "typ": "JWT", "kid": "any"}), claims.value());
    for (label, pem, token) in [
        ("RS512", rsa.public_pem(), rs512),
        ("RS256", rsa.public_pem(), rsa.token(claims.value())),
        ("ES256", p256.public_pem(), p256.token(claims.value())),
        ("EdDSA", ed25519.public_pem(), ed25519.token(claims.value())),
    ] {
        let issuer = Issuer::start();
        let upstream = Upstream::start();
        let config = Config::new(&issuer.url(), &upstream.url());
        let file = config.file("airflow.pem", &pem);
        let entry = json!({"name": "airflow", "type": "airflow", "public_key_file": file});
        let airside = Airside::start(&config.set("/issuers", json!([entry])));
        let answer = airside.ask(&Request::get("/api/v2/dags").bearer(&token));
        assert_eq!(answer.status, 200, "{label}: {}", answer.text());
        assert_eq!(upstream.last().bearer(), token, "{label}: forwarded as it came");
        let secret_signed = airside.ask(&Request::get("/api/v2/dags").bearer(&airflow::token()));
        assert_refused(&secret_signed, 401, "algorithm_not_allowed");
    }
}

#[test]
fn airflows_keys_have_one_place() {
    for places in [json!({}), json!({"secret_file": "/s", "public_key_file": "/p"})] {
        let mut entry = json!({"name": "airflow", "type": "airflow"});
        entry.as_object_mut().unwrap().extend(places.as_object().unwrap().clone());
        let config = Config::new("http://127.0.0.1:1", "http://127.0.0.1:1");
        let ended = Airside::fails(&config.set("/issuers", json!([entry])));
        assert_eq!(ended.code, Some(78), "{}", ended.log());
        assert!(ended.stderr.contains("exactly one of"), "{}", ended.stderr);
    }
}

#[test]
fn an_endless_document_of_an_issuer_is_not_read_to_its_end() {
    let issuer = Issuer::start();
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    issuer.script(move |stream| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"keys\":[";
        let _refused = stream.write_all(head);
        while stream.write_all(&[b' '; 8 * 1024]).is_ok() {
            counted.fetch_add(8 * 1024, Ordering::Relaxed);
        }
    });
    let scene = Scene::of(issuer, Upstream::start(), |config| config);
    assert_refused(&scene.present(&v2_app().token()), 503, "keys_unavailable");
    // What the system's buffers hold comes on top of what is read.
    let each = taken.load(Ordering::Relaxed) / scene.issuer.fetches();
    assert!(each < 32 << 20, "{each} bytes for each fetch");
}
