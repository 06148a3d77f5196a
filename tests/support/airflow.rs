//! Tokens as Airflow 3 with its simple auth manager issues them.

use serde_json::{Value, json};

use super::claims::Claims;
use super::config::SECRET;
use super::entra::now;
use super::keys::hs512;

/// A good token of the user `admin`.
pub(crate) fn token() -> String {
    sign(&claims())
}

/// What Airflow's scheduler says in the token of this task.
pub(crate) fn task_claims(task: &str) -> Claims {
    Claims::new(json!({
        "sub": task, "jti": "0123456789abcdef0123456789abcdef", "scope": "execution",
        "aud": "urn:airflow.apache.org:task", "iat": now(), "nbf": now(), "exp": now() + 600,
    }))
}

/// Signed with Airflow's secret.
pub(crate) fn sign(claims: &Claims) -> String {
    hs512(SECRET.as_bytes(), &header(), claims.value())
}

pub(crate) fn header() -> Value {
    json!({"alg": "HS512", "typ": "JWT", "kid": "not-used"})
}

pub(crate) fn claims() -> Claims {
    Claims::new(json!({
        "sub": "admin", "role": "admin", "teams": [], "aud": "apache-airflow",
        "jti": "0123456789abcdef0123456789abcdef",
        "iat": now() - 5, "nbf": now() - 5, "exp": now() + 86_395,
    }))
}
