//! From a refusal to its cause: small functions that look at what is known of the token. One cause for
//! each refusal, the closest that can be shown.

mod audience;
mod form;
mod issuer;
mod kind;
mod rights;
mod sent;
mod signature;
mod times;

pub(super) use rights::remarks;
pub(super) use times::{seconds, whole};

use std::sync::Arc;
use std::time::Duration;

use super::cause::{Cause, Form, Request, Sent, Times, Whose};
use super::input::Input;
use crate::clock::Timestamp;
use crate::identity::Directory;
use crate::jwks::KeySet;
use crate::rejection::{Reason, Rejection};
use crate::token::inspection::{Bearer, Inspection};
use crate::token::json::Json;
use crate::token::jws::Parts;
use crate::token::{Issuer, Rules, entra};

/// What is known of a token.
pub(super) struct Facts<'a> {
    /// As it was pasted.
    pub(super) input: &'a Input,
    /// Every check of it.
    pub(super) inspection: &'a Inspection<'a>,
    /// Its parts, as far as they can be decoded.
    pub(super) parts: &'a Parts,
    /// Whose token the path is for.
    pub(super) bearer: Bearer,
    /// The configured issuers.
    pub(super) issuers: &'a [Issuer],
    /// What their claims mean.
    pub(super) directory: &'a Directory,
    /// What is known of keys.
    pub(super) keys: &'a Evidence,
    /// The largest token that is taken.
    pub(super) token_bytes: usize,
    /// What clocks may differ by.
    pub(super) leeway: Duration,
    /// The time by which it was judged.
    pub(super) now: Timestamp,
}

/// What is known of the keys that matter for a token.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// Those of the entry.
    pub(super) keys: Option<Arc<KeySet>>,
    /// The other entry that has the key of this name.
    pub(super) owner: Option<String>,
    /// Whether the set of the API itself has it.
    pub(super) of_app: bool,
    /// The tenant of the token, where its set has it.
    pub(super) of_tenant: Option<String>,
    /// How else the file with the secret has to be read to have the one that signed.
    pub(super) reading: Option<&'static str>,
    /// Who was asked for it.
    pub(super) asked: Vec<String>,
    /// Why they could not be had from where.
    pub(super) unreachable: Option<(String, String)>,
    /// Whether nobody was to be asked.
    pub(super) offline: bool,
    /// How far the clock there is ahead of ours, in seconds.
    pub(super) clock_ahead: Option<i64>,
}

/// The cause of a refusal.
pub(super) fn cause(rejection: &Rejection, facts: &Facts<'_>) -> Cause {
    let found = || rejection.found().unwrap_or_default().to_owned();
    match rejection.reason() {
        Reason::CredentialMissing => Cause::Sent(Sent::NothingSent),
        Reason::CredentialMalformed => sent::malformed(facts.input),
        Reason::SchemeUnsupported => sent::scheme(facts.input),
        Reason::TokenTooLarge => sent::too_large(facts),
        Reason::TokenMalformed => sent::instead(facts.input)
            .unwrap_or_else(|| form::malformed(facts.input.token(), &found())),
        Reason::TokenEncrypted => Cause::Form(Form::Encrypted),
        Reason::HeaderUnsupported => form::unsupported(facts, found()),
        Reason::IssuerUnknown => issuer::unknown(facts),
        Reason::AlgorithmNotAllowed => signature::algorithm(facts),
        Reason::KeyUnknown => signature::key(facts),
        Reason::SignatureInvalid => signature::invalid(facts),
        Reason::GraphToken => signature::graph(facts),
        Reason::KeysUnavailable => signature::no_keys(facts),
        Reason::TokenKind => kind::wrong(facts),
        Reason::TokenBound => kind::bound(facts),
        Reason::TenantMismatch => kind::tenant(facts, found()),
        Reason::AudienceMismatch => audience::mismatch(facts),
        Reason::ClaimMissing => kind::absent(facts, &found()),
        Reason::ClaimInvalid => kind::invalid(facts, found()),
        Reason::TokenExpired => times::expired(facts),
        Reason::TokenNotYetValid => times::early(facts),
        Reason::TokenRevoked => Cause::Times(Times::Revoked { found: found() }),
        Reason::ClientNotAllowed => rights::client(facts),
        Reason::IdentityUnsafe => {
            Cause::Whose(Whose::NameUnsafe { found: found(), entry: facts.key() })
        }
        Reason::RoleMissing => rights::role(facts),
        Reason::AccessClosed => {
            let found = found();
            let found = if found.is_empty() { found } else { format!(": {found}") };
            Cause::Request(Request::PathClosed { found })
        }
        Reason::PathAmbiguous => Cause::Request(Request::PathAmbiguous),
        Reason::NotFound => Cause::Request(Request::PathOfOurs),
        Reason::MethodRefused => Cause::Request(Request::MethodRefused),
        Reason::HeadersTooLarge => Cause::Request(Request::HeadTooLarge { found: found() }),
        Reason::RequestMalformed if let Some(character) = sent::control(facts.input) => {
            Cause::Sent(Sent::ControlCharacter { character })
        }
        // Not of the token, or of a request that is not made here.
        Reason::RequestMalformed
        | Reason::CredentialAmbiguous
        | Reason::CrossSite
        | Reason::CallerUntrusted
        | Reason::RequestTimeout
        | Reason::BodyTooLarge
        | Reason::TooManyFailures
        | Reason::UpstreamUnavailable
        | Reason::UpstreamInvalid
        | Reason::HandoffFailed
        | Reason::Overloaded
        | Reason::UpstreamTimeout => Cause::Request(Request::RequestOdd { found: found() }),
    }
}

