//! Keys that airside signs with, and what it publishes of them at `/jwks.json`.

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::entra::{APP, v2_app};
use crate::support::expect::Verdicts;
use crate::support::http::Request;
use crate::support::keys::{CurveKey, SigningKey};
use crate::support::scene::Scene;

/// Header and claims of a token that a published key has signed.
pub(crate) fn opened(scene: &Scene, token: &str) -> (Value, Value) {
    let set: JwkSet = serde_json::from_value(published(&scene.airside)).unwrap();
    let header = decode_header(token).unwrap();
    let key = set.find(header.kid.as_deref().expect("a kid")).expect("a published key");
    let mut validation = Validation::new(header.alg);
    validation.validate_aud = false;
    let key = DecodingKey::from_jwk(key).unwrap();
    let claims = decode::<Value>(token, &key, &validation).unwrap().claims;
    (serde_json::to_value(header).unwrap(), claims)
}

fn published(airside: &Airside) -> Value {
    let answer = airside.ask_admin("/jwks.json");
    assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
    answer.json()
}

fn kids(airside: &Airside) -> Vec<String> {
    let set: JwkSet = serde_json::from_value(published(airside)).unwrap();
    set.keys.into_iter().filter_map(|key: Jwk| key.common.key_id).collect()
}

/// Tokens for Airflow signed with this key instead of the shared secret.
fn signing(config: Config, pem: &str) -> Config {
    let key = config.file("airside.pem", pem);
    config
        .without("/handoff/secret_file")
        .set("/handoff/private_key_file", key.to_str())
        .set("/handoff/kid", "airside-1")
}

#[test]
fn a_key_of_each_type_signs_and_is_published() {
    for (pem, algorithm) in [
        (SigningKey::shared().private_pem(), "RS256"),
        (CurveKey::p256().private_pem(), "ES256"),
        (CurveKey::ed25519().private_pem(), "EdDSA"),
    ] {
        let scene = Scene::with(|config| signing(config, &pem));
        let request = Request::get("/api/v2/dags").bearer(&v2_app().token());
        let received = scene.forwarded(&request);
        let (header, claims) = opened(&scene, received.bearer());
        assert_eq!((&header["alg"], &header["kid"]), (&json!(algorithm), &json!("airside-1")));
        assert_eq!((&claims["sub"], &claims["role"]), (&json!(APP), &json!("op")));
        assert_eq!(claims["aud"], "apache-airflow");
    }
}

#[test]
fn airflows_key_and_further_ones_of_ours_are_published_beside_it() {
    let airflow = SigningKey::next();
    let mut verdicts = Verdicts::default();
    for (label, pem) in [("JWK Set", false), ("PEM", true)] {
        let scene = Scene::with(|config| {
            let set = json!({"keys": [airflow.jwk()]}).to_string();
            let text = if pem { airflow.public_pem() } else { set };
            let file = config.file("airflow.keys", &text);
            let coming = config.file("coming.pem", &CurveKey::p256().public_pem());
            let config = signing(config, &CurveKey::ed25519().private_pem())
                .set("/handoff/airflow_keys_file", file.to_str())
                .set("/handoff/publish", json!([{"public_key_file": coming, "kid": "airside-2"}]));
            if pem { config.set("/handoff/airflow_kid", airflow.kid()) } else { config }
        });
        let found = kids(&scene.airside);
        verdicts.check(label, found == ["airside-1", "airside-2", airflow.kid()], found);
    }
}

#[test]
fn a_shared_secret_is_not_published() {
    let scene = Scene::start();
    assert_eq!(published(&scene.airside), json!({"keys": []}));
}

#[test]
fn what_must_not_be_published_is_refused() {
    let mut verdicts = Verdicts::default();
    let config = || {
        let config = Config::new("http://127.0.0.1:1", "http://127.0.0.1:1");
        signing(config, &CurveKey::ed25519().private_pem())
    };
    let private = SigningKey::next().jwk_with("d", "AQAB");
    let secret = json!({"kty": "oct", "kid": "secret", "k": "AAAA"});
    let ours = SigningKey::next().jwk_with("kid", "airside-1");
    for (label, content, words) in [
        ("a private key", json!({"keys": [SigningKey::shared().jwk(), private]}), &["private"][..]),
        ("a secret", json!({"keys": [SigningKey::shared().jwk(), secret]}), &["private"]),
        ("a kid of ours", json!({"keys": [ours]}), &["airside-1", "kid"]),
        ("no key set", json!({"issuer": "x"}), &["keys"]),
    ] {
        let config = config();
        let file = config.file("airflow.keys", &content.to_string());
        let ended = Airside::fails(&config.set("/handoff/airflow_keys_file", file.to_str()));
        verdicts.check(label, ended.code == Some(78), ended.log());
        for word in words.iter().chain(&["handoff.airflow_keys_file"]) {
            verdicts.check(label, ended.stderr.contains(word), &ended.stderr);
        }
    }
    let config = config();
    let file = config.file("airflow.pem", &SigningKey::next().public_pem());
    let ended = Airside::fails(&config.set("/handoff/airflow_keys_file", file.to_str()));
    verdicts.check("PEM without a kid", ended.stderr.contains("airflow_kid"), ended.stderr);
}
