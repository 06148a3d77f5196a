//! Who signed, with which key and how: algorithm, kid, signature.

use serde_json::{Value, json};

use crate::support::airflow;
use crate::support::config::SECRET;
use crate::support::entra::v2_app;
use crate::support::issuer::Issuer;
use crate::support::keys::{
    CurveKey, SigningKey, decode, encode, hs256, hs384, hs512, parts, signing_input, unsigned,
};
use crate::support::oidc;
use crate::support::scene::Scene;
use crate::support::tls::Authority;

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
    // CVE-2015-9235
    for alg in
        ["none", "None", "NONE", "nOnE", ""].map(Value::from).into_iter().chain([json!(null)])
    {
        let token = unsigned(&with_alg(alg.clone()), claims.value());
        table.refused(&format!("alg {alg}, no signature"), &token, ODD);
    }
    for alg in [json!(""), json!(null), json!(0), json!(["RS256"])] {
        let token = key.sign(&with_alg(alg.clone()), claims.value());
        table.refused(&format!("alg {alg}"), &token, ODD);
    }
    let mut without = key.header();
    without.as_object_mut().unwrap().remove("alg");
    table.refused("no alg", &key.sign(&without, claims.value()), ODD);
    table.refused("no alg, no signature", &unsigned(&without, claims.value()), ODD);
    let mut renamed = without;
    renamed["Alg"] = "RS256".into();
    table.refused("Alg", &key.sign(&renamed, claims.value()), ODD);
    let token = key.sign_rs512(&with_alg("RS512".into()), claims.value());
    table.refused("RS512 by the right key", &token, NOT_ALLOWED);
    let token = key.sign_ps256(&with_alg("PS256".into()), claims.value());
    table.refused("PS256 by the right key", &token, NOT_ALLOWED);
}

/// CVE-2017-11424, CVE-2022-29217, and CVE-2026-34950, which a blank before the PEM got past.
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
            // Named as what it is not.
            let token = sign(&bytes, &key.header(), claims.value());
            table.refused(&format!("RS256 with {form}"), &token, &["signature_invalid"]);
        }
    }
    for (label, secret) in [("Airflow's secret", SECRET.as_bytes()), ("an empty secret", b"")] {
        let token = hs512(secret, &json!({"typ": "JWT", "alg": "HS512"}), claims.value());
        table.refused(&format!("HS512 with {label}"), &token, &["algorithm_not_allowed"]);
    }
}

#[test]
fn no_public_key_of_any_issuer_is_a_shared_secret() {
    let keys = [CurveKey::p256(), CurveKey::ed25519()];
    let mut table = Table::of(oidc::scene(&keys.each_ref().map(CurveKey::jwk), |_| {}));
    let claims = oidc::claims(&table.scene.issuer);
    for key in &keys {
        for (form, bytes) in key.public_forms() {
            for (alg, sign) in [("HS256", hs256 as Sign), ("HS384", hs384), ("HS512", hs512)] {
                let header = json!({"alg": alg, "kid": key.algorithm()});
                let token = sign(&bytes, &header, claims.value());
                let label = format!("{alg} with {form} of {}", key.algorithm());
                table.refused(&label, &token, &["algorithm_not_allowed"]);
                let token = sign(&bytes, &key.header(), claims.value());
                let label = format!("{} with {form} by {alg}", key.algorithm());
                table.refused(&label, &token, &["signature_invalid"]);
            }
        }
        table.accepted(key.algorithm(), &key.token(claims.value()));
    }
    // Airflow's own tokens are HS512 where it shares a secret: with a key pair they are not.
    let airflows = SigningKey::shared();
    let mut table = Table::of(Scene::with(|config| {
        let file = config.file("airflow.pem", &airflows.public_pem()).display().to_string();
        config.without("/issuers/1/secret_file").set("/issuers/1/public_key_file", file)
    }));
    for (form, bytes) in airflows.public_forms() {
        for (alg, sign) in [("HS256", hs256 as Sign), ("HS384", hs384), ("HS512", hs512)] {
            let header = json!({"alg": alg, "typ": "JWT", "kid": "not-used"});
            let token = sign(&bytes, &header, airflow::claims().value());
            table.refused(&format!("{alg} with {form}"), &token, &["algorithm_not_allowed"]);
        }
    }
    table.accepted("by its private key", &airflows.token(airflow::claims().value()));
}

