//! Each check with what it expects, what it found, and how it ended.

use super::diagnosis::{Facts, seconds, shown, whole};
use super::span;
use crate::clock::Timestamp;
use crate::rejection::{Reason, Rejection};
use crate::token::claims::strings;
use crate::token::inspection::{Check, Outcome};
use crate::token::json::Json;
use crate::token::{Issuer, Rules};

/// One check.
#[derive(Debug)]
pub struct Step {
    /// Its stable name.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What it expects.
    pub expected: String,
    /// What it found, as far as it may be shown.
    pub found: String,
}

impl Step {
    /// Why it failed, if it did.
    #[must_use]
    pub fn rejection(&self) -> Option<&Rejection> {
        match &self.outcome {
            Outcome::Failed(rejection) => Some(rejection),
            Outcome::Held | Outcome::Unjudged(_) => None,
        }
    }

    /// The reason with which it failed.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.rejection().map(Rejection::reason)
    }

    /// `ok`, `failed` or `unjudged`.
    #[must_use]
    pub const fn verdict(&self) -> &'static str {
        match self.outcome {
            Outcome::Held => "ok",
            Outcome::Failed(_) => "failed",
            Outcome::Unjudged(_) => "unjudged",
        }
    }

    /// What is to be said of the outcome beside expected and found.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Held => None,
            Outcome::Failed(rejection) => rejection.found().map(shown),
            Outcome::Unjudged(why) => Some((*why).to_owned()),
        }
    }
}

/// The stable name of a check.
#[must_use]
pub const fn name(check: Check) -> &'static str {
    match check {
        Check::Shape => "shape",
        Check::Header => "header",
        Check::Issuer => "issuer",
        Check::Graph => "graph",
        Check::Algorithm => "algorithm",
        Check::Key => "key",
        Check::Signature => "signature",
        Check::Kind => "kind",
        Check::Tenant => "tenant",
        Check::RequiredClaims => "required_claims",
        Check::Audience => "audience",
        Check::Times => "times",
        Check::Revocation => "revocation",
        Check::Client => "client",
    }
}

/// What a check expects of a token of this entry.
pub(super) fn expected(check: Check, facts: &Facts<'_>) -> String {
    let issuer = facts.issuer();
    match check {
        Check::Shape => "three parts in base64url, a JSON object in the first two".into(),
        Check::Header => "alg, kid and typ JWT or at+jwt; no crit, b64, zip, cty".into(),
        Check::Issuer => issuers(facts.issuers),
        Check::Graph => "no nonce in the header".into(),
        Check::Algorithm => issuer.map_or_else(String::new, |issuer| {
            let names: Vec<&str> = issuer.algorithms.iter().map(|one| one.name()).collect();
            names.join(", ")
        }),
        Check::Key => {
            let name = issuer.map_or("", |issuer| issuer.name.as_ref());
            format!("a key of {name}")
        }
        Check::Signature => "that of the key, over header and claims".into(),
        Check::Kind => "an access token for calling an API".into(),
        Check::Tenant => tenants(issuer),
        Check::RequiredClaims => required(issuer),
        Check::Audience => issuer.map_or_else(String::new, |issuer| issuer.audiences.join(", ")),
        Check::Times => format!(
            "nbf and iat before now, exp after, give or take {}",
            span(facts.leeway.as_secs())
        ),
        Check::Revocation => "not on the revocation list".into(),
        Check::Client => clients(issuer),
    }
}

fn issuers(all: &[Issuer]) -> String {
    let named = all.iter().flat_map(|issuer| match &issuer.rules {
        Rules::Entra(rules) => rules.issuers().map(|(iss, _)| iss).collect(),
        Rules::Airflow(rules) => {
            vec![rules.issuer.clone().unwrap_or_else(|| "none (Airflow's own)".to_owned())]
        }
        Rules::Oidc(rules) => vec![rules.issuer.clone()],
    });
    named.collect::<Vec<_>>().join(", ")
}

fn tenants(issuer: Option<&Issuer>) -> String {
    match issuer.map(|issuer| &issuer.rules) {
        Some(Rules::Entra(rules)) => {
            let ids: Vec<&str> = rules.tenants.iter().map(|tenant| tenant.id.as_ref()).collect();
            format!("tid {}, as in iss and of the key; ver to match", ids.join(", "))
        }
        _ => String::new(),
    }
}

