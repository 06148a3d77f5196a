//! Algorithms, keys and signatures: what public keys alone can tell.

use super::{Facts, key_of, shown};
use crate::explain::cause::{Cause, Issued, Keys, Request, Signature};
use crate::explain::recovery::Signed;
use crate::explain::span;
use crate::jwks::{Algorithm, Key, KeySet};
use crate::token::json::Json;
use crate::token::{Issuer, Rules, jws};

/// A signature algorithm that the entry does not take.
pub(super) fn algorithm(facts: &Facts<'_>) -> Cause {
    let found = facts.algorithm();
    let Some(issuer) = facts.issuer() else {
        return Cause::Request(Request::RequestOdd { found: shown(found) });
    };
    if found.is_empty() || found.eq_ignore_ascii_case("none") {
        return Cause::Signature(Signature::Unsigned);
    }
    if issuer.algorithms.iter().any(|allowed| allowed.name() == found) {
        let kid = shown(facts.kid().unwrap_or_default());
        return Cause::Signature(Signature::KeyUnfit { kid, algorithm: found.to_owned() });
    }
    let hmac = found.starts_with("HS");
    match &issuer.rules {
        Rules::Airflow(_) => airflows(issuer, found, hmac, facts),
        Rules::Entra(_) | Rules::Oidc(_) if hmac => {
            Cause::Signature(Signature::SharedSecret { algorithm: shown(found) })
        }
        Rules::Entra(_) | Rules::Oidc(_) => foreign(issuer, found, facts),
    }
}

fn airflows(issuer: &Issuer, found: &str, hmac: bool, facts: &Facts<'_>) -> Cause {
    let has_secret = issuer.algorithms.contains(&Algorithm::Hs512);
    let entry = facts.key();
    let of_entra = facts.text("tid").is_some();
    match (has_secret, hmac) {
        (true, true) => Cause::Signature(Signature::AirflowOtherHash { algorithm: shown(found) }),
        (false, true) => Cause::Signature(Signature::AirflowHasSecret { entry }),
        (true, false) if of_entra => Cause::Issued(Issued::IssuerAbsent),
        (true, false) => {
            Cause::Signature(Signature::AirflowHasKey { algorithm: shown(found), entry })
        }
        (false, false) => foreign(issuer, found, facts),
    }
}

fn foreign(issuer: &Issuer, found: &str, facts: &Facts<'_>) -> Cause {
    let accepted: Vec<&str> = issuer.algorithms.iter().map(|one| one.name()).collect();
    Cause::Signature(Signature::AlgorithmForeign {
        algorithm: shown(found),
        accepted: accepted.join(", "),
        entry: facts.key(),
    })
}

/// A key that the entry does not have.
pub(super) fn key(facts: &Facts<'_>) -> Cause {
    let Some(kid) = facts.kid() else {
        let airflows =
            facts.issuer().is_some_and(|issuer| matches!(issuer.rules, Rules::Airflow(_)));
        return Cause::Signature(Signature::KidMissing { airflows: airflows.then(|| facts.key()) });
    };
    let (evidence, kid) = (facts.keys, shown(kid));
    let known = evidence.keys.as_ref().is_some_and(|keys| keys.named(facts.kid()).next().is_some());
    if known && facts.bearer == crate::token::inspection::Bearer::Worker {
        return Cause::Signature(Signature::KeyOfOurs);
    }
    if let Some(owner) = &evidence.owner {
        return Cause::Signature(Signature::KidOfEntry { kid, owner: owner.clone() });
    }
    if evidence.of_app {
        let client_id = facts.client_id().unwrap_or_default();
        return Cause::Signature(Signature::KidOfApp { kid, client_id, entry: facts.key() });
    }
    if let Some(tenant) = &evidence.of_tenant {
        return Cause::Signature(Signature::KidOfTenant { kid, tenant: tenant.clone() });
    }
    let asked = match evidence.asked.as_slice() {
        [] => "the entry's keys".to_owned(),
        asked => asked.join(", "),
    };
    Cause::Signature(Signature::KidUnknown { kid, asked, issued: age(facts) })
}

fn age(facts: &Facts<'_>) -> Option<String> {
    let Json::Number(issued) = facts.claim("iat")? else { return None };
    let now = super::times::seconds(facts.now.unix());
    let age = now - issued;
    (age > 0.0).then(|| span(super::times::whole(age)))
}

