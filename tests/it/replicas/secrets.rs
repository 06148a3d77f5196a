//! The keys by which Airflow knows airside change.

use std::sync::{Arc, Mutex};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use super::{BETWEEN, REPLICAS, Replicas, draining};
use crate::support::airside::Airside;
use crate::support::config::{Config, SECRET};
use crate::support::issuer::Issuer;
use crate::support::keys::{CurveKey, SigningKey, try_open_hs512};
use crate::support::upstream::{Answer, Received, Upstream};

const NEXT_SECRET: &str =
    "the next secret of the tests only: not random, but of sixty-four bytes and more";

/// Airflow's answer to a token that it does not take.
fn judged(holds: bool) -> Answer {
    let refusal = r#"{"detail":"Invalid JWT token"}"#;
    if holds { Answer::ok(&[]) } else { Answer::json(403, &[], refusal) }
}

/// An Airflow with `trusted_jwks_url`: it goes by the set that it has read, until it reads again.
#[derive(Clone, Default)]
struct Trusting(Arc<Mutex<Option<JwkSet>>>);

impl Trusting {
    fn reads(&self, airside: &Airside) {
        let set = serde_json::from_value(airside.ask_admin("/jwks.json").json()).unwrap();
        *self.0.lock().unwrap() = Some(set);
    }

    fn answer(&self, request: &Received) -> Answer {
        judged(self.takes(request.bearer()).is_some())
    }

    fn takes(&self, token: &str) -> Option<Value> {
        let header = decode_header(token).ok()?;
        let set = self.0.lock().unwrap();
        let key = DecodingKey::from_jwk(set.as_ref()?.find(&header.kid?)?).ok()?;
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&["apache-airflow"]);
        Some(decode::<Value>(token, &key, &validation).ok()?.claims)
    }
}

/// Signing with the one, publishing the other too.
fn keyed(config: Config, signs: (&CurveKey, &str), publishes: &[(&CurveKey, &str)]) -> Config {
    let file = config.file(&format!("{}.pem", signs.1), &signs.0.private_pem());
    let published = publishes.iter().map(|(key, kid)| {
        let file = config.file(&format!("{kid}.pub.pem"), &key.public_pem());
        json!({"public_key_file": file, "kid": kid})
    });
    let published: Vec<_> = published.collect();
    config
        .without("/handoff")
        .set("/handoff", json!({"type": "airflow_token", "private_key_file": file, "kid": signs.1}))
        .set("/handoff/publish", published)
}

#[test]
fn a_signing_key_that_is_published_first_changes_without_a_failed_request() {
    let airflow = Trusting::default();
    let upstream = Upstream::answering({
        let airflow = airflow.clone();
        move |request| airflow.answer(request)
    });
    let issuer = Issuer::start();
    let (old, new) = (CurveKey::ed25519(), CurveKey::p256());
    let (old, new) = ((&old, "airside-1"), (&new, "airside-2"));
    let mut replicas = Replicas::start(|_| keyed(draining(&issuer, &upstream.url()), old, &[]));
    airflow.reads(&replicas.all[0]);
    replicas.under_load(SigningKey::shared(), |replicas, load| {
        // All replicas publish the new key, and Airflow reads it, before any of them signs with it.
        for (signs, publishes) in [(old, &[new][..]), (new, &[old]), (new, &[])] {
            for replica in &replicas.all {
                replica.changes(|config| keyed(config, signs, publishes));
                load.goes_on(BETWEEN);
            }
            // From any: by now all publish the same.
            airflow.reads(&replicas.all[REPLICAS - 1]);
        }
    });
    let last = upstream.last();
    assert_eq!(decode_header(last.bearer()).unwrap().kid.as_deref(), Some("airside-2"));
}

/// Each replica beside an Airflow of its own, which has a secret from its start to its end.
#[test]
fn a_secret_changes_with_the_pods_without_a_failed_request() {
    let issuer = Issuer::start();
    let knowing = |secret: &'static str| {
        Upstream::answering(move |request| {
            judged(try_open_hs512(request.bearer(), secret.as_bytes()).is_some())
        })
    };
    let mut airflows: Vec<_> = (0..REPLICAS).map(|_| knowing(SECRET)).collect();
    let mut replicas = Replicas::start(|place| draining(&issuer, &airflows[place].url()));
    replicas.under_load(SigningKey::shared(), |replicas, load| {
        for (place, former) in airflows.iter_mut().enumerate() {
            let airflow = knowing(NEXT_SECRET);
            let config = draining(&issuer, &airflow.url());
            config.file("airflow.secret", NEXT_SECRET);
            replicas.restart(place, &config);
            // The sidecar has ended last: nobody asks this one any more.
            *former = airflow;
            load.goes_on(BETWEEN);
        }
    });
    for airflow in &airflows {
        assert!(!airflow.requests().is_empty());
    }
}
