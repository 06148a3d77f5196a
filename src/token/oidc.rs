//! What a token of any OpenID issuer must be: GitHub Actions, Google, Keycloak, a Kubernetes
//! cluster. What such an issuer says of everybody, configuration narrows to some.

use std::sync::Arc;

use super::claims::{Claims, missing, strings};
use crate::jwks::KeyStore;
use crate::rejection::{Reason, Rejection};

/// The rules of one OpenID issuer entry.
#[derive(Debug)]
pub struct Rules {
    /// The expected `iss`, exactly.
    pub issuer: String,
    /// The keys it publishes.
    pub keys: Arc<KeyStore>,
    /// Claims that must have one of these values.
    pub required_claims: Vec<(String, Vec<String>)>,
}

impl Rules {
    /// A bound token is no bearer token, whoever issued it.
    pub(super) fn check_kind(claims: &Claims<'_>) -> Result<(), Rejection> {
        if claims.has("cnf") { Err(Reason::TokenBound.into()) } else { Ok(()) }
    }

    /// Each required claim must be there and be, or hold, one of its values.
    pub(super) fn check_required(&self, claims: &Claims<'_>) -> Result<(), Rejection> {
        for (name, accepted) in &self.required_claims {
            let claim = claims.get(name).ok_or_else(|| missing(name))?;
            let values = strings(claim).unwrap_or_default();
            if !values.iter().any(|value| accepted.iter().any(|accepted| accepted == value)) {
                let found = format!("claim {name} is none of {accepted:?}");
                return Err(Rejection::found_that(Reason::ClaimInvalid, found));
            }
        }
        Ok(())
    }
}
