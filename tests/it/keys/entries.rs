//! What an issuer's key set may hold: each entry is judged by itself.

use serde_json::{Value, json};

use crate::support::entra::v2_app;
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::issuer::Issuer;
use crate::support::keys::{CurveKey, SigningKey, encode};
use crate::support::oidc;
use crate::support::scene::Scene;
use crate::support::tls::Authority;
use crate::support::upstream::Upstream;

#[test]
fn one_bad_entry_costs_no_other() {
    let good = SigningKey::shared().jwk();
    let with = |member: &str, value: Value| {
        let mut jwk = SigningKey::next().jwk();
        jwk[member] = value;
        jwk
    };
    let mut verdicts = Verdicts::default();
    for (label, bad) in [
        ("null", json!(null)),
        ("a number", json!(7)),
        ("an empty object", json!({})),
        ("an unknown type", json!({"kty": "AKP", "kid": "x", "pub": "AA"})),
        ("an unknown curve", json!({"kty": "OKP", "crv": "X25519", "kid": "x", "x": "AA"})),
        ("a symmetric key", json!({"kty": "oct", "kid": "x", "k": "c2VjcmV0"})),
        ("for encryption", with("use", json!("enc"))),
        ("a broken modulus", with("n", json!("@@@"))),
        ("a modulus of a wrong type", with("n", json!(7))),
        ("a modulus of 512 bits", with("n", json!(encode(&[0xc1; 64])))),
        ("a modulus of 1024 bits", with("n", json!(encode(&[0xc1; 128])))),
        ("a modulus of 16384 bits", with("n", json!(encode(&[0xc1; 2048])))),
        ("an even modulus", with("n", json!(encode(&[0xc2; 256])))),
        ("exponent 1", with("e", json!("AQ"))),
        ("an even exponent", with("e", json!("AQAA"))),
        ("no exponent", with("e", json!(""))),
        ("a private key", with("d", json!("AQAB"))),
        ("operations of another use", with("key_ops", json!(["encrypt"]))),
        ("an algorithm of another type", with("alg", json!("ES256"))),
        ("a point off the curve", curve("P-256", &[1; 32], &[1; 32])),
        ("a point at infinity", curve("P-256", &[0; 32], &[0; 32])),
        ("a short coordinate", curve("P-256", &[1; 31], &[1; 32])),
        ("a coordinate beyond the field", curve("P-256", &[0xff; 32], &[1; 32])),
        ("another curve", curve("P-384", &[1; 48], &[1; 48])),
        ("a curve of another type", curve("Ed25519", &[1; 32], &[1; 32])),
        (
            "a private key on a curve",
            json!({
                "kty": "OKP", "crv": "Ed25519", "kid": "x", "x": encode(&[1; 32]), "d": encode(&[1; 32]),
            }),
        ),
        ("a kid of a wrong type", with("kid", json!(7))),
        ("the same kid, another type", json!({"kty": "oct", "kid": "first-key", "k": "c2VjcmV0"})),
    ] {
        let issuer = Issuer::start();
        issuer.publish(&[bad.clone(), good.clone(), bad]);
        let scene = Scene::of(issuer, Upstream::start(), |config| config);
        let answer = scene.present(&v2_app().token());
        verdicts.check(label, answer.status == 200, answer.text());
        let said = scene.finish().log();
        verdicts.check(label, said.contains("keys=1 left_out=2"), said);
    }
}

#[test]
fn what_we_do_not_know_of_a_good_key_is_no_fault_of_it() {
    let (good, other) = (SigningKey::shared(), SigningKey::next().jwk());
    let mut namesake = SigningKey::stranger().jwk();
    namesake["kid"] = good.kid().into();
    let mut verdicts = Verdicts::default();
    for (label, keys) in [
        ("unknown members", vec![good.jwk_with("cloud_instance_name", json!({"a": [1, 2]}))]),
        ("its certificate", vec![good.jwk_with("x5c", json!(["MIIC"]))]),
        ("another key", vec![other, good.jwk()]),
        ("another key of that name before it", vec![namesake.clone(), good.jwk()]),
        ("another key of that name behind it", vec![good.jwk(), namesake]),
        ("twice", vec![good.jwk(), good.jwk()]),
    ] {
        let issuer = Issuer::start();
        issuer.publish(&keys);
        let scene = Scene::of(issuer, Upstream::start(), |config| config);
        let answer = scene.present(&v2_app().token());
        verdicts.check(label, answer.status == 200, answer.text());
    }
}

