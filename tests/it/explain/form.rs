//! Credentials that are no token, and tokens that are none any more.

use serde_json::json;

use super::Bench;
use crate::support::entra::v2_app;
use crate::support::keys::{SigningKey, encode, parts};

#[test]
fn what_went_wrong_on_the_way_is_named() {
    let token = v2_app().token();
    let (half, rest) = token.split_at(100);
    let document = json!({"token_type": "Bearer", "access_token": token}).to_string();
    let mut bench = Bench::start();
    for (pasted, reason, cause, fix) in [
        (format!("{half}\n{rest}"), "credential_malformed", "token_broken", "one piece"),
        (format!("Bearer {half} {rest}"), "credential_malformed", "token_broken", "one piece"),
        (format!("Bearer \"{token}\""), "credential_malformed", "token_quoted", "jq -r"),
        (format!("'{token}'"), "credential_malformed", "token_quoted", "jq -r"),
        (format!("Bearer Bearer {token}"), "credential_malformed", "bearer_twice", "library"),
        (format!("{token},"), "credential_malformed", "trailing_character", "alone"),
        (format!("Bearer  {token}"), "credential_malformed", "gap_after_bearer", "one space"),
        (
            format!("Cookie: x=y; _token={token}"),
            "credential_malformed",
            "cookie_of_airflow",
            "POST /auth/token",
        ),
        (format!("_token={token}"), "token_malformed", "cookie_of_airflow", "access.ui"),
        (document, "credential_malformed", "whole_document", ".access_token"),
        ("Bearer $TOKEN".into(), "credential_malformed", "placeholder", "not expanded"),
        ("Bearer <token>".into(), "credential_malformed", "placeholder", "not expanded"),
        ("null".into(), "token_malformed", "placeholder", "jq prints null"),
        (format!("{half}…"), "credential_malformed", "foreign_character", "copy the token"),
        ("Bearer".into(), "credential_malformed", "token_empty", "printed nothing"),
        ("Authorization:".into(), "credential_missing", "nothing_sent", "Bearer TOKEN"),
        (format!("Authorization: {token}"), "scheme_unsupported", "scheme_missing", "Bearer TOKEN"),
        ("Basic YTpi".into(), "scheme_unsupported", "scheme_foreign", "access.delegate"),
    ] {
        bench.refused(&pasted, reason, cause, fix);
    }
}

#[test]
fn what_became_of_the_token_itself_is_named() {
    let key = SigningKey::shared();
    let token = v2_app().token();
    let [header, payload, signature] = parts(&token);
    let claims = v2_app().value().to_string();
    let twice = v2_app().text_with("\"aud\":\"other\"");
    let signed =
        |payload: &str| key.sign_bytes(key.header().to_string().as_bytes(), payload.as_bytes());
    let with = |member: &str, value: serde_json::Value| {
        let mut header = key.header();
        header[member] = value;
        key.sign(&header, v2_app().value())
    };
    let groups: Vec<String> =
        (0..700).map(|n| format!("11112222-bbbb-3333-{n:04}-4444dddd5555")).collect();
    let large = v2_app().with("groups", json!(groups)).token();
    let mut bench = Bench::start();
    for (pasted, reason, cause, fix) in [
        (format!("{header}.{payload}"), "token_malformed", "part_missing", "truncating"),
        (
            format!("{header}.{payload}.{signature}.{header}"),
            "token_malformed",
            "too_many_parts",
            "unchanged",
        ),
        (
            format!("{header}.a.b.c.{signature}"),
            "token_encrypted",
            "token_encrypted",
            "tokenEncryptionKeyId",
        ),
        ("0.AXoAuRefreshTokenOfEntra".into(), "token_malformed", "token_opaque", "access_token"),
        (format!("{token}=="), "token_malformed", "token_rewrapped", "unchanged"),
        (
            format!("{header}.{payload}.a+b/{}", &signature[4..]),
            "token_malformed",
            "token_rewrapped",
            "unchanged",
        ),
        (
            format!("{header}.{}.{signature}", encode(&claims.as_bytes()[..claims.len() - 9])),
            "token_malformed",
            "token_cut",
            "unchanged",
        ),
        (
            format!("{header}.{}.{signature}", encode(b"\x01\x02 no json")),
            "token_malformed",
            "not_json",
            "unchanged",
        ),
        (signed(&twice), "token_malformed", "not_strict", "as its issuer made it"),
        (
            with("crit", json!(["exp"])),
            "header_unsupported",
            "header_asks_for_more",
            "ordinary access token",
        ),
        (with("typ", json!("dpop+jwt")), "header_unsupported", "typ_foreign", "the access token"),
        (
            with("typ", json!("airside-assertion+jwt")),
            "header_unsupported",
            "assertion_of_airside",
            "you call airside with",
        ),
        (large, "token_too_large", "token_too_large", "ApplicationGroup"),
    ] {
        bench.refused(&pasted, reason, cause, fix);
    }
}

