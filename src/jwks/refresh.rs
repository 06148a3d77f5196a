//! When keys are fetched: before they age out, at once when a request asks, and after a failure
//! again with growing pauses. One task per store, so there is one fetch at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::fetch::Source;
use super::store::KeyStore;

/// Keeps the keys of `store` fresh from `source`; never ends.
pub async fn keep_fresh(store: Arc<KeyStore>, source: Source, refresh: Duration) {
    let mut failures = 0;
    loop {
        let pause = match fetch(&store, &source).await {
            Ok(()) => {
                failures = 0;
                jittered(refresh)
            }
            Err(()) => {
                failures += 1;
                backoff(failures).min(refresh)
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = store.wanted() => {}
        }
    }
}

async fn fetch(store: &KeyStore, source: &Source) -> Result<(), ()> {
    let (issuer, url) = (store.issuer(), source.url());
    let begun = Instant::now();
    store.fetch_begins();
    let outcome = source.fetch().await;
    let took = begun.elapsed();
    match outcome {
        Ok(keys) => {
            for why in keys.skipped() {
                debug!(%issuer, %url, why, "key left out");
            }
            info!(%issuer, %url, keys = keys.len(), ?took, "keys fetched");
            store.fetch_ended(Some(keys));
            Ok(())
        }
        Err(error) => {
            store.fetch_ended(None);
            let usable = store.status().freshness;
            warn!(%issuer, %url, %error, ?took, keys = ?usable, "keys not fetched; trying again");
            Err(())
        }
    }
}

/// Replicas started together drift apart: 80 to 100 % of the time.
fn jittered(span: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness the whole span is as good.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    span.mul_f64(1.0 - 0.2 * f64::from(byte[0]) / 255.0)
}

/// 1, 2, 4, … seconds, at most half a minute: an issuer that is back is seen soon.
fn backoff(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(1).min(5)).min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let pauses: Vec<_> = (1..9).map(|n| backoff(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn a_refresh_comes_early_rather_than_late() {
        for _ in 0..100 {
            let pause = jittered(Duration::from_secs(100));
            assert!((80..=100).contains(&pause.as_secs()), "{pause:?}");
        }
    }
}
