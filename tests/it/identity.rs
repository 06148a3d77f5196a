//! Who is calling and with which role: what the identity headers and the Airflow token say of it.

use serde_json::json;

use crate::support::claims::Claims;
use crate::support::config::{Config, SECRET};
use crate::support::entra::{
    APP, CALLER, CLIENT_ID, OTHER_TENANT, TENANT, USER, v1_app, v1_issuer, v1_user, v2_app,
    v2_issuer, v2_user,
};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::Request;
use crate::support::issuer::Issuer;
use crate::support::keys::open_hs512;
use crate::support::scene::Scene;
use crate::support::upstream::{Received, Upstream};

#[test]
fn each_kind_of_entra_token_arrives_as_its_caller() {
    let scene = Scene::start();
    let mut verdicts = Verdicts::default();
    for (label, claims, user, role) in [
        ("v1 app", v1_app(), APP, "Op"),
        ("v2 app", v2_app(), APP, "Op"),
        ("v1 user", v1_user(), USER, "Admin"),
        ("v2 user", v2_user(), USER, "Admin"),
    ] {
        let received = scene.forwarded(&Request::get("/api/v2/dags").bearer(&claims.token()));
        verdicts.check(label, is_caller(&received, user, role), received.text());
    }
}

#[test]
fn the_highest_of_several_roles_counts() {
    let scene = Scene::start();
    let mut verdicts = Verdicts::default();
    for (roles, expected) in [
        (&["Airflow.Viewer"][..], "Viewer"),
        (&["Airflow.User"], "User"),
        (&["Airflow.Viewer", "Airflow.User"], "User"),
        (&["Airflow.Op", "Airflow.Viewer"], "Op"),
        (&["Airflow.User", "Airflow.Admin", "Airflow.Op"], "Admin"),
        (&["Unmapped", "Airflow.Viewer", "airflow.admin"], "Viewer"),
    ] {
        let token = v2_app().roles(roles).token();
        let received = scene.forwarded(&Request::get("/api/v2/dags").bearer(&token));
        verdicts.check(&format!("{roles:?}"), is_caller(&received, APP, expected), received.text());
    }
}

#[test]
fn teams_come_from_the_values_that_give_roles() {
    let teams = json!({"Team.B": ["team_b"], "Airflow.Op": ["ops"], "Team.A": ["team_a", "ops"]});
    let scene = Scene::with(|config| config.set("/roles/teams", teams));
    let mut verdicts = Verdicts::default();
    for (roles, expected) in [
        (&["Airflow.User"][..], json!([])),
        (&["Airflow.User", "Team.A"], json!(["team_a", "ops"])),
        (&["Airflow.User", "Team.A", "Team.B"], json!(["team_b", "team_a", "ops"])),
        (&["Airflow.Op", "Team.A"], json!(["ops", "team_a"])),
        (&["Airflow.User", "team.a", "Team", "Team.A "], json!([])),
    ] {
        let token = v2_app().roles(roles).token();
        let received = scene.forwarded(&Request::get("/api/v2/dags").bearer(&token));
        let (_, claims) = open_hs512(received.bearer(), SECRET.as_bytes());
        verdicts.check(&format!("{roles:?}"), claims["teams"] == expected, claims);
    }
    // A team is no role.
    assert_refused(&scene.present(&v2_app().roles(&["Team.A"]).token()), 403, "role_missing");
}

#[test]
fn a_roles_claim_may_be_one_string() {
    let scene = Scene::start();
    let token = v2_app().with("roles", "Airflow.User").token();
    let received = scene.forwarded(&Request::get("/api/v2/dags").bearer(&token));
    assert!(is_caller(&received, APP, "User"), "{}", received.text());
}

#[test]
fn without_a_map_the_names_of_airflows_roles_map_to_themselves() {
    let scene = Scene::with(|config| config.without("/roles"));
    for role in ["Admin", "Op", "User", "Viewer"] {
        let token = v2_app().roles(&[role]).token();
        let received = scene.forwarded(&Request::get("/api/v2/dags").bearer(&token));
        assert!(is_caller(&received, APP, role), "{}", received.text());
    }
    for role in ["admin", "ADMIN", "Airflow.Op", "Superuser", "", "Op "] {
        assert_refused(&scene.present(&v2_app().roles(&[role]).token()), 403, "role_missing");
    }
}

