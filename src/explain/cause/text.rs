//! The words of each cause.

mod caller;
mod form;
mod issuer;
mod purpose;
mod signature;

use super::{Cause, Fix, Says};

/// Blades of the Entra admin center (entra.microsoft.com), by their names there.
const MANIFEST: &str = "Entra > App registrations > (the API) > Manifest";
const EXPOSE: &str = "Entra > App registrations > (the API) > Expose an API";
const APP_ROLES: &str = "Entra > App registrations > (the API) > App roles";
const PERMISSIONS: &str = "Entra > App registrations > (the calling app) > API permissions";
const ASSIGN: &str = "Entra > Enterprise applications > (the API) > Users and groups";
const GROUPS: &str = "Entra > App registrations > (the API) > Token configuration";
const CLIENT: &str = "the caller";

fn fix(place: impl Into<String>, what: impl Into<String>) -> Fix {
    Fix { place: place.into(), what: what.into() }
}

fn airside(key: impl AsRef<str>, what: impl Into<String>) -> Fix {
    fix(format!("airside: {}", key.as_ref()), what)
}

fn airflow(key: &str, what: impl Into<String>) -> Fix {
    fix(format!("airflow.cfg: [api_auth] {key}"), what)
}

fn ask_for(client_id: &str) -> Fix {
    fix(
        CLIENT,
        format!(
            "request the scope api://{client_id}/.default (v1 endpoint: resource={client_id}); with the Azure CLI: az account get-access-token --scope api://{client_id}/.default"
        ),
    )
}

fn ask_for_this(client_id: Option<&str>) -> Fix {
    ask_for(client_id.unwrap_or("CLIENT-ID-OF-THE-API"))
}

fn new_token(why: &str) -> Fix {
    fix(CLIENT, format!("get a new token {why}"))
}

pub(super) fn says(cause: &Cause) -> Says {
    let (name, what, fixes) = form::sent(cause)
        .or_else(|| form::form(cause))
        .or_else(|| issuer::issuer(cause))
        .or_else(|| signature::signature(cause))
        .or_else(|| purpose::kind(cause))
        .or_else(|| purpose::audience(cause))
        .or_else(|| caller::caller(cause))
        .unwrap_or_else(|| caller::request(cause));
    Says { name, what, fixes }
}

type Words = (&'static str, String, Vec<Fix>);

#[cfg(test)]
mod tests {
    #[test]
    fn every_cause_stands_in_the_documentation_and_once_in_the_table() {
        let table = concat!(
            include_str!("text/caller.rs"),
            include_str!("text/form.rs"),
            include_str!("text/issuer.rs"),
            include_str!("text/purpose.rs"),
            include_str!("text/signature.rs"),
        );
        let documented = include_str!("../../../docs/troubleshooting.md");
        let name = |line: &'static str| {
            let name = line.trim().strip_prefix('"')?.strip_suffix("\",")?;
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            name.bytes().all(plain).then_some(name)
        };
        let mut names: Vec<&str> = table.lines().filter_map(name).collect();
        assert!(names.len() > 80, "{}", names.len());
        for name in names.iter().filter(|name| **name != "request_odd") {
            assert!(documented.contains(&format!("`{name}`")), "{name}");
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
