//! The time of day, through one door: decisions take a [`Timestamp`] as an argument, so tests set
//! it; only the edges ask [`now`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whole seconds since 1970-01-01T00:00:00Z: a `NumericDate` of RFC 7519, section 2, without its
/// fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The instant `seconds` after the Unix epoch.
    #[must_use]
    pub const fn from_unix(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub const fn unix(self) -> u64 {
        self.0
    }

    /// The instant `span` later; saturates at the end of time.
    #[must_use]
    pub const fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_secs()))
    }

    /// The instant `span` earlier; saturates at the epoch.
    #[must_use]
    pub const fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.as_secs()))
    }
}

/// The wall clock, now.
#[must_use]
pub fn now() -> Timestamp {
    let since_epoch = wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(since_epoch.as_secs())
}

/// The wall clock with its full resolution, for log lines.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}
