//! Answers of our own: the only place that knows which refusal has which HTTP status.
//!
//! A step that says no returns a [`Rejection`]; `proxy` turns it into a problem document
//! (RFC 9457) with the challenge of RFC 6750. The caller gets the reason and a plain sentence, the
//! log also gets what was found.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// Why a request was refused: stable names that users, dashboards and alerts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each reason's sentence stands in `Reason::row`")]
pub enum Reason {
    RequestMalformed,
    PathAmbiguous,
    CredentialAmbiguous,
    CredentialMissing,
    CredentialMalformed,
    SchemeUnsupported,
    TokenMalformed,
    TokenEncrypted,
    TokenTooLarge,
    HeaderUnsupported,
    IssuerUnknown,
    AlgorithmNotAllowed,
    KeyUnknown,
    SignatureInvalid,
    TokenKind,
    TokenBound,
    GraphToken,
    TenantMismatch,
    AudienceMismatch,
    ClaimMissing,
    ClaimInvalid,
    TokenExpired,
    TokenNotYetValid,
    TokenRevoked,
    RoleMissing,
    ClientNotAllowed,
    IdentityUnsafe,
    AccessClosed,
    CrossSite,
    CallerUntrusted,
    NotFound,
    MethodRefused,
    RequestTimeout,
    BodyTooLarge,
    TooManyFailures,
    HeadersTooLarge,
    UpstreamUnavailable,
    UpstreamInvalid,
    HandoffFailed,
    KeysUnavailable,
    Overloaded,
    UpstreamTimeout,
}

impl Reason {
    /// Every reason, in the order of its discriminant.
    pub const ALL: [Self; 42] = [
        Self::RequestMalformed,
        Self::PathAmbiguous,
        Self::CredentialAmbiguous,
        Self::CredentialMissing,
        Self::CredentialMalformed,
        Self::SchemeUnsupported,
        Self::TokenMalformed,
        Self::TokenEncrypted,
        Self::TokenTooLarge,
        Self::HeaderUnsupported,
        Self::IssuerUnknown,
        Self::AlgorithmNotAllowed,
        Self::KeyUnknown,
        Self::SignatureInvalid,
        Self::TokenKind,
        Self::TokenBound,
        Self::GraphToken,
        Self::TenantMismatch,
        Self::AudienceMismatch,
        Self::ClaimMissing,
        Self::ClaimInvalid,
        Self::TokenExpired,
        Self::TokenNotYetValid,
        Self::TokenRevoked,
        Self::RoleMissing,
        Self::ClientNotAllowed,
        Self::IdentityUnsafe,
        Self::AccessClosed,
        Self::CrossSite,
        Self::CallerUntrusted,
        Self::NotFound,
        Self::MethodRefused,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::TooManyFailures,
        Self::HeadersTooLarge,
        Self::UpstreamUnavailable,
        Self::UpstreamInvalid,
        Self::HandoffFailed,
        Self::KeysUnavailable,
        Self::Overloaded,
        Self::UpstreamTimeout,
    ];