fn required(issuer: Option<&Issuer>) -> String {
    match issuer.map(|issuer| &issuer.rules) {
        Some(Rules::Oidc(rules)) => {
            let each =
                |(name, values): &(String, Vec<String>)| format!("{name}: {}", values.join(", "));
            rules.required_claims.iter().map(each).collect::<Vec<_>>().join("; ")
        }
        _ => String::new(),
    }
}

fn clients(issuer: Option<&Issuer>) -> String {
    match issuer.map(|issuer| &issuer.rules) {
        Some(Rules::Entra(rules)) if !rules.clients.is_empty() => rules.clients.join(", "),
        _ => "any client".into(),
    }
}

/// What the token has of it.
pub(super) fn found(check: Check, facts: &Facts<'_>) -> String {
    let claim = |name: &str| facts.claim(name).map_or_else(|| "absent".to_owned(), value);
    let header = |name: &str| {
        let header = facts.inspection.header.as_ref();
        header.and_then(|header| header.get(name)).map_or_else(|| "absent".to_owned(), value)
    };
    match check {
        Check::Shape => {
            let token = facts.input.token();
            format!("{} bytes in {} parts", token.len(), token.split('.').count())
        }
        Check::Header => format!("typ {}", header("typ")),
        Check::Issuer => format!("iss {}", claim("iss")),
        Check::Graph => format!("nonce {}", header("nonce")),
        Check::Algorithm => format!("alg {}", header("alg")),
        Check::Key => format!("kid {}", header("kid")),
        Check::Signature => format!("{} bytes", facts.parts.signature().len()),
        Check::Kind => kind(facts),
        Check::Tenant => format!("tid {}, ver {}", claim("tid"), claim("ver")),
        Check::RequiredClaims => required_found(facts),
        Check::Audience => format!("aud {}", claim("aud")),
        Check::Times => times(facts),
        Check::Revocation => format!("sub {}", claim("sub")),
        Check::Client => facts.client().map_or_else(|| "neither azp nor appid".into(), shown),
    }
}

/// The claims that say of what kind a token is.
fn kind(facts: &Facts<'_>) -> String {
    let names = ["scp", "idtyp", "azp", "appid", "scope", "nonce", "cnf"];
    let there = names.into_iter().filter_map(|name| {
        let json = facts.claim(name)?;
        Some(if name == "cnf" { name.to_owned() } else { format!("{name} {}", value(json)) })
    });
    let there: Vec<String> = there.collect();
    if there.is_empty() { "none of scp, idtyp, azp, appid".into() } else { there.join(", ") }
}

fn required_found(facts: &Facts<'_>) -> String {
    let Some(Rules::Oidc(rules)) = facts.issuer().map(|issuer| &issuer.rules) else {
        return String::new();
    };
    let each = rules.required_claims.iter().map(|(name, _)| {
        format!("{name} {}", facts.claim(name).map_or_else(|| "absent".to_owned(), value))
    });
    each.collect::<Vec<_>>().join("; ")
}

fn times(facts: &Facts<'_>) -> String {
    let each = ["iat", "nbf", "exp"].into_iter().map(|name| match facts.claim(name) {
        Some(Json::Number(seconds)) => format!("{name} {}", relative(*seconds, facts.now)),
        Some(other) => format!("{name} {}", other.kind()),
        None => format!("{name} absent"),
    });
    each.collect::<Vec<_>>().join(", ")
}

fn relative(time: f64, now: Timestamp) -> String {
    let now = seconds(now.unix());
    if time >= now {
        format!("in {}", span(whole(time - now)))
    } else {
        format!("{} ago", span(whole(now - time)))
    }
}

/// A value as it may be shown.
fn value(json: &Json<'_>) -> String {
    match json {
        Json::Text(text) => format!("\"{}\"", shown(text)),
        Json::Number(number) => number.to_string(),
        Json::Bool(value) => value.to_string(),
        Json::Null => "null".into(),
        Json::List(_) => strings(json)
            .map_or_else(|| "an array".to_owned(), |all| format!("[{}]", shown(&all.join(", ")))),
        Json::Object(_) => "an object".into(),
    }
}
