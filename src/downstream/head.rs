//! A request's head must arrive within `limits.header_timeout` of its first byte, and that within
//! `limits.idle_timeout` of the request before.
//!
//! hyper's own timer has one span for both, so it would also close idle connections that an ingress
//! keeps for reuse; and it is set anew for each request. This wrapper measures both. It also keeps who
//! was refused from reading on before others, and gives up who does not read what is answered.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::Instant;

use super::line::{Line, Place};
use crate::alarm::Alarm;

/// What a connection is doing; shared between its socket and its service, on one thread.
#[derive(Clone, Debug, Default)]
pub struct Phase(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    stage: AtomicU8,
    /// Whether the last request was of use, so that the next need not stand in the line.
    preferred: AtomicBool,
    /// Requests being served: with HTTP/1.1 one at most.
    running: AtomicU32,
    /// Requests so far.
    begun: AtomicU32,
    ending: OnceLock<Ending>,
}

const WAITING: u8 = 0;
const READING_HEAD: u8 = 1;
const SERVING: u8 = 2;

/// Why we ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A head did not arrive in time.
    LateHead,
    /// The client did not read what it asked for.
    Unread,
    /// Too much came that was no request.
    Flood,
    /// What came was not HTTP/2.
    Malformed,
    /// TLS was not agreed on.
    Handshake,
    /// The header of the PROXY protocol was wrong.
    ProxyHeader,
}

impl Ending {
    /// Every one, in order.
    pub const ALL: [Self; 6] = [
        Self::LateHead,
        Self::Unread,
        Self::Flood,
        Self::Malformed,
        Self::Handshake,
        Self::ProxyHeader,
    ];

    /// As metrics and log lines have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LateHead => "late_head",
            Self::Unread => "unread_answer",
            Self::Flood => "flood",
            Self::Malformed => "malformed_http2",
            Self::Handshake => "tls_handshake",
            Self::ProxyHeader => "proxy_header",
        }
    }
}

impl Phase {
    /// The head is complete: a request is being served until the turn is dropped.
    #[must_use]
    pub fn serve(&self) -> Turn {
        let unread = self.0.stage.load(Relaxed) != READING_HEAD && !self.0.preferred.load(Relaxed);
        self.0.stage.store(SERVING, Relaxed);
        // One thread counts, so that no processor need be asked.
        self.0.running.store(self.running() + 1, Relaxed);
        self.0.begun.store(self.begun().saturating_add(1), Relaxed);
        Turn { phase: self.clone(), unread }
    }

    /// How many requests are being served.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.0.running.load(Relaxed)
    }

    /// How many requests there have been.
    #[must_use]
    pub fn begun(&self) -> u32 {
        self.0.begun.load(Relaxed)
    }

    /// The error by which a socket ends the connection, once it has been noted why.
    #[must_use]
    pub fn end(&self, ending: Ending) -> io::Error {
        // The first is the reason.
        let _ = self.0.ending.set(ending);
        match ending {
            Ending::LateHead | Ending::Unread => io::ErrorKind::TimedOut.into(),
            Ending::Flood => io::ErrorKind::QuotaExceeded.into(),
            Ending::Malformed | Ending::Handshake | Ending::ProxyHeader => {
                io::ErrorKind::InvalidData.into()
            }
        }
    }

    /// Why we ended the connection, if we did.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.0.ending.get().copied()
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
        let left = self.phase.running().saturating_sub(1);
        self.phase.0.running.store(left, Relaxed);
        if left == 0 {
            self.phase.0.stage.store(WAITING, Relaxed);
        }
    }
}

/// A socket whose reads fail when a head takes too long and end when none comes, and whose writes fail
/// when nobody reads.
#[derive(Debug)]
pub struct HeadTimer<T> {
    io: T,
    phase: Phase,
    spans: Spans,
    idle: Alarm,
    late: Alarm,
    unread: Alarm,
    place: Place,
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Spans {
    /// To the first byte of a head.
    pub idle: Duration,
    /// From there to its last.
    pub header: Duration,
    /// To take anything of what is written.
    pub unread: Duration,
}

impl<T> HeadTimer<T> {
    /// Wraps `io`; the service marks its turns on `phase`.
    pub fn new(io: T, phase: Phase, spans: Spans, line: Line) -> Self {
        let (idle, late, unread) = Default::default();
        Self { io, phase, spans, idle, late, unread, place: Place::outside(line) }
    }

    fn bytes_came(&mut self) {
        let stage = &self.phase.0.stage;
        let begun = stage.compare_exchange(WAITING, READING_HEAD, Relaxed, Relaxed);
        if begun.is_ok() {
            self.idle.clear();
            self.late.clear();
            self.late.set(|| Instant::now() + self.spans.header);
        }
    }

    /// Who asks for nothing is gone, as far as hyper knows.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.phase.0.stage.load(Relaxed) {
            WAITING => {
                self.idle.set(|| Instant::now() + self.spans.idle);
                self.idle.poll(cx).map(Ok)
            }
            READING_HEAD => self.late.poll(cx).map(|()| Err(self.phase.end(Ending::LateHead))),
            _ => Poll::Pending,
        }
    }

    /// hyper flushes when an answer is out, and reads on only when the socket has something; so it is
    /// woken from here to find that nothing came.
    fn begin_to_wait(&mut self, cx: &mut Context<'_>) {
        if self.phase.0.stage.load(Relaxed) == WAITING {
            self.idle.set(|| Instant::now() + self.spans.idle);
            if self.idle.poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
    }

    /// hyper does not ask for more of an answer while what there is of it cannot be written, so
    /// that nothing else would notice.
    fn written<N>(
        &mut self,
        written: Poll<io::Result<N>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<N>> {
        if written.is_ready() {
            self.unread.clear();
            return written;
        }
        self.unread.set(|| Instant::now() + self.spans.unread);
        self.unread.poll(cx).map(|()| Err(self.phase.end(Ending::Unread)))
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
            Poll::Pending => self.poll_overdue(cx),
        }
    }
}

impl<T: Write + Unpin> Write for HeadTimer<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.written(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if flushed.is_ready() {
            self.begin_to_wait(cx);
        }
        self.written(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.io).poll_shutdown(cx);
        self.written(closed, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.written(written, cx)
    }
}
