//! From settings to a generation and the tasks that keep it current: the same at the start and when
//! a configuration takes the place of another.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::clock;
use crate::config::{Config, KeySource};
use crate::generation::Generation;
use crate::jwks::refresh::{jittered, keep_fresh, restore};
use crate::jwks::{Freshness, KeyStore};
use crate::telemetry::access::AccessLog;
use crate::telemetry::logging::Logging;
use crate::telemetry::trace::export::{Collector, Spans};

/// A generation, and what keeps its keys and its revocation list current until it is dropped.
#[derive(Debug)]
pub(super) struct Assembly {
    generation: Arc<Generation>,
    keys: Vec<Kept>,
    _revocation: Option<Task>,
}

/// A key store, and the task that refreshes it.
#[derive(Debug)]
struct Kept {
    source: KeySource,
    _refresher: Option<Arc<Task>>,
}

/// A task that ends with its last owner.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Assembly {
    /// Makes a generation of `config`. Key stores that it shares with `former` keep the task they
    /// have; the others are filled from disk, and are being fetched from now on.
    pub(super) fn of(config: Config, former: Option<&Self>, logging: &Logging) -> Self {
        let keys: Vec<_> = config.keys.into_iter().map(|source| kept(source, former)).collect();
        let watch = config.revocation_watch;
        let spans = config.collector.map(|collector| spans(collector, former));
        let generation = Generation {
            number: former.map_or(1, |former| former.generation.number + 1),
            since: clock::now(),
            gate: config.gate,
            upstream: config.upstream,
            welcome: config.welcome,
            limits: config.limits,
            connections: config.connections,
            log: config.access_log.then(|| AccessLog::new(logging.writer(), logging.format())),
            spans,
            keys: keys.iter().map(|kept| Arc::clone(&kept.source.store)).collect(),
            viewers: config.viewers,
            ready_needs_keys: config.ready_needs_keys,
            published: config.published,
            revocations: config.revocations,
        };
        Self {
            generation: Arc::new(generation),
            keys,
            _revocation: watch.map(|watch| Task(tokio::spawn(watch.run()).abort_handle())),
        }
    }

    /// Ends it, now that another is in force: its tasks at once, its memory when its last request has
    /// ended. That is given back elsewhere, because there may be much of it and a core has no time.
    pub(super) fn retire(self) {
        let Self { generation, .. } = self;
        tokio::spawn(async move {
            while Arc::strong_count(&generation) > 1 {
                sleep(BETWEEN_LOOKS).await;
            }
            spawn_blocking(move || drop(generation));
        });
    }

    pub(super) const fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// Where its keys come from.
    pub(super) fn sources(&self) -> Vec<KeySource> {
        self.keys.iter().map(|kept| kept.source.clone()).collect()
    }

    /// Waits until there are keys for every issuer or the first attempt to get some has failed, but
    /// not for long: who needs a key that is not there yet waits for it or is told so.
    pub(super) async fn keys_attempted(&self) {
        let all = async {
            for kept in &self.keys {
                kept.source.store.attempted().await;
            }
        };
        let _ = timeout(PATIENCE, all).await;
    }
}

/// A collector that stays the same keeps its queue.
fn spans(collector: Collector, former: Option<&Assembly>) -> Spans {
    let former = former.and_then(|former| former.generation.spans.as_ref());
    match former.filter(|spans| spans.go_to(&collector)) {
        Some(spans) => spans.clone(),
        None => Spans::start(collector),
    }
}

fn kept(source: KeySource, former: Option<&Assembly>) -> Kept {
    let mut formers = former.iter().flat_map(|former| &former.keys);
    let same = formers.find(|former| Arc::ptr_eq(&former.source.store, &source.store));
    if let Some(Kept { _refresher: refresher, .. }) = same {
        return Kept { source, _refresher: refresher.clone() };
    }
    if let Some(cache) = &source.cache {
        restore(&source.store, cache, clock::now());
    }
    tell_of_none(&source.store);
    let refresher = source.source.clone().map(|from| {
        let (store, cache) = (Arc::clone(&source.store), source.cache.clone());
        let refresher = keep_fresh(store, from, cache, source.refresh, jittered);
        Arc::new(Task(tokio::spawn(refresher).abort_handle()))
    });
    Kept { source, _refresher: refresher }
}

fn tell_of_none(store: &KeyStore) {
    if store.schedule().is_none() && store.status().freshness == Freshness::None {
        let issuer = store.issuer();
        warn!(%issuer, "its key set is empty: whoever has a token of it is answered 503");
    }
}

const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// With the time to notice a change it stays below the five seconds that are promised.
const PATIENCE: Duration = Duration::from_secs(2);