    /// The stable name, as it stands in the answer, the log and the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().0
    }

    /// The sentence for the caller: what is wrong and what to do, nothing about what is expected
    /// here (that would help whoever tries tokens).
    ///
    /// The characters are those that RFC 6750, section 3, allows in `error_description`.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        self.row().2
    }

    /// Where the documentation has cause and cure.
    #[must_use]
    pub const fn help(self) -> Help {
        Help(self)
    }

    #[rustfmt::skip]
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const WHO: StatusCode = StatusCode::UNAUTHORIZED;
        const NO: StatusCode = StatusCode::FORBIDDEN;
        const GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;
        const LATER: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        match self {
            Self::RequestMalformed => (BAD, "request_malformed", "The request is not well formed: send one Host header and an origin-form target."),
            Self::PathAmbiguous => (BAD, "path_ambiguous", "The path can be read in more than one way: send it without dot segments, backslashes, a leading double slash, control bytes or broken percent-encoding."),
            Self::CredentialAmbiguous => (BAD, "credential_ambiguous", "The request carries more than one Authorization header: send one."),
            Self::CredentialMissing => (WHO, "credential_missing", "A token is needed here: send it as Authorization: Bearer TOKEN."),
            Self::CredentialMalformed => (WHO, "credential_malformed", "The Authorization header is not of the form Bearer, one space, token."),
            Self::SchemeUnsupported => (WHO, "scheme_unsupported", "This authorization scheme is not accepted here: send Authorization: Bearer TOKEN."),
            Self::TokenMalformed => (WHO, "token_malformed", "The token is not a well-formed JSON Web Token: it may have been cut, wrapped or quoted on its way."),
            Self::TokenEncrypted => (WHO, "token_encrypted", "The token is encrypted (five parts): ask for a signed one; with Entra, remove tokenEncryptionKeyId from the app registration of the API."),
            Self::TokenTooLarge => (WHO, "token_too_large", "The token is larger than allowed here: with Entra, emit app roles or only the groups assigned to the application."),
            Self::HeaderUnsupported => (WHO, "header_unsupported", "The header of the token asks for something that is not supported here (crit, b64, zip, a foreign typ or cty)."),
            Self::IssuerUnknown => (WHO, "issuer_unknown", "The issuer of the token is not configured here: check the tenant and the token version."),
            Self::AlgorithmNotAllowed => (WHO, "algorithm_not_allowed", "The signature algorithm of the token is not allowed for its issuer."),
            Self::KeyUnknown => (WHO, "key_unknown", "The token is signed with a key that its issuer does not publish: get a new token."),
            Self::SignatureInvalid => (WHO, "signature_invalid", "The signature of the token does not verify: the token was changed, cut or signed with another key."),
            Self::TokenKind => (WHO, "token_kind", "This kind of token is not for this path: the API takes access tokens, not ID or task tokens, and the paths of workers take the tokens of tasks alone."),
            Self::TokenBound => (WHO, "token_bound", "The token is bound to a key of its client (cnf) and cannot be used as a bearer token."),
            Self::GraphToken => (WHO, "graph_token", "This is a token for Microsoft Graph, which only Graph can verify: request one for the scope of this API, such as api://CLIENT-ID/.default."),
            Self::TenantMismatch => (WHO, "tenant_mismatch", "The token comes from another tenant than its issuer or key says, or from one not allowed here."),
            Self::AudienceMismatch => (WHO, "audience_mismatch", "The token is for another audience: request one for the scope of this API."),
            Self::ClaimMissing => (WHO, "claim_missing", "The token lacks a claim that is needed here."),
            Self::ClaimInvalid => (WHO, "claim_invalid", "A claim of the token has the wrong type, is out of range or does not fit the request."),
            Self::TokenExpired => (WHO, "token_expired", "The token has expired: get a new one."),
            Self::TokenNotYetValid => (WHO, "token_not_yet_valid", "The token is not valid yet: compare the clocks of the issuer and this host."),
            Self::TokenRevoked => (WHO, "token_revoked", "The token has been revoked here: ask whoever runs this service."),
            Self::RoleMissing => (NO, "role_missing", "The token is valid but carries no role that is mapped to an Airflow role: have an app role assigned to the user or the application, then get a new token."),
            Self::ClientNotAllowed => (NO, "client_not_allowed", "The token is valid but was issued to a client application that is not allowed here."),
            Self::IdentityUnsafe => (NO, "identity_unsafe", "The token is valid but its user name or a role is empty or has characters that cannot be passed on."),
            Self::AccessClosed => (NO, "access_closed", "This path is closed here by configuration."),
            Self::CrossSite => (NO, "cross_site", "A request that changes something was sent from another site with a credential that the browser adds by itself."),
            Self::CallerUntrusted => (NO, "caller_untrusted", "Only proxies that are configured here may ask about the requests of others."),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "There is nothing at this path."),
            Self::MethodRefused => (StatusCode::METHOD_NOT_ALLOWED, "method_refused", "This method is not served here: the Allow header says which are."),
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "request_timeout", "The request body stopped on its way."),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The request body is larger than allowed here."),
            Self::TooManyFailures => (StatusCode::TOO_MANY_REQUESTS, "too_many_failures", "Too many tokens that are not accepted came from this address: wait, then send one that is."),
            Self::HeadersTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", "The request head is larger than allowed here: remove cookies or use a smaller token."),
            Self::UpstreamUnavailable => (GATEWAY, "upstream_unavailable", "Airflow cannot be reached: it may be starting or down."),
            Self::UpstreamInvalid => (GATEWAY, "upstream_invalid", "Airflow gave an answer that is not valid HTTP, or ended it early."),
            Self::HandoffFailed => (GATEWAY, "handoff_failed", "The identity could not be handed on to Airflow: see the log of airside."),
            Self::KeysUnavailable => (LATER, "keys_unavailable", "The keys of the token's issuer are not available at the moment: try again soon."),
            Self::Overloaded => (LATER, "overloaded", "Too many requests are being served at the moment: try again soon."),
            Self::UpstreamTimeout => (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", "Airflow did not answer in time."),
        }
    }
}

/// The section of the documentation about a reason.
#[derive(Clone, Copy, Debug)]
pub struct Help(Reason);

/// A problem document (RFC 9457, section 3.1) with members of ours (section 3.2).
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: Urn,
    title: Option<&'static str>,
    status: u16,
    detail: &'static str,
    reason: &'static str,
    request_id: &'a str,
    help: Help,
}

