//! What the counters were: kept at two paces, for an hour and for a day, so that people see what
//! changed and when. The control thread looks at the counters that there are; a request notices
//! nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::metrics::Metrics;
use super::totals::Totals;
use crate::clock::{self, Timestamp};

/// What was counted between two looks.
#[derive(Clone, Debug)]
pub struct Slot {
    /// When it ended.
    pub ended: Timestamp,
    /// How long it was.
    pub span: Duration,
    /// What was counted in it.
    pub counted: Totals,
}

/// The counters' past.
#[derive(Debug)]
pub struct History(Mutex<Rings>);

#[derive(Debug)]
struct Rings {
    hour: Ring,
    day: Ring,
}

/// The latest slots of one pace.
#[derive(Debug)]
struct Ring {
    most: usize,
    slots: VecDeque<Slot>,
    /// At the end of the last of them.
    totals: Totals,
    since: Instant,
}

/// The past at both paces, each with what has been counted since its last look.
#[derive(Debug)]
pub struct Past {
    /// Slots of [`FINE`].
    pub hour: Vec<Slot>,
    /// Slots of [`COARSE`].
    pub day: Vec<Slot>,
}

/// Between two looks.
pub const FINE: Duration = Duration::from_secs(10);
/// What a slot of the day is made of.
const LOOKS: usize = 30;
/// Of the day.
pub const COARSE: Duration = Duration::from_secs(300);
const HOUR: usize = 360;
const DAY: usize = 288;

impl History {
    /// Begins with what is counted by now.
    #[must_use]
    pub fn begin(metrics: &Metrics) -> Self {
        let (totals, now) = (metrics.totals(), Instant::now());
        let ring = |most| Ring { most, slots: VecDeque::new(), totals: totals.clone(), since: now };
        Self(Mutex::new(Rings { hour: ring(HOUR), day: ring(DAY) }))
    }

    /// Looks at the counters again and again; never ends.
    pub async fn follow(self: Arc<Self>, metrics: Arc<Metrics>) {
        let mut looks = interval(FINE);
        // A machine that slept has one long slot, not many empty ones.
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.tick().await;
        for number in 1.. {
            looks.tick().await;
            self.look(&metrics.totals(), number % LOOKS == 0);
        }
    }

    fn look(&self, totals: &Totals, also_of_the_day: bool) {
        let mut rings = self.rings();
        rings.hour.close(totals);
        if also_of_the_day {
            rings.day.close(totals);
        }
    }

    /// What was, up to now.
    #[must_use]
    pub fn past(&self, totals: &Totals) -> Past {
        let rings = self.rings();
        Past { hour: rings.hour.past(totals), day: rings.day.past(totals) }
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        // Nothing is left half-done behind this lock, which the control thread alone takes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// What has been counted since the last look.
    fn open(&self, totals: &Totals) -> Slot {
        let counted = totals.since(&self.totals);
        Slot { ended: clock::now(), span: self.since.elapsed(), counted }
    }

    fn close(&mut self, totals: &Totals) {
        let slot = self.open(totals);
        if self.slots.len() >= self.most {
            self.slots.pop_front();
        }
        self.slots.push_back(slot);
        self.totals = totals.clone();
        self.since = Instant::now();
    }

    fn past(&self, totals: &Totals) -> Vec<Slot> {
        self.slots.iter().cloned().chain([self.open(totals)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use tracing_appender::non_blocking::NonBlocking;

    use super::*;
    use crate::rejection::Reason;
    use crate::telemetry::metrics::{CoreMetrics, InFlight};

    fn metrics() -> Metrics {
        let core = Arc::new(CoreMetrics::new(InFlight::default()));
        let (writer, _guard) = NonBlocking::new(std::io::sink());
        Metrics::new(vec![core], writer.error_counter(), Arc::default())
    }

    fn totals(expired: u64) -> Totals {
        let mut totals = metrics().totals();
        totals.refused.0[Reason::TokenExpired as usize] = expired;
        totals
    }

    fn expired(slots: &[Slot]) -> Vec<u64> {
        slots.iter().map(|slot| slot.counted.refused.0[Reason::TokenExpired as usize]).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_has_what_was_counted_in_it() {
        let history = History::begin(&metrics());
        for (looks, count) in [(1, 3), (2, 3), (3, 10)] {
            tokio::time::advance(FINE).await;
            history.look(&totals(count), looks == 3);
        }
        tokio::time::advance(FINE / 2).await;
        let past = history.past(&totals(12));
        assert_eq!(expired(&past.hour), [3, 0, 7, 2]);
        assert_eq!(expired(&past.day), [10, 2]);
        let spans: Vec<_> = past.hour.iter().map(|slot| slot.span).collect();
        assert_eq!(spans, [FINE, FINE, FINE, FINE / 2], "the last is not over");
        assert_eq!(past.day.first().map(|slot| slot.span), Some(3 * FINE));
    }

    #[test]
    fn an_hour_and_a_day_are_kept_and_no_more() {
        let history = History::begin(&metrics());
        for number in 1..=10_000 {
            history.look(&totals(number), number % LOOKS as u64 == 0);
        }
        let past = history.past(&totals(10_000));
        assert_eq!((past.hour.len(), past.day.len()), (HOUR + 1, DAY + 1));
        assert_eq!(FINE * 360, Duration::from_secs(3600));
        assert_eq!(COARSE * 288, Duration::from_secs(24 * 3600));
        assert_eq!(FINE * 30, COARSE);
        assert!(expired(&past.day).iter().take(DAY).all(|count| *count == LOOKS as u64));
    }

    #[tokio::test(start_paused = true)]
    async fn the_control_thread_looks_by_itself() {
        let metrics = Arc::new(metrics());
        let history = Arc::new(History::begin(&metrics));
        let totals = metrics.totals();
        let following = tokio::spawn(Arc::clone(&history).follow(metrics));
        while history.past(&totals).day.len() < 3 {
            tokio::time::sleep(FINE).await;
        }
        assert!(history.past(&totals).hour.len() >= 60);
        following.abort();
    }
}
