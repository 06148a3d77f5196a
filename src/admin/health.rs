//! Whether requests should be sent here. Being alive depends on nothing outside; being ready does
//! not depend on the identity provider unless asked to, because a sidecar must not take Airflow's
//! UI and workers down with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use serde_json::{Map, Value, json};

use crate::jwks::{Freshness, KeyStore, Provenance, by_issuer};

/// Whether requests should be sent here.
#[derive(Debug)]
pub struct Health {
    stage: Stage,
    /// The first attempt to get keys has ended for every issuer of some configuration: another
    /// configuration must not make us unready.
    attempted: AtomicBool,
}

/// How far the life of the program is; shared with whoever runs it.
#[derive(Clone, Debug, Default)]
pub struct Stage(Arc<AtomicU8>);

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const DRAINING: u8 = 2;

impl Stage {
    /// The sockets are bound.
    pub fn serving(&self) {
        self.0.store(SERVING, Relaxed);
    }

    /// The end has begun.
    pub fn draining(&self) {
        self.0.store(DRAINING, Relaxed);
    }

    fn name(&self) -> &'static str {
        match self.0.load(Relaxed) {
            STARTING => "starting",
            SERVING => "serving",
            _ => "draining",
        }
    }
}

impl Health {
    /// Readiness in this stage.
    #[must_use]
    pub const fn new(stage: Stage) -> Self {
        Self { stage, attempted: AtomicBool::new(false) }
    }

    /// Whether we are ready with these key stores. With `needs_keys` each must have keys.
    #[must_use]
    pub fn readiness(&self, keys: &[Arc<KeyStore>], needs_keys: bool) -> Readiness {
        let issuers = by_issuer(keys);
        let attempted = issuers.iter().all(|(_, status)| status.attempted);
        let attempted = self.attempted.fetch_or(attempted, Relaxed) || attempted;
        let without = issuers.iter().find(|(_, status)| status.freshness == Freshness::None);
        let stage = self.stage.name();
        let obstacle = match (stage, without) {
            ("starting", _) => Some("its sockets are not bound yet".to_owned()),
            ("draining", _) => Some("it is about to end".to_owned()),
            _ if !attempted => Some("the first attempt to get keys has not ended".to_owned()),
            (_, Some((issuer, _))) if needs_keys => Some(format!("{issuer} has no keys")),
            _ => None,
        };
        Readiness { stage, obstacle }
    }

    /// The same as `/readyz` says it: per issuer whether its keys are `fresh`, `stale` or `none`,
    /// their source, age, and the time that they serve on without a fetch, in seconds. An issuer
    /// with several key sets shows the worst.
    #[must_use]
    pub fn report(&self, keys: &[Arc<KeyStore>], needs_keys: bool) -> (bool, Value) {
        let issuers: Map<_, _> = by_issuer(keys)
            .into_iter()
            .map(|(issuer, status)| {
                let entry = json!({
                    "keys": status.freshness.name(),
                    "source": status.source.map(Provenance::name),
                    "age_seconds": status.age.map(|age| age.as_secs()),
                    "autonomy_seconds": status.autonomy.map(|left| left.as_secs()),
                });
                (issuer.to_string(), entry)
            })
            .collect();
        let readiness = self.readiness(keys, needs_keys);
        let ready = readiness.is_ready();
        (ready, json!({ "ready": ready, "stage": readiness.stage, "issuers": issuers }))
    }
}

/// Whether requests should be sent here, and if not, why.
#[derive(Debug)]
pub struct Readiness {
    /// How far the life of the program is: `starting`, `serving` or `draining`.
    pub stage: &'static str,
    /// What is in the way.
    pub obstacle: Option<String>,
}

impl Readiness {
    /// Whether nothing is in the way.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.obstacle.is_none()
    }
}