#[test]
fn identity_comes_from_the_configured_claims() {
    let mut verdicts = Verdicts::default();
    let groups = json!({"Group.A": ["Viewer"], "Group.B": ["Op"]});
    let cases: [(&str, Hook, Claims, &str, &str); 6] = [
        (
            "another username claim",
            |config| config.set("/issuers/0/username_claim", "preferred_username"),
            v2_user(),
            "alice@contoso.example",
            "Admin",
        ),
        (
            "groups as roles",
            |config| config.set("/issuers/0/roles_claim", "/groups"),
            v2_user().without("roles").with("groups", json!(["Airflow.User"])),
            USER,
            "User",
        ),
        (
            "a claim further down",
            |config| config.set("/issuers/0/roles_claim", "/extn/airflow.roles"),
            v2_user().with("extn", json!({"airflow.roles": "Airflow.Viewer"})),
            USER,
            "Viewer",
        ),
        (
            "a name with a slash in it",
            |config| config.set("/issuers/0/roles_claim", "/https:~1~1contoso.example~1roles"),
            v2_user().with("https://contoso.example/roles", json!(["Airflow.Op"])),
            USER,
            "Op",
        ),
        (
            "a value with two roles",
            |config| config.set("/roles/map", json!({"Both": ["Viewer", "Op"]})),
            v2_user().roles(&["Both"]),
            USER,
            "Op",
        ),
        (
            "roles of the entry, not the global ones",
            |config| config.set("/issuers/0/roles", json!({"Airflow.Admin": ["Viewer"]})),
            v2_user(),
            USER,
            "Viewer",
        ),
    ];
    for (label, hook, claims, user, role) in cases {
        let scene = Scene::with(hook);
        let received = scene.forwarded(&Request::get("/api/v2/dags").bearer(&claims.token()));
        verdicts.check(label, is_caller(&received, user, role), received.text());
    }
    let scene = Scene::with(|config| {
        config.set("/issuers/0/roles_claim", "/extn/groups").set("/roles/map", groups)
    });
    let flat = v2_user().with("extn/groups", json!(["Group.B"])).token();
    assert_refused(&scene.present(&flat), 403, "role_missing");
}

#[test]
fn each_spelling_of_our_own_audience_is_accepted() {
    let scene = Scene::start();
    let mut verdicts = Verdicts::default();
    for audience in [
        json!(CLIENT_ID),
        json!(format!("{CLIENT_ID}/")),
        json!(format!("api://{CLIENT_ID}")),
        json!(format!("api://{CLIENT_ID}/")),
        json!([CLIENT_ID]),
        json!(["another", format!("api://{CLIENT_ID}")]),
    ] {
        for claims in [v1_app(), v2_app()] {
            let answer = scene.present(&claims.with("aud", audience.clone()).token());
            verdicts.check(&audience.to_string(), answer.status == 200, answer.text());
        }
    }
}

#[test]
fn configured_audiences_replace_the_usual_ones() {
    let scene =
        Scene::with(|config| config.set("/issuers/0/audiences", json!(["api://airflow.contoso"])));
    let custom = v2_app().with("aud", "api://airflow.contoso").token();
    assert_eq!(scene.present(&custom).status, 200);
    assert_refused(&scene.present(&v2_app().token()), 401, "audience_mismatch");
    assert_refused(&scene.present(&v1_app().token()), 401, "audience_mismatch");
}

#[test]
fn only_the_configured_versions_are_taken() {
    let scene = Scene::with(|config| config.set("/issuers/0/versions", json!(["v2"])));
    assert_eq!(scene.present(&v2_app().token()).status, 200);
    assert_refused(&scene.present(&v1_app().token()), 401, "issuer_unknown");
    let scene = Scene::with(|config| config.set("/issuers/0/versions", json!(["v1"])));
    assert_eq!(scene.present(&v1_app().token()).status, 200);
    assert_refused(&scene.present(&v2_app().token()), 401, "issuer_unknown");
}

