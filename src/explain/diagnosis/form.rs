//! Texts that are no JSON Web Token, or one that asks for too much.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Facts, sent, shown};
use crate::explain::cause::{Cause, Form};
use crate::token::json::Json;

/// What became of a token that is none any more.
pub(super) fn malformed(token: &str, found: &str) -> Cause {
    if let Some(cause) = sent::placeholder(token) {
        return cause;
    }
    let parts: Vec<&str> = token.split('.').collect();
    let made = parts.iter().take(2).filter(|part| begins_as_json(part)).count();
    match parts.len() {
        1 if made == 0 => return Cause::Form(Form::Opaque { looks_like: looks_like(token) }),
        1 | 2 if made > 0 => return Cause::Form(Form::PartMissing { found: parts.len() }),
        3 => {}
        found if made > 0 => return Cause::Form(Form::TooManyParts { found }),
        _ => return Cause::Form(Form::Opaque { looks_like: looks_like(token) }),
    }
    let named = NAMES.iter().zip(&parts);
    named
        .into_iter()
        .find_map(|(name, part)| fault(name, part))
        .unwrap_or_else(|| Cause::Form(Form::NotStrict { found: shown(found) }))
}

const NAMES: [&str; 3] = ["header", "claims", "signature"];

/// `eyJ` is `{"` in base64url.
fn begins_as_json(part: &str) -> bool {
    part.starts_with("ey") || part.starts_with("ew")
}

fn fault(name: &'static str, part: &str) -> Option<Cause> {
    if part.contains('=') {
        return Some(Cause::Form(Form::Rewrapped { part: name, by: "is padded with =" }));
    }
    if part.contains(['+', '/']) {
        return Some(Cause::Form(Form::Rewrapped {
            part: name,
            by: "is in base64 with + and /, not base64url",
        }));
    }
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(part) else {
        return Some(Cause::Form(Form::Cut { part: name }));
    };
    if name == "signature" {
        return None;
    }
    match Json::parse(&bytes) {
        Ok(Json::Object(_)) => None,
        Ok(_) => Some(Cause::Form(Form::NotJson { part: name })),
        Err(_) => match serde_json::from_slice::<serde_json::Value>(&bytes) {
            Ok(_) => None,
            Err(error) if error.is_eof() => Some(Cause::Form(Form::Cut { part: name })),
            Err(_) => Some(Cause::Form(Form::NotJson { part: name })),
        },
    }
}

/// What text without dots usually is, where people paste it for a token.
fn looks_like(token: &str) -> &'static str {
    let begins = |all: &[&str]| all.iter().any(|start| token.starts_with(start));
    if begins(&["0.A", "1.A"]) {
        "a refresh token or an authorization code of Entra's"
    } else if begins(&["EwA", "EwB", "M.C", "M.R"]) {
        "a token of a personal Microsoft account, which Microsoft alone can read"
    } else if begins(&["ghp_", "gho_", "ghs_", "github_pat_"]) {
        "a token of GitHub's API"
    } else if token.len() == 40 && token.contains('~') {
        "a client secret of an app registration: it is exchanged for a token, never sent here"
    } else if token.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        "an id or a key in hexadecimal"
    } else {
        "an opaque token, a password or a key"
    }
}

/// What a header asks for.
pub(super) fn unsupported(facts: &Facts<'_>, found: String) -> Cause {
    let header = facts.inspection.header.as_ref();
    let typ = header.and_then(|header| header.get("typ")).and_then(Json::text);
    match typ {
        Some("airside-assertion+jwt") => Cause::Form(Form::AssertionOfOurs),
        Some(typ) if found.ends_with(" typ") => Cause::Form(Form::TypForeign { typ: shown(typ) }),
        _ => Cause::Form(Form::HeaderAsksForMore { found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_token_is_named() {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let (header, claims) = (encode(r#"{"alg":"RS256"}"#), encode(r#"{"iss":"x"}"#));
        for (token, expected) in [
            (format!("{header}.{claims}"), "part_missing"),
            (header.clone(), "part_missing"),
            (format!("{header}.{claims}.c2ln.{header}"), "too_many_parts"),
            (format!("{header}.{claims}.c2ln="), "token_rewrapped"),
            (format!("{header}.{claims}.c2+n"), "token_rewrapped"),
            (format!("{header}.{claims}.c2lnc"), "token_cut"),
            (format!("{header}.{}.c2ln", encode(r#"{"iss":"x"#)), "token_cut"),
            (format!("{header}.{}.c2ln", encode("hello")), "not_json"),
            (format!("{header}.{}.c2ln", encode("[]")), "not_json"),
            (format!("{header}.{}.c2ln", encode(r#"{"a":1,"a":2}"#)), "not_strict"),
            ("0.AXoAu-refresh".into(), "token_opaque"),
            ("EwB4A8l6BAAU".into(), "token_opaque"),
            ("null".into(), "placeholder"),
        ] {
            assert_eq!(malformed(&token, "").says().name, expected, "{token}");
        }
    }

    #[test]
    fn an_opaque_text_is_told_what_it_looks_like() {
        for (text, expected) in [
            ("0.AXoAu", "refresh token"),
            ("EwB4A8l6", "personal"),
            ("ghp_abc", "GitHub"),
            ("11112222-bbbb-3333-cccc-4444dddd5555", "an id"),
            ("hunter2", "password"),
        ] {
            assert!(looks_like(text).contains(expected), "{text}");
        }
    }
}
