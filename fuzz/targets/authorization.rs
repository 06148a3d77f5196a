//! Which credential a request carries: exactly one well-formed bearer token, or none that counts.
//!
//! Input: one line for each Authorization header of the request; nothing at all for none.

use airside::credential::{Credential, Delegates, has_session_cookie, read};
use airside::rejection::{Reason, Rejection};
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue};

/// `accepted`, `none` or the reason.
pub(crate) fn run(data: &[u8]) -> &'static str {
    let lines = data.split(|byte| *byte == b'\n').filter(|_| !data.is_empty());
    let fields: Option<Vec<HeaderValue>> =
        lines.map(|line| HeaderValue::from_bytes(line.trim_ascii()).ok()).collect();
    let Some(fields) = fields else { return "unreadable" };
    a_session_goes_by_its_name(&fields);
    let mut headers = HeaderMap::new();
    for field in &fields {
        headers.append(AUTHORIZATION, field.clone());
    }
    is_delegated_only_where_allowed(&headers, &fields);
    match read(&headers, LARGEST, NO_DELEGATES) {
        Ok(None) => {
            assert!(fields.is_empty());
            "none"
        }
        Ok(Some(Credential::Bearer(token))) => {
            assert_eq!(fields.len(), 1);
            assert_eq!(Ok(token.expose().as_bytes()), token_of(fields[0].as_bytes()));
            assert_eq!(format!("{token:?}"), "BearerToken(..)");
            "accepted"
        }
        Ok(Some(Credential::Delegated)) => panic!("nothing is delegated: {fields:?}"),
        Err(rejection) => {
            let expected = match fields.as_slice() {
                [one] => token_of(one.as_bytes()).err(),
                _ => Some(Reason::CredentialAmbiguous),
            };
            assert_eq!(Some(rejection.reason()), expected, "{fields:?}");
            for field in &fields {
                keeps_quiet(&rejection, field.as_bytes());
            }
            rejection.reason().name()
        }
    }
}

const NO_DELEGATES: Delegates = Delegates { basic: false, negotiate: false };

/// What is allowed goes by its scheme alone, and changes nothing for any other.
fn is_delegated_only_where_allowed(headers: &HeaderMap, fields: &[HeaderValue]) {
    let scheme = |field: &HeaderValue| {
        let scheme = field.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        String::from_utf8_lossy(scheme).to_ascii_lowercase()
    };
    for (basic, negotiate) in [(true, false), (false, true), (true, true)] {
        let delegates = Delegates { basic, negotiate };
        match (read(headers, LARGEST, delegates), read(headers, LARGEST, NO_DELEGATES)) {
            (Ok(Some(Credential::Delegated)), Err(refused)) => {
                let [one] = fields else { panic!("one of several: {fields:?}") };
                let scheme = scheme(one);
                assert!((basic && scheme == "basic") || (negotiate && scheme == "negotiate"));
                assert_eq!(refused.reason(), Reason::SchemeUnsupported);
            }
            (Ok(one), Ok(other)) => assert_eq!(format!("{one:?}"), format!("{other:?}")),
            (Err(one), Err(other)) => {
                let malformed = one.reason() == Reason::CredentialMalformed
                    && other.reason() == Reason::SchemeUnsupported;
                assert!(malformed || one.reason() == other.reason(), "{one:?} {other:?}");
            }
            (one, other) => panic!("{fields:?}: {one:?} {other:?}"),
        }
    }
}

/// The rules once more, by other means: RFC 6750, section 2.1, with one space and any case.
fn token_of(field: &[u8]) -> Result<&[u8], Reason> {
    let text = String::from_utf8_lossy(field);
    let scheme = text.split(' ').next().unwrap_or_default();
    let is_scheme = |it: char| it.is_ascii_alphanumeric() || "-_.+!#$".contains(it);
    if scheme.is_empty() || !scheme.chars().all(is_scheme) {
        return Err(Reason::CredentialMalformed);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Reason::SchemeUnsupported);
    }
    let token = field.get("bearer ".len()..).unwrap_or_default();
    let is_token = |it: &u8| it.is_ascii_alphanumeric() || b"-._~+/=".contains(it);
    match token.len() {
        _ if token.is_empty() || !token.iter().all(is_token) => Err(Reason::CredentialMalformed),
        ..=LARGEST => Ok(token),
        _ => Err(Reason::TokenTooLarge),
    }
}

/// Nothing that is long enough to be a credential comes back, to the caller or the log.
fn keeps_quiet(rejection: &Rejection, field: &[u8]) {
    let answer = rejection.answer("0", &[]);
    let said = format!("{rejection:?} {:?} {:?}", answer.headers(), answer.body());
    let words = field.split(|byte| !(byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte)));
    for word in words.filter(|word| word.len() >= SHORTEST_SECRET) {
        assert!(!said.contains(&*String::from_utf8_lossy(word)), "{said}");
    }
}

/// The same lines as cookies: no session without its name, and none that goes unseen.
fn a_session_goes_by_its_name(fields: &[HeaderValue]) {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(COOKIE, field.clone());
    }
    let has = |name: &str| {
        let pairs = fields.iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
        let mut names = pairs.map(|pair| String::from_utf8_lossy(pair).into_owned());
        names.any(|pair| {
            let pair = pair.trim_matches(|it: char| it.is_ascii_whitespace());
            pair == name || pair.starts_with(&format!("{name}="))
        })
    };
    assert_eq!(has_session_cookie(&headers), has("_token") || has("session"), "{headers:?}");
}

const LARGEST: usize = 64;
/// Longer than any word of our own answers.
const SHORTEST_SECRET: usize = 32;