#[test]
fn the_cloud_decides_the_expected_issuer() {
    let scene = Scene::with(|config| config.set("/issuers/0/cloud", "us_gov"));
    let gov = format!("https://login.microsoftonline.us/{TENANT}/v2.0");
    assert_eq!(scene.present(&v2_app().with("iss", gov).token()).status, 200);
    assert_refused(&scene.present(&v2_app().token()), 401, "issuer_unknown");
}

#[test]
fn several_tenants_are_each_taken_for_themselves() {
    let scene =
        Scene::with(|config| config.set("/issuers/0/tenant", json!([TENANT, OTHER_TENANT])));
    let other = v2_app().with("iss", v2_issuer(OTHER_TENANT)).with("tid", OTHER_TENANT);
    assert_eq!(scene.present(&v2_app().token()).status, 200);
    assert_eq!(scene.present(&other.token()).status, 200);
    let mixed = v2_app().with("tid", OTHER_TENANT);
    assert_refused(&scene.present(&mixed.token()), 401, "tenant_mismatch");
    let mixed = v1_app().with("iss", v1_issuer(OTHER_TENANT));
    assert_refused(&scene.present(&mixed.token()), 401, "tenant_mismatch");
    let asked = scene.issuer.fetched();
    for tenant in [TENANT, OTHER_TENANT] {
        let path = format!("/{tenant}/discovery/v2.0/keys");
        assert!(asked.contains(&path), "{path} in {asked:?}");
    }
}

#[test]
fn a_client_on_the_list_is_let_in() {
    let scene = Scene::with(|config| config.set("/issuers/0/clients", json!(["other", CALLER])));
    for token in [v1_app().token(), v2_app().token(), v1_user().token(), v2_user().token()] {
        assert_eq!(scene.present(&token).status, 200);
    }
}

#[test]
fn a_key_may_name_its_issuer_with_a_placeholder() {
    let issuer = Issuer::start();
    let key = crate::support::keys::SigningKey::shared();
    issuer.publish(&[key.jwk_with("issuer", "https://login.microsoftonline.com/{tenantid}/v2.0")]);
    let scene = Scene::of(issuer, Upstream::start(), |config| config);
    assert_eq!(scene.present(&v1_app().token()).status, 200);
    assert_eq!(scene.present(&v2_app().token()).status, 200);
}

#[test]
fn the_names_of_the_identity_headers_are_configurable() {
    let names =
        json!({"user": "X-Remote-Person", "roles": "X-Remote-Roles", "issuer": "X-Remote-Issuer"});
    let scene = Scene::with(|config| config.set("/handoff/headers", names));
    let request = Request::get("/api/v2/dags")
        .bearer(&v2_app().token())
        .header("X_Remote_Person", "forged")
        .header("x.remote-roles", "forged")
        .header("X-Airside-User", "forged");
    let received = scene.forwarded(&request);
    assert_eq!(received.header("x-remote-person"), Some(APP));
    assert_eq!(received.header("x-remote-roles"), Some("Op"));
    assert_eq!(received.header("x-remote-issuer"), Some("entra"));
    assert!(!received.text().contains("forged"), "{}", received.text());
}

#[test]
fn tokens_up_to_the_limit_are_no_problem() {
    let scene = Scene::start();
    let groups: Vec<_> = (0..400).map(|n| format!("{n:08}-1111-2222-3333-444455556666")).collect();
    let token = v2_user().with("groups", json!(groups)).token();
    assert!(token.len() > 16_000);
    assert_eq!(scene.present(&token).status, 200);
}

type Hook = fn(Config) -> Config;

/// Whether identity headers and Airflow token agree on this caller of the entra entry.
fn is_caller(received: &Received, user: &str, role: &str) -> bool {
    let (_, claims) = open_hs512(received.bearer(), SECRET.as_bytes());
    let minted_role = claims["role"].as_str().unwrap_or_default();
    received.header("x-airside-user") == Some(user)
        && received.header("x-airside-roles") == Some(role)
        && received.header("x-airside-issuer") == Some("entra")
        && claims["sub"] == user
        && minted_role.eq_ignore_ascii_case(role)
}