fn curve(name: &str, x: &[u8], y: &[u8]) -> Value {
    json!({"kty": "EC", "crv": name, "kid": "x", "x": encode(x), "y": encode(y)})
}

#[test]
fn a_key_is_used_only_for_what_it_is_published_for() {
    let key = SigningKey::next();
    let mut verdicts = Verdicts::default();
    for (member, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["encrypt"])),
        ("key_ops", json!(["sign"])),
        ("alg", json!("RS512")),
        ("alg", json!("RSA-OAEP")),
        ("kty", json!("oct")),
    ] {
        let mut jwk = key.jwk();
        jwk[member] = value.clone();
        let issuer = Issuer::start();
        issuer.publish(&[SigningKey::shared().jwk(), jwk]);
        let scene = Scene::of(issuer, Upstream::start(), |config| config);
        let answer = scene.present(&key.token(v2_app().value()));
        let label = format!("{member} {value}");
        verdicts.refused(&label, &answer, 401, &["key_unknown", "algorithm_not_allowed"]);
    }
    for (member, value) in [("alg", json!("RS256")), ("key_ops", json!(["verify"]))] {
        let issuer = Issuer::start();
        issuer.publish(&[key.jwk_with(member, value)]);
        let scene = Scene::of(issuer, Upstream::start(), |config| config);
        let answer = scene.present(&key.token(v2_app().value()));
        verdicts.check(member, answer.status == 200, answer.text());
    }
}

/// RFC 7517, section 4.5: keys of different types may share a name when they stand for each other.
#[test]
fn keys_of_one_name_are_told_apart_by_their_type() {
    let (rsa, p256, ed25519) = (SigningKey::shared(), CurveKey::p256(), CurveKey::ed25519());
    let named = |mut jwk: Value| {
        jwk["kid"] = "same".into();
        jwk
    };
    let oct = json!({"kty": "oct", "kid": "same", "k": encode(&[7; 64])});
    let keys = [oct, named(ed25519.jwk()), named(rsa.jwk()), named(p256.jwk())];
    let scene = oidc::scene(&keys, |_| {});
    let claims = oidc::claims(&scene.issuer);
    let claims = claims.value();
    let header = |alg: &str| json!({"alg": alg, "kid": "same"});
    let mut verdicts = Verdicts::default();
    for (label, token) in [
        ("RSA", rsa.sign(&header("RS256"), claims)),
        ("P-256", p256.sign(&header("ES256"), claims)),
        ("Ed25519", ed25519.sign(&header("EdDSA"), claims)),
    ] {
        let answer = scene.present(&token);
        verdicts.check(label, answer.status == 200, answer.text());
    }
    for (label, token) in [
        ("P-256 as RS256", p256.sign(&header("RS256"), claims)),
        ("P-256 as EdDSA", p256.sign(&header("EdDSA"), claims)),
        ("RSA as ES256", rsa.sign(&header("ES256"), claims)),
        ("Ed25519 as ES256", ed25519.sign(&header("ES256"), claims)),
    ] {
        verdicts.refused(label, &scene.present(&token), 401, &["signature_invalid"]);
    }
}

/// The numbers count. Issuers publish certificates that no strict parser reads, so refusing an entry
/// for its `x5c` would cost good keys and win nothing.
#[test]
fn a_certificate_beside_a_key_is_never_used() {
    let shown = Authority::new().itself();
    let (published, of_certificate) = (CurveKey::p256(), CurveKey::p256_from(shown.key()));
    let mut jwk = published.jwk();
    jwk["x5c"] = json!([shown.leaf()]);
    let scene = oidc::scene(&[jwk], |_| {});
    let claims = oidc::claims(&scene.issuer);
    assert_eq!(scene.present(&published.token(claims.value())).status, 200);
    let by_certificate = of_certificate.token(claims.value());
    assert_refused(&scene.present(&by_certificate), 401, "signature_invalid");
}
