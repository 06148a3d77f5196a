//! What became of configurations that were to take the place of the one in force.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::{self, Timestamp};

/// How many there were, and the last one.
#[derive(Debug, Default)]
pub struct Reloads {
    applied: AtomicU64,
    rejected: AtomicU64,
    last: Mutex<Option<Reload>>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Reload {
    /// When it was read.
    pub time: Timestamp,
    /// What is wrong with it; nothing where it was taken up.
    pub faults: Vec<Fault>,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The key, as `issuers[0].tenant`.
    pub key: String,
    /// Where it was written.
    pub place: String,
    /// What stands there.
    pub found: String,
    /// What should.
    pub expected: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Reloads {
    /// One was taken up.
    pub fn applied(&self) {
        self.applied.fetch_add(1, Relaxed);
        *self.lock() = Some(Reload { time: clock::now(), faults: Vec::new() });
    }

    /// Something is wrong with one; the one before stays.
    pub fn rejected(&self, faults: Vec<Fault>) {
        self.rejected.fetch_add(1, Relaxed);
        *self.lock() = Some(Reload { time: clock::now(), faults });
    }

    /// How many were taken up, and how many were not.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.applied.load(Relaxed), self.rejected.load(Relaxed))
    }

    /// The last one.
    #[must_use]
    pub fn last(&self) -> Option<Reload> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Reload>> {
        // Nothing is left half-done behind this lock.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reload {
    /// Whether it is in force.
    #[must_use]
    pub const fn was_applied(&self) -> bool {
        self.faults.is_empty()
    }
}
