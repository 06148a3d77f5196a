//! The socket of an HTTP/2 connection. It follows the frames that pass (RFC 9113, section 4.1),
//! without reading what is in them: a head must be complete within `limits.header_timeout`, what
//! carries nothing is paid from the connection's [`Budget`], and what is written must be taken.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::ahead::PREFACE;
use super::budget::{Budget, Item};
use super::head::{Ending, Phase};
use crate::alarm::Alarm;

/// What is going on on a connection.
#[derive(Debug)]
pub struct Activity {
    /// For what is no request.
    pub budget: Budget,
    moved: Cell<Instant>,
    full: Notify,
}

impl Activity {
    /// Of a connection that begins.
    #[must_use]
    pub fn begin() -> Self {
        Self { budget: Budget::new(), moved: Cell::new(Instant::now()), full: Notify::new() }
    }

    /// A request came, part of an answer went, or its stream has ended.
    pub fn moved(&self) {
        self.moved.set(Instant::now());
    }

    /// When that was.
    #[must_use]
    pub fn last(&self) -> Instant {
        self.moved.get()
    }

    /// The connection has had all the requests that one may have.
    pub fn fill(&self) {
        self.full.notify_one();
    }

    /// Ends when it has.
    pub async fn full(&self) {
        self.full.notified().await;
    }
}

/// A socket whose frames are followed.
#[derive(Debug)]
pub struct Frames<T> {
    io: T,
    phase: Phase,
    activity: Rc<Activity>,
    coming: Scanner,
    going: Scanner,
    header_timeout: Duration,
    late: Alarm,
    unread_timeout: Duration,
    unread: Alarm,
}

impl<T> Frames<T> {
    /// Wraps `io`, which has yet to send the preface. Says on `phase` why it fails.
    pub fn new(
        io: T,
        phase: Phase,
        activity: Rc<Activity>,
        header_timeout: Duration,
        unread_timeout: Duration,
    ) -> Self {
        Self {
            io,
            phase,
            activity,
            coming: Scanner::after(PREFACE.len()),
            going: Scanner::after(0),
            header_timeout,
            late: Alarm::default(),
            unread_timeout,
            unread: Alarm::default(),
        }
    }

    fn came(&mut self, bytes: &[u8]) -> io::Result<()> {
        let activity = &self.activity;
        self.coming.follow(bytes, |frame| {
            if frame.carries_nothing() {
                activity.budget.book(Item::IdleFrame);
            }
        });
        if self.coming.within_a_head() {
            self.late.set(|| Instant::now() + self.header_timeout);
        } else {
            self.late.clear();
        }
        if self.activity.budget.is_spent() {
            return Err(self.phase.end(Ending::Flood));
        }
        Ok(())
    }

