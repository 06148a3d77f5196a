//! Signs the token that stock Airflow 3 takes for its own: by `[api_auth] jwt_secret` or a key that
//! it trusts through `trusted_jwks_url`, with the claims that its auth manager reads. For
//! `SimpleAuthManager` these are a name and a role (airflow-core,
//! `api_fastapi/auth/managers/simple/simple_auth_manager.py`), for FAB the id of a user (see
//! [`super::fab`]).

use std::time::Duration;

use http::HeaderValue;
use serde::Serialize;

use super::random_id;
use super::signing::SigningKey;
use crate::clock::Timestamp;
use crate::identity::{AirflowTeam, Basis, Principal, Statement};
use crate::rejection::{Reason, Rejection};

/// Signs Airflow tokens.
#[derive(Debug)]
pub struct Minter {
    key: SigningKey,
    audience: String,
    issuer: Option<String>,
    lifetime: Duration,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    teams: &'a [AirflowTeam],
    aud: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: &'a str,
}

/// Whom a token is for.
pub(super) struct Subject<'a> {
    id: &'a str,
    role: Option<String>,
    teams: &'a [AirflowTeam],
}

impl<'a> Subject<'a> {
    /// A principal as `SimpleAuthManager` reads it: a name, a role, and teams.
    pub(super) fn of(principal: &'a Principal) -> Result<Self, Rejection> {
        let role = principal.roles().first();
        let role = role.ok_or_else(|| failed("the principal has no role".into()))?;
        Ok(Self {
            id: principal.username(),
            role: Some(role.name().to_ascii_lowercase()),
            teams: principal.teams().unwrap_or_default(),
        })
    }

    /// Somebody of this name who may look and no more.
    pub(super) fn viewer(id: &'a str) -> Self {
        Self { id, role: Some("viewer".to_owned()), teams: &[] }
    }

    /// A user of FAB, which knows everything else itself.
    pub(super) const fn user(id: &'a str) -> Self {
        Self { id, role: None, teams: &[] }
    }
}

impl Minter {
    /// Signs with `key`, for `[api_auth] jwt_audience` and `jwt_issuer`.
    #[must_use]
    pub const fn new(
        key: SigningKey,
        audience: String,
        issuer: Option<String>,
        lifetime: Duration,
    ) -> Self {
        Self { key, audience, issuer, lifetime }
    }

    /// The key it signs with.
    #[must_use]
    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The Authorization header for a principal of `SimpleAuthManager`: the one it has until half
    /// of its life is over, or a new one.
    pub fn authorization(
        &self,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<HeaderValue, Rejection> {
        if let Some(header) = principal.statement(now) {
            return Ok(header);
        }
        let (header, renew_at) = self.header(&Subject::of(principal)?, now)?;
        principal.keep(Statement { header: header.clone(), renew_at, basis: Basis::default() });
        Ok(header)
    }

    /// An Authorization header with a new token, and when that is to be replaced.
    pub(super) fn header(
        &self,
        subject: &Subject<'_>,
        now: Timestamp,
    ) -> Result<(HeaderValue, Timestamp), Rejection> {
        let token = self.sign(subject, now, now.after(self.lifetime))?;
        let mut header = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| failed("the token is no header value".into()))?;
        header.set_sensitive(true);
        Ok((header, now.after(self.lifetime / 2)))
    }

    /// A new token, good from `now` until `expires`.
    pub(super) fn sign(
        &self,
        subject: &Subject<'_>,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<String, Rejection> {
        let jti = random_id().ok_or_else(|| failed("no random bytes".into()))?;
        let claims = Claims {
            sub: subject.id,
            role: subject.role.as_deref(),
            teams: subject.teams,
            aud: &self.audience,
            iss: self.issuer.as_deref(),
            iat: now.unix(),
            nbf: now.unix(),
            exp: expires.unix(),
            jti: &jti,
        };
        let signed = self.key.sign("JWT", &claims);
        signed.map_err(|error| failed(format!("signing failed: {error}")))
    }
}

fn failed(found: String) -> Rejection {
    Rejection::found_that(Reason::HandoffFailed, found)
}
