//! A deadline that is set anew again and again: it costs a timer only once somebody has to wait for
//! it, and not with each request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

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
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        // A timer of an earlier deadline is left to run out once: deadlines are set anew with each
        // request, and to set a timer anew costs more than all the rest.
        while sleep.deadline() < deadline {
            ready!(sleep.as_mut().poll(cx));
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    /// When it rings, of these deadlines set one after the other, each polled once.
    async fn rings(deadlines: &[u64]) -> Duration {
        let begun = Instant::now();
        let mut alarm = Alarm::default();
        for seconds in deadlines {
            alarm.clear();
            alarm.set(|| begun + Duration::from_secs(*seconds));
            assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx).is_pending())).await);
        }
        poll_fn(|cx| alarm.poll(cx)).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_deadline_that_was_set_last() {
        for deadlines in [&[5][..], &[5, 9], &[9, 5], &[5, 9, 7], &[5, 5, 60], &[60, 1, 2]] {
            let rung = rings(deadlines).await;
            let wanted = Duration::from_secs(*deadlines.last().unwrap());
            assert!(rung.abs_diff(wanted) < Duration::from_millis(5), "{deadlines:?}: {rung:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_rings_without_one() {
        let mut alarm = Alarm::default();
        alarm.set(Instant::now);
        alarm.clear();
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx).is_pending())).await);
    }
}
