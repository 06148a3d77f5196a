//! Which keys of a JWK Set are used: those that verify signatures and nothing else, each on its own.
//!
//! Input: the document.

use std::slice;

use airside::jwks::{Algorithm, Key, KeySet};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// `accepted` or `refused`.
pub(crate) fn run(data: &[u8]) -> &'static str {
    let parsed = KeySet::parse(data);
    let entries = serde_json::from_slice::<Value>(data)
        .ok()
        .and_then(|document| document.get("keys").and_then(Value::as_array).cloned());
    let Some(entries) = entries else {
        let error = parsed.expect_err("there is no array of keys");
        assert!(!error.to_string().is_empty());
        return "refused";
    };
    if entries.len() > MOST_KEYS {
        assert!(parsed.is_err());
        return "refused";
    }
    let alone: Vec<Option<KeySet>> =
        entries.iter().map(|entry| set(slice::from_ref(entry))).collect();
    let usable = alone.iter().flatten().count();
    for (entry, keys) in entries.iter().zip(&alone) {
        let Some(keys) = keys else { continue };
        assert_eq!((keys.len(), keys.skipped().len()), (1, 0));
        let kid = entry.get("kid").map(|kid| kid.as_str().expect("a text"));
        let found = keys.named(kid).next().or_else(|| keys.nameless().next());
        let key = found.expect("found by its own kid, or as the one without");
        is_for_signatures(entry, key);
        is_found_by_no_other_kid(keys, kid);
    }
    costs_no_other_key(&entries, usable);
    match parsed {
        Err(_) => {
            assert_eq!(usable, 0);
            "refused"
        }
        Ok(keys) => {
            assert_eq!(keys.len(), usable);
            assert_eq!(keys.len() + keys.skipped().len(), entries.len());
            assert!(!keys.is_empty() && keys.same_as(&KeySet::parse(data).expect("it was one")));
            "accepted"
        }
    }
}

fn set(entries: &[Value]) -> Option<KeySet> {
    KeySet::parse(json!({ "keys": entries }).to_string().as_bytes()).ok()
}

/// The entry says so itself: a public key, strong enough, for algorithms of its own kind.
fn is_for_signatures(entry: &Value, key: &Key) {
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    let number = |name: &str| URL_SAFE_NO_PAD.decode(text(name)).expect("strict base64url");
    assert!(entry.get("d").is_none(), "a private key: {entry}");
    assert!(entry.get("use").is_none_or(|it| it == "sig"), "{entry}");
    let verify = |all: &Value| all.as_array().is_some_and(|all| all.contains(&"verify".into()));
    assert!(entry.get("key_ops").is_none_or(verify), "{entry}");
    let own: &[Algorithm] = match text("kty") {
        "RSA" => {
            assert!((2048..=8192).contains(&bits(&number("n"))), "{entry}");
            assert!(bits(&number("e")) > 1, "{entry}");
            for name in ["n", "e"] {
                assert!(number(name).last().is_some_and(|byte| byte % 2 == 1), "{entry}");
            }
            &[Algorithm::Rs256, Algorithm::Rs512]
        }
        "EC" => {
            assert_eq!((text("crv"), number("x").len(), number("y").len()), ("P-256", 32, 32));
            &[Algorithm::Es256]
        }
        "OKP" => {
            assert_eq!((text("crv"), number("x").len()), ("Ed25519", 32));
            &[Algorithm::EdDsa]
        }
        other => panic!("a key of type {other}: {entry}"),
    };
    for algorithm in [&Algorithm::PUBLIC[..], &[Algorithm::Hs512]].concat() {
        let named = entry.get("alg").is_none_or(|alg| alg == algorithm.name());
        assert_eq!(
            key.fits(algorithm),
            named && own.contains(&algorithm),
            "{algorithm:?}: {entry}"
        );
        if !key.fits(algorithm) {
            assert!(!key.verifies(algorithm, b"", b""));
        }
    }
    // A public key is no secret: nothing is authenticated with its bytes.
    assert!(!key.fits(Algorithm::Hs512));
}

fn is_found_by_no_other_kid(keys: &KeySet, kid: Option<&str>) {
    if kid.is_some() {
        let other = format!("{}x", kid.unwrap_or_default());
        assert_eq!(keys.named(Some(&other)).count(), 0);
        assert_eq!(keys.named(None).count() + keys.nameless().count(), 0);
    }
}

/// Whatever else the document holds, a good key is found in it.
fn costs_no_other_key(entries: &[Value], usable: usize) {
    if entries.len() == MOST_KEYS {
        return;
    }
    let good = json!({ "kty": "OKP", "crv": "Ed25519", "kid": GOOD, "x": GOOD_KEY });
    let all = set(&[entries, &[good]].concat()).expect("it holds a good key");
    assert_eq!(all.len(), usable + 1);
    assert!(all.named(Some(GOOD)).any(|key| key.fits(Algorithm::EdDsa)));
}

fn bits(number: &[u8]) -> usize {
    let significant = number.iter().position(|byte| *byte != 0).map_or(&[][..], |at| &number[at..]);
    let leading = significant.first().map_or(0, |byte| byte.leading_zeros() as usize);
    significant.len() * 8 - leading
}

const MOST_KEYS: usize = 200;
const GOOD: &str = "the-good-key";
/// Of RFC 8037, appendix A.2.
const GOOD_KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
