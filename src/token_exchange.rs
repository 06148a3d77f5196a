//! `POST /airside/token`: a token of Airflow's own form for the token of an issuer (RFC 8693), for
//! clients that speak to Airflow by another way or cannot send a long token with each request.
//!
//! Here are the form that comes in and the JSON that goes out; whether the token is good, and what
//! its owner gets, is decided where it is for every other request.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::json;
use tokio::time::timeout;

use crate::credential::{self, BearerToken};
use crate::rejection::{self, OAuthError, Reason, Rejection};
use crate::sanitize::Inbound;

/// What tokens are given for, and for how long.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The longest a token lasts.
    pub lifetime: Duration,
    /// The one audience there is.
    pub audience: String,
    /// How long a form may take to come in.
    pub patience: Duration,
}

/// A well-formed request for a token: nothing in the one that came with it is believed yet.
#[derive(Debug)]
pub struct Asked {
    subject: BearerToken,
    wanted: TokenType,
}

/// A type of token (RFC 8693, section 3). Ours are both: Airflow's access tokens are JWTs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenType {
    AccessToken,
    Jwt,
}

/// A refusal as a token endpoint says it.
#[derive(Debug)]
pub struct Refusal {
    error: OAuthError,
    description: &'static str,
    challenge: Option<&'static str>,
    rejection: Rejection,
}

/// Takes the form in, in bounded size and time; a token in it may have `largest` bytes.
pub async fn receive(request: Inbound, terms: &Terms, largest: usize) -> Result<Bytes, Refusal> {
    let (head, body) = request.into_parts();
    check_head(&head.headers)?;
    let form = collect(body, largest.saturating_add(REST_OF_FORM));
    Ok(timeout(terms.patience, form)
        .await
        .map_err(|_| Rejection::from(Reason::RequestTimeout))??)
}

impl Asked {
    /// Reads the form.
    pub fn read(form: &[u8], terms: &Terms, largest: usize) -> Result<Self, Refusal> {
        let form = Form::parse(form)?;
        match form.one("grant_type") {
            Some(GRANT) => {}
            Some(_) => return Err(Refusal::of(OAuthError::UnsupportedGrantType, GRANT_EXPECTED)),
            None => return Err(Refusal::request("grant_type is missing")),
        }
        if SECRETS.iter().any(|name| form.one(name).is_some()) {
            return Err(Refusal::of(OAuthError::InvalidClient, NO_CLIENTS));
        }
        if form.one("actor_token").or(form.one("actor_token_type")).is_some() {
            return Err(Refusal::request("nobody can act for another here: leave actor_token out"));
        }
        if form.one("resource").is_some() || form.all("audience").any(|one| one != terms.audience) {
            return Err(Refusal::of(OAuthError::InvalidTarget, ONE_TARGET));
        }
        if form.one("scope").is_some() {
            return Err(Refusal::of(OAuthError::InvalidScope, NO_SCOPES));
        }
        let token_type = |name, what| match form.one(name).map(TokenType::parse) {
            Some(None) => Err(Refusal::request(what)),
            Some(known) => Ok(known),
            None => Ok(None),
        };
        let wanted = token_type("requested_token_type", "requested_token_type is not known here")?;
        let subject_type =
            token_type("subject_token_type", "subject_token_type is not known here")?;
        if subject_type.is_none() {
            return Err(Refusal::request("subject_token_type is missing"));
        }
        let subject = form.one("subject_token");
        let subject = subject.ok_or_else(|| Refusal::request("subject_token is missing"))?;
        let subject = credential::read_subject(subject, largest)?;
        Ok(Self { subject, wanted: wanted.unwrap_or(TokenType::AccessToken) })
    }

    /// The token that is offered.
    #[must_use]
    pub const fn subject(&self) -> &BearerToken {
        &self.subject
    }

    /// The answer that gives `token`, which is good for so long.
    #[must_use]
    pub fn answer(&self, token: &str, lifetime: Duration) -> Response<Bytes> {
        rejection::token_answer(&json!({
            "access_token": token,
            "issued_token_type": self.wanted.name(),
            "token_type": "Bearer",
            "expires_in": lifetime.as_secs(),
        }))
    }
}

impl Refusal {
    /// What the log is told.
    #[must_use]
    pub const fn rejection(&self) -> &Rejection {
        &self.rejection
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self, request_id: &str) -> Response<Bytes> {
        self.rejection.oauth_answer(self.error, self.description, self.challenge, request_id)
    }

    fn of(error: OAuthError, description: &'static str) -> Self {
        let rejection = Rejection::found_that(Reason::RequestMalformed, description);
        Self { error, description, challenge: None, rejection }
    }

    fn request(description: &'static str) -> Self {
        Self::of(OAuthError::InvalidRequest, description)
    }
}

/// RFC 8693, section 2.2.2: whatever is wrong with the token, it is the request that is invalid.
impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let error = match rejection.reason() {
            // Airflow is asked too, where it has to know whom a token is for.
            Reason::KeysUnavailable
            | Reason::UpstreamUnavailable
            | Reason::UpstreamInvalid
            | Reason::UpstreamTimeout
            | Reason::TooManyFailures => OAuthError::TemporarilyUnavailable,
            Reason::HandoffFailed => OAuthError::ServerError,
            _ => OAuthError::InvalidRequest,
        };
        let description = rejection.reason().sentence();
        Self { error, description, challenge: None, rejection }
    }
}

