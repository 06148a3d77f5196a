//! Callers without a usable name, a role, or a place on the list.

use serde_json::json;

use crate::support::airflow;
use crate::support::entra::{USER, v1_app, v1_user, v2_app, v2_user};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::Request;
use crate::support::keys::SigningKey;
use crate::support::oidc;
use crate::support::scene::Scene;

use super::Table;

#[test]
fn a_token_that_names_its_caller_badly_is_refused() {
    let mut table = Table::start();
    for oid in UNSAFE {
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

/// CVE-2026-23990: an empty name made the proxy act as itself. CVE-2024-21499: a line break in a
/// claim made a header.
const UNSAFE: [&str; 16] = [
    "",
    " ",
    "\t",
    "two words",
    " before",
    "behind ",
    "a\r\nX-Airside-Roles: Admin",
    "a\nX-Airside-Roles: Admin",
    "a\rX-Airside-Roles: Admin",
    "a\0b",
    "a\u{1b}[31m",
    "a\u{7f}",
    "a\u{80}",
    "z\u{fc}rich",
    "\u{202e}nimda",
    "\u{ff0c}",
];

#[test]
fn a_name_that_could_be_read_in_two_ways_is_refused_whatever_claim_it_comes_from() {
    let named = Scene::with(|config| config.set("/issuers/0/username_claim", "preferred_username"));
    let mut table = Table::of(named);
    for name in UNSAFE {
        let token = v2_user().with("preferred_username", name).token();
        table.forbidden(&format!("preferred_username {name:?}"), &token, &["identity_unsafe"]);
        let token = airflow::sign(&airflow::claims().with("sub", name));
        table.forbidden(&format!("Airflow's sub {name:?}"), &token, &["identity_unsafe"]);
        let token = airflow::sign(&airflow::claims().with("role", name));
        table.forbidden(&format!("Airflow's role {name:?}"), &token, &["identity_unsafe"]);
    }
    let two = airflow::sign(&airflow::claims().with("role", "viewer,admin"));
    table.forbidden("two roles in one", &two, &["identity_unsafe"]);
    let without = v2_user().without("preferred_username").token();
    table.refused("no preferred_username", &without, &["claim_missing"]);
    let mut table = Table::of(oidc::scene(&[SigningKey::shared().jwk()], |_| {}));
    let claims = oidc::claims(&table.scene.issuer);
    for name in UNSAFE {
        let token = claims.clone().with("sub", name).token();
        table.forbidden(&format!("sub {name:?}"), &token, &["identity_unsafe"]);
    }
}

/// The "nOAuth" of 2023, CVE-2026-55076, CVE-2026-40574: what a person can change of themselves, or
/// nobody has verified, is not who they are.
#[test]
fn what_callers_may_change_of_themselves_does_not_name_them() {
    let scene = Scene::start();
    let mut verdicts = Verdicts::default();
    for (claim, value) in [
        ("email", json!("admin@contoso.example")),
        ("email_verified", json!("false")),
        ("email_verified", json!(true)),
        ("verified_primary_email", json!(["admin@contoso.example"])),
        ("preferred_username", json!("a@evil.example@contoso.example")),
        ("upn", json!("admin@contoso.example")),
        ("unique_name", json!("admin")),
        ("name", json!("Admin\r\nX-Airside-User: admin")),
        ("sub", json!("admin")),
        ("username", json!("admin")),
        ("user", json!({"name": "admin"})),
    ] {
        let token = v2_user().with(claim, value).token();
        let received = scene.forwarded(&Request::get("/api/v2/dags").bearer(&token));
        verdicts.check(claim, received.header("x-airside-user") == Some(USER), received.text());
        verdicts.check(claim, received.header("x-airside-roles") == Some("Admin"), received.text());
    }
}

#[test]
fn roles_of_odd_forms_give_no_more_than_they_say() {
    let mut table = Table::start();
    for roles in [
        json!(["Airflow.Op,Airflow.Admin"]),
        json!("Airflow.Op,Airflow.Admin"),
        json!(["Airflow.Admin\n"]),
        json!(["Airflow.Admin\0"]),
        json!(["Airflow.Admin\r\nX: y"]),
        json!(["*"]),
        json!("*"),
        json!([".*"]),
        json!([""]),
        json!(""),
        json!([" "]),
        json!(["Airflow.*"]),
        json!(["AIRFLOW.ADMIN"]),
        json!(["\u{ff21}irflow.Admin"]),
        json!(["__proto__", "constructor"]),
    ] {
        let token = v2_app().with("roles", roles.clone()).token();
        table.forbidden(&format!("roles {roles}"), &token, &["role_missing"]);
    }
    for roles in [
        json!(7),
        json!(true),
        json!(null),
        json!({"Airflow.Admin": true}),
        json!([["Airflow.Admin"]]),
        json!(["Airflow.Admin", 7]),
        json!([null]),
    ] {
        let token = v2_app().with("roles", roles.clone()).token();
        table.refused(&format!("roles {roles}"), &token, &["claim_invalid"]);
    }
    let thousands = Scene::with(|config| {
        config.set("/limits/token_bytes", 200_000).set("/limits/header_bytes", 250_000)
    });
    let mut roles: Vec<_> = (0..5000).map(|number| format!("role-{number}")).collect();
    let mut table = Table::of(thousands);
    let token = v2_app().with("roles", json!(roles)).token();
    table.forbidden("5000 roles, none of them mapped", &token, &["role_missing"]);
    roles.push("Airflow.Viewer".to_owned());
    table.accepted("the last of 5001", &v2_app().with("roles", json!(roles)).token());
}

/// CVE-2024-29892: what a user adds of their own must not stand for what the issuer says.
#[test]
fn roles_are_found_at_their_place_alone() {
    let scene = Scene::with(|config| config.set("/issuers/0/roles_claim", "/realm/roles"));
    let mut table = Table::of(scene);
    let good = json!(["Airflow.Op"]);
    for (label, claims) in [
        ("a name with a slash", v2_app().with("realm/roles", good.clone())),
        ("a name with a dot", v2_app().with("realm.roles", good.clone())),
        ("a step less", v2_app().with("realm", good.clone())),
        ("in a list", v2_app().with("realm", json!([{"roles": good}]))),
        ("by inheritance", v2_app().with("realm", json!({"__proto__": {"roles": good}}))),
        ("the usual place", v2_app().with("roles", good.clone())),
        ("another case", v2_app().with("realm", json!({"Roles": good}))),
    ] {
        table.forbidden(label, &claims.token(), &["role_missing"]);
    }
    let deeper = v2_app().with("realm", json!({"roles": {"roles": good}})).token();
    table.refused("a step more", &deeper, &["claim_invalid"]);
    let found = v2_app().with("realm", json!({"roles": good})).token();
    table.accepted("where it should be", &found);
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
