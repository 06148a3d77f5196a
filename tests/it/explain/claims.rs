//! What a well signed token says: issuer, kind, tenant, audience, times, caller.

use serde_json::{Value, json};

use super::Bench;
use crate::support::airflow;
use crate::support::entra::{
    CALLER, CLIENT_ID, OTHER_TENANT, TENANT, USER, id_token, now, v1_app, v1_issuer, v2_app,
    v2_issuer, v2_user,
};
use crate::support::issuer::Issuer;
use crate::support::keys::SigningKey;
use crate::support::oidc;

#[test]
fn whose_token_it_is_instead_is_named() {
    const REASON: &str = "issuer_unknown";
    let from = |iss: &str| v2_app().with("iss", iss).token();
    let mut bench = Bench::start();
    for (token, cause, fix) in [
        (
            v2_app().with("iss", v2_issuer(OTHER_TENANT)).with("tid", OTHER_TENANT).token(),
            "other_tenant",
            "az login --tenant",
        ),
        (
            v1_app().with("iss", v1_issuer(OTHER_TENANT)).with("tid", OTHER_TENANT).token(),
            "other_tenant",
            "issuers[0].tenant",
        ),
        (from(&format!("https://login.microsoftonline.us/{TENANT}/v2.0")), "other_cloud", "us_gov"),
        (
            from("https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0"),
            "personal_account",
            "work account",
        ),
        (
            from(&format!("https://contoso.b2clogin.com/{TENANT}/v2.0/")),
            "external_id",
            "type: oidc",
        ),
        (from(&format!("{}/", v2_issuer(TENANT))), "issuer_spelling", "as its tokens do"),
        (from("https://login.microsoftonline.com/common/v2.0"), "issuer_template", "mock"),
        (
            from("https://token.actions.githubusercontent.com"),
            "raw_github",
            "Federated credentials",
        ),
        (
            from("https://kubernetes.default.svc.cluster.local"),
            "raw_kubernetes",
            "WorkloadIdentityCredential",
        ),
        (from("https://accounts.google.com"), "raw_other", "type: oidc"),
        (from("https://idp.example"), "issuer_foreign", "an entry for this one"),
        (
            airflow::sign(&airflow::claims().with("iss", "airflow")),
            "airflow_issuer_differs",
            "jwt_issuer",
        ),
        (v2_app().with("iss", json!(7)).token(), "issuer_absent", "configured issuer"),
    ] {
        bench.refused(&token, REASON, cause, fix);
    }
    let mut bench = Bench::with(|config| config.without("/issuers/1"));
    bench.refused(&airflow::token(), REASON, "airflow_not_configured", "--airflow-jwt-secret-file");
    // An entry for Airflow's tokens would not help these.
    let task = airflow::task_claims("0198c2d4-0000-7000-8000-000000000000");
    for (claims, cause) in [
        (task.clone().with("scope", "execution"), "task_token"),
        (task.without("scope"), "audience_of_tasks"),
    ] {
        bench.refused(&airflow::sign(&claims), REASON, cause, "in a task");
    }
    for (versions, token) in [("v1", v2_app().token()), ("v2", v1_app().token())] {
        let mut bench = Bench::with(|config| config.set("/issuers/0/versions", json!([versions])));
        bench.refused(&token, REASON, "version_not_accepted", "api.requestedAccessTokenVersion");
    }
}

#[test]
fn the_kind_of_a_token_is_named() {
    let mut bench = Bench::start();
    let task = airflow::claims().with("scope", "execution");
    for (token, reason, cause, fix) in [
        (
            id_token().with("aud", CALLER).token(),
            "token_kind",
            "id_token",
            "access_token of the answer",
        ),
        (id_token().token(), "token_kind", "id_token_same_registration", "Expose an API"),
        (airflow::sign(&task), "token_kind", "task_token", "for people or applications"),
        (
            airflow::sign(&airflow::task_claims("0198c2d4-0000-7000-8000-000000000000")),
            "token_kind",
            "task_token",
            "in a task",
        ),
        (
            v2_app().with("scp", "access_as_user").token(),
            "token_kind",
            "kind_contradicts",
            "claims mapping",
        ),
        (
            v2_app().with("cnf", json!({"jkt": "x"})).token(),
            "token_bound",
            "bound_token",
            "bearer token",
        ),
        (
            v2_app().with("tid", OTHER_TENANT).token(),
            "tenant_mismatch",
            "tenant_differs",
            "as Entra issued it",
        ),
        (v2_app().without("tid").token(), "claim_missing", "claim_absent", "must write this claim"),
        (
            v2_app().with("ver", "1.0").token(),
            "claim_invalid",
            "version_contradicts",
            "sts.windows.net",
        ),
    ] {
        bench.refused(&token, reason, cause, fix);
    }
    let issuer = Issuer::start();
    issuer.publish(&[SigningKey::shared().jwk_with("issuer", v2_issuer(OTHER_TENANT))]);
    let mut bench = Bench::of(issuer, |config| config);
    bench.refused(&v2_app().token(), "tenant_mismatch", "key_of_other_tenant", "configured tenant");
}

