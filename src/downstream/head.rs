//! A request's head must arrive within `limits.header_timeout` of its first byte.
//!
//! hyper's own timer starts when it begins to wait for the next request, so it would also close
//! idle connections that an ingress keeps for reuse; it is given `limits.idle_timeout`, and this
//! wrapper measures heads. It also keeps who was refused from reading on before others.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Instant, Sleep, sleep_until};

use super::line::{Line, Place};

/// What a connection is doing; shared between its socket and its service, on one thread.
#[derive(Clone, Debug, Default)]
pub struct Phase(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    stage: AtomicU8,
    /// Whether the last request was of use, so that the next need not stand in the line.
    preferred: AtomicBool,
}

const WAITING: u8 = 0;
const READING_HEAD: u8 = 1;
const SERVING: u8 = 2;

impl Phase {
    /// The head is complete: a request is being served until the turn is dropped.
    #[must_use]
    pub fn serve(&self) -> Turn {
        let unread = self.must_wait();
        self.0.stage.store(SERVING, Relaxed);
        Turn { phase: self.clone(), unread }
    }

    fn must_wait(&self) -> bool {
        self.0.stage.load(Relaxed) == WAITING && !self.0.preferred.load(Relaxed)
    }
}

/// A request being served on a connection.
#[derive(Debug)]
pub struct Turn {
    phase: Phase,
    unread: bool,
}

impl Turn {
    /// Whether the request came together with one that was refused: it was there when that had its
    /// turn, and must wait for one of its own.
    #[must_use]
    pub const fn must_wait(&self) -> bool {
        self.unread
    }

    /// The request was forwarded: the next on this connection goes first.
    pub fn forwarded(&self) {
        self.phase.0.preferred.store(true, Relaxed);
    }

    /// The request was refused: the next on this connection lets others go first.
    pub fn refused(&self) {
        self.phase.0.preferred.store(false, Relaxed);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.phase.0.stage.store(WAITING, Relaxed);
    }
}

/// A socket whose reads fail when a head takes too long.
#[derive(Debug)]
pub struct HeadTimer<T> {
    io: T,
    phase: Phase,
    limit: Duration,
    deadline: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
    place: Place,
}

impl<T> HeadTimer<T> {
    /// Wraps `io`; the service marks its turns on `phase`.
    pub fn new(io: T, phase: Phase, limit: Duration, line: Line) -> Self {
        let place = Place::outside(line);
        Self { io, phase, limit, deadline: Instant::now(), alarm: None, place }
    }

    fn bytes_came(&mut self) {
        let stage = &self.phase.0.stage;
        let begun = stage.compare_exchange(WAITING, READING_HEAD, Relaxed, Relaxed);
        if begun.is_ok() {
            self.deadline = Instant::now() + self.limit;
        }
    }

    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.phase.0.stage.load(Relaxed) != READING_HEAD {
            return Poll::Pending;
        }
        let deadline = self.deadline;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        alarm.as_mut().poll(cx)
    }
}

impl<T: Read + Unpin> Read for HeadTimer<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.phase.must_wait() {
            ready!(self.place.poll_turn(cx));
        }
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                self.bytes_came();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_overdue(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<T: Write + Unpin> Write for HeadTimer<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
