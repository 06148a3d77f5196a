//! What a client of HTTP/2 may ask of us beside requests. Frames that carry nothing cost their
//! sender nothing and us work: PING, SETTINGS, PRIORITY, `WINDOW_UPDATE`, resets, empty DATA. So do
//! requests that are taken back before their answer (CVE-2023-44487) or that make us reset them
//! (CVE-2025-8671). All are paid from one budget, which answers and time fill again.

use std::cell::Cell;

use tokio::time::Instant;

/// The budget of one connection.
#[derive(Debug)]
pub struct Budget {
    left: Cell<i64>,
    filled: Cell<Instant>,
}

/// What a connection begins with and never has more of. A browser that leaves a page takes back a
/// hundred requests at once at the worst, which is half of it.
const MOST: i64 = 1_000;
/// What each second brings: a stream of small events whose every frame is acknowledged twice.
const PER_SECOND: i64 = 50;

/// What is paid or earned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A frame came that carries nothing.
    IdleFrame,
    /// A request was taken back before its answer.
    Abandoned,
    /// We reset a stream.
    OurReset,
    /// A frame of an answer went out, with this many bytes: clients open their windows again for
    /// each of them, some for each 2 KiB of it.
    Answered(u32),
}

impl Item {
    const fn worth(self) -> i64 {
        match self {
            Self::IdleFrame => -1,
            Self::Abandoned | Self::OurReset => -4,
            Self::Answered(length) => 4 + (length / 1024) as i64,
        }
    }
}

impl Budget {
    /// A full one.
    #[must_use]
    pub fn new() -> Self {
        Self { left: Cell::new(MOST), filled: Cell::new(Instant::now()) }
    }

    /// Pays or earns.
    pub fn book(&self, item: Item) {
        self.left.set(self.left.get().saturating_add(item.worth()).min(MOST));
    }

    /// Whether nothing is left: the connection is to be closed.
    pub fn is_spent(&self) -> bool {
        if self.left.get() > 0 {
            return false;
        }
        let (now, since) = (Instant::now(), self.filled.get());
        let seconds = i64::try_from((now - since).as_secs()).unwrap_or(MOST).min(MOST);
        if seconds > 0 {
            self.filled.set(now);
            self.left.set((self.left.get() + seconds * PER_SECOND).min(MOST));
        }
        self.left.get() <= 0
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    fn survives(budget: &Budget, items: &[Item], rounds: usize) -> bool {
        (0..rounds).all(|_| {
            for item in items {
                budget.book(*item);
            }
            !budget.is_spent()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn floods_run_out_of_it() {
        for items in [
            &[Item::IdleFrame][..],
            // A request and its reset.
            &[Item::Abandoned, Item::IdleFrame],
            &[Item::OurReset],
        ] {
            assert!(!survives(&Budget::new(), items, 1_001), "{items:?}");
        }
        let slow = Budget::new();
        for _ in 0..600 {
            advance(Duration::from_secs(1)).await;
            if !survives(&slow, &[Item::IdleFrame], 100) {
                return;
            }
        }
        panic!("twice as much as each second brings never ran out");
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_are_answered_never_run_out() {
        let update = Item::IdleFrame;
        for items in [
            // Windows of connection and stream for each small event.
            &[Item::Answered(50), update, update][..],
            // Both for each 4 KiB of a large answer.
            &[
                Item::Answered(16_384),
                update,
                update,
                update,
                update,
                update,
                update,
                update,
                update,
            ],
            // An answer of our own to a request whose body we did not read.
            &[Item::Answered(100), Item::Answered(200), Item::OurReset],
        ] {
            assert!(survives(&Budget::new(), items, 100_000), "{items:?}");
        }
        // A hundred requests taken back at once, each minute.
        let browser = Budget::new();
        for _ in 0..60 {
            assert!(survives(&browser, &[Item::Abandoned, Item::IdleFrame], 100));
            advance(Duration::from_secs(60)).await;
        }
    }
}