#[test]
fn whom_the_token_is_for_is_named() {
    const REASON: &str = "audience_mismatch";
    let to = |aud: &str| v2_app().with("aud", aud).token();
    let scope = format!("api://{CLIENT_ID}/.default");
    let mut bench = Bench::start();
    for (token, reason, cause, fix) in [
        (
            to("00000003-0000-0000-c000-000000000000"),
            REASON,
            "audience_of_microsoft",
            scope.as_str(),
        ),
        (to("https://management.azure.com/"), REASON, "audience_of_microsoft", &scope),
        (to("api://AzureADTokenExchange"), REASON, "audience_of_exchange", &scope),
        (to(CALLER), REASON, "audience_is_client", &scope),
        (to(&format!("spn:{CLIENT_ID}")), REASON, "audience_spelling", "issuers[0].audiences"),
        (to(&CLIENT_ID.to_uppercase()), REASON, "audience_spelling", "issuers[0].audiences"),
        (to("api://airflow-prod"), REASON, "audience_uri", "Expose an API"),
        (to("99990000-1111-2222-3333-444455556666"), REASON, "audience_foreign", &scope),
        (v2_app().without("aud").token(), "claim_missing", "claim_absent", "must write"),
        (v2_app().with("aud", 7).token(), "claim_invalid", "claim_odd", "right type"),
        (
            airflow::sign(&airflow::claims().with("aud", "my-airflow")),
            REASON,
            "audience_of_airflow",
            "jwt_audience",
        ),
        (
            airflow::sign(&airflow::claims().with("aud", "urn:airflow.apache.org:task")),
            REASON,
            "audience_of_tasks",
            "in a task",
        ),
    ] {
        bench.refused(&token, reason, cause, fix);
    }
}

#[test]
fn a_clock_that_is_wrong_is_told_from_a_token_that_is_old() {
    let late = v2_app().with("exp", now() - 3600).token();
    let early = v2_app().with("iat", now() + 600).with("nbf", now() + 600).token();
    let mut bench = Bench::start();
    bench.refused(&late, "token_expired", "expired", "new token");
    bench.refused(&early, "token_not_yet_valid", "clock_of_issuer", "NTP");
    let later = v2_app().with("nbf", now() + 3600).token();
    bench.refused(&later, "token_not_yet_valid", "not_yet_valid", "wait");
    let thousandfold = v2_app().with("iat", now() * 1000).token();
    bench.refused(&thousandfold, "token_not_yet_valid", "milliseconds", "seconds since 1970");
    bench.refused(
        &v2_app().without("exp").token(),
        "claim_missing",
        "claim_absent",
        "issuer made it",
    );
    bench.scene.issuer.set_clock(600);
    bench.refused(&early, "token_not_yet_valid", "clock_of_this_host", "chrony");
    let (said, _) = bench.json(&early, &[]);
    assert!((598..=602).contains(&said["clock_ahead_seconds"].as_i64().unwrap()), "{said:#}");
    bench.scene.issuer.set_clock(-4000);
    bench.refused(&late, "token_expired", "clock_of_this_host", "NTP");
}

#[test]
fn why_a_caller_has_no_role_is_named() {
    const REASON: &str = "role_missing";
    let guest = v2_user().roles(&[]).with("idp", v1_issuer(OTHER_TENANT)).with("acct", 1);
    let overage = json!({"groups": "src1"});
    let managed = "/subscriptions/x/userAssignedIdentities/airflow-ci";
    let mut bench = Bench::start();
    for (token, cause, fix) in [
        (v2_app().without("roles").token(), "app_without_role", "Grant admin consent"),
        (v2_app().roles(&[]).token(), "app_without_role", "through a group"),
        (
            v1_app().without("roles").with("xms_mirid", managed).token(),
            "managed_identity_without_role",
            "appRoleAssignments",
        ),
        (v2_user().without("roles").token(), "user_without_role", "Users and groups"),
        (guest.token(), "guest_without_role", "guest user of this tenant"),
        (
            v2_user().without("roles").with("_claim_names", overage).token(),
            "groups_overage",
            "ApplicationGroup",
        ),
        (v2_user().without("roles").with("hasgroups", true).token(), "groups_overage", "app roles"),
        (
            v2_user().without("roles").with("groups", json!([USER])).token(),
            "groups_instead_of_roles",
            "roles_claim",
        ),
        (v2_user().roles(&["Billing.Reader"]).token(), "roles_unmapped", "roles.map"),
        (v2_user().roles(&["airflow.admin"]).token(), "role_spelling", "Value"),
    ] {
        bench.refused(&token, REASON, cause, fix);
    }
}

