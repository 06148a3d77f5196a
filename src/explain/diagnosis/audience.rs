//! Tokens for somebody else.

use super::{Facts, is_guid, shown};
use crate::config::written::TASK_AUDIENCE;
use crate::explain::cause::{Audience, Cause};
use crate::token::Rules;
use crate::token::claims::strings;

/// Whom the token is for instead.
pub(super) fn mismatch(facts: &Facts<'_>) -> Cause {
    let audiences = facts.claim("aud").and_then(strings).unwrap_or_default();
    let found = audiences.first().copied().unwrap_or_default();
    let Some(issuer) = facts.issuer() else {
        return Cause::Audience(Audience::ClaimOdd { found: shown(found) });
    };
    let (entry, accepted) = (facts.key(), issuer.audiences.join(", "));
    if found == TASK_AUDIENCE {
        return Cause::Audience(Audience::AudienceOfTasks);
    }
    match &issuer.rules {
        Rules::Airflow(_) => Cause::Audience(Audience::AudienceOfAirflow {
            found: shown(&audiences.join(", ")),
            accepted,
            entry,
        }),
        Rules::Entra(rules) => {
            let client_id = rules.client_id.to_string();
            of_entra(facts, found, &issuer.audiences, &client_id)
                .unwrap_or_else(|| foreign(found, accepted, entry, &client_id))
        }
        Rules::Oidc(_) => {
            let asks = format!("request the token for one of {accepted}");
            let spelled = audiences.iter().find_map(|found| spelling(found, &issuer.audiences));
            spelled.map_or_else(
                || {
                    Cause::Audience(Audience::AudienceForeign {
                        found: shown(&audiences.join(", ")),
                        accepted: accepted.clone(),
                        entry: entry.clone(),
                        asks,
                    })
                },
                |(found, accepted)| {
                    Cause::Audience(Audience::AudienceSpelling {
                        found,
                        accepted,
                        entry: entry.clone(),
                    })
                },
            )
        }
    }
}

fn foreign(found: &str, accepted: String, entry: String, client_id: &str) -> Cause {
    let asks = format!("request the scope api://{client_id}/.default");
    Cause::Audience(Audience::AudienceForeign { found: shown(found), accepted, entry, asks })
}

fn of_entra(facts: &Facts<'_>, found: &str, accepted: &[String], client_id: &str) -> Option<Cause> {
    let (entry, bare) = (facts.key(), found.trim_end_matches('/'));
    if bare == "api://AzureADTokenExchange" {
        return Some(Cause::Audience(Audience::AudienceOfExchange {
            entry,
            client_id: client_id.to_owned(),
        }));
    }
    if let Some(service) = service(bare) {
        let client_id = Some(client_id.to_owned());
        return Some(Cause::Audience(Audience::AudienceOfMicrosoft {
            audience: shown(found),
            service,
            client_id,
        }));
    }
    if let Some((found, accepted)) = spelling(found, accepted) {
        return Some(Cause::Audience(Audience::AudienceSpelling { found, accepted, entry }));
    }
    let client_id = client_id.to_owned();
    if facts.client().is_some_and(|client| name(found) == name(client)) {
        return Some(Cause::Audience(Audience::AudienceIsClient {
            audience: shown(found),
            client_id,
        }));
    }
    if is_guid(&name(found)) {
        return None;
    }
    let uri = found.starts_with("api://") || found.starts_with("https://");
    uri.then(|| Cause::Audience(Audience::AudienceUri { found: shown(found), entry, client_id }))
}

/// An audience without what one registration's may differ in.
fn name(audience: &str) -> String {
    let lower = audience.trim().trim_end_matches('/').to_ascii_lowercase();
    let bare = lower.strip_prefix("api://").or_else(|| lower.strip_prefix("spn:"));
    bare.unwrap_or(&lower).to_owned()
}

/// The same audience in other letters, and how it is accepted.
fn spelling(found: &str, accepted: &[String]) -> Option<(String, String)> {
    let same = accepted.iter().find(|ours| name(ours) == name(found))?;
    Some((shown(found), same.clone()))
}

/// Microsoft's own APIs, by id and address
/// (learn.microsoft.com/troubleshoot/entra/entra-id/governance/verify-first-party-apps-sign-in).
fn service(audience: &str) -> Option<&'static str> {
    const SERVICES: [(&str, &[&str]); 8] = [
        (
            "Microsoft Graph",
            &["00000003-0000-0000-c000-000000000000", "https://graph.microsoft.com"],
        ),
        ("Azure AD Graph", &["00000002-0000-0000-c000-000000000000", "https://graph.windows.net"]),
        (
            "Azure Resource Manager",
            &[
                "797f4846-ba00-4fd7-ba43-dac1f8f63013",
                "https://management.azure.com",
                "https://management.core.windows.net",
            ],
        ),
        ("Azure Key Vault", &["cfa8b339-82a2-471a-a3c9-0fc0be7a4093", "https://vault.azure.net"]),
        ("Azure Storage", &["e406a681-f3d4-42a8-90b6-c2b029497af1", "https://storage.azure.com"]),
        ("Azure DevOps", &["499b84ac-1321-427f-aa17-267ca6975798"]),
        ("Azure SQL", &["022907d3-0f1b-48f7-badc-1ba6abab6d66", "https://database.windows.net"]),
        ("Azure Databricks", &["2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"]),
    ];
    let known = |(_, names): &&(&str, &[&str])| names.contains(&audience);
    SERVICES.iter().find(known).map(|(service, _)| *service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_registration_are_the_same_name() {
        let accepted = ["api://abc".to_owned()];
        for found in ["abc", "api://abc/", "API://ABC", "spn:abc", "abc/"] {
            assert!(spelling(found, &accepted).is_some(), "{found}");
        }
        for found in ["api://abcd", "api://abc/read", ""] {
            assert!(spelling(found, &accepted).is_none(), "{found}");
        }
    }

    #[test]
    fn microsofts_own_apis_are_known() {
        assert_eq!(service("https://management.azure.com"), Some("Azure Resource Manager"));
        assert_eq!(service("00000003-0000-0000-c000-000000000000"), Some("Microsoft Graph"));
        assert_eq!(service("api://abc"), None);
    }
}
