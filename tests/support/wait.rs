//! Waiting for a condition, with a deadline: nothing in the tests sleeps to be lucky.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; only a failing test ever waits this long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Asks until there is an answer.
pub(crate) fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, ask).unwrap_or_else(|| panic!("waited in vain: {what}"))
}

/// Asks until there is an answer or the time is over.
pub(crate) fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if started.elapsed() > limit {
            return None;
        }
        sleep(Duration::from_millis(20));
    }
}