#[test]
fn a_caller_who_is_not_let_in_for_other_reasons_is_told_so() {
    let mut bench = Bench::start();
    let unnamed = v2_app().without("oid").with("idtyp", "app").token();
    bench.refused(&unnamed, "claim_missing", "username_absent", "username_claim");
    let unsafe_name = v2_app().with("oid", "a b").with("sub", "a b").token();
    bench.refused(&unsafe_name, "identity_unsafe", "name_unsafe", "username_claim");
    let odd = v2_app().with("roles", json!({"a": 1})).token();
    bench.refused(&odd, "claim_invalid", "roles_not_text", "array of strings");
    let mut bench = Bench::with(|config| config.set("/issuers/0/clients", json!(["another"])));
    bench.refused(
        &v2_app().token(),
        "client_not_allowed",
        "client_not_listed",
        "issuers[0].clients",
    );
    let mut bench = Bench::with(|config| {
        let file = config.file("revoked.yaml", &json!([{"jti": "hxSFYGb9nkqj"}]).to_string());
        config.set("/revocation/file", file.display().to_string())
    });
    bench.refused(&v2_app().token(), "token_revoked", "revoked", "revocation.file");
}

#[test]
fn tokens_of_any_openid_issuer_are_explained() {
    let issuer = Issuer::start();
    let mut entry = oidc::entry(&issuer);
    entry["required_claims"] = json!({"group": ["ours"]});
    let claims = oidc::claims(&issuer).with("group", "ours");
    let mut bench = Bench::of(issuer, |config| config.set("/issuers", json!([entry])));
    let said = bench.let_in("good", &claims.token());
    assert_eq!(said["caller"]["username"], "sso:f:1:deploy");
    assert_eq!(said["caller"]["roles"], json!(["Op"]));
    for (token, reason, cause, fix) in [
        (
            claims.clone().without("group"),
            "claim_missing",
            "required_claim_differs",
            "issuers[0].required_claims",
        ),
        (
            claims.clone().with("group", "theirs"),
            "claim_invalid",
            "required_claim_differs",
            "add the value",
        ),
        (
            claims.clone().with("aud", "account"),
            "audience_mismatch",
            "audience_foreign",
            "request the token for one of airflow",
        ),
        (
            claims.clone().with("aud", "AIRFLOW"),
            "audience_mismatch",
            "audience_spelling",
            "issuers[0].audiences",
        ),
        (claims.clone().without("realm_access"), "role_missing", "roles_claim_absent", "Keycloak"),
        (
            claims.clone().with("realm_access", json!({"roles": ["x"]})),
            "role_missing",
            "roles_unmapped",
            "issuers[0].roles",
        ),
        (
            claims.clone().with("cnf", json!({"x5t#S256": "x"})),
            "token_bound",
            "bound_token",
            "certificate",
        ),
        (claims.clone().with("exp", now() - 3600), "token_expired", "expired", "new token"),
    ] {
        bench.refused(&token.token(), reason, cause, fix);
    }
}

#[test]
fn a_caller_who_is_let_in_is_named_with_the_role_that_results() {
    let mut bench = Bench::start();
    for (label, token, username, roles, remark) in [
        (
            "app",
            v1_app().token(),
            "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb",
            json!(["Op"]),
            "app-only",
        ),
        ("user", v2_user().token(), USER, json!(["Admin"]), ""),
        ("guest", v2_user().with("acct", 1).token(), USER, json!(["Admin"]), "guest"),
        (
            "highest",
            v2_user().roles(&["Airflow.Op", "Airflow.Viewer"]).token(),
            USER,
            json!(["Op"]),
            "",
        ),
        ("Airflow's", airflow::token(), "admin", json!(["admin"]), ""),
    ] {
        let said = bench.let_in(label, &token);
        let caller = &said["caller"];
        let holds = caller["username"] == username && caller["roles"] == roles;
        bench.verdicts().check(label, holds && caller["verified"] == true, caller);
        bench.verdicts().check(
            label,
            said["remarks"].to_string().contains(remark),
            &said["remarks"],
        );
    }
    let (said, _) = bench.json(&SigningKey::stranger().token(v2_user().value()), &[]);
    assert_eq!(said["caller"]["verified"], false);
    let audience = said["steps"].as_array().unwrap().iter().find(|step| step["name"] == "audience");
    assert_eq!(audience.map(|step| &step["verdict"]), Some(&Value::from("ok")), "it looks on");
}