impl Facts<'_> {
    /// A claim that is a string.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.inspection.claims.as_ref()?.text(name).ok().flatten()
    }

    /// A claim, whatever it is.
    pub(super) fn claim(&self, name: &str) -> Option<&Json<'_>> {
        self.inspection.claims.as_ref()?.get(name)
    }

    fn algorithm(&self) -> &str {
        self.inspection.header.as_ref().and_then(|header| header.algorithm()).unwrap_or_default()
    }

    fn kid(&self) -> Option<&str> {
        self.inspection.header.as_ref().and_then(|header| header.kid())
    }

    /// The entry against which it was held.
    pub(super) fn issuer(&self) -> Option<&Issuer> {
        self.issuers.get(self.inspection.entry.as_ref()?.issuer)
    }

    /// The key of that entry in the configuration.
    fn key(&self) -> String {
        self.inspection.entry.as_ref().map_or("issuers".into(), |entry| key_of(entry.issuer))
    }

    fn entra(&self) -> Option<&entra::Rules> {
        match &self.issuer()?.rules {
            Rules::Entra(rules) => Some(rules),
            Rules::Airflow(_) | Rules::Oidc(_) => None,
        }
    }

    /// The registration to ask a token for: the entry's, or else the only one there is.
    fn client_id(&self) -> Option<String> {
        let of = |issuer: &Issuer| match &issuer.rules {
            Rules::Entra(rules) => Some(rules.client_id.to_string()),
            Rules::Airflow(_) | Rules::Oidc(_) => None,
        };
        self.issuer().and_then(of).or_else(|| self.issuers.iter().find_map(of))
    }

    /// The application that asked for the token.
    pub(super) fn client(&self) -> Option<&str> {
        self.text("azp").or_else(|| self.text("appid"))
    }
}

/// The key of an entry in the configuration.
pub(super) fn key_of(issuer: usize) -> String {
    format!("issuers[{issuer}]")
}

/// Text of a stranger's as it may be shown: nothing in it acts on a terminal, and it ends.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MOST_SHOWN).flat_map(harmless).collect();
    if text.chars().nth(MOST_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// As it is, or escaped where it is no character to look at.
fn harmless(c: char) -> impl Iterator<Item = char> {
    let quote = matches!(c, '"' | '\'' | '\\');
    let (plain, escaped) = if quote { (Some(c), None) } else { (None, Some(c.escape_debug())) };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

const MOST_SHOWN: usize = 400;

/// Whether the text is a GUID.
pub(super) fn is_guid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_does_not_act_on_a_terminal_and_ends() {
        assert_eq!(shown("a \"b\" \\ é"), "a \"b\" \\ é");
        assert_eq!(shown("\u{1b}[31m\n\u{202e}"), "\\u{1b}[31m\\n\\u{202e}");
        assert_eq!(shown(&"x".repeat(9999)).chars().count(), MOST_SHOWN + 1);
    }
}
