//! The form of a token: three parts, strict base64url, strict JSON, a plain header.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::entra::{CLIENT_ID, v2_app};
use crate::support::expect::Verdicts;
use crate::support::http::{Connection, Request};
use crate::support::keys::{SigningKey, encode, parts, unsigned};
use crate::support::scene::Scene;

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
}

/// CVE-2025-30204 split a megabyte of dots into a million parts.
#[test]
fn dots_are_not_counted_beyond_what_a_token_has() {
    let mut table = Table::start();
    let mut memory = 0;
    for round in 0..20 {
        for (dots, status, reason) in [
            (2, 401, "token_malformed"),
            (4, 401, "token_encrypted"),
            (5, 401, "token_malformed"),
            (32 * 1024, 401, "token_malformed"),
            (32 * 1024 + 1, 401, "token_too_large"),
            (64 * 1024, 431, "headers_too_large"),
        ] {
            table.answered(&format!("{dots} dots"), &".".repeat(dots), status, &[reason]);
        }
        if round == 0 {
            // The allocator keeps what buffers of such heads take.
            memory = table.scene.airside.memory();
        }
    }
    // Where the HTTP library gives up, it may close before all is sent.
    let request = Request::get("/api/v2/dags").bearer(&".".repeat(1024 * 1024));
    if let Ok(answer) = request.try_send(table.scene.airside.proxy) {
        assert_eq!(answer.status, 431);
    }
    let grown = table.scene.airside.memory().saturating_sub(memory);
    assert!(grown < 8 * 1024, "{grown} KiB more");
}

/// CVE-2026-29000 took what was encrypted to it for signed. CVE-2024-28176, CVE-2024-28180 and
/// their like unpacked, or derived keys, at a stranger's expense.
#[test]
fn an_encrypted_token_is_refused_at_once_and_never_opened() {
    const EACH: Duration = Duration::from_millis(5);
    let inner = unsigned(&json!({"alg": "none"}), v2_app().value());
    let filler = "0".repeat(20_000);
    let scene = Scene::start();
    let memory = scene.airside.memory();
    let started = Instant::now();
    let mut verdicts = Verdicts::default();
    let mut asked = 0;
    for _ in 0..50 {
        for (label, header, key, text) in [
            (
                "to our key",
                json!({"alg": "RSA-OAEP", "enc": "A256GCM", "cty": "JWT"}),
                "AAAA",
                &inner,
            ),
            ("with no key", json!({"alg": "dir", "enc": "A256GCM"}), "", &inner),
            ("packed", json!({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}), "", &filler),
            (
                "costly",
                json!({
                    "alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "p2c": i32::MAX, "p2s": "AAAA",
                }),
                "AAAA",
                &inner,
            ),
            ("costlier", json!({"alg": "PBES2-HS512+A256KW", "p2c": 1e300}), "AAAA", &inner),
            ("no header", json!(null), "", &inner),
        ] {
            let text = encode(text.as_bytes());
            let token = format!("{}.{key}.AAAA.{text}.AAAA", encode(header.to_string().as_bytes()));
            verdicts.refused(label, &scene.present(&token), 401, &["token_encrypted"]);
            asked += 1;
        }
    }
    // The mean over all: one may have waited for its turn on a busy machine.
    let each = started.elapsed() / asked;
    assert!(each < EACH, "{each:?} each");
    let grown = scene.airside.memory().saturating_sub(memory);
    assert!(grown < 8 * 1024, "{grown} KiB more");
    assert!(scene.upstream.take().is_empty());
}

/// CVE-2026-34986 was a panic. What is bent here starts as a good token and as a JWE.
#[test]
fn no_bent_token_is_answered_with_anything_but_a_refusal() {
    let scene = Scene::start();
    let good = v2_app().token();
    let encrypted = format!("{good}.{}.AAAA", encode(b"text"));
    let mut connection = Connection::open(scene.airside.proxy);
    let mut verdicts = Verdicts::default();
    for token in [good.as_bytes(), encrypted.as_bytes()] {
        // Each place with one character out of each class that a credential may be written in.
        for at in (0..token.len()).step_by(7) {
            for byte in *b".=A~/" {
                let mut bent = token.to_vec();
                bent[at] = byte;
                if bent == good.as_bytes() {
                    continue;
                }
                let bent = String::from_utf8(bent).unwrap();
                let answer = connection.ask(&Request::get("/api/v2/dags").bearer(&bent));
                let label = format!("{} at {at}", char::from(byte));
                verdicts.check(&label, answer.status == 401, answer.text());
            }
        }
    }
    drop(verdicts);
    assert_eq!(scene.present(&good).status, 200);
    assert_eq!(scene.upstream.take().len(), 1);
}

