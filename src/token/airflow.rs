//! What a token that Airflow issued itself must be, to be used on its REST API.

use std::sync::Arc;

use super::claims::Claims;
use super::worker::Scope;
use crate::jwks::KeyStore;
use crate::rejection::{Reason, Rejection};

/// The rules of one Airflow issuer entry.
#[derive(Debug)]
pub struct Rules {
    /// `[api_auth] jwt_issuer`, where set; otherwise Airflow's tokens carry no `iss`.
    pub issuer: Option<String>,
    /// The key of `[api_auth] jwt_secret`.
    pub keys: Arc<KeyStore>,
    /// The accepted `aud` values of the tokens of its tasks.
    pub task_audiences: Vec<String>,
}

/// The secret that signs REST tokens also signs those of tasks: a `scope` of theirs is refused
/// whatever the audience (airflow-core, `api_fastapi/execution_api`).
pub(super) fn check_kind(claims: &Claims<'_>) -> Result<(), Rejection> {
    match claims.text("scope")? {
        Some(scope) if Scope::named(scope).is_some() => {
            let found = format!("scope is {scope}: a token for tasks");
            Err(Rejection::found_that(Reason::TokenKind, found))
        }
        _ => Ok(()),
    }
}
