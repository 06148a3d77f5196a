//! The form of a token: three parts, strict base64url, strict JSON, a plain header.

use serde_json::json;

use crate::support::entra::{CLIENT_ID, v2_app};
use crate::support::keys::{SigningKey, encode, parts};

use super::{Table, signed_with};

#[test]
fn what_is_not_a_compact_signed_token_is_malformed() {
    let token = v2_app().token();
    let [header, claims, signature] = parts(&token);
    let json_form = json!({"protected": header, "payload": claims, "signature": signature});
    let mut table = Table::start();
    for (label, credential) in [
        ("one part", "opaque".to_owned()),
        ("two parts", format!("{header}.{claims}")),
        ("four parts", format!("{token}.{signature}")),
        ("six parts", format!("{token}.{token}")),
        ("empty header", format!(".{claims}.{signature}")),
        ("empty claims (detached)", format!("{header}..{signature}")),
        ("only dots", "..".to_owned()),
        ("many dots", ".".repeat(20_000)),
        ("header not base64url", format!("@@@@.{claims}.{signature}")),
    ] {
        table.refused(label, &credential, &["token_malformed", "credential_malformed"]);
    }
    table.refused(
        "JSON form",
        &json_form.to_string(),
        &["token_malformed", "credential_malformed"],
    );
    table.refused(
        "empty signature",
        &format!("{header}.{claims}."),
        &["token_malformed", "signature_invalid"],
    );
    table.refused("five parts", &format!("{token}.{claims}.{signature}"), &["token_encrypted"]);
    let jwe = json!({"alg": "RSA-OAEP", "enc": "A256GCM", "cty": "JWT", "zip": "DEF"}).to_string();
    let jwe = format!("{}.AAAA.AAAA.AAAA.AAAA", encode(jwe.as_bytes()));
    table.refused("encrypted to our key", &jwe, &["token_encrypted"]);
    let bomb =
        json!({"alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "p2c": 2_147_483_647, "p2s": "AA"});
    let bomb = format!("{}.AAAA.AAAA.AAAA.AAAA", encode(bomb.to_string().as_bytes()));
    table.refused("costly to decrypt", &bomb, &["token_encrypted"]);
}

#[test]
fn base64url_is_read_strictly() {
    // The last digit of 256 bytes carries four loose bits, so it has sixteen spellings.
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let token = token_with_both_special_digits();
    let [header, claims, signature] = parts(&token);
    let (last_at, last) = signature.char_indices().last().unwrap();
    let digit = ALPHABET.find(last).unwrap();
    let twin = &ALPHABET[digit + 1..digit + 2];
    let mut table = Table::start();
    for (label, credential) in [
        ("padding", format!("{token}=")),
        ("full padding", format!("{token}==")),
        ("padded header", format!("{header}=.{claims}.{signature}")),
        (
            "other alphabet",
            format!("{header}.{claims}.{}", signature.replace('-', "+").replace('_', "/")),
        ),
        ("loose bits", format!("{header}.{claims}.{}{twin}", &signature[..last_at])),
        ("a digit missing", format!("{header}.{claims}.{}", &signature[..last_at])),
        ("percent", format!("{header}.{claims}.%41{signature}")),
    ] {
        table.refused(label, &credential, &["token_malformed", "credential_malformed"]);
    }
    // A blank inside is the sign of a token that was wrapped.
    let (front, back) = signature.split_at(20);
    table.refused(
        "blank inside",
        &format!("{header}.{claims}.{front} {back}"),
        &["token_malformed", "credential_malformed"],
    );
    table.refused(
        "cut",
        &format!("{header}.{claims}.{}", &signature[..200]),
        &["token_malformed", "signature_invalid"],
    );
    table.accepted("as it came", &token);
}

#[test]
fn header_and_claims_are_json_objects_without_duplicates() {
    let key = SigningKey::shared();
    let header = key.header().to_string();
    let claims = v2_app().value().to_string();
    let mut table = Table::start();
    for (label, header) in [
        ("no JSON", "nonsense".to_owned()),
        ("an array", "[]".to_owned()),
        ("a string", "\"RS256\"".to_owned()),
        ("null", "null".to_owned()),
        ("duplicate alg", header.replacen('{', r#"{"alg":"RS256","#, 1)),
        ("alg none first", header.replacen('{', r#"{"alg":"none","#, 1)),
        ("duplicate kid", header.replacen('{', r#"{"kid":"other","#, 1)),
        ("byte order mark", format!("\u{feff}{header}")),
        ("data behind", format!("{header}{{}}")),
        ("comment", format!("/**/{header}")),
    ] {
        let token = key.sign_bytes(header.as_bytes(), claims.as_bytes());
        table.refused(&format!("header: {label}"), &token, &["token_malformed"]);
    }
    let nested = |depth: usize| format!("\"x\":{}{}", "[".repeat(depth), "]".repeat(depth));
    for (label, claims) in [
        ("no JSON", "nonsense".to_owned()),
        ("an array", format!("[{claims}]")),
        ("null", "null".to_owned()),
        ("duplicate sub", v2_app().text_with(r#""sub":"admin""#)),
        ("duplicate roles", v2_app().text_with(r#""roles":["Airflow.Admin"]"#)),
        (
            "duplicate aud, bad first",
            v2_app().with("aud", "x").text_with(&format!("\"aud\":\"{CLIENT_ID}\"")),
        ),
        ("duplicate in escapes", v2_app().text_with(r#""\u0072oles":["Airflow.Admin"]"#)),
        ("duplicate further down", v2_app().text_with(r#""x":{"a":1,"a":2}"#)),
        ("byte order mark", format!("\u{feff}{claims}")),
        ("data behind", format!("{claims} x")),
        ("NaN", v2_app().text_with(r#""x":NaN"#)),
        ("lone surrogate", v2_app().text_with(r#""x":"\ud800""#)),
        ("trailing comma", v2_app().text_with(r#""x":[1,]"#)),
        ("depth 40", v2_app().text_with(&nested(40))),
        ("depth 5000", v2_app().text_with(&nested(5_000))),
    ] {
        let token = key.sign_bytes(header.as_bytes(), claims.as_bytes());
        table.refused(&format!("claims: {label}"), &token, &["token_malformed"]);
    }
    let not_utf8 = [claims.trim_end_matches('}').as_bytes(), b",\"x\":\"\xff\"}"].concat();
    let token = key.sign_bytes(header.as_bytes(), &not_utf8);
    table.refused("claims: not UTF-8", &token, &["token_malformed"]);
    let token = key.sign_bytes(header.as_bytes(), v2_app().text_with(&nested(20)).as_bytes());
    table.accepted("claims: depth 20", &token);
}

#[test]
fn critical_and_foreign_header_members_are_refused() {
    const UNSUPPORTED: &[&str] = &["header_unsupported"];
    const ODD: &[&str] = &["header_unsupported", "token_malformed"];
    let mut table = Table::start();
    for (member, value, reasons) in [
        ("crit", json!(["exp"]), UNSUPPORTED),
        ("crit", json!(["urn:example:unknown"]), UNSUPPORTED),
        ("crit", json!([]), UNSUPPORTED),
        ("crit", json!(["alg"]), UNSUPPORTED),
        ("crit", json!("exp"), ODD),
        ("crit", json!(null), ODD),
        ("b64", json!(false), UNSUPPORTED),
        ("zip", json!("DEF"), UNSUPPORTED),
        ("typ", json!("dpop+jwt"), UNSUPPORTED),
        ("typ", json!("logout+jwt"), UNSUPPORTED),
        ("typ", json!("JOSE+JSON"), UNSUPPORTED),
        ("typ", json!(7), ODD),
        ("cty", json!("JWT"), UNSUPPORTED),
    ] {
        let token = signed_with(member, value.clone());
        table.refused(&format!("{member}: {value}"), &token, reasons);
    }
}

/// A good token whose signature uses the two digits in which the alphabets differ.
fn token_with_both_special_digits() -> String {
    let tokens = (0..).map(|number| v2_app().with("uti", number).token());
    let mut fitting = tokens.filter(|token| {
        let [_, _, signature] = parts(token);
        signature.contains('-') && signature.contains('_')
    });
    fitting.next().unwrap()
}
