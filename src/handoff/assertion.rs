//! The signed assertion: who is calling, for a verifier on Airflow's side that holds our public key
//! (`config/airflow2`, `config/airflow3`). It is made for one request: method and path stand in it.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Method};
use serde::Serialize;

use super::random_id;
use super::signing::SigningKey;
use crate::clock::Timestamp;
use crate::identity::{AirflowRole, AirflowTeam, Principal};
use crate::rejection::{Reason, Rejection};

/// Signs assertions.
#[derive(Debug)]
pub struct Asserter {
    key: SigningKey,
    audience: String,
    lifetime: Duration,
    /// Prepended to the path on the way to Airflow, so part of what Airflow sees.
    prefix: String,
}

/// `htm` and `htu` are those of `DPoP` (RFC 9449, section 4.2), but `htu` is the path alone: what
/// scheme and host are called differs on the two sides of a proxy.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'static str,
    sub: &'a str,
    roles: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    teams: Option<&'a [AirflowTeam]>,
    aud: &'a str,
    iat: u64,
    exp: u64,
    jti: &'a str,
    htm: &'a str,
    htu: &'a str,
}

impl Asserter {
    /// Signs with `key` for `audience`; `prefix` is the path of `upstream.url`.
    #[must_use]
    pub const fn new(
        key: SigningKey,
        audience: String,
        lifetime: Duration,
        prefix: String,
    ) -> Self {
        Self { key, audience, lifetime, prefix }
    }

    /// The key it signs with.
    #[must_use]
    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The assertion of this principal for this request, as a header value.
    pub fn assertion(
        &self,
        principal: &Principal,
        head: &Parts,
        now: Timestamp,
    ) -> Result<HeaderValue, Rejection> {
        let roles: Vec<&str> = principal.roles().iter().map(AirflowRole::name).collect();
        let request = (&head.method, head.uri.path());
        self.sign(principal.username(), &roles, principal.teams(), request, now)
    }

    /// An assertion of these for a request with this method and path, as a header value.
    pub(super) fn sign(
        &self,
        username: &str,
        roles: &[&str],
        teams: Option<&[AirflowTeam]>,
        (method, path): (&Method, &str),
        now: Timestamp,
    ) -> Result<HeaderValue, Rejection> {
        let failed = |found: String| Rejection::found_that(Reason::HandoffFailed, found);
        let jti = random_id().ok_or_else(|| failed("no random bytes".into()))?;
        let path = format!("{}{path}", self.prefix);
        let claims = Claims {
            iss: ISSUER,
            sub: username,
            roles,
            teams,
            aud: &self.audience,
            iat: now.unix(),
            exp: now.after(self.lifetime).unix(),
            jti: &jti,
            htm: method.as_str(),
            htu: &path,
        };
        let signed = self.key.sign(TYPE, &claims);
        let signed = signed.map_err(|error| failed(format!("signing failed: {error}")))?;
        let mut value = HeaderValue::try_from(signed)
            .map_err(|_| failed("the assertion is no header value".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

const ISSUER: &str = "airside";
/// Tells it from every other token (RFC 8725, section 3.11).
const TYPE: &str = "airside-assertion+jwt";
