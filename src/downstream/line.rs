//! Who goes first: a core serves whatever is ready in the order in which it came, so a flood of
//! requests that are all refused would make every other one wait for the whole of it.
//!
//! A connection that has had no request forwarded yet, or whose last one was refused, therefore
//! stands in a line before its next request is read. In each round of the core one of them gets its
//! turn, after all the others that are ready. Nobody is refused for it, and without a flood a turn
//! costs a look at the sockets.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::Semaphore;
use tokio::task::yield_now;

/// The line of one core.
#[derive(Clone, Debug)]
pub struct Line(Arc<Semaphore>);

impl Line {
    /// A line without anybody in it.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// Waits until all who came before have had their turn, and for one round after that: the
    /// runtime wakes who has yielded when nothing else is ready and the sockets have been looked at.
    pub fn turn(&self) -> impl Future<Output = ()> + Send + use<> {
        let line = Arc::clone(&self.0);
        async move {
            // Never closed, so there is always a permit.
            let _front = line.acquire().await.ok();
            yield_now().await;
        }
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

/// One connection's place in it.
pub struct Place {
    line: Line,
    standing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Place {
    /// Outside of the line.
    #[must_use]
    pub const fn outside(line: Line) -> Self {
        Self { line, standing: None }
    }

    /// Stands in the line; ready when it is this connection's turn, once.
    pub fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let turn = self.standing.get_or_insert_with(|| Box::pin(self.line.turn()));
        ready!(turn.as_mut().poll(cx));
        self.standing = None;
        Poll::Ready(())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Mutex;

    use tokio::task::JoinSet;

    use super::*;

    /// Ten stand in the line while somebody else is ready again and again.
    #[tokio::test]
    async fn one_of_the_line_has_its_turn_in_each_round() {
        let (line, seen) = (Line::new(), Arc::new(Mutex::new(Vec::new())));
        let mut tasks = JoinSet::new();
        for number in 0..10 {
            let (mut place, seen) = (Place::outside(line.clone()), Arc::clone(&seen));
            tasks.spawn(async move {
                for _ in 0..3 {
                    poll_fn(|cx| place.poll_turn(cx)).await;
                    seen.lock().unwrap().push(Some(number));
                }
            });
        }
        let others = Arc::clone(&seen);
        tasks.spawn(async move {
            while others.lock().unwrap().iter().flatten().count() < 30 {
                others.lock().unwrap().push(None);
                yield_now().await;
            }
        });
        tasks.join_all().await;
        let seen = seen.lock().unwrap();
        let turns: Vec<i32> = seen.iter().flatten().copied().collect();
        assert_eq!(turns, (0..30).map(|turn| turn % 10).collect::<Vec<_>>(), "in order");
        // Last in one round and first in the next is no more than one in each.
        for three in seen.windows(3) {
            assert!(three.contains(&None), "three turns and nobody else among them: {seen:?}");
        }
    }

    #[tokio::test]
    async fn who_leaves_holds_up_nobody() {
        let line = Line::new();
        let mut gone = Place::outside(line.clone());
        let mut last = Place::outside(line);
        for waiting in [&mut gone, &mut last] {
            let stands = poll_fn(|cx| Poll::Ready(waiting.poll_turn(cx).is_pending())).await;
            assert!(stands);
        }
        drop(gone);
        poll_fn(|cx| last.poll_turn(cx)).await;
    }
}