/// The type of a problem, which is a name and no address.
struct Urn(Reason);

impl Serialize for Urn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("urn:airside:problem:{}", self.0.name()))
    }
}

impl Serialize for Help {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.name();
        match env!("CARGO_PKG_REPOSITORY") {
            "" => write!(f, "docs/troubleshooting.md#{name}"),
            home => write!(f, "{home}/blob/main/docs/troubleshooting.md#{name}"),
        }
    }
}

/// A refusal on its way to the caller, with what only the log may know.
#[derive(Debug)]
pub struct Rejection {
    reason: Reason,
    found: Option<Cow<'static, str>>,
    allow: &'static str,
    /// When to come again, where that is known better than [`PATIENCE`] says.
    patience: Option<Duration>,
    /// The issuer entry that the token names.
    issuer: Option<Arc<str>>,
}

/// What a token endpoint calls a refusal (RFC 6749, section 5.2; RFC 8693, section 2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the RFCs say what each is")]
pub enum OAuthError {
    InvalidRequest,
    InvalidClient,
    InvalidTarget,
    InvalidScope,
    UnsupportedGrantType,
    TemporarilyUnavailable,
    ServerError,
}

impl OAuthError {
    /// The `error` of the answer.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidScope => "invalid_scope",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }
}

impl Rejection {
    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// The same refusal once more, without what only its answer needs.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { found: self.found.clone(), ..Self::from(self.reason) }
    }

    /// What was found and expected: for the log, never a byte of a token's text.
    #[must_use]
    pub fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }

    /// The issuer entry whose token was refused: by what the token says itself, true or not.
    #[must_use]
    pub fn issuer(&self) -> Option<&Arc<str>> {
        self.issuer.as_ref()
    }

    /// The same refusal, of a token that names this issuer entry.
    #[must_use]
    pub fn of_token_from(self, issuer: &Arc<str>) -> Self {
        Self { issuer: Some(Arc::clone(issuer)), ..self }
    }

    /// Adds what was found, for the log.
    #[must_use]
    pub fn found_that(reason: Reason, found: impl Into<Cow<'static, str>>) -> Self {
        Self { found: Some(found.into()), ..Self::from(reason) }
    }

    /// A path that is there for other methods: `allow` lists them.
    #[must_use]
    pub const fn method_refused(allow: &'static str) -> Self {
        Self { reason: Reason::MethodRefused, found: None, allow, patience: None, issuer: None }
    }

    /// Too many credentials that fail, `found` the last: others are told what is wrong with theirs
    /// after that time.
    #[must_use]
    pub fn too_many_failures(patience: Duration, found: String) -> Self {
        let rejection = Self::found_that(Reason::TooManyFailures, found);
        Self { patience: Some(patience), ..rejection }
    }

    /// The answer: a problem document with its challenge, and where a credential is asked for also
    /// the challenges of `others`.
    #[must_use]
    pub fn answer(&self, request_id: &str, others: &[&'static str]) -> Response<Bytes> {
        let status = self.reason.status();
        let body = Problem {
            kind: Urn(self.reason),
            title: status.canonical_reason(),
            status: status.as_u16(),
            detail: self.reason.sentence(),
            reason: self.reason.name(),
            request_id,
            help: self.reason.help(),
        };
        let mut answer = json_answer(status, "application/problem+json", &body);
        let headers = answer.headers_mut();
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if status == StatusCode::UNAUTHORIZED {
            for other in others {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(other));
            }
        }
        if self.reason == Reason::MethodRefused {
            headers.insert(ALLOW, HeaderValue::from_static(self.allow));
        }
        // Who stands before us may have read it otherwise, and so what follows it. HTTP/2, where
        // nothing does, has no such header: hyper leaves it out.
        if self.reason == Reason::RequestMalformed {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.ask_for_patience(headers);
        answer
    }

    /// The answer of a token endpoint, with our reason beside its `error`. Only a client that
    /// authenticated, by the scheme of this `challenge`, is answered 401.
    #[must_use]
    pub fn oauth_answer(
        &self,
        error: OAuthError,
        description: &str,
        challenge: Option<&'static str>,
        request_id: &str,
    ) -> Response<Bytes> {
        let status = match (challenge, self.reason.status()) {
            (Some(_), _) => StatusCode::UNAUTHORIZED,
            (None, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => StatusCode::BAD_REQUEST,
            (None, status) => status,
        };
        let body = json!({
            "error": error.name(),
            "error_description": description,
            "reason": self.reason.name(),
            "request_id": request_id,
        });
        let mut answer = json_answer(status, "application/json", &body);
        let headers = answer.headers_mut();
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        self.ask_for_patience(headers);
        answer
    }

    fn ask_for_patience(&self, headers: &mut HeaderMap) {
        let patience = match self.reason {
            Reason::KeysUnavailable | Reason::Overloaded => PATIENCE,
            Reason::TooManyFailures => self.patience.unwrap_or(PATIENCE),
            _ => return,
        };
        // Whole seconds, and never before the time.
        headers.insert(RETRY_AFTER, HeaderValue::from(patience.as_secs() + 1));
    }

    /// RFC 6750, section 3: no error code when no credential came; `insufficient_scope` where the
    /// token is good and the right is missing.
    fn challenge(&self) -> Option<HeaderValue> {
        let error = match self.reason {
            Reason::CredentialMissing => return Some(HeaderValue::from_static(BARE_CHALLENGE)),
            Reason::RoleMissing => "insufficient_scope",
            reason if reason.status() == StatusCode::UNAUTHORIZED => "invalid_token",
            _ => return None,
        };
        let sentence = self.reason.sentence();
        let value =
            format!("{BARE_CHALLENGE}, error=\"{error}\", error_description=\"{sentence}\"");
        HeaderValue::try_from(value).ok()
    }
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self { reason, found: None, allow: METHODS, patience: None, issuer: None }
    }
}