/// CVE-2022-21449: a verifier that did not look whether r and s are zero took nothing for a
/// signature of anything.
#[test]
fn a_signature_of_nothing_is_no_signature() {
    let (p256, ed25519) = (CurveKey::p256(), CurveKey::ed25519());
    let mut table = Table::of(oidc::scene(&[p256.jwk(), ed25519.jwk()], |_| {}));
    let claims = oidc::claims(&table.scene.issuer);
    let good = |key: &CurveKey| decode(parts(&key.token(claims.value()))[2]);
    let (r, s) = <[u8; 64]>::try_from(good(&p256)).map(halves).unwrap();
    let one = number(1);
    let mut cases = Vec::new();
    for (label, r, s) in [
        ("0, 0", number(0), number(0)),
        ("0, s", number(0), s),
        ("r, 0", r, number(0)),
        ("n, n", ORDER_OF_P256, ORDER_OF_P256),
        ("n, s", ORDER_OF_P256, s),
        ("r, n", r, ORDER_OF_P256),
        ("0, n", number(0), ORDER_OF_P256),
        ("n, 0", ORDER_OF_P256, number(0)),
        ("1, 1", one, one),
        ("1, 0", one, number(0)),
        ("all ones", [0xff; 32], [0xff; 32]),
    ] {
        cases.push((&p256, label, [r, s].concat()));
    }
    let positive = |number: &[u8]| [&[2, 33, 0][..], number].concat();
    let sequence = [positive(&r), positive(&s)].concat();
    let der = [&[0x30, 70][..], &sequence].concat();
    let wide = [&[0; 16][..], &r, &[0; 16], &s].concat();
    let (before, behind) = ([&[0][..], &r, &s].concat(), [&r[..], &s, &[0]].concat());
    for (label, signature) in [
        ("DER", der),
        ("DER of zeros", vec![0x30, 6, 2, 1, 0, 2, 1, 0]),
        ("padded to 48 bytes each", wide),
        ("a byte before", before),
        ("a byte behind", behind),
        ("r alone", r.to_vec()),
        ("one byte less", [&r[..], &s[..31]].concat()),
        ("s, r", [s, r].concat()),
        ("no byte", Vec::new()),
        ("twice", [r, s, r, s].concat()),
    ] {
        cases.push((&p256, label, signature));
    }
    let (point, scalar) = <[u8; 64]>::try_from(good(&ed25519)).map(halves).unwrap();
    let identity = {
        let mut point = number(0);
        point[0] = 1;
        point
    };
    for (label, point, scalar) in [
        ("0, 0", number(0), number(0)),
        ("identity, 0", identity, number(0)),
        ("identity, order", identity, ORDER_OF_ED25519),
        ("identity, s", identity, scalar),
        ("R, 0", point, number(0)),
        // RFC 8032, section 5.1.7: S is below the order, or every signature has twins.
        ("R, s + order", point, sum(scalar, ORDER_OF_ED25519)),
        ("a point of order 2", ORDER_2, scalar),
        ("a point of order 8", ORDER_8, number(0)),
        ("all ones", [0xff; 32], [0xff; 32]),
    ] {
        cases.push((&ed25519, label, [point, scalar].concat()));
    }
    cases.push((&ed25519, "no byte", Vec::new()));
    cases.push((&ed25519, "a byte behind", [&point[..], &scalar, &[0]].concat()));
    cases.push((&ed25519, "that of ES256", [r, s].concat()));
    for (key, label, signature) in cases {
        let input = signing_input(&key.header(), claims.value());
        let token = format!("{input}.{}", encode(&signature));
        table.refused(&format!("{} {label}", key.algorithm()), &token, &["signature_invalid"]);
    }
    for (key, pair) in [(&p256, [r, s]), (&ed25519, [point, scalar])] {
        let input = signing_input(&key.header(), claims.value());
        table.accepted("the good one", &format!("{input}.{}", encode(&pair.concat())));
    }
}

