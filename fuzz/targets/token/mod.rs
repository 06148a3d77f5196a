//! Which tokens are accepted: those of one issuer, signed with its own key, that say what they must.
//!
//! Input: a line with whose key signs (its first letter counts: `entra`, `airflow`, `oidc`, or a
//! `stranger` to all of them), the JOSE header on a line, and the claims; so that what is behind the
//! signature is reached. Or `raw`, and a whole token.

mod entitled;
mod issuers;

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use airside::caller::Authenticated;
use airside::clock::Timestamp;
use airside::credential::{BearerToken, read_subject};
use airside::rejection::{Reason, Rejection};
use airside::token::inspection::{Bearer, Outcome};
use airside::token::json::Json;
use airside::token::jws::Parts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::Value;

use issuers::{NOW, SCENE, Signer};

/// `accepted`, `role_missing` or the reason.
pub(crate) fn run(data: &[u8]) -> &'static str {
    let (first, rest) = cut(data);
    let Some(signer) = Signer::named(first) else {
        let _ = std::str::from_utf8(rest).map(Parts::split);
        let Some(token) = std::str::from_utf8(rest).ok().and_then(bearer_of) else {
            return "unreadable";
        };
        let verdict = judge(&token, NOW).map(|_| ());
        return refused(&token, &verdict.expect_err("nobody has signed it"));
    };
    let (header, claims) = cut(rest);
    json_reads_as_it_does_elsewhere(header);
    json_reads_as_it_does_elsewhere(claims);
    let text = signer.sign(header, claims);
    let Some(token) = bearer_of(&text) else { return "unreadable" };
    match judge(&token, NOW) {
        Err(rejection) => refused(&token, &rejection),
        Ok(caller) => {
            entitled::check(signer, header, claims, caller.principal());
            is_remembered_for_as_long_as_it_holds(&token, &caller, claims);
            no_other_text_is_this_token(&text);
            let may = !caller.principal().roles().is_empty() || signer == Signer::Airflow;
            if may { "accepted" } else { Reason::RoleMissing.name() }
        }
    }
}

fn cut(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    (&data[..end], data.get(end + 1..).unwrap_or_default())
}

fn bearer_of(token: &str) -> Option<BearerToken> {
    read_subject(token, LARGEST).ok()
}

/// The verdict, which memory does not change.
fn judge(token: &BearerToken, now: Timestamp) -> Result<Authenticated, Rejection> {
    let verdict = at_once(SCENE.callers.recognise(token, now));
    let verified = Parts::split(token.expose())
        .and_then(|parts| at_once(SCENE.verifier.verify(token, &parts, now)).map(|_| ()));
    is_inspected_alike(token, now, verified.as_ref().err());
    match (&verdict, &verified) {
        (Ok(_), Ok(())) => {}
        (Err(ours), Err(fresh)) => assert_eq!(ours.reason(), fresh.reason()),
        (Err(ours), Ok(())) => assert!(NAMELESS.contains(&ours.reason()), "{ours:?}"),
        (Ok(_), Err(fresh)) => panic!("remembered, and not to be accepted: {fresh:?}"),
    }
    let airflows = at_once(SCENE.callers.recognise_airflows(token, now));
    let issued_by_airflow =
        verdict.as_ref().is_ok_and(|caller| caller.principal().issued_by_airflow());
    assert_eq!(airflows.is_some(), issued_by_airflow);
    verdict
}

/// Going through all checks comes upon the one that refuses the token, and upon no other before it.
fn is_inspected_alike(token: &BearerToken, now: Timestamp, refusal: Option<&Rejection>) {
    let (text, parts) = (token.expose(), Parts::glimpse(token.expose()));
    let inspection = at_once(SCENE.verifier.inspect(text, &parts, Bearer::Caller, now));
    let first = inspection.steps.iter().find_map(|(_, outcome)| match outcome {
        Outcome::Failed(rejection) => Some(rejection.reason()),
        Outcome::Held | Outcome::Unjudged(_) => None,
    });
    assert_eq!(first, refusal.map(Rejection::reason), "{:?}", inspection.steps);
    let all_held = inspection.steps.iter().all(|(_, outcome)| matches!(outcome, Outcome::Held));
    assert_eq!(all_held, refusal.is_none(), "{:?}", inspection.steps);
}

/// Keys are given here: nothing has to be waited for.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("waits, although no fetch can help"),
    }
}

