//! What kind of token it is, whose tenant's, and claims that are absent or odd.

use super::{Facts, shown};
use crate::config::written::TASK_AUDIENCE;
use crate::explain::cause::{Audience, Cause, Kind, Request, Whose};
use crate::token::Rules;
use crate::token::claims::strings;
use crate::token::inspection::Bearer;

/// A worker's token where the path is for callers, whoever issued it.
pub(super) fn of_a_task(facts: &Facts<'_>) -> Option<Cause> {
    if facts.bearer == Bearer::Worker {
        return None;
    }
    if let Some(scope) = task_scope(facts) {
        return Some(Cause::Kind(Kind::TaskToken { scope: scope.to_owned() }));
    }
    let audiences = facts.claim("aud").and_then(strings).unwrap_or_default();
    audiences.contains(&TASK_AUDIENCE).then_some(Cause::Audience(Audience::AudienceOfTasks))
}

fn task_scope<'f>(facts: &'f Facts<'_>) -> Option<&'f str> {
    facts.text("scope").filter(|scope| ["execution", "workload"].contains(scope))
}

/// Another kind of token than the path is for.
pub(super) fn wrong(facts: &Facts<'_>) -> Cause {
    let scope = task_scope(facts);
    let airflows = facts.issuer().is_some_and(|issuer| matches!(issuer.rules, Rules::Airflow(_)));
    match (facts.bearer, airflows, scope) {
        (Bearer::Worker, false, _) => {
            let issuer = facts.issuer().map(|issuer| issuer.name.to_string()).unwrap_or_default();
            Cause::Kind(Kind::OnlyForWorkers { issuer })
        }
        (Bearer::Worker, true, Some("workload")) => Cause::Kind(Kind::WorkloadOnly),
        (_, true, Some(scope)) => Cause::Kind(Kind::TaskToken { scope: scope.to_owned() }),
        (_, true, None) => Cause::Kind(Kind::ExchangedAlready),
        (Bearer::Caller, false, _) => of_entra(facts),
    }
}

fn of_entra(facts: &Facts<'_>) -> Cause {
    if facts.text("idtyp") == Some("app") && facts.text("scp").is_some() {
        return Cause::Kind(Kind::KindContradicts);
    }
    let client_id = facts.client_id().unwrap_or_default();
    let ours = facts.text("aud") == Some(client_id.as_str());
    if ours {
        Cause::Kind(Kind::IdTokenOfOurs { client_id })
    } else {
        Cause::Kind(Kind::IdToken { client_id })
    }
}

/// How a token is bound (RFC 7800 and its successors).
pub(super) fn bound(facts: &Facts<'_>) -> Cause {
    let confirmation = facts.claim("cnf");
    let has = |name| confirmation.is_some_and(|cnf| cnf.member(name).is_some());
    let by = if has("jkt") {
        "DPoP"
    } else if has("x5t#S256") {
        "a TLS certificate"
    } else {
        "proof of possession"
    };
    Cause::Kind(Kind::Bound { by })
}

/// Tenants that differ.
pub(super) fn tenant(facts: &Facts<'_>, found: String) -> Cause {
    let tid = facts.text("tid").unwrap_or_default();
    let agrees = facts.text("iss").is_some_and(|iss| !tid.is_empty() && iss.contains(tid));
    if agrees {
        Cause::Kind(Kind::KeyOfOtherTenant { found })
    } else {
        Cause::Kind(Kind::TenantDiffers { found })
    }
}

/// The claim that a refusal is about: `claim exp is absent`.
fn named(found: &str) -> &str {
    found.strip_prefix("claim ").and_then(|rest| rest.split(' ').next()).unwrap_or_default()
}

/// A claim that is absent.
pub(super) fn absent(facts: &Facts<'_>, found: &str) -> Cause {
    let claim = named(found);
    let entry = facts.inspection.entry.as_ref();
    let mapping = entry.and_then(|entry| facts.directory.mapping(entry.issuer));
    if mapping.is_some_and(|mapping| mapping.username_claim == claim) {
        return Cause::Whose(Whose::UsernameAbsent { claim: shown(claim), entry: facts.key() });
    }
    if is_required(facts, claim) {
        return Cause::Kind(Kind::RequiredClaimDiffers { found: shown(found), entry: facts.key() });
    }
    let hint = match claim {
        "aud" => ": nobody is meant by it, so nobody may take it",
        "exp" => ": it would never end",
        "tid" => ": Entra always writes it, so this is a mock's token or one of B2C",
        "iat" | "nbf" => ": Entra and Airflow always write it",
        _ => "",
    };
    Cause::Audience(Audience::ClaimAbsent { claim: shown(claim), hint })
}

fn is_required(facts: &Facts<'_>, claim: &str) -> bool {
    facts.issuer().is_some_and(|issuer| match &issuer.rules {
        Rules::Oidc(rules) => rules.required_claims.iter().any(|(name, _)| name == claim),
        Rules::Entra(_) | Rules::Airflow(_) => false,
    })
}

/// A claim of the wrong type or range, or that does not fit.
pub(super) fn invalid(facts: &Facts<'_>, found: String) -> Cause {
    let claim = named(&found);
    if found.starts_with("ver is") {
        return Cause::Kind(Kind::VersionContradicts { found });
    }
    if is_required(facts, claim) {
        return Cause::Kind(Kind::RequiredClaimDiffers { found, entry: facts.key() });
    }
    if facts.bearer == Bearer::Worker && found.contains("another") {
        return Cause::Request(Request::TaskOfAnother { found });
    }
    if found.starts_with('/') {
        return Cause::Whose(Whose::RolesNotText { found, entry: facts.key() });
    }
    Cause::Audience(Audience::ClaimOdd { found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claim_of_a_refusal_is_found() {
        assert_eq!(named("claim exp is absent"), "exp");
        assert_eq!(named("tid is \"x\""), "");
    }
}
