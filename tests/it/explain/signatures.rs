//! Algorithms, keys and signatures.

use serde_json::{Value, json};

use super::Bench;
use crate::support::airflow;
use crate::support::config::SECRET;
use crate::support::entra::{CLIENT_ID, OTHER_TENANT, TENANT, now, v1_app, v2_app, v2_issuer};
use crate::support::issuer::Issuer;
use crate::support::keys::{CurveKey, SigningKey, decode, encode, hs256, hs512, parts, unsigned};
use crate::support::oidc;

fn with_header(member: &str, value: Value) -> Value {
    let mut header = SigningKey::shared().header();
    header[member] = value;
    header
}

#[test]
fn public_keys_alone_tell_how_a_signature_went_wrong() {
    let (key, next) = (SigningKey::shared(), SigningKey::next());
    let token = v2_app().token();
    let [header, payload, signature] = parts(&token);
    let edited = encode(v2_app().roles(&["Airflow.Admin"]).value().to_string().as_bytes());
    let bytes = decode(signature);
    let resigned = key.sign_rs512(&key.header(), v2_app().value());
    let issuer = Issuer::start();
    issuer.publish(&[key.jwk(), next.jwk()]);
    let mut bench = Bench::of(issuer, |config| config);
    for (pasted, cause, fix) in [
        (format!("{header}.{edited}.{signature}"), "content_changed", "unchanged"),
        (
            format!(
                "{}.{payload}.{signature}",
                encode(key.header().to_string().replace("JWT", "jwt").as_bytes())
            ),
            "content_changed",
            "unchanged",
        ),
        (format!("{header}.{payload}.{}", encode(&bytes[..200])), "signature_cut", "length limit"),
        (format!("{header}.{payload}."), "signature_absent", "whole"),
        (
            format!("{header}.{payload}.{}", encode(&[&bytes[..], b"more"].concat())),
            "signature_too_long",
            "alone",
        ),
        (SigningKey::stranger().token(v2_app().value()), "other_key_or_damaged", "keys_url"),
        (next.sign(&key.header(), v2_app().value()), "signed_by_other_key", "unchanged"),
        (resigned, "hash_differs", "unchanged"),
    ] {
        bench.refused(&pasted, "signature_invalid", cause, fix);
    }
}

#[test]
fn other_kinds_of_signatures_are_told_as_far_as_they_can_be() {
    let (p256, ed25519) = (CurveKey::p256(), CurveKey::ed25519());
    let issuer = Issuer::start();
    issuer.publish(&[p256.jwk(), ed25519.jwk()]);
    let entry = oidc::entry(&issuer);
    let claims = oidc::claims(&issuer);
    let token = p256.token(claims.value());
    let [header, payload, signature] = parts(&token);
    let raw = decode(signature);
    let integer = |number: &[u8]| [&[2, 33, 0][..], number].concat();
    let der = [vec![0x30, 70], integer(&raw[..32]), integer(&raw[32..])].concat();
    let mut bench = Bench::of(issuer, |config| config.set("/issuers", json!([entry])));
    let in_der = format!("{header}.{payload}.{}", encode(&der));
    bench.refused(&in_der, "signature_invalid", "signature_in_der", "3.4");
    let other = CurveKey::ed25519().token(claims.value());
    bench.refused(&other, "signature_invalid", "changed_or_other_key", "unchanged");
    bench.let_in("good", &token);
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": ed25519.header()["kid"]});
    let unfit = p256.sign(&header, claims.value());
    bench.refused(&unfit, "algorithm_not_allowed", "key_unfit", "its header was changed");
}

