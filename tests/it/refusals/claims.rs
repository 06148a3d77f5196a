//! What a well signed token says: issuer, kind, tenant, audience, times.

use serde_json::{Value, json};

use crate::support::entra::{
    CLIENT_ID, OTHER_TENANT, TENANT, id_token, now, v1_app, v1_user, v2_app, v2_issuer, v2_user,
};
use crate::support::expect::assert_refused;
use crate::support::issuer::Issuer;
use crate::support::keys::SigningKey;
use crate::support::scene::Scene;
use crate::support::upstream::Upstream;

use super::Table;

#[test]
fn the_issuer_is_compared_exactly() {
    const UNKNOWN: &[&str] = &["issuer_unknown"];
    const ODD: &[&str] = &["issuer_unknown", "claim_invalid"];
    let good = v2_issuer(TENANT);
    let mut table = Table::start();
    for issuer in [
        "https://issuer.example".to_owned(),
        format!("{good}/"),
        good.to_uppercase(),
        good.replace("https", "http"),
        good.trim_end_matches("/v2.0").to_owned(),
        format!("{good}.example"),
        "https://login.microsoftonline.com/{tenantid}/v2.0".to_owned(),
        "https://login.microsoftonline.com/common/v2.0".to_owned(),
        v2_issuer(OTHER_TENANT),
        String::new(),
    ] {
        table.refused(
            &format!("iss {issuer:?}"),
            &v2_app().with("iss", issuer.clone()).token(),
            ODD,
        );
    }
    let foreign = v2_app().with("iss", v2_issuer(OTHER_TENANT)).with("tid", OTHER_TENANT).token();
    table.refused("another tenant's", &foreign, UNKNOWN);
    for issuer in [json!([good]), json!(7), json!({}), json!(true), json!(null)] {
        let token = v2_app().with("iss", issuer.clone()).token();
        table.refused(&format!("iss {issuer}"), &token, ODD);
    }
}

#[test]
fn a_token_without_issuer_is_airflows_or_nobodys() {
    let nameless = v2_app().without("iss").token();
    let mut table = Table::start();
    table.refused("with an airflow entry", &nameless, &["algorithm_not_allowed"]);
    let scene = Scene::with(|config| config.without("/issuers/1"));
    assert_refused(&scene.present(&nameless), 401, "issuer_unknown");
}

#[test]
fn only_access_tokens_for_this_caller_are_taken() {
    const KIND: &[&str] = &["token_kind"];
    let mut table = Table::start();
    table.refused("ID token", &id_token().token(), KIND);
    table.refused(
        "ID token of a shared registration",
        &id_token().with("azp", CLIENT_ID).token(),
        KIND,
    );
    table.refused("user without scp", &v2_user().without("scp").token(), KIND);
    table.refused("v1 user without scp", &v1_user().without("scp").token(), KIND);
    table.refused("v2 without azp", &v2_app().without("azp").token(), KIND);
    table.refused("v1 without appid", &v1_app().without("appid").token(), KIND);
    for confirmation in [json!({"jkt": "0ZcOCORZNYy"}), json!({"kid": "x"}), json!({})] {
        let token = v2_app().with("cnf", confirmation.clone()).token();
        table.refused(&format!("cnf {confirmation}"), &token, &["token_bound"]);
    }
    table.accepted("app-only shown by oid and sub", &v2_app().without("idtyp").token());
}

#[test]
fn a_graph_token_is_named_before_its_signature_is_tried() {
    let key = SigningKey::shared();
    let mut header = key.header();
    header["nonce"] = "raw-nonce".into();
    let graph = v1_app().with("aud", "00000003-0000-0000-c000-000000000000");
    let mut table = Table::start();
    table.refused("well signed", &key.sign(&header, v2_app().value()), &["graph_token"]);
    let badly = SigningKey::stranger().sign(&header, graph.value());
    table.refused("as Entra signs it", &badly, &["graph_token"]);
}

#[test]
fn the_tenant_agrees_everywhere() {
    const MISMATCH: &[&str] = &["tenant_mismatch"];
    let mut table = Table::start();
    table.refused("tid of another tenant", &v2_app().with("tid", OTHER_TENANT).token(), MISMATCH);
    table.refused("v1, likewise", &v1_app().with("tid", OTHER_TENANT).token(), MISMATCH);
    table.refused("no tid", &v2_app().without("tid").token(), &["claim_missing"]);
    for tid in [json!(7), json!([TENANT]), json!({}), json!(true)] {
        table.refused(
            &format!("tid {tid}"),
            &v2_app().with("tid", tid).token(),
            &["claim_invalid"],
        );
    }
    let issuer = Issuer::start();
    let key = SigningKey::shared();
    let msa = v2_issuer("9188040d-6c67-4c5b-b112-36a304b66dad");
    issuer.publish(&[key.jwk_with("issuer", msa)]);
    let scene = Scene::of(issuer, Upstream::start(), |config| config);
    for token in [v1_app().token(), v2_app().token()] {
        assert_refused(&scene.present(&token), 401, "tenant_mismatch");
    }
}

