//! Who goes first: a core serves whatever is ready in the order in which it came, so a flood of
//! requests that are all refused would make every other one wait for the whole of it.
//!
//! A connection that has had no request forwarded yet, or whose last one was refused, therefore
//! stands in a line before its next request is read. In each round of the core those at the front get
//! their turn for a moment, after all the others that are ready. Nobody is refused for it, and without
//! a flood a turn costs a look at the sockets.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::yield_now;

/// The line of one core.
#[derive(Clone, Debug)]
pub struct Line(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    front: Semaphore,
    moment: Duration,
    /// When somebody was first let go in the round that is.
    round: Mutex<Option<Instant>>,
}

/// As long as two signatures take, of those that are refused: whoever is let in waits no longer for
/// them, and they not for a look at the sockets each.
const MOMENT: Duration = Duration::from_micros(50);

impl Line {
    /// A line without anybody in it.
    #[must_use]
    pub fn new() -> Self {
        Self::of(MOMENT)
    }

    fn of(moment: Duration) -> Self {
        let (front, round) = (Semaphore::new(1), Mutex::default());
        Self(Arc::new(Shared { front, moment, round }))
    }

    /// Waits until all who came before have had their turn, and for the next round if the moment of
    /// this one is over: the runtime wakes who has yielded when nothing else is ready and the sockets
    /// have been looked at.
    pub fn turn(&self) -> impl Future<Output = ()> + Send + use<> {
        let line = Arc::clone(&self.0);
        async move {
            // Never closed, so there is always a permit.
            let _front = line.front.acquire().await.ok();
            if line.is_over() {
                yield_now().await;
                line.begin_round();
            }
        }
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        let round = self.round.lock().unwrap_or_else(PoisonError::into_inner);
        round.is_none_or(|begun| begun.elapsed() >= self.moment)
    }

    fn begin_round(&self) {
        *self.round.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
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
    use tokio::task::JoinSet;

    use super::*;

    /// Ten stand in the line while somebody else is ready again and again.
    #[tokio::test]
    async fn one_of_the_line_has_its_turn_in_a_round_whose_moment_is_over() {
        let (line, seen) = (Line::of(Duration::ZERO), Arc::new(Mutex::new(Vec::new())));
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
    async fn while_the_moment_lasts_all_of_the_line_have_their_turn() {
        let (line, seen) = (Line::of(Duration::MAX), Arc::new(Mutex::new(Vec::new())));
        let mut tasks = JoinSet::new();
        for number in 0..10 {
            let (line, seen) = (line.clone(), Arc::clone(&seen));
            tasks.spawn(async move {
                line.turn().await;
                seen.lock().unwrap().push(Some(number));
            });
        }
        let others = Arc::clone(&seen);
        tasks.spawn(async move {
            while others.lock().unwrap().iter().flatten().count() < 10 {
                others.lock().unwrap().push(None);
                yield_now().await;
            }
        });
        tasks.join_all().await;
        let seen = seen.lock().unwrap();
        let turns: Vec<i32> = seen.iter().flatten().copied().collect();
        assert_eq!(turns, (0..10).collect::<Vec<_>>(), "in order");
        assert!(seen.iter().filter(|turn| turn.is_none()).count() < 5, "{seen:?}");
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
