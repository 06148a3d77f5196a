//! Keys, from the configured places only: those of the entry that a token is held against, and where
//! they lack its key, who else has it. No byte of the token goes there but, of a tenant, its id.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::diagnosis::{Evidence, is_guid};
use super::input::Input;
use crate::clock::Timestamp;
use crate::config::{Config, KeySource};
use crate::jwks::fetch::{Source, Url, place};
use crate::jwks::refresh::{fill, restore};
use crate::jwks::{Algorithm, Key};
use crate::rejection::Reason;
use crate::secret::Secret;
use crate::token::inspection::{Check, Entry, Inspection, Outcome};
use crate::token::jws::Parts;
use crate::token::{Rules, entra, jws};

/// Fills the store of the entry, from disk and from where its keys are published.
pub(super) async fn gather(
    config: &Config,
    entry: Option<&Entry>,
    offline: bool,
    now: Timestamp,
) -> Evidence {
    let mut evidence = Evidence { offline, ..Evidence::default() };
    let Some((entry, known)) = entry.and_then(|entry| Some((entry, source_of(config, entry)?)))
    else {
        return evidence;
    };
    match load(known, offline, now).await {
        Ok(clock_ahead) => evidence.clock_ahead = clock_ahead,
        Err(why) => evidence.unreachable = Some(why),
    }
    evidence.keys = entry.keys.keys();
    evidence
}

/// Looks for more where the key or the signature failed.
pub(super) async fn look_on(
    config: &Config,
    inspection: &Inspection<'_>,
    input: &Input,
    parts: &Parts,
    evidence: &mut Evidence,
    now: Timestamp,
) {
    let Some(entry) = &inspection.entry else { return };
    let failed = |check| match inspection.outcome(check) {
        Some(Outcome::Failed(rejection)) => Some(rejection.reason()),
        Some(Outcome::Held | Outcome::Unjudged(_)) | None => None,
    };
    if failed(Check::Signature).is_some() {
        evidence.reading = reading(config, entry, input.token(), parts.signature());
    }
    let kid = inspection.header.as_ref().and_then(|header| header.kid());
    if let (Some(Reason::KeyUnknown), Some(kid)) = (failed(Check::Key), kid) {
        let claims = inspection.claims.as_ref();
        let tid = claims.and_then(|claims| claims.text("tid").ok().flatten());
        look_elsewhere(config, entry, kid, tid, evidence, now).await;
    }
}

/// Who has the key of this name, where the entry does not.
async fn look_elsewhere(
    config: &Config,
    entry: &Entry,
    kid: &str,
    tid: Option<&str>,
    evidence: &mut Evidence,
    now: Timestamp,
) {
    let others = config.keys.iter().filter(|other| !Arc::ptr_eq(&other.store, &entry.keys));
    for other in others {
        let _unreachable = load(other, evidence.offline, now).await;
        let Some(keys) = other.store.keys() else { continue };
        let name = other.store.issuer();
        evidence.asked.push(format!("entry {name}"));
        if keys.named(Some(kid)).next().is_some() {
            evidence.owner = Some(name.to_string());
            return;
        }
    }
    let rules = config.gate.callers.verifier().issuer(entry.issuer).map(|issuer| &issuer.rules);
    let source = source_of(config, entry).and_then(|known| known.source.as_ref());
    if let (Some(Rules::Entra(rules)), Some(source), false) = (rules, source, evidence.offline) {
        of_microsoft(rules, source, kid, tid, evidence).await;
    }
}

/// The set of the API itself, and that of the token's tenant, below the configured authority.
async fn of_microsoft(
    rules: &entra::Rules,
    source: &Source,
    kid: &str,
    tid: Option<&str>,
    evidence: &mut Evidence,
) {
    let of_tenant = rules.tenants.iter().find_map(|tenant| {
        let path = format!("/{}/discovery/v2.0/keys", tenant.id);
        Some((source.url().as_str().strip_suffix(&path)?, &tenant.id))
    });
    let Some((authority, tenant)) = of_tenant else { return };
    let of_app = format!("{authority}/{tenant}/discovery/keys?appid={}", rules.client_id);
    evidence.of_app = has(source, &of_app, kid).await == Some(true);
    evidence.asked.push(format!("the API's own set (?appid={})", rules.client_id));
    let foreign = tid.filter(|tid| is_guid(tid) && *tid != tenant.as_ref());
    if let Some(tid) = foreign.filter(|_| !evidence.of_app) {
        let theirs = format!("{authority}/{tid}/discovery/v2.0/keys");
        let found = has(source, &theirs, kid).await == Some(true);
        evidence.of_tenant = found.then(|| tid.to_owned());
        evidence.asked.push(format!("tenant {tid}"));
    }
}

/// Whether the set at this address of the same host has the key; `None` where it cannot be had.
async fn has(source: &Source, url: &str, kid: &str) -> Option<bool> {
    let fetched = source.beside(Url::parse(url).ok()?)?.fetch().await.ok()?;
    Some(fetched.keys.named(Some(kid)).next().is_some())
}

/// How the file with Airflow's secret has to be read for it to be what signed the token, where that
/// is not how it is read: a secret is often copied with a line break, in quotes or in base64.
fn reading(config: &Config, entry: &Entry, text: &str, signature: &[u8]) -> Option<&'static str> {
    let file = source_of(config, entry)?.secret_file.as_ref()?;
    let bytes = std::fs::read(file).ok()?;
    let trimmed = bytes.trim_ascii();
    let unquoted = trimmed.get(1..trimmed.len().saturating_sub(1)).unwrap_or_default();
    let decoded = |engine: &GeneralPurpose| engine.decode(trimmed).unwrap_or_default();
    let readings = [
        ("with the line break at its end", bytes.clone()),
        ("without the blanks around it", trimmed.to_vec()),
        ("without the quotes around it", unquoted.to_vec()),
        ("decoded from base64", decoded(&STANDARD)),
        ("decoded from base64url", decoded(&URL_SAFE)),
        ("encoded in base64", STANDARD.encode(trimmed).into_bytes()),
    ];
    let message = jws::signing_input(text);
    let signs = |(_, secret): &(&str, Vec<u8>)| {
        let key = Key::hs512(&Secret::new(secret));
        !secret.is_empty() && key.verifies(Algorithm::Hs512, message, signature)
    };
    readings.iter().find(|reading| signs(reading)).map(|(how, _)| *how)
}

fn source_of<'c>(config: &'c Config, entry: &Entry) -> Option<&'c KeySource> {
    config.keys.iter().find(|known| Arc::ptr_eq(&known.store, &entry.keys))
}

/// Where keys could not be had, and why.
type Unreachable = (String, String);

async fn load(
    known: &KeySource,
    offline: bool,
    now: Timestamp,
) -> Result<Option<i64>, Unreachable> {
    if let Some(cache) = &known.cache {
        restore(&known.store, cache, now);
    }
    let outcome = match known.source.as_ref().filter(|_| !offline) {
        Some(source) => {
            let unreachable = |error: &dyn ToString| (place(source.url()), error.to_string());
            fill(&known.store, source).await.map_err(|error| unreachable(&error))
        }
        None => Ok(None),
    };
    known.store.rest();
    outcome
}