/// A refusal is the caller's fault, and tells nobody the token.
fn refused(token: &BearerToken, rejection: &Rejection) -> &'static str {
    let answer = rejection.answer("0", &[]);
    assert!(matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN));
    let said = format!("{rejection:?} {:?} {:?}", answer.headers(), answer.body());
    let signature = token.expose().rsplit('.').next().unwrap_or_default();
    for secret in [token.expose(), signature] {
        assert!(secret.len() < SHORTEST_SECRET || !said.contains(secret), "{said}");
    }
    rejection.reason().name()
}

fn is_remembered_for_as_long_as_it_holds(
    token: &BearerToken,
    caller: &Authenticated,
    claims: &[u8],
) {
    let again = judge(token, NOW).expect("it was accepted a moment ago");
    assert_eq!(caller.principal().username(), again.principal().username());
    let claims: Value = serde_json::from_slice(claims).expect("it was accepted");
    let whole = |seconds: f64| Duration::from_secs_f64(seconds.floor()).as_secs();
    let time = |name: &str| whole(claims[name].as_f64().unwrap_or_default());
    let expires = Timestamp::from_unix(time("exp")).after(issuers::LEEWAY);
    let late = judge(token, expires).expect_err("it has expired").reason();
    assert_eq!(late, Reason::TokenExpired);
    let starts = time("nbf").max(time("iat"));
    if let Some(before) = starts.checked_sub(issuers::LEEWAY.as_secs() + 1) {
        let early = judge(token, Timestamp::from_unix(before)).expect_err("it is not yet valid");
        assert_eq!(early.reason(), Reason::TokenNotYetValid);
    }
}

/// Nobody can make another token of it, not even one that decodes to the same bytes.
fn no_other_text_is_this_token(text: &str) {
    let (input, signature) = text.rsplit_once('.').expect("three parts");
    let decoded = URL_SAFE_NO_PAD.decode(signature).expect("as it was encoded");
    let bent = |at: usize| {
        let mut bytes = decoded.clone();
        bytes[at] ^= 1;
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(bytes))
    };
    let with_loose_bits = |last: char| format!("{}{last}", &text[..text.len() - 1]);
    let (header, claims) = input.split_once('.').expect("three parts");
    let others = [
        bent(0),
        bent(decoded.len() / 2),
        bent(decoded.len() - 1),
        with_loose_bits('B'),
        with_loose_bits('_'),
        format!("{text}="),
        format!("{input}."),
        format!("{text}.{signature}"),
        format!("{header}.{}.{signature}", &claims[..claims.len() - 1]),
        format!("{claims}.{claims}.{signature}"),
    ];
    for other in others.iter().filter(|other| *other != text) {
        let Some(other) = bearer_of(other) else { continue };
        assert!(judge(&other, NOW).is_err(), "{} as {text}", other.expose());
    }
}

/// Strict is not different: what is taken is read as `serde_json` reads it, and what alone is refused
/// is refused for its duplicates, its depth or its size.
fn json_reads_as_it_does_elsewhere(text: &[u8]) {
    match (Json::parse(text), serde_json::from_slice::<Value>(text)) {
        (Ok(ours), Ok(theirs)) => assert!(is_same(&ours, &theirs), "{ours:?} for {theirs:?}"),
        (Ok(ours), Err(error)) => panic!("only we take it: {ours:?}, {error}"),
        (Err(error), Ok(theirs)) => {
            let why = error.to_string();
            let stricter = ["stands twice", "too deeply", "too many members"];
            assert!(stricter.iter().any(|rule| why.contains(rule)), "{why}: {theirs:?}");
        }
        (Err(_), Err(_)) => {}
    }
}

/// Members one by one: were one of them there twice, `theirs` would have fewer.
fn is_same(ours: &Json<'_>, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(ours), Value::Bool(theirs)) => ours == theirs,
        (Json::Number(ours), Value::Number(theirs)) => theirs.as_f64() == Some(*ours),
        (Json::Text(ours), Value::String(theirs)) => ours == theirs,
        (Json::List(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| is_same(a, b))
        }
        (Json::Object(ours), Value::Object(theirs)) => {
            let mut pairs = ours.iter().zip(theirs);
            ours.len() == theirs.len()
                && pairs.all(|((ours, a), (theirs, b))| ours == theirs && is_same(a, b))
        }
        _ => false,
    }
}

/// What may be wrong with a token that verifies: it names nobody, or nobody who can be passed on.
const NAMELESS: [Reason; 3] = [Reason::ClaimMissing, Reason::ClaimInvalid, Reason::IdentityUnsafe];
const LARGEST: usize = 32768;
/// Longer than any word of our own answers.
const SHORTEST_SECRET: usize = 32;