#[test]
fn a_header_in_a_longer_text_is_judged_and_that_is_said() {
    let bench = Bench::start();
    let token = v2_app().token();
    let line = format!("curl -s -H 'Authorization: Bearer {token}' https://airflow.example/api");
    let (said, ended) = bench.json(&line, &[]);
    assert_eq!(ended.code, Some(0), "{said:#}");
    assert!(said["remarks"].to_string().contains("in what was pasted"), "{said:#}");
    let (said, ended) = bench.json(&line.replace("Bearer ", "Bearer  "), &[]);
    assert_eq!((ended.code, &said["causes"][0]["name"]), (Some(3), &json!("gap_after_bearer")));
    assert_eq!(said["mended"]["let_in"], true);
    let (said, _) = bench.json(&format!("_token={token}"), &[]);
    assert_eq!(
        (&said["steps"][0]["verdict"], &said["mended"]["let_in"]),
        (&json!("failed"), &json!(true))
    );
}

#[test]
fn what_no_client_can_send_is_named() {
    let bench = Bench::start();
    let (said, ended) = bench.json(&format!("\u{1b}[32m{}", v2_app().token()), &[]);
    assert_eq!((ended.code, &said["verdict"]["status"]), (Some(3), &json!(400)));
    assert_eq!(said["causes"][0]["name"], "control_character", "{said:#}");
}

#[test]
fn without_a_token_nothing_is_said_of_its_form() {
    let bench = Bench::start();
    for (pasted, expected) in [("Authorization:", "nothing_sent"), ("Bearer", "token_empty")] {
        let (said, _) = bench.json(pasted, &[]);
        let names: Vec<_> = said["causes"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
        assert_eq!(names, [expected], "{said:#}");
    }
}

#[test]
fn without_what_came_along_the_token_is_judged_too() {
    let bench = Bench::start();
    let (good, expired) = (v2_app().token(), v2_app().with("exp", 1000).token());
    for (token, refusal) in [(good, json!(null)), (expired, json!("token_expired"))] {
        let (said, _) = bench.json(&format!("Bearer \"{token}\""), &[]);
        assert_eq!(said["verdict"]["reason"], "credential_malformed");
        assert_eq!(said["mended"]["reason"], refusal, "{said:#}");
        let shape = said["steps"].as_array().unwrap().iter().find(|step| step["name"] == "shape");
        assert_eq!(shape.unwrap()["verdict"], "ok");
    }
    let foreign = v2_app().with("aud", "https://management.azure.com").token();
    let (said, _) = bench.json(&format!("'{foreign}'"), &["--offline"]);
    assert_eq!(said["mended"]["reason"], "audience_mismatch", "{said:#}");
    let (said, _) = bench.json(&v2_app().token(), &[]);
    assert_eq!(said["mended"], json!(null));
}
