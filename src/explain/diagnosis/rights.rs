//! Callers without a place on the list or without a role, and what a token says of its caller.

use super::{Facts, shown};
use crate::explain::cause::{Cause, Request, Whose};
use crate::identity::{Origin, RoleMap};
use crate::token::claims::strings;
use crate::token::entra::has_groups_overage;
use crate::token::json::Json;

/// A client that is not on the list.
pub(super) fn client(facts: &Facts<'_>) -> Cause {
    let client = shown(facts.client().unwrap_or("without a name"));
    Cause::Whose(Whose::ClientNotListed { client, entry: facts.key() })
}

/// Why there is no role.
pub(super) fn role(facts: &Facts<'_>) -> Cause {
    let entry = facts.inspection.entry.as_ref();
    let origin = entry.and_then(|entry| facts.directory.mapping(entry.issuer));
    let Some(Origin::Mapped { pointer, roles }) = origin.map(|mapping| &mapping.origin) else {
        return Cause::Request(Request::RequestOdd { found: "no role".to_owned() });
    };
    let claims = facts.inspection.claims.as_ref();
    let values = claims.and_then(|claims| claims.pointer(pointer)).and_then(strings);
    let values = values.unwrap_or_default();
    let (place, client_id) = (map_of(facts), facts.client_id().unwrap_or_default());
    if values.is_empty() && is_overage(facts) {
        return Cause::Whose(Whose::GroupsOverage { entry: facts.key() });
    }
    if let Some((found, known)) = values.iter().find_map(|value| nearly(value, roles)) {
        return Cause::Whose(Whose::RoleSpelling { found, known, place });
    }
    if !values.is_empty() {
        let known: Vec<String> = roles.values().map(shown).collect();
        let found = shown(&values.join(", "));
        return Cause::Whose(Whose::RolesUnmapped { found, known: known.join(", "), place });
    }
    if facts.entra().is_none() {
        return Cause::Whose(Whose::RolesClaimAbsent {
            pointer: pointer.clone(),
            entry: facts.key(),
        });
    }
    if pointer == "/roles" && facts.claim("groups").is_some() {
        return Cause::Whose(Whose::GroupsInsteadOfRoles { entry: facts.key() });
    }
    if let Some(resource) = facts.text("xms_mirid") {
        return Cause::Whose(Whose::ManagedIdentityWithoutRole {
            resource: shown(resource),
            client_id,
        });
    }
    if is_app(facts) {
        let client = shown(facts.client().unwrap_or("without a name"));
        return Cause::Whose(Whose::AppWithoutRole { client, client_id });
    }
    match home(facts) {
        Some(home) => Cause::Whose(Whose::GuestWithoutRole { client_id, home }),
        None => Cause::Whose(Whose::UserWithoutRole { client_id }),
    }
}

/// A mapped value that differs in case or blanks alone.
fn nearly(value: &str, roles: &RoleMap) -> Option<(String, String)> {
    let plain = |text: &str| text.trim().to_ascii_lowercase();
    let known = roles.values().find(|known| *known != value && plain(known) == plain(value))?;
    Some((shown(value), known.to_owned()))
}

/// The key of the map that counts.
fn map_of(facts: &Facts<'_>) -> String {
    if facts.entra().is_some() {
        format!("roles.map (or {}.roles)", facts.key())
    } else {
        format!("{}.roles", facts.key())
    }
}

fn is_overage(facts: &Facts<'_>) -> bool {
    facts.inspection.claims.as_ref().is_some_and(has_groups_overage)
}

/// Whether an application calls for itself.
fn is_app(facts: &Facts<'_>) -> bool {
    match facts.text("idtyp") {
        Some(kind) => kind == "app",
        None => facts.text("scp").is_none() && facts.text("oid") == facts.text("sub"),
    }
}

/// Where a guest is at home; `None` for a member.
fn home(facts: &Facts<'_>) -> Option<String> {
    let tid = facts.text("tid").unwrap_or_default();
    let elsewhere = facts.text("idp").filter(|idp| !idp.contains(tid)).map(shown);
    let marked = match facts.claim("acct") {
        Some(Json::Number(kind)) => *kind > 0.5,
        Some(Json::Text(kind)) => kind == "1",
        _ => false,
    };
    let names = ["upn", "preferred_username", "unique_name"];
    let invited = names.iter().filter_map(|name| facts.text(name)).any(|n| n.contains("#EXT#"));
    let unnamed = || (marked || invited).then(|| "another tenant".to_owned());
    elsewhere.or_else(unnamed)
}

/// What is worth knowing of the caller beside verdict and cause.
pub(in crate::explain) fn remarks(facts: &Facts<'_>) -> Vec<String> {
    let mut remarks = Vec::new();
    if facts.entra().is_none() {
        return remarks;
    }
    if let Some(resource) = facts.text("xms_mirid") {
        remarks.push(format!("a managed identity calls: {}", shown(resource)));
    } else if is_app(facts) {
        remarks.push("an application calls for itself (app-only)".to_owned());
    } else if let Some(home) = home(facts) {
        remarks
            .push(format!("a guest of the tenant calls (home: {home}); oid is that of the guest"));
    }
    if is_overage(facts) {
        let what = "the person is in more groups than the token carries (groups overage)";
        remarks.push(what.to_owned());
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::AirflowRole;
    use crate::identity::roles::ValueMap;

    #[test]
    fn a_role_in_other_letters_is_nearly_the_mapped_one() {
        let op = AirflowRole::new("Op").unwrap();
        let map = ValueMap::new(vec![("Airflow.Op".to_owned(), vec![op])]);
        for (value, expected) in [
            ("airflow.op", Some("Airflow.Op")),
            (" Airflow.Op", Some("Airflow.Op")),
            ("Airflow.Op", None),
            ("Airflow.Admin", None),
        ] {
            let found = nearly(value, &map).map(|(_, known)| known);
            assert_eq!(found.as_deref(), expected, "{value}");
        }
    }
}