#[test]
fn a_key_that_is_missing_here_is_looked_for_where_it_may_be() {
    let (key, next) = (SigningKey::shared(), SigningKey::next());
    let named = |kid: &str| SigningKey::generate(kid);
    let (of_app, of_tenant, of_nobody) = (named("of-app"), named("of-tenant"), named("of-nobody"));
    let (issuer, other) = (Issuer::start(), Issuer::start());
    issuer.publish_at(&format!("/{TENANT}/discovery/v2.0/keys"), &[key.jwk()]);
    issuer.publish_at(&format!("/{TENANT}/discovery/keys?appid={CLIENT_ID}"), &[of_app.jwk()]);
    issuer.publish_at(&format!("/{OTHER_TENANT}/discovery/v2.0/keys"), &[of_tenant.jwk()]);
    issuer.publish(&[]);
    other.publish(&[next.jwk()]);
    let sso = oidc::entry(&other);
    let mut bench = Bench::of(issuer, |config| {
        let first = config.get("/issuers/0");
        config.set("/issuers", json!([first, sso]))
    });
    let of_other = v2_app().with("tid", OTHER_TENANT);
    let mut nameless = key.header();
    nameless.as_object_mut().unwrap().remove("kid");
    let (said, _) = bench.json(&key.sign(&nameless, v2_app().value()), &[]);
    assert!(!said["causes"].to_string().contains("jwt_kid"), "{}", said["causes"]);
    for (pasted, cause, fix) in [
        (of_app.token(v2_app().value()), "kid_of_application", "appid="),
        (of_tenant.token(of_other.value()), "kid_of_other_tenant", "configured tenant"),
        (next.token(v2_app().value()), "kid_of_other_entry", "as sso made it"),
        (of_nobody.token(v2_app().value()), "kid_unknown", "keys_url"),
        (key.sign(&nameless, v2_app().value()), "kid_missing", "Entra always writes kid"),
    ] {
        bench.refused(&pasted, "key_unknown", cause, fix);
    }
}

#[test]
fn only_public_names_are_asked_for_and_never_offline() {
    let stranger = SigningKey::generate("strange");
    let bench = Bench::start();
    let before = bench.scene.issuer.fetches();
    let odd = v2_app().with("tid", "../../evil?x=1");
    for claims in [v2_app(), odd] {
        let token = stranger.token(claims.value());
        let (said, _) = bench.json(&token, &["--offline"]);
        assert_eq!(said["steps"][6]["verdict"], "failed", "{said:#}");
        assert_eq!(bench.scene.issuer.fetches(), before, "offline");
    }
    let token = stranger.token(v2_app().with("tid", "../../evil?x=1").value());
    bench.json(&token, &[]);
    let asked = bench.scene.issuer.fetched();
    let [_, payload, _] = parts(&token);
    assert!(asked.len() > before);
    assert!(asked.iter().all(|target| !target.contains("evil") && !target.contains(payload)));
}

#[test]
fn an_algorithm_of_somebody_elses_is_named() {
    let key = SigningKey::shared();
    let airflows = airflow::claims();
    let header = |alg: &str| json!({"alg": alg, "typ": "JWT"});
    let mut bench = Bench::start();
    for (pasted, reason, cause, fix) in [
        (
            unsigned(&with_header("alg", json!("none")), v2_app().value()),
            "algorithm_not_allowed",
            "unsigned",
            "signed it",
        ),
        (
            hs256(SECRET.as_bytes(), &with_header("alg", json!("HS256")), v2_app().value()),
            "algorithm_not_allowed",
            "shared_secret",
            "issuer itself",
        ),
        (
            key.sign(&with_header("alg", json!("PS256")), v2_app().value()),
            "algorithm_not_allowed",
            "algorithm_foreign",
            "as its issuer signs",
        ),
        (
            key.sign_rs512(&header("RS512"), airflows.value()),
            "algorithm_not_allowed",
            "airflow_signs_with_key",
            "public_key_file",
        ),
        (
            hs256(SECRET.as_bytes(), &header("HS256"), airflows.value()),
            "algorithm_not_allowed",
            "airflow_other_hash",
            "jwt_algorithm",
        ),
        (
            hs512(
                b"another secret of sixty-four bytes, for a token of another Airflow",
                &header("HS512"),
                airflows.value(),
            ),
            "signature_invalid",
            "airflow_secret_differs",
            "[api_auth] jwt_secret",
        ),
    ] {
        bench.refused(&pasted, reason, cause, fix);
    }
    bench.let_in("Airflow's own", &airflow::token());
    for secret in [format!("{SECRET}\n"), format!("\"{SECRET}\"")] {
        let signed = hs512(secret.as_bytes(), &header("HS512"), airflows.value());
        let (cause, fix) = if secret.ends_with('"') {
            ("airflow_secret_differs", "jwt_secret")
        } else {
            ("airflow_secret_reading", "very bytes")
        };
        bench.refused(&signed, "signature_invalid", cause, fix);
    }
    let pem = key.public_pem();
    let mut bench = Bench::with(|config| {
        let file = config.file("airflow.pem", &pem).display().to_string();
        config.without("/issuers/1/secret_file").set("/issuers/1/public_key_file", file)
    });
    bench.refused(
        &airflow::token(),
        "algorithm_not_allowed",
        "airflow_signs_with_secret",
        "secret_file",
    );
}

