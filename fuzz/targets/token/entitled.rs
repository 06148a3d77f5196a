//! What an accepted token must have said, read with another parser than the one under test.

use std::time::Duration;

use airside::identity::{AirflowRole, Principal};
use serde_json::Value;

use super::issuers::{AUDIENCES, CALLER, GITHUB, LEEWAY, NOW, OIDC_ROLES, ROLES, Signer, TENANT};

/// The token with this header and these claims was accepted for this caller.
pub(super) fn check(signer: Signer, header: &[u8], claims: &[u8], caller: &Principal) {
    let parse = |text| serde_json::from_slice::<Value>(text).expect("it was accepted");
    let (header, claims) = (parse(header), parse(claims));
    assert_eq!(caller.issuer().as_ref(), signer.name(), "a key counts for its own issuer alone");
    check_header(signer, &header);
    check_times(signer, &claims);
    assert!(texts(&claims["aud"]).iter().any(|aud| AUDIENCES.contains(aud)), "{claims}");
    for name in ["sub", "jti"] {
        assert!(claims.get(name).is_none_or(Value::is_string), "{name} in {claims}");
    }
    assert_ne!(claims["jti"], "revoked-token");
    assert_ne!(header["kid"], "revoked-key");
    match signer {
        Signer::Entra => check_entra(&claims, caller),
        Signer::Airflow => check_airflow(&claims, caller),
        Signer::Oidc => check_oidc(&claims, caller),
        Signer::Stranger => panic!("signed by a stranger: {claims}"),
    }
    let name = caller.username();
    assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
}

fn check_header(signer: Signer, header: &Value) {
    assert_eq!(header["alg"], signer.algorithm());
    for member in ["crit", "b64", "zip", "cty"] {
        assert!(header.get(member).is_none(), "{header}");
    }
    let typ = header.get("typ").map(|typ| typ.as_str().expect("a text").to_ascii_lowercase());
    let known = ["jwt", "application/jwt", "at+jwt", "application/at+jwt"];
    assert!(typ.is_none_or(|typ| known.contains(&typ.as_str())), "{header}");
}

fn check_times(signer: Signer, claims: &Value) {
    let (now, leeway) = (Duration::from_secs(NOW.unix()).as_secs_f64(), LEEWAY.as_secs_f64());
    let time = |name: &str| {
        let claim = claims.get(name)?;
        let seconds = claim.as_f64().expect("a number");
        assert!((0.0..9_007_199_254_740_992.0).contains(&seconds), "{name} in {claims}");
        Some(seconds)
    };
    assert!(time("exp").expect("exp is there").floor() + leeway > now, "{claims}");
    for name in ["nbf", "iat"] {
        match time(name) {
            Some(start) => assert!(start.floor() - leeway <= now, "{name} in {claims}"),
            None => assert_eq!(signer, Signer::Oidc, "{name} is not in {claims}"),
        }
    }
}

fn check_entra(claims: &Value, caller: &Principal) {
    let v1 = format!("https://sts.windows.net/{TENANT}/");
    let v2 = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    let version = if claims["iss"] == v1.as_str() { "1.0" } else { "2.0" };
    assert!(claims["iss"] == v1.as_str() || claims["iss"] == v2.as_str(), "{claims}");
    assert!(claims.get("ver").is_none_or(|ver| ver == version), "{claims}");
    assert_eq!(claims["tid"], TENANT);
    assert!(claims.get("cnf").is_none(), "{claims}");
    let delegated = claims["scp"].as_str().is_some_and(|scopes| !scopes.trim().is_empty());
    let app_only = match claims.get("idtyp") {
        Some(kind) => kind == "app",
        None => !delegated && claims["oid"].is_string() && claims["oid"] == claims["sub"],
    };
    assert!(delegated != app_only, "an ID token, or both: {claims}");
    let client = claims.get("azp").unwrap_or(&claims["appid"]);
    assert_eq!(client, CALLER);
    assert_eq!(claims["oid"], caller.username());
    has_the_highest_role(claims.pointer("/roles"), caller);
}

fn check_airflow(claims: &Value, caller: &Principal) {
    assert!(claims.get("iss").is_none_or(|iss| iss.as_array().is_some_and(Vec::is_empty)));
    assert!(claims["scope"] != "execution" && claims["scope"] != "workload", "{claims}");
    assert_eq!(claims["sub"], caller.username());
    let role = caller.roles_header().map(|role| role.to_str().expect("visible ASCII"));
    assert_eq!(claims.get("role").map(|role| role.as_str().expect("a text")), role);
    assert!(caller.issued_by_airflow());
}

fn check_oidc(claims: &Value, caller: &Principal) {
    assert_eq!(claims["iss"], GITHUB);
    assert!(claims.get("cnf").is_none(), "{claims}");
    assert!(texts(&claims["repository_owner"]).contains(&"contoso"), "{claims}");
    let subject = claims["sub"].as_str().expect("a text");
    assert_ne!(subject, "revoked");
    assert_eq!(format!("github:{subject}"), caller.username());
    has_the_highest_role(claims.pointer(OIDC_ROLES), caller);
}

/// By whole values; none that is not there.
fn has_the_highest_role(values: Option<&Value>, caller: &Principal) {
    let values = values.map(texts).unwrap_or_default();
    let highest = ROLES.iter().rev().find(|(value, _)| values.contains(value));
    let highest = highest.map(|(_, role)| *role);
    let held: Vec<_> = caller.roles().iter().map(AirflowRole::name).collect();
    assert_eq!(held, Vec::from_iter(highest), "{values:?}");
    assert!(!caller.issued_by_airflow());
}

/// A text, or a list of nothing else.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().map(|item| item.as_str().expect("a text")).collect(),
        _ => Vec::new(),
    }
}
