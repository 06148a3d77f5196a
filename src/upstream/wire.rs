//! The bytes between airside and Airflow, counted from a request until the head of its answer: a
//! request may be sent again only where nothing was heard, and an endless preface ends.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// What carries them.
#[derive(Debug)]
pub enum Transport {
    /// Plain.
    Tcp(TcpStream),
    /// Within this machine.
    Unix(UnixStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

/// How many bytes were heard since the request; shared between the connection and its socket, on
/// one thread.
#[derive(Clone, Debug)]
pub struct Heard(Arc<AtomicU64>);

/// The answer has begun: no longer counted.
const ANSWERED: u64 = u64::MAX;
/// More than any head and what hyper may read behind it at once (twice 408 KiB), so that only
/// interim answers (1xx), which hyper skips without end, can reach it.
const MOST_UNANSWERED: u64 = 1 << 20;

impl Heard {
    /// A request is sent.
    pub(super) fn begin(&self) {
        self.0.store(0, Relaxed);
    }

    /// The head of its answer is here.
    pub(super) fn answered(&self) {
        self.0.store(ANSWERED, Relaxed);
    }

    /// Nothing came since the request.
    pub(super) fn nothing(&self) -> bool {
        self.0.load(Relaxed) == 0
    }

    fn add(&self, bytes: usize) -> io::Result<()> {
        let before = self.0.load(Relaxed);
        if before == ANSWERED {
            return Ok(());
        }
        let heard = before.saturating_add(bytes as u64).min(ANSWERED - 1);
        self.0.store(heard, Relaxed);
        if heard > MOST_UNANSWERED {
            return Err(io::Error::new(io::ErrorKind::InvalidData, EndlessPreface));
        }
        Ok(())
    }
}

/// More came before an answer than belongs to one.
#[derive(Debug)]
pub struct EndlessPreface;

impl fmt::Display for EndlessPreface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {MOST_UNANSWERED} bytes and no answer among them")
    }
}

impl std::error::Error for EndlessPreface {}

/// A connection's socket, listened to.
#[derive(Debug)]
pub struct Wire {
    transport: Transport,
    heard: Heard,
}

impl Wire {
    pub(super) fn new(transport: Transport) -> (Self, Heard) {
        let heard = Heard(Arc::new(AtomicU64::new(ANSWERED)));
        (Self { transport, heard: heard.clone() }, heard)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        })?;
        Poll::Ready(self.heard.add(buf.filled().len() - before))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Transport::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Tcp(stream) => stream.is_write_vectored(),
            Transport::Unix(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
