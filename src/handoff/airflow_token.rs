//! Signs the token that stock Airflow 3 takes for its own: by `[api_auth] jwt_secret` or a key that
//! it trusts through `trusted_jwks_url`, with the claims that its `SimpleAuthManager` reads
//! (airflow-core, `api_fastapi/auth/managers/simple/simple_auth_manager.py`).

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use serde::Serialize;

use super::random_id;
use super::signing::SigningKey;
use crate::clock::Timestamp;
use crate::identity::{AirflowTeam, Principal, Statement};
use crate::rejection::{Reason, Rejection};

/// Signs Airflow tokens, and keeps each with its principal until half of its life is over.
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
    role: &'a str,
    teams: &'a [AirflowTeam],
    aud: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: &'a str,
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

    /// The Authorization header for a principal: the one it has, or a new one.
    pub fn authorization(
        &self,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<HeaderValue, Rejection> {
        if let Some(statement) = principal.statement.load().as_ref()
            && now < statement.renew_at
        {
            return Ok(statement.header.clone());
        }
        let header = header(&self.sign(principal, now, now.after(self.lifetime))?)?;
        let statement =
            Statement { header: header.clone(), renew_at: now.after(self.lifetime / 2) };
        principal.statement.store(Some(Arc::new(statement)));
        Ok(header)
    }

    /// A token of its own for a principal, from `now` until `expires`.
    pub fn sign(
        &self,
        principal: &Principal,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<String, Rejection> {
        let role =
            principal.roles().first().ok_or_else(|| failed("the principal has no role".into()))?;
        let role = role.name().to_ascii_lowercase();
        let jti = random_id().ok_or_else(|| failed("no random bytes".into()))?;
        let claims = Claims {
            sub: principal.username(),
            role: &role,
            teams: principal.teams().unwrap_or_default(),
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

fn header(token: &str) -> Result<HeaderValue, Rejection> {
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| failed("the token is no header value".into()))?;
    header.set_sensitive(true);
    Ok(header)
}

fn failed(found: String) -> Rejection {
    Rejection::found_that(Reason::HandoffFailed, found)
}