/// The answer of a token endpoint that gives one (RFC 6749, section 5.1).
#[must_use]
pub fn token_answer(body: &Value) -> Response<Bytes> {
    let mut answer = json_answer(StatusCode::OK, "application/json", body);
    answer.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    answer
}

fn json_answer(
    status: StatusCode,
    content_type: &'static str,
    body: &impl Serialize,
) -> Response<Bytes> {
    // Only maps whose keys are no text, and writers that fail, make this fail.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut answer = Response::new(Bytes::from(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

const BARE_CHALLENGE: &str = "Bearer realm=\"airflow\"";
/// Soon enough for a script, late enough not to add to a flood.
const PATIENCE: Duration = Duration::from_secs(4);
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_own_place() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index, "{reason:?}");
        }
    }

    #[test]
    fn every_sentence_may_stand_in_a_challenge() {
        for reason in Reason::ALL {
            let allowed = |c: u8| (0x20..=0x7e).contains(&c) && c != b'"' && c != b'\\';
            assert!(reason.sentence().bytes().all(allowed), "{}", reason.name());
            assert_ne!(reason.sentence(), "Invalid JWT token");
        }
    }

    #[test]
    fn every_reason_has_its_section_and_no_section_is_left_over() {
        let documented = include_str!("../docs/troubleshooting.md");
        let mut sections: Vec<&str> =
            documented.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        let mut reasons = Reason::ALL.map(Reason::name);
        sections.sort_unstable();
        reasons.sort_unstable();
        assert_eq!(sections, reasons);
    }

    #[test]
    fn a_refusal_points_to_its_section() {
        let answer = Rejection::from(Reason::RoleMissing).answer("r1", &[]);
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert!(body["help"].as_str().unwrap().ends_with("docs/troubleshooting.md#role_missing"));
    }

    #[test]
    fn a_missing_credential_is_challenged_without_an_error_code() {
        let answer = Rejection::from(Reason::CredentialMissing).answer("r1", &[]);
        let challenges: Vec<_> = answer.headers().get_all(WWW_AUTHENTICATE).iter().collect();
        assert_eq!(challenges, [BARE_CHALLENGE]);
    }

    #[test]
    fn other_schemes_are_offered_where_a_credential_is_asked_for_and_nowhere_else() {
        let challenges = |reason| {
            let answer = Rejection::from(reason).answer("r1", &["Negotiate"]);
            answer.headers().get_all(WWW_AUTHENTICATE).iter().cloned().collect::<Vec<_>>()
        };
        for reason in [Reason::CredentialMissing, Reason::TokenExpired] {
            let challenges = challenges(reason);
            assert!(challenges[0].as_bytes().starts_with(BARE_CHALLENGE.as_bytes()));
            assert_eq!(challenges[1..], ["Negotiate"]);
        }
        assert_eq!(challenges(Reason::RoleMissing).len(), 1);
        assert!(challenges(Reason::AccessClosed).is_empty());
    }

    #[test]
    fn a_refused_token_is_challenged_with_its_error() {
        let answer = Rejection::from(Reason::TokenExpired).answer("r1", &[]);
        let challenge = answer.headers()[WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.starts_with("Bearer realm=\"airflow\", error=\"invalid_token\", "));
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(body["type"], "urn:airside:problem:token_expired");
        assert_eq!(body["request_id"], "r1");
    }

    #[test]
    fn what_was_found_stays_in_the_log() {
        let rejection = Rejection::found_that(Reason::AudienceMismatch, "found api://secret");
        let answer = rejection.answer("r1", &[]);
        assert!(!String::from_utf8_lossy(answer.body()).contains("secret"));
    }
}