impl TokenType {
    fn parse(name: &str) -> Option<Self> {
        [Self::AccessToken, Self::Jwt].into_iter().find(|known| known.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }
}

/// The parameters of the request, each once, none of them empty.
struct Form(Vec<(String, String)>);

impl Form {
    fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            // RFC 6749, section 3.2: without a value it counts as left out, and nothing is sent
            // twice; RFC 8693, section 2.1: but the targets may be several.
            let repeated = pairs.iter().any(|(earlier, _)| *earlier == name);
            if repeated && name != "audience" && name != "resource" {
                return Err(Refusal::request("a parameter stands in the form more than once"));
            }
            if !value.is_empty() {
                pairs.push((name.into_owned(), value.into_owned()));
            }
        }
        Ok(Self(pairs))
    }

    fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A credential beside the one in the form could be meant for either; and airside knows no clients
/// that it could be of (RFC 6749, section 2.3).
fn check_head(headers: &HeaderMap) -> Result<(), Refusal> {
    if let Some(shown) = headers.get(AUTHORIZATION) {
        // RFC 6749, section 5.2: challenged by the scheme that the client used.
        let basic = shown.as_bytes().get(..6).is_some_and(|it| it.eq_ignore_ascii_case(b"basic "));
        return Err(Refusal {
            error: OAuthError::InvalidClient,
            description: NO_CLIENTS,
            challenge: Some(if basic { BASIC } else { BEARER }),
            rejection: Rejection::found_that(Reason::SchemeUnsupported, NO_CLIENTS),
        });
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(FORM) {
        return Ok(());
    }
    Err(Refusal::request("the body is not application/x-www-form-urlencoded"))
}

async fn collect(body: Incoming, largest: usize) -> Result<Bytes, Rejection> {
    match Limited::new(body, largest).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let found = format!("a form of more than {largest} bytes");
            Err(Rejection::found_that(Reason::BodyTooLarge, found))
        }
        Err(_) => Err(Rejection::found_that(Reason::RequestMalformed, "the body broke off")),
    }
}

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const GRANT_EXPECTED: &str =
    "the one grant_type here is urn:ietf:params:oauth:grant-type:token-exchange";
const FORM: &str = "application/x-www-form-urlencoded";
/// How a client shows who it is in the form (RFC 6749, section 2.3.1; RFC 7521, section 4.2).
const SECRETS: [&str; 2] = ["client_secret", "client_assertion"];
const NO_CLIENTS: &str =
    "clients do not authenticate here: send subject_token and no other credential";
const BASIC: &str = "Basic realm=\"airflow\"";
const BEARER: &str = "Bearer realm=\"airflow\"";
const ONE_TARGET: &str =
    "there is one target here: leave resource out, and audience out or as Airflow has it";
const NO_SCOPES: &str = "tokens have no scope here: leave it out";
/// Room for everything in the form but the token.
const REST_OF_FORM: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 3] = [
        ("grant_type", GRANT),
        ("subject_token", "a.b.c"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
    ];

    fn encoded(pairs: &[(&str, &str)]) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }

    fn read(body: &str) -> Result<Asked, Refusal> {
        let (lifetime, patience) = (Duration::from_secs(300), Duration::from_secs(1));
        let terms = Terms { lifetime, audience: "apache-airflow".into(), patience };
        Asked::read(body.as_bytes(), &terms, 64)
    }

    fn refused(body: &str) -> &'static str {
        read(body).err().map_or("accepted", |refusal| refusal.error.name())
    }

    #[test]
    fn a_form_is_read_as_it_is_meant_or_refused() {
        let asked = read(&encoded(&GOOD)).unwrap();
        assert_eq!((asked.subject().expose(), asked.wanted), ("a.b.c", TokenType::AccessToken));
        let long = "x".repeat(65);
        for (name, value, expected) in [
            ("grant_type", "", "invalid_request"),
            ("grant_type", "client_credentials", "unsupported_grant_type"),
            ("subject_token", "", "invalid_request"),
            ("subject_token", "a b", "invalid_request"),
            ("subject_token", "a\r\nb", "invalid_request"),
            ("subject_token", &long, "invalid_request"),
            ("subject_token_type", "", "invalid_request"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:saml2", "invalid_request"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:jwt", "accepted"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token", "accepted"),
            (
                "requested_token_type",
                "urn:ietf:params:oauth:token-type:refresh_token",
                "invalid_request",
            ),
            ("actor_token", "a.b.c", "invalid_request"),
            ("actor_token", "", "accepted"),
            ("audience", "apache-airflow", "accepted"),
            ("audience", "another", "invalid_target"),
            ("resource", "https://airflow.example/", "invalid_target"),
            ("scope", "admin", "invalid_scope"),
            ("client_id", "a-public-client", "accepted"),
            ("client_secret", "s3cret", "invalid_client"),
            ("client_assertion", "a.b.c", "invalid_client"),
            ("something_else", "x", "accepted"),
        ] {
            let mut pairs: Vec<_> = GOOD.into_iter().filter(|(known, _)| *known != name).collect();
            pairs.push((name, value));
            assert_eq!(refused(&encoded(&pairs)), expected, "{name}={value}");
        }
    }

    #[test]
    fn nothing_stands_in_a_form_twice_but_its_targets() {
        let good = encoded(&GOOD);
        for (more, expected) in [
            ("subject_token=d.e.f", "invalid_request"),
            ("grant_type=x", "invalid_request"),
            ("x=1&x=2", "invalid_request"),
            ("audience=apache-airflow&audience=apache-airflow", "accepted"),
            ("audience=apache-airflow&audience=another", "invalid_target"),
        ] {
            assert_eq!(refused(&format!("{good}&{more}")), expected, "{more}");
        }
        for body in ["", "&&&", "=", "%", "a=b", "grant_type", "\u{0}=\u{0}"] {
            assert_eq!(refused(body), "invalid_request", "{body:?}");
        }
    }
}
