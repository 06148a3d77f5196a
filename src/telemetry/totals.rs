//! What all cores have counted of requests, added up, and how that changes.

use std::time::Duration;

use crate::rejection::Reason;

/// Counts since the start, or between two moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Answers of Airflow, by the hundred of their status: 1xx first.
    pub forwarded: [u64; 5],
    /// Tokens given for tokens.
    pub answered: u64,
    /// Requests whose client went away before the end of an answer.
    pub abandoned: u64,
    /// Refusals of ours, and answers that broke off, by the place of their reason.
    pub refused: Refused,
    /// Heads that were no request.
    pub unparsed: u64,
    /// Connections turned away.
    pub shed: u64,
    /// How long requests took.
    pub durations: Durations,
    /// Open connections; at this moment, not since one.
    pub connections: u64,
    /// Requests being served; at this moment.
    pub in_flight: u64,
}

/// A count for each reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub [u64; Reason::ALL.len()]);

impl Default for Refused {
    fn default() -> Self {
        Self([0; Reason::ALL.len()])
    }
}

/// Counts by upper bound in seconds; the last has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durations(pub Vec<(f64, u64)>);

// Bounds are constants, and never NaN.
impl Eq for Durations {}

impl Totals {
    /// What has been counted since it was `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        self.with(before, u64::saturating_sub)
    }

    /// Both together; of moments the later one, which is `other`.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let sum = other.with(self, u64::saturating_add);
        Self { connections: other.connections, in_flight: other.in_flight, ..sum }
    }

    fn with(&self, other: &Self, join: impl Fn(u64, u64) -> u64) -> Self {
        let mut forwarded = self.forwarded;
        for (count, theirs) in forwarded.iter_mut().zip(&other.forwarded) {
            *count = join(*count, *theirs);
        }
        let mut refused = self.refused.clone();
        for (count, theirs) in refused.0.iter_mut().zip(&other.refused.0) {
            *count = join(*count, *theirs);
        }
        Self {
            forwarded,
            answered: join(self.answered, other.answered),
            abandoned: join(self.abandoned, other.abandoned),
            refused,
            unparsed: join(self.unparsed, other.unparsed),
            shed: join(self.shed, other.shed),
            durations: self.durations.with(&other.durations, join),
            connections: self.connections,
            in_flight: self.in_flight,
        }
    }

    /// All requests that have ended.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.forwarded.iter().sum::<u64>() + self.answered + self.abandoned + self.refused.all()
    }
}

impl Refused {
    /// How many for this reason.
    #[must_use]
    pub fn of(&self, reason: Reason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    /// How many for any.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Durations {
    fn with(&self, other: &Self, join: impl Fn(u64, u64) -> u64) -> Self {
        if self.0.is_empty() {
            return Self(other.0.iter().map(|(bound, count)| (*bound, join(0, *count))).collect());
        }
        let theirs = other.0.iter().map(|(_, count)| *count).chain(std::iter::repeat(0));
        let joined = self.0.iter().zip(theirs);
        Self(joined.map(|((bound, count), theirs)| (*bound, join(*count, theirs))).collect())
    }

    /// The bound that this share of requests did not exceed; `None` without requests, and where the
    /// last bound does not hold them.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let all: u64 = self.0.iter().map(|(_, count)| count).sum();
        #[expect(clippy::cast_precision_loss, reason = "a share of requests, not an account")]
        let wanted = share * all as f64;
        let mut below = 0;
        let within = self.0.iter().find(|(_, count)| {
            below += count;
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            let reached = below as f64 >= wanted;
            reached
        });
        let (bound, _) = within.filter(|_| all > 0)?;
        Duration::try_from_secs_f64(*bound).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(expired: u64, quick: u64, slow: u64) -> Totals {
        let mut totals = Totals::default();
        totals.refused.0[Reason::TokenExpired as usize] = expired;
        totals.forwarded = [0, quick, 0, 0, slow];
        totals.durations = Durations(vec![(0.001, quick + expired), (f64::INFINITY, slow)]);
        totals.in_flight = quick;
        totals
    }

    #[test]
    fn differences_and_sums_are_of_counts_and_moments_stay() {
        let (first, second) = (totals(2, 1, 0), totals(5, 1, 3));
        let between = second.since(&first);
        assert_eq!(between.refused.of(Reason::TokenExpired), 3);
        assert_eq!((between.requests(), between.in_flight), (6, 1));
        assert_eq!(first.and(&between), second);
        assert_eq!(Totals::default().and(&second), second);
    }

    #[test]
    fn a_quantile_is_the_bound_that_holds_so_many() {
        let quantile = |share| totals(90, 5, 5).durations.quantile(share);
        assert_eq!(quantile(0.5), Some(Duration::from_millis(1)));
        assert_eq!(quantile(0.95), Some(Duration::from_millis(1)));
        assert_eq!(quantile(0.99), None, "longer than any bound");
        assert_eq!(Totals::default().durations.quantile(0.5), None);
    }
}
