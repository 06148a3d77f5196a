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

    /// Whether we are ready with these key stores, and why or why not: per issuer whether its keys
    /// are `fresh`, `stale` or `none`, their source, age, and the time that they serve on without a
    /// fetch, in seconds. An issuer with several key sets shows the worst. With `needs_keys` each
    /// must have keys.
    #[must_use]
    pub fn report(&self, keys: &[Arc<KeyStore>], needs_keys: bool) -> (bool, Value) {
        let mut issuers = Map::new();
        let (mut attempted, mut usable) = (true, true);
        for (issuer, status) in by_issuer(keys) {
            attempted &= status.attempted;
            usable &= status.freshness != Freshness::None;
            let entry = json!({
                "keys": name(status.freshness),
                "source": status.source.map(Provenance::name),
                "age_seconds": status.age.map(|age| age.as_secs()),
                "autonomy_seconds": status.autonomy.map(|left| left.as_secs()),
            });
            issuers.insert(issuer.to_string(), entry);
        }
        let attempted = self.attempted.fetch_or(attempted, Relaxed) || attempted;
        let stage = self.stage.name();
        let ready = stage == "serving" && attempted && (usable || !needs_keys);
        (ready, json!({ "ready": ready, "stage": stage, "issuers": issuers }))
    }
}

const fn name(freshness: Freshness) -> &'static str {
    match freshness {
        Freshness::Fresh => "fresh",
        Freshness::Stale => "stale",
        Freshness::None => "none",
    }
}
