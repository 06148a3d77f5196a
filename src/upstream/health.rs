//! Whether an address of Airflow is worth a request, learned from the requests themselves. One that
//! cannot be connected to, or that ends new connections before it answers, is out for a while, the
//! longer the more often; then one request tries it. All cores share what they learn, in atomics.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What is known of one address.
#[derive(Debug)]
pub struct Health {
    /// What `until` is counted from.
    begun: Instant,
    /// The millisecond at which it may be tried again; 0 while it is in.
    until: AtomicU64,
    /// How often it was put out, or stayed out, since it last answered.
    rounds: AtomicU32,
    /// New connections in a row that ended before an answer.
    resets: AtomicU32,
}

/// How an address stands. The least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is worth a request.
    In,
    /// It is out, and may be tried again at this millisecond.
    Out(u64),
}

impl Health {
    /// Nothing bad is known yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            begun: now,
            until: AtomicU64::new(0),
            rounds: AtomicU32::new(0),
            resets: AtomicU32::new(0),
        }
    }

    /// Whether it is out, due or not.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.until.load(Relaxed) != 0
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.until.load(Relaxed) {
            0 => Standing::In,
            until => Standing::Out(until),
        }
    }

    /// Whether the time is over and this is the one request that may try. It renews the time: if it
    /// learns nothing, the next may try after that.
    pub fn may_try(&self, now: Instant) -> bool {
        let (until, now) = (self.until.load(Relaxed), self.millis(now));
        until != 0
            && until <= now
            && self
                .until
                .compare_exchange(until, now + millis(self.span()), Relaxed, Relaxed)
                .is_ok()
    }

    /// A connection could not be made. Says for how long the address is out, if this is news: of an
    /// address that is out only the one that tries it learns anything.
    pub fn failed(&self, trying: bool, now: Instant) -> Option<Duration> {
        if self.is_out() && !trying {
            return None;
        }
        self.rounds.fetch_add(1, Relaxed);
        let span = self.span();
        self.until.store(self.millis(now) + millis(span), Relaxed);
        Some(span)
    }

    /// A new connection ended before an answer. One may be the request's own fault.
    pub fn reset(&self, trying: bool, now: Instant) -> Option<Duration> {
        let resets = self.resets.fetch_add(1, Relaxed) + 1;
        (trying || resets >= MOST_RESETS).then(|| self.failed(trying, now)).flatten()
    }

    /// It answered. Says whether it was out.
    pub fn answered(&self) -> bool {
        if self.resets.load(Relaxed) == 0 && self.rounds.load(Relaxed) == 0 {
            return false;
        }
        self.resets.store(0, Relaxed);
        self.rounds.store(0, Relaxed);
        self.until.swap(0, Relaxed) != 0
    }

    fn span(&self) -> Duration {
        let doublings = self.rounds.load(Relaxed).saturating_sub(1).min(16);
        LONGEST.min(SHORTEST * (1 << doublings))
    }

    /// Never 0, which stands for "in".
    fn millis(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.begun)) + 1
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX / 2)
}

/// What a restart takes at least.
const SHORTEST: Duration = Duration::from_secs(1);
/// What somebody who has repaired it waits at most.
const LONGEST: Duration = Duration::from_secs(30);
/// A request that makes a worker crash does so once for its own sake and hardly three times in a row.
const MOST_RESETS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_address_is_out_for_longer_each_time_and_back_when_it_answers() {
        let mut now = Instant::now();
        let health = Health::new(now);
        assert_eq!(health.failed(false, now), Some(SECOND));
        for seconds in [2, 4, 8, 16, 30, 30] {
            assert!(!health.may_try(now));
            now += health.span();
            assert!(health.may_try(now));
            assert_eq!(health.failed(true, now), Some(SECOND * seconds));
        }
        assert!(health.answered());
        assert_eq!(health.standing(), Standing::In);
        assert_eq!(health.failed(false, now), Some(SECOND), "it begins anew");
    }

    #[test]
    fn one_request_alone_tries_an_address_whose_time_is_over() {
        let now = Instant::now();
        let health = Health::new(now);
        health.failed(false, now);
        let due = now + SECOND;
        let tries = (0..5).filter(|_| health.may_try(due)).count();
        assert_eq!(tries, 1);
        // It was dropped and learned nothing.
        assert!(health.may_try(due + SECOND));
    }

    #[test]
    fn the_failures_of_many_requests_at_once_are_one() {
        let now = Instant::now();
        let health = Health::new(now);
        let news = (0..100).filter_map(|_| health.failed(false, now)).count();
        assert_eq!(news, 1);
        assert!(health.may_try(now + SECOND));
    }

    #[test]
    fn a_single_reset_is_no_reason() {
        let now = Instant::now();
        let health = Health::new(now);
        for _ in 0..5 {
            assert_eq!(health.reset(false, now), None);
            assert_eq!(health.reset(false, now), None);
            assert!(!health.answered(), "it was never out");
        }
        health.reset(false, now);
        health.reset(false, now);
        assert_eq!(health.reset(false, now), Some(SECOND));
    }
}
