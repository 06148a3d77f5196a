//! Where things are changed, in the words of each place.

use super::Fix;

/// Blades of the Entra admin center (entra.microsoft.com), by their names there.
pub(super) const MANIFEST: &str = "Entra > App registrations > (the API) > Manifest";
pub(super) const EXPOSE: &str = "Entra > App registrations > (the API) > Expose an API";
pub(super) const APP_ROLES: &str = "Entra > App registrations > (the API) > App roles";
pub(super) const PERMISSIONS: &str =
    "Entra > App registrations > (the calling app) > API permissions";
pub(super) const ASSIGN: &str = "Entra > Enterprise applications > (the API) > Users and groups";
pub(super) const GROUPS: &str = "Entra > App registrations > (the API) > Token configuration";
pub(super) const CLIENT: &str = "the caller";

pub(super) fn fix(place: impl Into<String>, what: impl Into<String>) -> Fix {
    Fix { place: place.into(), what: what.into() }
}

pub(super) fn airside(key: impl AsRef<str>, what: impl Into<String>) -> Fix {
    fix(format!("airside: {}", key.as_ref()), what)
}

pub(super) fn airflow(key: &str, what: impl Into<String>) -> Fix {
    fix(format!("airflow.cfg: [api_auth] {key}"), what)
}

pub(super) fn ask_for(client_id: &str) -> Fix {
    fix(
        CLIENT,
        format!(
            "request the scope api://{client_id}/.default (v1 endpoint: resource={client_id}); with the Azure CLI: az account get-access-token --scope api://{client_id}/.default"
        ),
    )
}

pub(super) fn ask_for_this(client_id: Option<&str>) -> Fix {
    ask_for(client_id.unwrap_or("CLIENT-ID-OF-THE-API"))
}

pub(super) fn new_token(why: &str) -> Fix {
    fix(CLIENT, format!("get a new token {why}"))
}
