//! Airflow 3 that verifies by keys instead of a shared secret: ours from `/jwks.json` of airside,
//! and its own beside them.

use std::sync::OnceLock;

use serde_json::json;

use crate::check::{checked, is_all_well};
use crate::compatibility::{self, Subject};
use crate::exchange::{exchange, exchanging};
use crate::flight::{Flight, assert_airflow_says};
use crate::stock::{Recipe, free_port};
use crate::support::airflow::task_claims;
use crate::support::config::Config;
use crate::support::entra::{APP, v2_app};
use crate::support::expect::assert_refused;
use crate::support::http::Request;
use crate::support::keys::{CurveKey, SigningKey};

/// Every key there is, and where airside publishes them.
struct Keys {
    admin: u16,
    airflow: SigningKey,
    rsa: String,
    p256: String,
    ed25519: CurveKey,
    coming: CurveKey,
    unheard_of: String,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        admin: free_port(),
        airflow: SigningKey::generate("airflow-1"),
        rsa: SigningKey::generate("of airside").private_pem(),
        p256: CurveKey::p256().private_pem(),
        ed25519: CurveKey::ed25519(),
        coming: CurveKey::ed25519(),
        unheard_of: CurveKey::ed25519().private_pem(),
    })
}

/// An Airflow without `jwt_secret`, which asks airside for the keys.
fn recipe(name: &'static str, server: &'static str) -> Recipe {
    let url = format!("http://127.0.0.1:{}/jwks.json", keys().admin);
    let recipe = Recipe::simple(name, server)
        .without("AIRFLOW__API_AUTH__JWT_SECRET")
        .set("AIRFLOW__API_AUTH__TRUSTED_JWKS_URL", &url)
        .set("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", "{home}/airflow.pem")
        .set("AIRFLOW__API_AUTH__JWT_KID", keys().airflow.kid())
        .file("airflow.pem", keys().airflow.private_pem());
    if server.starts_with("3.0") || server.starts_with("3.1") {
        // Their own tokens are signed by the first of these.
        recipe.set("AIRFLOW__API_AUTH__JWT_ALGORITHM", "RS256,ES256,EdDSA")
    } else {
        recipe
    }
}

/// airside that signs with this key under this name and publishes the coming one as well.
fn signing(config: Config, kid: &str, pem: &str) -> Config {
    let keys = keys();
    let private = config.file("airside.pem", pem);
    let airflow = config.file("airflow.pub", &keys.airflow.public_pem());
    let coming = config.file("coming.pub", &keys.coming.public_pem());
    let ed25519 = config.file("ed25519.pub", &keys.ed25519.public_pem());
    let published = [("airside-ed", ed25519), ("airside-next", coming)];
    let others = published.into_iter().filter(|(name, _)| *name != kid);
    let others = others.map(|(kid, file)| json!({"public_key_file": file, "kid": kid}));
    config
        .set("/admin/listen", format!("127.0.0.1:{}", keys.admin))
        .without("/handoff/secret_file")
        .set("/handoff/private_key_file", private.to_str())
        .set("/handoff/kid", kid)
        .set("/handoff/publish", others.collect::<Vec<_>>())
        .set("/handoff/airflow_keys_file", airflow.to_str())
        .set("/handoff/airflow_kid", "airflow-1")
        .without("/issuers/1/secret_file")
        .set("/issuers/1/public_key_file", airflow.to_str())
        .set("/issuers/1/kid", "airflow-1")
}

fn by_ed25519(config: Config) -> Config {
    signing(config, "airside-ed", &keys().ed25519.private_pem())
}

#[test]
fn the_current_release_takes_what_a_key_of_ours_signs() {
    prove(&recipe("keys-3.3.2", "3.3.2"));
}

#[cfg(feature = "airflow-releases")]
#[test]
fn every_release_takes_what_a_key_of_ours_signs() {
    for (name, server) in
        [("keys-3.0.6", "3.0.6"), ("keys-3.1.8", "3.1.8"), ("keys-3.2.2", "3.2.2")]
    {
        prove(&recipe(name, server));
    }
}

