//! An OpenID issuer as the only one, and claims as it writes them.

use serde_json::{Value, json};

use super::claims::Claims;
use super::entra::now;
use super::issuer::Issuer;
use super::scene::Scene;
use super::upstream::Upstream;

pub(crate) const REALM: &str = "/realms/contoso";

/// The configuration of such an issuer.
pub(crate) fn entry(issuer: &Issuer) -> Value {
    json!({
        "name": "sso", "type": "oidc", "issuer": format!("{}{REALM}", issuer.url()),
        "audiences": ["airflow"], "username_prefix": "sso:", "roles_claim": "/realm_access/roles",
        "roles": {"pipelines": ["Op"], "readers": ["Viewer"]},
    })
}

/// A scene whose only issuer is that entry, bent by the hook, with these keys.
pub(crate) fn scene(keys: &[Value], hook: impl FnOnce(&mut Value)) -> Scene {
    let issuer = Issuer::start();
    issuer.publish(keys);
    let mut entry = entry(&issuer);
    hook(&mut entry);
    Scene::of(issuer, Upstream::start(), |config| config.set("/issuers", json!([entry])))
}

/// Good claims of its tokens.
pub(crate) fn claims(issuer: &Issuer) -> Claims {
    Claims::new(json!({
        "iss": format!("{}{REALM}", issuer.url()), "aud": ["airflow", "account"],
        "sub": "f:1:deploy", "exp": now() + 300,
        "realm_access": {"roles": ["offline_access", "pipelines"]},
    }))
}
