//! FAB's roles: whether it has all those that callers are given here.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use super::airflow::{get, within};
use super::{Finding, Verdict};
use crate::clock;
use crate::config::written::{Issuer, Written};
use crate::handoff::Airflow;
use crate::handoff::answers::{json, told};
use crate::handoff::rehearsal::Rehearsal;

pub(super) async fn ask(
    rehearsal: &Rehearsal<'_, impl Airflow>,
    written: &Written,
    name: &str,
) -> Finding {
    let (about, asked) = (format!("roles of {name}"), get(ROLES));
    let answer = match within(rehearsal.as_caller(ROLES, clock::now())).await {
        Ok(answer) => answer,
        Err(found) => return Finding::new(Verdict::Silent, about, asked, found),
    };
    let Some((known, whole)) = names(&answer) else {
        return Finding::new(Verdict::Unshown, about, asked, told(&answer));
    };
    let mapped = mapped(written);
    let missing: Vec<&str> = mapped.iter().copied().filter(|role| !known.contains(*role)).collect();
    if missing.is_empty() {
        let found = format!("all {} that values are mapped to", mapped.len());
        return Finding::new(Verdict::Good, about, asked, found);
    }
    if !whole {
        let found = format!("{} not among the first that it lists", missing.join(", "));
        return Finding::new(Verdict::Unshown, about, asked, found);
    }
    Finding::new(Verdict::Risky, about, asked, format!("no {}", missing.join(", ")))
        .expected("every role that a value is mapped to")
        .hint("callers with it are answered 502 handoff_failed: create it in Airflow under Security, List Roles, or correct the role map")
}

/// The names that FAB lists, and whether these are all.
fn names(answer: &Response<Bytes>) -> Option<(BTreeSet<String>, bool)> {
    let body = json(answer).filter(|_| answer.status() == StatusCode::OK)?;
    let name = |role: &Value| Some(role.get("name")?.as_str()?.to_owned());
    let names: Option<BTreeSet<String>> = body.get("roles")?.as_array()?.iter().map(name).collect();
    let total = body.get("total_entries").and_then(Value::as_u64);
    names.map(|names| {
        let whole = total.is_none_or(|total| total <= names.len() as u64);
        (names, whole)
    })
}

/// Every role that a value of any issuer is mapped to.
fn mapped(written: &Written) -> BTreeSet<&str> {
    let own = written.issuers.iter().flatten().flatten().filter_map(|issuer| match issuer {
        Issuer::Entra(entra) => entra.roles.as_ref(),
        Issuer::Oidc(oidc) => Some(&oidc.roles),
        Issuer::Airflow(_) => None,
    });
    let maps = written.roles.map.iter().chain(own);
    maps.flat_map(|map| &map.0).flat_map(|(_, names)| names).map(String::as_str).collect()
}

/// As many as Airflow lists at once by default (`[api] maximum_page_limit`).
const ROLES: &str = "/auth/fab/v1/roles?limit=100";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_cut_says_nothing_of_what_is_not_in_it() {
        for (body, expected) in [
            (r#"{"roles": [{"name": "Op"}], "total_entries": 1}"#, Some((1, true))),
            (r#"{"roles": [{"name": "Op"}], "total_entries": 2}"#, Some((1, false))),
            (r#"{"roles": [{"name": 7}], "total_entries": 1}"#, None),
            (r#"{"detail": "Not Found"}"#, None),
        ] {
            let answer = Response::new(Bytes::from_static(body.as_bytes()));
            let found = names(&answer).map(|(names, whole)| (names.len(), whole));
            assert_eq!(found, expected, "{body}");
        }
    }
}
