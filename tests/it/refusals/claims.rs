//! What a well signed token says: issuer, kind, tenant, audience, times.

use serde_json::{Value, json};

use crate::support::airflow;
use crate::support::claims::Claims;
use crate::support::config::SECRET;
use crate::support::entra::{
    CLIENT_ID, OTHER_TENANT, TENANT, id_token, now, v1_app, v1_user, v2_app, v2_issuer, v2_user,
};
use crate::support::expect::assert_refused;
use crate::support::issuer::Issuer;
use crate::support::keys::{CurveKey, SigningKey, hs512};
use crate::support::oidc;
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
    // CVE-2024-53861: `in` on strings is no comparison.
    for issuer in [&good[..good.len() - 1], &good[1..], &good[..20], " ", "/"] {
        let token = v2_app().with("iss", issuer).token();
        table.refused(&format!("iss {issuer:?}"), &token, UNKNOWN);
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
    for (claims, ver) in [(v1_app(), "2.0"), (v2_app(), "1.0"), (v2_app(), "2"), (v1_app(), "")] {
        let label = format!("ver {ver:?}");
        table.refused(&label, &claims.with("ver", ver).token(), &["claim_invalid"]);
    }
    for ver in [json!(2), json!(2.0), json!(["2.0"]), json!(null)] {
        let label = format!("ver {ver}");
        table.refused(&label, &v2_app().with("ver", ver).token(), &["claim_invalid"]);
    }
    let key = SigningKey::shared();
    for of_key in [
        v2_issuer("9188040d-6c67-4c5b-b112-36a304b66dad"),
        v2_issuer(OTHER_TENANT),
        v2_issuer("{tenant}"),
        format!("https://login.microsoftonline.us/{TENANT}/v2.0"),
        "https://login.microsoftonline.com/{tenantid}/v1.0".to_owned(),
        String::new(),
    ] {
        let issuer = Issuer::start();
        issuer.publish(&[key.jwk_with("issuer", of_key.as_str())]);
        let mut table = Table::of(Scene::of(issuer, Upstream::start(), |config| config));
        for claims in [v1_app(), v2_app()] {
            table.refused(&format!("a key of {of_key:?}"), &claims.token(), MISMATCH);
        }
    }
}

#[test]
fn keys_of_one_tenant_or_issuer_never_sign_for_another() {
    const UNKNOWN: &[&str] = &["key_unknown"];
    let (ours, theirs, sso) = (SigningKey::shared(), SigningKey::next(), CurveKey::p256());
    let (other, openid) = (Issuer::start(), Issuer::start());
    other.publish(&[theirs.jwk()]);
    openid.publish(&[sso.jwk()]);
    let second = json!({
        "name": "other", "type": "entra", "tenant": OTHER_TENANT, "client_id": CLIENT_ID,
        "authority": other.url(),
    });
    let mut third = oidc::entry(&openid);
    // So that the algorithm does not give it away.
    third["algorithms"] = json!(["RS256", "ES256"]);
    let scene = Scene::of(Issuer::start(), Upstream::start(), |config| {
        let airflow =
            json!({"name": "airflow", "type": "airflow", "secret_file": config.file("s", SECRET)});
        let first = config.get("/issuers/0");
        config.set("/issuers", json!([first, second, third, airflow]))
    });
    let (mine, yours) =
        (v2_app(), v2_app().with("iss", v2_issuer(OTHER_TENANT)).with("tid", OTHER_TENANT));
    let open = oidc::claims(&openid);
    let mut table = Table::of(scene);
    for (label, token) in [
        ("ours", ours.token(mine.value())),
        ("theirs", theirs.token(yours.value())),
        ("the third's", sso.token(open.value())),
    ] {
        table.accepted(label, &token);
    }
    for (label, token) in [
        ("their key, our claims", theirs.token(mine.value())),
        ("our key, their claims", ours.token(yours.value())),
        ("our key, the third's claims", ours.token(open.value())),
        ("their key, the third's claims", theirs.token(open.value())),
    ] {
        table.refused(label, &token, UNKNOWN);
    }
    let by_secret = |claims: &Claims| hs512(SECRET.as_bytes(), &airflow::header(), claims.value());
    for (label, token) in [
        ("the third's key, our claims", sso.token(mine.value())),
        ("Airflow's secret, our claims", by_secret(&mine)),
        ("Airflow's secret, the third's claims", by_secret(&open)),
        ("our key, Airflow's claims", ours.token(airflow::claims().value())),
    ] {
        table.refused(label, &token, &["algorithm_not_allowed"]);
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

/// CVE-2026-25537: a time of another type was taken for no time.
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
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1e300),
        ] {
            let label = format!("{name} {value}");
            table.refused(&label, &v2_app().with(name, value).token(), &["claim_invalid"]);
        }
        let token = v2_app().with(name, Value::Null).token();
        table.refused(&format!("{name} null"), &token, &["claim_invalid", "claim_missing"]);
        for number in ["1e309", "-1e309", "18446744073709551616", "9e15", "1e-400"] {
            let text = v2_app().without(name).text_with(&format!("\"{name}\":{number}"));
            let reasons = match (name, number) {
                // Within range, though no time that holds.
                ("exp", "1e-400") => &["token_expired"][..],
                ("iat" | "nbf", "9e15") => &["token_not_yet_valid"],
                ("exp", "9e15") | ("iat" | "nbf", "1e-400") => {
                    table.accepted(&format!("{name} {number}"), &signed_text(&text));
                    continue;
                }
                _ => &["claim_invalid", "token_malformed"],
            };
            table.refused(&format!("{name} {number}"), &signed_text(&text), reasons);
        }
    }
    for (exp, reason) in [("-0", "token_expired"), ("1.5", "token_expired")] {
        let text = v2_app().without("exp").text_with(&format!("\"exp\":{exp}"));
        table.refused(&format!("exp {exp}"), &signed_text(&text), &[reason]);
    }
    let text = v2_app().without("exp").text_with("\"exp\":1e10");
    table.accepted("exp 1e10", &signed_text(&text));
    let backwards = v2_app().with("iat", now() + 7200).with("exp", now() + 3600);
    table.refused("issued after its end", &backwards.token(), &["token_not_yet_valid"]);
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