#[test]
fn the_audience_is_compared_exactly() {
    const MISMATCH: &[&str] = &["audience_mismatch"];
    const INVALID: &[&str] = &["claim_invalid"];
    let mut table = Table::start();
    for audience in [
        json!("00000003-0000-0000-c000-000000000000"),
        json!("api://another-app"),
        json!("apache-airflow"),
        json!(CLIENT_ID.to_uppercase()),
        json!(format!("API://{CLIENT_ID}")),
        json!(format!("api://{CLIENT_ID}//")),
        json!(format!("api://{CLIENT_ID}/read")),
        json!(format!("{CLIENT_ID}x")),
        json!(&CLIENT_ID[..20]),
        json!(format!(" {CLIENT_ID}")),
        json!(["one", "two"]),
    ] {
        let token = v2_app().with("aud", audience.clone()).token();
        table.refused(&format!("aud {audience}"), &token, MISMATCH);
    }
    for audience in [
        json!(7),
        json!({CLIENT_ID: true}),
        json!(true),
        json!([CLIENT_ID, 7]),
        json!([[CLIENT_ID]]),
        json!([7]),
    ] {
        let token = v2_app().with("aud", audience.clone()).token();
        table.refused(&format!("aud {audience}"), &token, INVALID);
    }
    for audience in [json!(""), json!([]), json!(null), json!([null])] {
        let token = v2_app().with("aud", audience.clone()).token();
        table.refused(
            &format!("aud {audience}"),
            &token,
            &["audience_mismatch", "claim_invalid", "claim_missing"],
        );
    }
    table.refused("no aud", &v2_app().without("aud").token(), &["claim_missing"]);
}

#[test]
fn times_are_numbers_in_range_and_hold_now() {
    let mut table = Table::start();
    table.refused(
        "expired an hour ago",
        &v2_app().with("exp", now() - 3600).token(),
        &["token_expired"],
    );
    table.refused(
        "expired beyond leeway",
        &v2_app().with("exp", now() - 75).token(),
        &["token_expired"],
    );
    table.refused("exp 0", &v2_app().with("exp", 0).token(), &["token_expired"]);
    let future = v2_app().with("nbf", now() + 3600).token();
    table.refused("nbf in an hour", &future, &["token_not_yet_valid"]);
    let future = v2_app().with("iat", now() + 3600).token();
    table.refused("iat in an hour", &future, &["token_not_yet_valid", "claim_invalid"]);
    for name in ["exp", "iat", "nbf"] {
        let label = format!("no {name}");
        table.refused(&label, &v2_app().without(name).token(), &["claim_missing"]);
        for value in [
            json!((now() + 100).to_string()),
            json!(true),
            json!([now() + 100]),
            json!({}),
            json!(-1),
            json!(-1.5),
            json!(9_007_199_254_740_992_u64),
            json!(9_223_372_036_854_775_808_u64),
            json!(1e300),
        ] {
            let label = format!("{name} {value}");
            table.refused(&label, &v2_app().with(name, value).token(), &["claim_invalid"]);
        }
        let token = v2_app().with(name, Value::Null).token();
        table.refused(&format!("{name} null"), &token, &["claim_invalid", "claim_missing"]);
        let text = v2_app().without(name).text_with(&format!("\"{name}\":1e309"));
        let token = signed_text(&text);
        table.refused(&format!("{name} 1e309"), &token, &["claim_invalid", "token_malformed"]);
    }
    table.accepted("expired within leeway", &v2_app().with("exp", now() - 30).token());
    table.accepted("nbf within leeway", &v2_app().with("nbf", now() + 30).token());
    table.accepted("iat within leeway", &v2_app().with("iat", now() + 30).token());
    let later = f64::from(u32::try_from(now() + 100).unwrap()) + 0.5;
    table.accepted("exp with a fraction", &v2_app().with("exp", later).token());
    table.accepted("the greatest exp", &v2_app().with("exp", 9_007_199_254_740_991_u64).token());
}

#[test]
fn leeway_is_as_configured() {
    let scene = Scene::with(|config| config.set("/leeway", "0s"));
    let expired = v2_app().with("exp", now() - 2).token();
    assert_refused(&scene.present(&expired), 401, "token_expired");
    let early = v2_app().with("nbf", now() + 30).token();
    assert_refused(&scene.present(&early), 401, "token_not_yet_valid");
    let scene = Scene::with(|config| config.set("/leeway", "300s"));
    let expired = v2_app().with("exp", now() - 200).token();
    assert_eq!(scene.present(&expired).status, 200);
}

#[test]
fn an_expired_token_stays_expired_however_often_it_worked() {
    let scene = Scene::with(|config| config.set("/leeway", "0s"));
    let token = v2_app().with("exp", now() + 3).token();
    assert_eq!(scene.present(&token).status, 200);
    crate::support::wait::eventually("the token expires", || {
        let answer = scene.present(&token);
        (answer.status != 200).then(|| assert_refused(&answer, 401, "token_expired"))
    });
}

/// A good header over claims that are given as text.
fn signed_text(claims: &str) -> String {
    let key = SigningKey::shared();
    key.sign_bytes(key.header().to_string().as_bytes(), claims.as_bytes())
}
