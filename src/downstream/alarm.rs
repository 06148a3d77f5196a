//! A deadline that an IO wrapper may have: it costs a timer only once somebody has to wait for it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline, or none.
#[derive(Debug, Default)]
pub struct Alarm {
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Sets the deadline, unless there is one already.
    pub fn set(&mut self, deadline: impl FnOnce() -> Instant) {
        self.deadline.get_or_insert_with(deadline);
    }

    /// There is nothing to wait for.
    pub const fn clear(&mut self) {
        self.deadline = None;
    }

    /// Ready when the deadline has passed; never without one.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    }
}