    fn went<'b>(&mut self, bytes: impl Iterator<Item = &'b [u8]>, mut length: usize) {
        for piece in bytes {
            let gone = piece.get(..length).unwrap_or(piece);
            length -= gone.len();
            let activity = &self.activity;
            self.going.follow(gone, |frame| match frame.kind {
                DATA | HEADERS => {
                    activity.moved();
                    activity.budget.book(Item::Answered(frame.length));
                }
                RST_STREAM => activity.budget.book(Item::OurReset),
                _ => {}
            });
        }
    }

    fn written<N>(
        &mut self,
        written: Poll<io::Result<N>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<N>> {
        if written.is_ready() {
            self.unread.clear();
            return written;
        }
        self.unread.set(|| Instant::now() + self.unread_timeout);
        self.unread.poll(cx).map(|()| Err(self.phase.end(Ending::Unread)))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Frames<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                Poll::Ready(self.came(buf.filled().get(before..).unwrap_or_default()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.late.poll(cx).map(|()| Err(self.phase.end(Ending::LateHead))),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Frames<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(length)) = written {
            self.went([buf].into_iter(), length);
        }
        self.written(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
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
        if let Poll::Ready(Ok(length)) = written {
            self.went(bufs.iter().map(|buf| &**buf), length);
        }
        self.written(written, cx)
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Frame {
    length: u32,
    kind: u8,
    flags: u8,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const HEAD: usize = 9;

impl Frame {
    const fn parse([long, middle, short, kind, flags, ..]: [u8; HEAD]) -> Self {
        Self { length: u32::from_be_bytes([0, long, middle, short]), kind, flags }
    }

    /// Whether neither a request nor a body gets on with it.
    const fn carries_nothing(self) -> bool {
        match self.kind {
            DATA => self.length == 0 && self.flags & END_STREAM == 0,
            HEADERS => false,
            _ => true,
        }
    }
}

/// Follows frames through the pieces in which they pass.
#[derive(Debug)]
struct Scanner {
    head: [u8; HEAD],
    /// How much of the head there is.
    read: usize,
    /// How much of its frame is still to pass.
    left: usize,
    frame: Frame,
    /// A field block has begun and not ended.
    open: bool,
}

impl Scanner {
    /// Frames begin after this many bytes.
    fn after(left: usize) -> Self {
        let frame = Frame { kind: HEADERS, ..Frame::default() };
        Self { head: [0; HEAD], read: 0, left, frame, open: false }
    }

    fn follow(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        loop {
            let passing = self.left.min(bytes.len());
            self.left -= passing;
            bytes = bytes.get(passing..).unwrap_or_default();
            if bytes.is_empty() {
                return;
            }
            let missing = self.head.iter_mut().skip(self.read);
            let copied = missing.zip(bytes).map(|(slot, byte)| *slot = *byte).count();
            self.read += copied;
            bytes = bytes.get(copied..).unwrap_or_default();
            if self.read == HEAD {
                self.read = 0;
                self.begin(Frame::parse(self.head));
                each(self.frame);
            }
        }
    }

    const fn begin(&mut self, frame: Frame) {
        self.left = frame.length as usize;
        if matches!(frame.kind, HEADERS | CONTINUATION) {
            self.open = frame.flags & END_HEADERS == 0;
        }
        self.frame = frame;
    }

    /// Whether something has begun that is to be complete soon: all but the bytes of a body.
    const fn within_a_head(&self) -> bool {
        self.open || self.read > 0 || (self.left > 0 && self.frame.kind != DATA)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([kind, flags, 0, 0, 0, 1]);
        bytes.resize(HEAD + payload, 0xAA);
        bytes
    }

    #[test]
    fn frames_are_followed_in_whatever_pieces_they_pass() {
        let frames =
            [(HEADERS, END_HEADERS, 300), (DATA, 0, 70_000), (6, 0, 8), (DATA, END_STREAM, 0)];
        let bytes: Vec<u8> =
            frames.iter().flat_map(|(kind, flags, length)| frame(*kind, *flags, *length)).collect();
        let bytes = [PREFACE, &bytes].concat();
        for size in [1, 2, 9, 10, 1000, bytes.len()] {
            let (mut scanner, mut seen) = (Scanner::after(PREFACE.len()), Vec::new());
            for piece in bytes.chunks(size) {
                scanner.follow(piece, |frame| seen.push(frame));
            }
            let seen: Vec<_> =
                seen.iter().map(|seen| (seen.kind, seen.flags, seen.length as usize)).collect();
            assert_eq!(seen, frames, "in pieces of {size}");
            assert!(!scanner.within_a_head());
        }
    }

    #[test]
    fn a_head_is_what_must_be_complete_and_a_body_is_not() {
        let within = |bytes: &[u8]| {
            let mut scanner = Scanner::after(0);
            scanner.follow(bytes, |_| {});
            scanner.within_a_head()
        };
        let [head, body] = [frame(HEADERS, END_HEADERS, 20), frame(DATA, 0, 20)];
        assert!(within(&head[..3]) && within(&head[..9]) && within(&head[..28]));
        assert!(!within(&head));
        assert!(within(&body[..3]), "whose frame it is is not known yet");
        assert!(!within(&body[..9]) && !within(&body[..12]) && !within(&body));
        let dripped = [frame(HEADERS, 0, 20), frame(CONTINUATION, 0, 1)].concat();
        assert!(within(&dripped));
        assert!(!within(&[dripped, frame(CONTINUATION, END_HEADERS, 0)].concat()));
    }

    #[test]
    fn what_carries_nothing_is_known_by_its_head() {
        for (kind, flags, length, nothing) in [
            (DATA, 0, 0, true),
            (DATA, 0, 1, false),
            (DATA, END_STREAM, 0, false),
            (HEADERS, 0, 0, false),
            (2, 0, 5, true),
            (RST_STREAM, 0, 4, true),
            (4, 0, 0, true),
            (6, 0, 8, true),
            (8, 0, 4, true),
            (CONTINUATION, 0, 0, true),
            (0xFE, 0, 0, true),
        ] {
            assert_eq!(Frame { length, kind, flags }.carries_nothing(), nothing, "{kind}");
        }
    }
}
