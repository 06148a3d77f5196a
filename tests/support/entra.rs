//! The claims that Entra puts into its access tokens, canonical and bent.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::claims::Claims;

pub(crate) const TENANT: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
pub(crate) const OTHER_TENANT: &str = "ffffbbbb-9999-cccc-1111-dddd2222eeee";
/// The registration of the API, that is of Airflow.
pub(crate) const CLIENT_ID: &str = "11112222-bbbb-3333-cccc-4444dddd5555";
/// The registration of the caller.
pub(crate) const CALLER: &str = "00001111-aaaa-2222-bbbb-3333cccc4444";
/// The service principal of the caller: `oid` of app-only tokens.
pub(crate) const APP: &str = "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb";
/// The person: `oid` of delegated tokens.
pub(crate) const USER: &str = "bbbbbbbb-0000-1111-2222-cccccccccccc";

/// App-only, as an untouched registration gets it.
pub(crate) fn v1_app() -> Claims {
    v1().with("appidacr", "1")
        .with("idp", v1_issuer(TENANT))
        .with("idtyp", "app")
        .with("oid", APP)
        .with("sub", APP)
        .roles(&["Airflow.Op"])
}

/// App-only, of a registration that asks for version 2.
pub(crate) fn v2_app() -> Claims {
    v2().with("azpacr", "1")
        .with("idtyp", "app")
        .with("oid", APP)
        .with("sub", APP)
        .roles(&["Airflow.Op"])
}

/// Delegated, version 1.
pub(crate) fn v1_user() -> Claims {
    v1().with("acr", "1")
        .with("amr", json!(["pwd", "mfa"]))
        .with("appidacr", "0")
        .with("family_name", "Example")
        .with("given_name", "Alice")
        .with("ipaddr", "192.0.2.10")
        .with("name", "Alice Example")
        .with("oid", USER)
        .with("scp", "access_as_user")
        .with("sub", "pairwise-of-alice")
        .with("unique_name", "alice@contoso.example")
        .with("upn", "alice@contoso.example")
        .roles(&["Airflow.Admin"])
}

/// Delegated, version 2.
pub(crate) fn v2_user() -> Claims {
    v2().with("azpacr", "0")
        .with("name", "Alice Example")
        .with("oid", USER)
        .with("preferred_username", "alice@contoso.example")
        .with("scp", "access_as_user")
        .with("sub", "pairwise-of-alice")
        .roles(&["Airflow.Admin"])
}

/// What the client should have kept to itself: same issuer, keys, audience and roles.
pub(crate) fn id_token() -> Claims {
    v2_user().without("azp").without("azpacr").without("scp").with("nonce", "n-0S6_WzA2Mj")
}

pub(crate) fn v1_issuer(tenant: &str) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

pub(crate) fn v2_issuer(tenant: &str) -> String {
    format!("https://login.microsoftonline.com/{tenant}/v2.0")
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the tests judge the real clock of the product")]
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

fn v1() -> Claims {
    common()
        .with("aud", format!("api://{CLIENT_ID}"))
        .with("iss", v1_issuer(TENANT))
        .with("appid", CALLER)
        .with("ver", "1.0")
}

fn v2() -> Claims {
    common()
        .with("aud", CLIENT_ID)
        .with("iss", v2_issuer(TENANT))
        .with("azp", CALLER)
        .with("ver", "2.0")
}

fn common() -> Claims {
    Claims::new(json!({
        "iat": now() - 5, "nbf": now() - 5, "exp": now() + 3895,
        "aio": "E2ZgYLhw", "rh": "0.AXoAu-", "tid": TENANT, "uti": "hxSFYGb9nkqj",
    }))
}
