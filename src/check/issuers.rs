//! Issuers: whether their keys can be had, and whether they are who they are meant to be.

use serde_json::Value;

use super::{Finding, Verdict};
use crate::config::KeySource;
use crate::config::written::{Entra, Issuer, Written};
use crate::jwks::fetch::{FetchError, Fetched, Source, Url, place};
use crate::token::entra;

pub(super) async fn ask(written: &Written, keys: &[KeySource]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for key_source in keys {
        let name = key_source.store.issuer();
        let Some(source) = &key_source.source else {
            let given = Finding::new(Verdict::Good, about(name), "the configuration", "given");
            findings.push(given);
            continue;
        };
        findings.push(keys_of(name, source).await);
        if let Some((entra, metadata)) = tenant(written, name, source.url()) {
            findings.push(metadata_of(name, source, entra, &metadata).await);
        }
    }
    findings
}

fn about(name: &str) -> String {
    format!("keys of {name}")
}

async fn keys_of(name: &str, source: &Source) -> Finding {
    let asked = format!("GET {}", place(source.url()));
    match source.fetch().await {
        Ok(Fetched { keys, .. }) => {
            let skipped = match keys.skipped() {
                [] => String::new(),
                skipped => format!(", left out: {}", skipped.join("; ")),
            };
            let noun = if keys.len() == 1 { "key" } else { "keys" };
            let found = format!("{} {noun} to use{skipped}", keys.len());
            Finding::new(Verdict::Good, about(name), asked, found)
        }
        Err(error) => {
            let finding = failed(about(name), asked, &error).expected("a set of public keys");
            match error {
                FetchError::Status(300..400) => finding.hint("redirects are refused: name the last address"),
                FetchError::Metadata(_) => finding.hint(
                    "issuer is compared to the last character with the one in its metadata, a slash at the end included",
                ),
                _ => finding,
            }
        }
    }
}

fn failed(about: String, asked: String, error: &FetchError) -> Finding {
    let verdict = if error.is_silence() { Verdict::Silent } else { Verdict::Wrong };
    Finding::new(verdict, about, asked, error.to_string())
}

/// The entry of Entra whose keys these are, and where its tenant describes itself.
fn tenant<'w>(written: &'w Written, name: &str, keys: &Url) -> Option<(&'w Entra, Url)> {
    let mut issuers = written.issuers.iter().flatten().flatten();
    let entra = issuers.find_map(|issuer| match issuer {
        Issuer::Entra(entra) if entra.name == name => Some(entra.as_ref()),
        _ => None,
    })?;
    let place = keys.as_str().strip_suffix("/discovery/v2.0/keys")?;
    if entra.keys_url.is_some() {
        return None;
    }
    Some((entra, Url::parse(&format!("{place}/v2.0/.well-known/openid-configuration")).ok()?))
}

/// Entra may give keys for a tenant that does not exist, but no metadata.
async fn metadata_of(name: &str, source: &Source, entra: &Entra, metadata: &Url) -> Finding {
    let (about, asked) = (format!("tenant of {name}"), format!("GET {}", place(metadata)));
    let id = metadata.path().trim_start_matches('/').split("/v2.0").next().unwrap_or_default();
    let id = id.rsplit('/').next().unwrap_or_default();
    let expected = entra::Version::V2.issuer(entra.cloud.into(), id);
    let issuer = match source.document(metadata).await {
        Ok(document) => serde_json::from_slice::<Value>(&document)
            .ok()
            .and_then(|metadata| Some(metadata.get("issuer")?.as_str()?.to_owned())),
        Err(error) if entra.authority.is_some() => {
            // Who has keys of Entra's somewhere else need not have the rest there.
            return Finding::new(Verdict::Unshown, about, asked, error.to_string());
        }
        Err(error @ FetchError::Status(400 | 404)) => {
            return failed(about, asked, &error)
                .expected(format!("the metadata of a tenant with the issuer {expected}"))
                .hint("there is no such tenant in this cloud: compare tenant and cloud with the overview of the app registration");
        }
        Err(error) => return failed(about, asked, &error),
    };
    match issuer {
        Some(issuer) if issuer == expected => {
            Finding::new(Verdict::Good, about, asked, format!("it is {issuer}"))
        }
        other => {
            let found = other.map_or("no issuer".to_owned(), |issuer| format!("it is {issuer}"));
            Finding::new(Verdict::Wrong, about, asked, found)
                .expected(expected)
                .hint("tokens of this issuer are refused: compare tenant, cloud and authority")
        }
    }
}