/// A signature that does not verify.
pub(super) fn invalid(facts: &Facts<'_>) -> Cause {
    let kid = shown(facts.kid().unwrap_or("without a name"));
    if facts.parts.signature().is_empty() {
        return Cause::Signature(Signature::SignatureAbsent);
    }
    if facts.algorithm() == Algorithm::Hs512.name() {
        return match facts.keys.reading {
            Some(reading) => {
                Cause::Signature(Signature::AirflowSecretReading { reading, entry: facts.key() })
            }
            None => Cause::Signature(Signature::AirflowSecretDiffers { entry: facts.key() }),
        };
    }
    let Some(keys) = &facts.keys.keys else {
        return Cause::Signature(Signature::OtherKeyOrDamaged { kid });
    };
    let named: Vec<&Key> = candidates(keys, facts.kid());
    if !facts.algorithm().starts_with("RS") {
        let der = facts.algorithm() == "ES256" && is_der(facts.parts.signature());
        return if der {
            Cause::Signature(Signature::SignatureInDer)
        } else {
            Cause::Signature(Signature::ChangedOrOtherKey { kid })
        };
    }
    if let Some(cause) = named.iter().find_map(|key| length(key, facts.parts.signature())) {
        return cause;
    }
    named
        .iter()
        .find_map(|key| made_by(key, facts, &kid))
        .or_else(|| keys.all().iter().find_map(|key| by_another(key, facts, &kid)))
        .unwrap_or(Cause::Signature(Signature::OtherKeyOrDamaged { kid }))
}

/// The keys that a token with this name, or none, may be signed with.
fn candidates<'k>(keys: &'k KeySet, kid: Option<&'k str>) -> Vec<&'k Key> {
    let named: Vec<&Key> = keys.named(kid).collect();
    if named.is_empty() { keys.nameless().collect() } else { named }
}

fn length(key: &Key, signature: &[u8]) -> Option<Cause> {
    let (expected, found) = (key.rsa_numbers()?.n.len(), signature.len());
    match found.cmp(&expected) {
        std::cmp::Ordering::Less => {
            Some(Cause::Signature(Signature::SignatureCut { found, expected }))
        }
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => {
            Some(Cause::Signature(Signature::SignatureTooLong { found, expected }))
        }
    }
}

/// The named key made the signature, over something else or otherwise.
fn made_by(key: &Key, facts: &Facts<'_>, kid: &str) -> Option<Cause> {
    let signed = Signed::recover(key.rsa_numbers()?, facts.parts.signature())?;
    let algorithm = facts.algorithm().to_owned();
    let same_hash = algorithm.ends_with(signed.hash.trim_start_matches("SHA-"));
    if !same_hash {
        return Some(Cause::Signature(Signature::HashDiffers { hash: signed.hash, algorithm }));
    }
    Some(Cause::Signature(Signature::ContentChanged { kid: kid.to_owned() }))
}

/// Another key of the issuer made it.
fn by_another(key: &Key, facts: &Facts<'_>, kid: &str) -> Option<Cause> {
    Signed::recover(key.rsa_numbers()?, facts.parts.signature())?;
    let other = shown(key.kid().unwrap_or("one without a name"));
    Some(Cause::Signature(Signature::SignedByOther { kid: kid.to_owned(), other }))
}

/// A `SEQUENCE` of two integers, as most libraries write an ECDSA signature.
fn is_der(signature: &[u8]) -> bool {
    matches!(signature, [0x30, length, 0x02, ..] if usize::from(*length) + 2 == signature.len())
}

/// A token for Graph; where a key of the entry shows it, with certainty.
pub(super) fn graph(facts: &Facts<'_>) -> Cause {
    let audience = facts.text("aud").map(shown);
    Cause::Signature(Signature::Graph {
        audience,
        proven: proves_graph(facts),
        client_id: facts.client_id(),
    })
}

fn proves_graph(facts: &Facts<'_>) -> bool {
    let header = facts.inspection.header.as_ref();
    let nonce = header.and_then(|header| header.get("nonce")).and_then(Json::text);
    let text = facts.input.token();
    let input = std::str::from_utf8(jws::signing_input(text)).unwrap_or_default();
    let (Some(nonce), Some(keys), Some((_, payload))) =
        (nonce, &facts.keys.keys, input.split_once('.'))
    else {
        return false;
    };
    let json = facts.parts.header_bytes();
    let mut signed = candidates(keys, facts.kid())
        .into_iter()
        .filter_map(|key| Signed::recover(key.rsa_numbers()?, facts.parts.signature()));
    signed.any(|signed| signed.is_graphs(json, nonce, payload))
}

/// No key at all.
pub(super) fn no_keys(facts: &Facts<'_>) -> Cause {
    let entry = facts.inspection.entry.as_ref();
    let name = facts.issuer().map_or_else(String::new, |issuer| issuer.name.to_string());
    let key = entry.map_or_else(|| "issuers".to_owned(), |entry| key_of(entry.issuer));
    match &facts.keys.unreachable {
        Some((place, why)) => Cause::Keys(Keys::KeysUnreachable {
            entry: name,
            place: place.clone(),
            why: why.clone(),
        }),
        None if facts.keys.offline => Cause::Keys(Keys::KeysNotFetched { entry: name }),
        None => Cause::Keys(Keys::KeysNone { entry: key }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_in_der_is_known_by_its_form() {
        assert!(is_der(&[0x30, 6, 2, 1, 0, 2, 1, 0]));
        assert!(!is_der(&[7; 64]));
        assert!(!is_der(&[]));
    }
}