#[test]
fn a_token_for_graph_is_told_with_certainty_where_its_key_is_known() {
    let key = SigningKey::shared();
    let graph = v1_app().with("aud", "00000003-0000-0000-c000-000000000000");
    let hashed = encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"raw").as_ref());
    let genuine = key.sign(&with_header("nonce", json!(hashed)), graph.value());
    let [_, payload, signature] = parts(&genuine);
    let header = encode(with_header("nonce", json!("raw")).to_string().as_bytes());
    let genuine = format!("{header}.{payload}.{signature}");
    let made_up = key.sign(&with_header("nonce", json!("raw")), graph.value());
    let mut bench = Bench::start();
    bench.refused(&genuine, "graph_token", "graph_token", &format!("api://{CLIENT_ID}/.default"));
    bench.refused(&made_up, "graph_token", "graph_token", "/.default");
    for (token, expected) in [(genuine, true), (made_up, false)] {
        let (said, _) = bench.json(&token, &[]);
        let what = said["causes"][0]["what"].as_str().unwrap();
        assert_eq!(what.contains("its signature is Entra's"), expected, "{what}");
    }
}

#[test]
fn keys_that_cannot_be_had_are_nobodys_refusal() {
    let mut issuer = Issuer::start();
    issuer.stop();
    let scene = crate::support::scene::Scene {
        airside: crate::support::airside::Airside::start_unready(
            &crate::support::config::Config::new(&issuer.url(), "http://127.0.0.1:9"),
        ),
        issuer,
        upstream: crate::support::upstream::Upstream::start(),
    };
    let mut bench = Bench { scene, verdicts: None };
    bench.refused(&v2_app().token(), "keys_unavailable", "keys_unreachable", "HTTPS_PROXY");
    // Whatever keys there were, this one would not do.
    let (said, ended) = bench.json(&v2_app().with("exp", now() - 7200).token(), &[]);
    assert_eq!(ended.code, Some(3));
    assert_eq!(said["verdict"]["reason"], "keys_unavailable");
    assert_eq!(said["verdict"]["in_any_case"], "token_expired");
    let (said, ended) = bench.json(&v2_app().token(), &["--offline"]);
    assert_eq!((ended.code, &said["causes"][0]["name"]), (Some(1), &json!("keys_not_fetched")));
    // That nobody was to fetch them is no answer of a running airside.
    assert_eq!(
        (&said["verdict"]["status"], &said["verdict"]["let_in"]),
        (&json!(null), &json!(false))
    );
    assert!(said["verdict"]["detail"].as_str().unwrap().contains("none were fetched"), "{said:#}");
    let (said, ended) =
        bench.json(&v2_app().with("iss", v2_issuer(OTHER_TENANT)).token(), &["--offline"]);
    assert_eq!((ended.code, &said["causes"][0]["name"]), (Some(3), &json!("other_tenant")));
    let mut bench = Bench::with(|config| {
        let empty = config.file("keys.json", r#"{"keys": []}"#).display().to_string();
        config.without("/issuers/0/authority").set("/issuers/0/keys_file", empty)
    });
    bench.refused(&v2_app().token(), "keys_unavailable", "keys_none", "a JWK Set with a key");
}
