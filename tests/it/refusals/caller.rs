//! Callers without a usable name, a role, or a place on the list.

use serde_json::json;

use crate::support::entra::{v1_app, v1_user, v2_app, v2_user};
use crate::support::expect::assert_refused;
use crate::support::scene::Scene;

use super::Table;

#[test]
fn a_token_that_names_its_caller_badly_is_refused() {
    let mut table = Table::start();
    for oid in
        ["", "two words", "a\r\nX-Airside-Roles: Admin", "a\nb", "a\0b", "z\u{fc}rich", "a\u{7f}"]
    {
        let token = v2_user().with("oid", oid).token();
        table.forbidden(&format!("oid {oid:?}"), &token, &["identity_unsafe"]);
    }
    table.refused("no oid", &v2_user().without("oid").token(), &["claim_missing"]);
    for oid in [json!(7), json!(["a"]), json!({}), json!(true)] {
        table.refused(
            &format!("oid {oid}"),
            &v2_user().with("oid", oid).token(),
            &["claim_invalid"],
        );
    }
}

#[test]
fn without_a_mapped_role_nobody_gets_in() {
    const NO_ROLE: &[&str] = &["role_missing"];
    let mut table = Table::start();
    for (label, claims) in [
        ("app without roles", v2_app().without("roles")),
        ("v1 app without roles", v1_app().without("roles")),
        ("user without roles", v2_user().without("roles")),
        ("no role", v2_app().roles(&[])),
        ("unmapped", v2_app().roles(&["Something.Else"])),
        ("an Airflow role beside a map", v2_app().roles(&["Admin"])),
        ("other case", v2_app().roles(&["airflow.op"])),
        ("longer", v2_app().roles(&["Airflow.Operator"])),
        ("shorter", v2_app().roles(&["Airflow"])),
        ("blank in front", v2_app().roles(&[" Airflow.Op"])),
        ("one string of two", v2_app().with("roles", "Airflow.Op Airflow.Admin")),
        ("one string with comma", v2_app().with("roles", "Airflow.Op,Airflow.Admin")),
        ("claim in other case", v2_app().without("roles").with("Roles", json!(["Airflow.Op"]))),
        ("wids", v2_user().without("roles").with("wids", json!(["Airflow.Admin"]))),
        ("nested", v2_app().without("roles").with("extn", json!({"roles": ["Airflow.Op"]}))),
    ] {
        table.forbidden(label, &claims.token(), NO_ROLE);
    }
    let overage = v2_user().without("roles").with("_claim_names", json!({"groups": "src1"})).with(
        "_claim_sources",
        json!({"src1": {"endpoint": "http://127.0.0.1:1/getMemberObjects"}}),
    );
    table.forbidden("groups overage", &overage.token(), NO_ROLE);
}

#[test]
fn a_client_that_is_not_on_the_list_is_refused() {
    let scene = Scene::with(|config| config.set("/issuers/0/clients", json!(["another-client"])));
    for token in [v1_app().token(), v2_app().token(), v1_user().token(), v2_user().token()] {
        assert_refused(&scene.present(&token), 403, "client_not_allowed");
    }
    assert!(scene.upstream.requests().is_empty());
}
