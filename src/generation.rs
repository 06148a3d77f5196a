//! One configuration in force: everything that requests, connections and the admin listener look at,
//! as one value. Another configuration is another generation, which takes its place as a whole.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::admin::viewers::Viewers;
use crate::clock::Timestamp;
use crate::downstream::connection::{Limits, Welcome};
use crate::jwks::KeyStore;
use crate::proxy::Gate;
use crate::revocation::Revocations;
use crate::telemetry::access::AccessLog;
use crate::telemetry::metrics::InForce;
use crate::telemetry::trace::export::Spans;
use crate::upstream;

/// What is in force.
#[derive(Debug)]
pub struct Generation {
    /// 1 at the start, one more with each configuration taken up.
    pub number: u64,
    /// Since when.
    pub since: Timestamp,
    /// Everything that decides about requests.
    pub gate: Gate,
    /// Where Airflow is.
    pub upstream: upstream::Settings,
    /// How connections begin.
    pub welcome: Welcome,
    /// What a connection may take.
    pub limits: Limits,
    /// How many connections may be open.
    pub connections: u64,
    /// The access log, where it is on.
    pub log: Option<AccessLog>,
    /// Where spans of requests go, if anywhere.
    pub spans: Option<Spans>,
    /// The key sets of the gate's issuers.
    pub keys: Vec<Arc<KeyStore>>,
    /// Who may see the status page.
    pub viewers: Viewers,
    /// Whether readiness needs keys of every issuer.
    pub ready_needs_keys: bool,
    /// The key set that others verify us by (RFC 7517).
    pub published: Bytes,
    /// The list of revoked tokens that the gate asks.
    pub revocations: Arc<Revocations>,
}

impl Generation {
    /// What the metrics show of it.
    #[must_use]
    pub fn shown(&self) -> InForce {
        InForce {
            number: self.number,
            since: self.since,
            keys: self.keys.clone(),
            revocations: Arc::clone(&self.revocations),
            upstream: Arc::clone(&self.upstream.addresses),
            spans: self.spans.as_ref().map(|spans| Arc::clone(spans.counts())),
        }
    }
}

/// The generation in force, for those who follow it.
#[derive(Clone, Debug)]
pub struct Generations(watch::Receiver<Arc<Generation>>);

/// Puts generations in force. Whoever looks after [`Succession::put`] has returned sees the new one.
#[derive(Debug)]
pub struct Succession(watch::Sender<Arc<Generation>>);

impl Succession {
    /// Begins with this one.
    #[must_use]
    pub fn begin(first: Arc<Generation>) -> (Self, Generations) {
        let (sender, receiver) = watch::channel(first);
        (Self(sender), Generations(receiver))
    }

    /// Puts the next one in force.
    pub fn put(&self, next: Arc<Generation>) {
        self.0.send_replace(next);
    }
}

impl Generations {
    /// The one in force.
    #[must_use]
    pub fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.0.borrow())
    }

    /// The one in force, if it is another than the last time: otherwise the cost of one atomic load.
    pub fn replaced(&mut self) -> Option<Arc<Generation>> {
        // Without a succession, as at the end of the program, there is no other.
        let another = self.0.has_changed().unwrap_or(false);
        another.then(|| Arc::clone(&self.0.borrow_and_update()))
    }

    /// Waits until another is in force; never ends when there will be none.
    pub async fn another(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