/// n of P-256 (FIPS 186-5), big-endian.
const ORDER_OF_P256: [u8; 32] = *b"\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\
\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51";
/// L of Ed25519 (RFC 8032, section 5.1), little-endian.
const ORDER_OF_ED25519: [u8; 32] =
    *b"\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14\
\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10";
/// (0, -1), little-endian.
const ORDER_2: [u8; 32] = *b"\xec\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\
\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
/// One of the four points of that order.
const ORDER_8: [u8; 32] = *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\
\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05";

/// Big-endian.
fn number(value: u8) -> [u8; 32] {
    let mut number = [0; 32];
    number[31] = value;
    number
}

fn halves(signature: [u8; 64]) -> ([u8; 32], [u8; 32]) {
    let (first, second) = signature.split_at(32);
    (first.try_into().unwrap(), second.try_into().unwrap())
}

/// Of little-endian numbers.
fn sum(one: [u8; 32], other: [u8; 32]) -> [u8; 32] {
    let mut carry = 0;
    std::array::from_fn(|at| {
        let sum = u16::from(one[at]) + u16::from(other[at]) + carry;
        carry = sum >> 8;
        sum.to_le_bytes()[0]
    })
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
        "first-\u{212a}ey",
        "\u{feff}first-key",
        "first-key\u{202e}",
        "..\\..\\nul",
        "%2e%2e/first-key",
        "first-key\0.pem",
        "$(id)",
        "|id",
    ] {
        table.refused(&format!("kid {kid:?}"), &signed_with("kid", json!(kid)), ODD);
    }
    for (length, reason) in [
        (256, "key_unknown"),
        (257, "header_unsupported"),
        (20_000, "header_unsupported"),
        (40_000, "token_too_large"),
    ] {
        let token = signed_with("kid", json!("k".repeat(length)));
        table.refused(&format!("kid of {length} bytes"), &token, &[reason]);
    }
    let far_too_long = signed_with("kid", json!("k".repeat(64 * 1024)));
    table.answered("kid of 64 KiB", &far_too_long, 431, &["headers_too_large"]);
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

/// CVE-2018-0114.
#[test]
fn keys_in_the_token_itself_are_never_used() {
    let elsewhere = Issuer::start();
    let certificate = Authority::with(&["localhost"], |_| {}).itself();
    let of_certificate = CurveKey::p256_from(certificate.key());
    let stranger = SigningKey::generate("strange-key");
    elsewhere.publish(&[stranger.jwk(), SigningKey::stranger().jwk()]);
    let url = format!("{}/keys", elsewhere.url());
    let mut table = Table::start();
    for (member, value) in [
        ("jwk", stranger.jwk()),
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("x5c", json!([encode(b"certificate")])),
        ("x5c", json!([certificate.leaf()])),
        ("x5t", json!(encode(&[7; 20]))),
        ("x5t#S256", json!(encode(&[7; 32]))),
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
    for kid in ["first-key", "ES256"] {
        let header = json!({
            "alg": "ES256", "kid": kid, "jwk": of_certificate.jwk(), "x5c": [certificate.leaf()],
        });
        let token = of_certificate.sign(&header, v2_app().value());
        table.refused("signed by its certificate", &token, &["algorithm_not_allowed"]);
    }
    let kid = signed_with("kid", json!(url));
    table.refused("kid as address", &kid, &["key_unknown"]);
    assert_eq!(elsewhere.fetches(), 0, "an address out of a token was asked");
}

/// CVE-2026-23518 and CVE-2026-42602 were parsers taken for verifiers.
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
