//! When keys are fetched: before they age out, at once when a request asks, and after a failure
//! again with growing pauses. One task per store, so there is one fetch at a time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::disk::CacheFile;
use super::fetch::{FetchError, Fetched, Source, place};
use super::store::KeyStore;
use crate::clock::{self, Timestamp};

/// Fills `store` with what `cache` kept, if it can be believed: such keys serve until the first
/// fetch ends, and through an outage for what is left of their time.
pub fn restore(store: &KeyStore, cache: &CacheFile, now: Timestamp) {
    let (issuer, file) = (store.issuer(), cache.path().display());
    match cache.load(now, store.stale_for()) {
        Ok(Some(loaded)) => {
            info!(%issuer, %file, keys = loaded.keys.len(), age = ?loaded.age, "keys loaded");
            store.restore(loaded.keys, loaded.age);
        }
        Ok(None) => {}
        Err(error) => warn!(%issuer, %file, %error, "keys on disk ignored"),
    }
}

/// Fills `store` from `source` once, for who asks and goes; gives how far its clock is ahead of ours.
pub async fn fill(store: &KeyStore, source: &Source) -> Result<Option<i64>, FetchError> {
    store.fetch_begins(&place(source.url()));
    match source.fetch().await {
        Ok(Fetched { keys, clock_ahead, .. }) => {
            store.fetch_ended(Ok(keys));
            Ok(clock_ahead)
        }
        Err(error) => {
            store.fetch_ended(Err(error.to_string()));
            Err(error)
        }
    }
}

/// Keeps the keys of `store` fresh from `source`, and the last good ones in `cache`; never ends.
/// `jitter` says how much of the time to the next fetch is waited: [`jittered`], but in a simulation.
pub async fn keep_fresh(
    store: Arc<KeyStore>,
    source: Source,
    cache: Option<CacheFile>,
    refresh: Duration,
    mut jitter: impl FnMut(Duration) -> Duration,
) {
    let mut failures = 0;
    let mut writer = Writer::new(WRITE_PATIENCE);
    loop {
        let begun = Instant::now();
        let next = match fetch(&store, &source).await {
            Ok((document, max_age)) => {
                failures = 0;
                if let Some(cache) = &cache {
                    save(&store, cache.clone(), document, &mut writer).await;
                }
                // The keys are as old as the fetch's beginning.
                begun + jitter(interval(max_age, refresh))
            }
            Err(()) => {
                failures += 1;
                Instant::now() + jitter(backoff(failures).min(refresh))
            }
        };
        store.fetch_follows(next);
        tokio::select! {
            () = sleep_until(next) => {}
            () = store.wanted() => {}
        }
    }
}

async fn fetch(store: &KeyStore, source: &Source) -> Result<(Vec<u8>, Option<Duration>), ()> {
    let (issuer, url) = (store.issuer(), place(source.url()));
    let begun = Instant::now();
    store.fetch_begins(&url);
    let outcome = source.fetch().await;
    let took = begun.elapsed();
    match outcome {
        Ok(Fetched { keys, document, max_age, .. }) => {
            for why in keys.skipped() {
                debug!(%issuer, %url, why, "key left out");
            }
            let left_out = keys.skipped().len();
            info!(%issuer, %url, keys = keys.len(), left_out, ?took, "keys fetched");
            store.fetch_ended(Ok(keys));
            Ok((document, max_age))
        }
        Err(error) => {
            store.fetch_ended(Err(error.to_string()));
            let usable = store.status().freshness;
            warn!(%issuer, %url, %error, ?took, keys = ?usable, "keys not fetched; trying again");
            Err(())
        }
    }
}

/// A disk that fails costs the next restart, never a request.
async fn save(store: &KeyStore, cache: CacheFile, document: Vec<u8>, writer: &mut Writer) {
    let (issuer, file) = (store.issuer(), cache.path().display().to_string());
    let fetched = clock::now();
    if let Err(error) = writer.write(move || cache.save(&document, fetched)).await {
        warn!(%issuer, %file, %error, "keys not kept on disk");
    }
}

/// Writes beside the control thread, one write at a time. A disk that hangs (a network's may) is not
/// waited for: the next fetch is more important.
struct Writer {
    patience: Duration,
    hanging: Option<JoinHandle<io::Result<()>>>,
}

const WRITE_PATIENCE: Duration = Duration::from_secs(2);

impl Writer {
    const fn new(patience: Duration) -> Self {
        Self { patience, hanging: None }
    }

    async fn write(
        &mut self,
        work: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        if self.hanging.as_ref().is_some_and(|write| !write.is_finished()) {
            return Err(io::Error::other("the write before it has not ended"));
        }
        let mut write = spawn_blocking(work);
        match timeout(self.patience, &mut write).await {
            Ok(ended) => ended.map_err(io::Error::other).flatten(),
            Err(_) => {
                self.hanging = Some(write);
                Err(io::Error::other(format!("no end of the write after {:?}", self.patience)))
            }
        }
    }
}

/// What the publisher says may bring the next fetch forward, but not too far, and never put it off.
fn interval(max_age: Option<Duration>, refresh: Duration) -> Duration {
    max_age.map_or(refresh, |max_age| max_age.max(SHORTEST_MAX_AGE).min(refresh))
}

/// A publisher that forbids caching is not to be asked without end.
const SHORTEST_MAX_AGE: Duration = Duration::from_secs(300);

/// Replicas started together drift apart: 80 to 100 % of the time.
#[must_use]
pub fn jittered(span: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness the whole span is as good.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    span.mul_f64(1.0 - 0.2 * f64::from(byte[0]) / 255.0)
}

/// 1, 2, 4, … seconds, at most half a minute, and a little less by the jitter: an issuer that is back
/// is seen soon, and not by all replicas in the same second.
fn backoff(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(1).min(5)).min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_disk_that_hangs_is_not_waited_for() {
        let mut writer = Writer::new(Duration::from_millis(10));
        let (disk_answers, hangs) = mpsc::channel();
        let hanging = writer.write(move || hangs.recv().map_err(io::Error::other)).await;
        assert!(hanging.unwrap_err().to_string().contains("10ms"));
        let behind = writer.write(|| Ok(())).await;
        assert!(behind.unwrap_err().to_string().contains("has not ended"));
        disk_answers.send(()).unwrap();
        while writer.hanging.as_ref().is_some_and(|write| !write.is_finished()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        writer.patience = Duration::from_secs(60);
        writer.write(|| Ok(())).await.unwrap();
        let failing = writer.write(|| Err(io::Error::other("no space"))).await;
        assert_eq!(failing.unwrap_err().to_string(), "no space");
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let pauses: Vec<_> = (1..9).map(|n| backoff(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn a_max_age_brings_the_refresh_forward_within_bounds() {
        let seconds = Duration::from_secs;
        for (max_age, refresh, expected) in [
            (None, 3600, 3600),
            (Some(600), 3600, 600),
            (Some(0), 3600, 300),
            (Some(299), 3600, 300),
            (Some(86400), 3600, 3600),
            (Some(u64::MAX), 3600, 3600),
            (Some(600), 60, 60),
            (Some(0), 60, 60),
        ] {
            let found = interval(max_age.map(seconds), seconds(refresh));
            assert_eq!(found, seconds(expected), "{max_age:?} {refresh}");
        }
    }

    #[test]
    fn a_refresh_comes_early_rather_than_late() {
        for _ in 0..100 {
            let pause = jittered(Duration::from_secs(100));
            assert!((80..=100).contains(&pause.as_secs()), "{pause:?}");
        }
    }
}
