//! Who signed, with which key and how: algorithm, kid, signature.

use serde_json::{Value, json};

use crate::support::config::SECRET;
use crate::support::entra::v2_app;
use crate::support::issuer::Issuer;
use crate::support::keys::{SigningKey, encode, hs256, hs384, hs512, parts, unsigned};

use super::{Table, signed_with};

#[test]
fn an_algorithm_that_the_issuer_does_not_use_is_refused() {
    const NOT_ALLOWED: &[&str] = &["algorithm_not_allowed"];
    const ODD: &[&str] = &["algorithm_not_allowed", "token_malformed", "header_unsupported"];
    let key = SigningKey::shared();
    let claims = v2_app();
    let with_alg = |alg: Value| {
        let mut header = key.header();
        header["alg"] = alg;
        header
    };
    let mut table = Table::start();
    for alg in
        ["none", "None", "NONE", "nOnE", "none ", "rs256", "RS256 ", "RS384", "ES256", "EdDSA"]
    {
        let token = key.sign(&with_alg(alg.into()), claims.value());
        table.refused(&format!("alg {alg:?}"), &token, NOT_ALLOWED);
    }
    for alg in ["none", "None", "NONE", "nOnE"] {
        let token = unsigned(&with_alg(alg.into()), claims.value());
        table.refused(&format!("alg {alg:?}, no signature"), &token, ODD);
    }
    for alg in [json!(""), json!(null), json!(0), json!(["RS256"])] {
        let token = key.sign(&with_alg(alg.clone()), claims.value());
        table.refused(&format!("alg {alg}"), &token, ODD);
    }
    let mut without = key.header();
    without.as_object_mut().unwrap().remove("alg");
    table.refused("no alg", &key.sign(&without, claims.value()), ODD);
    let mut renamed = without;
    renamed["Alg"] = "RS256".into();
    table.refused("Alg", &key.sign(&renamed, claims.value()), ODD);
    let token = key.sign_rs512(&with_alg("RS512".into()), claims.value());
    table.refused("RS512 by the right key", &token, NOT_ALLOWED);
    let token = key.sign_ps256(&with_alg("PS256".into()), claims.value());
    table.refused("PS256 by the right key", &token, NOT_ALLOWED);
}

#[test]
fn the_public_key_is_no_shared_secret() {
    let key = SigningKey::shared();
    let claims = v2_app();
    let mut table = Table::start();
    for (form, bytes) in key.public_forms() {
        for (alg, sign) in [("HS256", hs256 as Sign), ("HS384", hs384), ("HS512", hs512)] {
            let header = json!({"typ": "JWT", "alg": alg, "kid": key.kid()});
            let token = sign(&bytes, &header, claims.value());
            table.refused(&format!("{alg} with {form}"), &token, &["algorithm_not_allowed"]);
        }
    }
    for (label, secret) in [("Airflow's secret", SECRET.as_bytes()), ("an empty secret", b"")] {
        let token = hs512(secret, &json!({"typ": "JWT", "alg": "HS512"}), claims.value());
        table.refused(&format!("HS512 with {label}"), &token, &["algorithm_not_allowed"]);
    }
}

#[test]
fn a_key_must_be_named_and_known() {
    const UNKNOWN: &[&str] = &["key_unknown"];
    const ODD: &[&str] = &["key_unknown", "token_malformed", "header_unsupported"];
    let key = SigningKey::shared();
    let mut table = Table::start();
    for kid in [
        "unknown",
        "FIRST-KEY",
        "first-key ",
        "",
        "../../../dev/null",
        "' OR 1=1 --",
        "a\r\nb",
        "a\0b",
        "\u{212a}ey",
    ] {
        table.refused(&format!("kid {kid:?}"), &signed_with("kid", json!(kid)), ODD);
    }
    table.refused("kid of 20 KB", &signed_with("kid", json!("k".repeat(20_000))), ODD);
    for kid in [json!(null), json!(1), json!(["first-key"]), json!({})] {
        table.refused(&format!("kid {kid}"), &signed_with("kid", kid), ODD);
    }
    let mut without = key.header();
    without.as_object_mut().unwrap().remove("kid");
    table.refused("no kid", &key.sign(&without, v2_app().value()), UNKNOWN);
    let mut renamed = without;
    renamed["KID"] = key.kid().into();
    table.refused("KID", &key.sign(&renamed, v2_app().value()), UNKNOWN);
}

#[test]
fn keys_in_the_token_itself_are_never_used() {
    let elsewhere = Issuer::start();
    let stranger = SigningKey::generate("strange-key");
    elsewhere.publish(&[stranger.jwk(), SigningKey::stranger().jwk()]);
    let url = format!("{}/keys", elsewhere.url());
    let mut table = Table::start();
    for (member, value) in [
        ("jwk", stranger.jwk()),
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("x5c", json!([encode(b"certificate")])),
    ] {
        let mut header = stranger.header();
        header[member] = value.clone();
        let token = stranger.sign(&header, v2_app().value());
        table.refused(
            &format!("{member}, own kid"),
            &token,
            &["key_unknown", "header_unsupported"],
        );
        let mut header = SigningKey::stranger().header();
        header[member] = value;
        let token = SigningKey::stranger().sign(&header, v2_app().value());
        table.refused(
            &format!("{member}, the issuer's kid"),
            &token,
            &["signature_invalid", "header_unsupported"],
        );
    }
    let kid = signed_with("kid", json!(url));
    table.refused("kid as address", &kid, &["key_unknown"]);
    assert_eq!(elsewhere.fetches(), 0, "an address out of a token was asked");
}

#[test]
fn a_signature_must_be_the_issuers() {
    let key = SigningKey::shared();
    let claims = v2_app();
    let token = claims.token();
    let [header, payload, signature] = parts(&token);
    let other = claims.clone().roles(&["Airflow.Admin"]).token();
    let header_of_other = key.header().to_string().replace("JWT", "jwt");
    let mut table = Table::start();
    for (label, token) in [
        ("another key, same kid", SigningKey::stranger().token(claims.value())),
        ("claims of another token", format!("{header}.{}.{signature}", parts(&other)[1])),
        ("header changed", format!("{}.{payload}.{signature}", encode(header_of_other.as_bytes()))),
        ("random bytes", format!("{header}.{payload}.{}", encode(&[7; 256]))),
        ("zeros", format!("{header}.{payload}.{}", encode(&[0; 256]))),
        ("one byte more", format!("{header}.{payload}.{}", encode(&[7; 257]))),
        ("short", format!("{header}.{payload}.{}", encode(&[7; 64]))),
    ] {
        table.refused(label, &token, &["signature_invalid"]);
    }
    // A good twin in the cache does not help a bad one.
    table.accepted("the good one", &token);
    let damaged = format!("{header}.{payload}.{}", encode(&[7; 256]));
    table.refused("after the good one", &damaged, &["signature_invalid"]);
}

type Sign = fn(&[u8], &Value, &Value) -> String;