fn prove(recipe: &Recipe) {
    let flight = Flight::with(recipe, by_ed25519);
    let (manager, handoff) = ("SimpleAuthManager", "`airflow_token`, key of airside");
    compatibility::prove(&flight, &Subject { airflow: recipe.version(), manager, handoff });
}

#[test]
fn check_tells_a_key_that_airflow_has_from_one_that_it_has_not() {
    let flight = Flight::with(&recipe("keys-3.3.2", "3.3.2"), by_ed25519);
    is_all_well(&checked(&flight, |config| config));
    let hasty = |config| signing(config, "airside-hasty", &keys().unheard_of);
    let ended = checked(&flight, hasty);
    assert_eq!(ended.code, Some(78), "{}", ended.log());
    let told = ended.about("hand-off to ");
    for word in ["trusted_jwks_url", "/jwks.json", "once an hour", "airside-hasty"] {
        assert!(told.contains(word), "{word} in {told}");
    }
}

#[test]
fn rsa_and_p256_serve_as_well() {
    for (kid, pem) in [("airside-rsa", &keys().rsa), ("airside-ec", &keys().p256)] {
        // Airflow reads the set once an hour: each key has an Airflow of its own.
        let name = if kid == "airside-rsa" { "keys-rsa" } else { "keys-ec" };
        let flight = Flight::with(&recipe(name, "3.3.2"), |config| signing(config, kid, pem));
        assert_eq!(flight.whoami(|request| request.bearer(&v2_app().token())), APP, "{kid}");
    }
}

#[test]
fn a_key_of_ours_opens_the_api_and_no_path_of_workers() {
    let flight = Flight::with(&recipe("keys-3.3.2", "3.3.2"), |config| {
        // One set for both sides: what airside publishes, Airflow's key in it.
        let published = format!("http://127.0.0.1:{}/jwks.json", keys().admin);
        exchanging(by_ed25519(config))
            .set("/access/execution_api", "verify")
            .without("/issuers/1/public_key_file")
            .without("/issuers/1/kid")
            .set("/issuers/1/keys_url", published)
    });
    let given = exchange(&flight, &v2_app().token())["access_token"].as_str().unwrap().to_owned();
    assert_eq!(flight.ask_airflow(&Request::get("/ui/auth/me").bearer(&given)).json()["id"], APP);
    assert_eq!(flight.whoami(|request| request.bearer(&given)), APP);

    let task = task_claims("01a200a6-add8-7fb6-b02e-123f4a563095");
    let variable = |token: &str| Request::get("/execution/variables/missing").bearer(token);
    let airflows = variable(&keys().airflow.token(task.value()));
    assert_eq!(flight.ask(&airflows).status, 404, "Airflow's own scheduler could have made it");
    let header = json!({"typ": "JWT", "alg": "EdDSA", "kid": "airside-ed"});
    let ours = variable(&keys().ed25519.sign(&header, task.value()));
    assert_eq!(flight.ask_airflow(&ours).status, 404, "Airflow itself tells no key from another");
    assert_refused(&flight.ask(&ours), 401, "key_unknown");
}

#[test]
fn a_key_that_was_published_in_time_takes_over_without_a_restart_of_airflow() {
    let recipe = recipe("keys-3.3.2", "3.3.2");
    let dags = || Request::get("/api/v2/dags").bearer(&v2_app().token());
    let flight = Flight::with(&recipe, by_ed25519);
    assert_eq!(flight.ask(&dags()).status, 200);
    drop(flight);
    let rotated = |config| signing(config, "airside-next", &keys().coming.private_pem());
    let flight = Flight::with(&recipe, rotated);
    assert_eq!(flight.ask(&dags()).status, 200);
    drop(flight);
    let hasty = |config| signing(config, "airside-hasty", &keys().unheard_of);
    let flight = Flight::with(&recipe, hasty);
    assert_airflow_says(&flight.ask(&dags()), 403, &json!("Invalid JWT token"));
    let line = flight.airside.line_with(&["/api/v2/dags", "status=403", "trusted_jwks_url"]);
    assert!(line.contains("hour"), "{line}");
}