#[test]
fn base64url_is_read_strictly() {
    const MALFORMED: &[&str] = &["token_malformed", "credential_malformed"];
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
        table.refused(label, &credential, MALFORMED);
    }
    // What is inside is the sign of a token that was wrapped.
    let (front, back) = signature.split_at(20);
    for inside in [" ", "\t", "%0a", "\\n"] {
        let wrapped = format!("{header}.{claims}.{front}{inside}{back}");
        table.refused(&format!("{inside:?} inside"), &wrapped, MALFORMED);
    }
    table.refused(
        "cut",
        &format!("{header}.{claims}.{}", &signature[..200]),
        &["token_malformed", "signature_invalid"],
    );
    table.accepted("as it came", &token);
    // CVE-2026-27840: a spelling of its own must not find what the cache remembers of a good one.
    table.refused("padding, once it is known", &format!("{token}="), MALFORMED);
    let twin = format!("{header}.{claims}.{}{twin}", &signature[..last_at]);
    table.refused("loose bits, once it is known", &twin, &["token_malformed"]);
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
        ("depth 33", v2_app().text_with(&nested(33))),
        ("depth 10000", v2_app().text_with(&nested(10_000))),
        ("comment", v2_app().text_with("/* */\"x\":1")),
        ("comment to the end of the line", v2_app().text_with("\"x\":1//")),
        ("Infinity", v2_app().text_with(r#""x":Infinity"#)),
        ("a lone low surrogate", v2_app().text_with(r#""x":"\udc00""#)),
        ("a control byte", v2_app().text_with("\"x\":\"\u{1}\"")),
        ("NUL behind", format!("{claims}\0")),
        ("a second object", format!("{claims}{claims}")),
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
        ("crit", json!({"exp": true}), ODD),
        ("b64", json!(false), UNSUPPORTED),
        ("b64", json!(true), UNSUPPORTED),
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
    // CVE-2025-59420: what is critical is refused, not skipped (RFC 7515, section 4.1.11).
    let key = SigningKey::shared();
    for extension in [json!({"crit": ["b64"], "b64": false}), json!({"crit": ["exp"], "exp": 1})] {
        let mut header = key.header();
        header.as_object_mut().unwrap().extend(extension.as_object().unwrap().clone());
        table.refused(&extension.to_string(), &key.sign(&header, v2_app().value()), UNSUPPORTED);
    }
}

/// Some parsers take `Roles` for `roles`, and fold letters of other alphabets.
#[test]
fn a_name_in_another_case_is_another_name() {
    let mut table = Table::start();
    let text = v2_app().value().to_string();
    for (name, other, status, reason) in [
        ("iss", "ISS", 401, "algorithm_not_allowed"),
        ("iss", "i\u{17f}s", 401, "algorithm_not_allowed"),
        ("aud", "Aud", 401, "claim_missing"),
        ("exp", "EXP", 401, "claim_missing"),
        ("nbf", "Nbf", 401, "claim_missing"),
        ("iat", "IAT", 401, "claim_missing"),
        ("tid", "TID", 401, "claim_missing"),
        ("oid", "OID", 401, "claim_missing"),
        ("azp", "AZP", 401, "token_kind"),
        ("roles", "Roles", 403, "role_missing"),
        ("roles", "role\u{17f}", 403, "role_missing"),
    ] {
        let renamed = text.replacen(&format!("\"{name}\":"), &format!("\"{other}\":"), 1);
        let key = SigningKey::shared();
        let token = key.sign_bytes(key.header().to_string().as_bytes(), renamed.as_bytes());
        table.answered(&format!("{other} for {name}"), &token, status, &[reason]);
    }
    // Beside the real one it says nothing.
    let beside = v2_app().with("Roles", json!(["Airflow.Admin"])).with("Exp", 0).with("ISS", "x");
    table.accepted("beside the real ones", &beside.token());
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
