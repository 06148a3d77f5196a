//! The first bytes of a connection say which HTTP it speaks: `h2c` with prior knowledge begins with a
//! preface that is no request (RFC 9113, section 3.3). What was read to find out is read again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Duration, timeout};

use super::head::Ending;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, or what hyper will refuse.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A connection whose first bytes have been looked at.
#[derive(Debug)]
pub struct Ahead<T> {
    io: T,
    /// Read, and not yet handed on.
    first: Vec<u8>,
}

/// How long the first bytes may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To the first byte.
    pub first: Duration,
    /// From there on, while it may still be the preface.
    pub rest: Duration,
}

/// What every HTTP/2 connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Most heads are there whole.
const ROOM: usize = 2048;

impl<T: AsyncRead + Unpin> Ahead<T> {
    /// Reads until it is clear what `io` speaks. `None` when the connection never says a word, or
    /// the network ends it.
    pub async fn read(mut io: T, patience: Patience) -> Result<(Self, Protocol), Option<Ending>> {
        let mut first = Vec::with_capacity(ROOM);
        match timeout(patience.first, io.read_buf(&mut first)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) | Err(_) => return Err(None),
        }
        match timeout(patience.rest, decide(&mut io, &mut first)).await {
            Ok(Ok(protocol)) => Ok((Self { io, first }, protocol)),
            Ok(Err(_)) => Err(None),
            Err(_elapsed) => Err(Some(Ending::LateHead)),
        }
    }
}

async fn decide(io: &mut (impl AsyncRead + Unpin), first: &mut Vec<u8>) -> io::Result<Protocol> {
    loop {
        if first.starts_with(PREFACE) {
            return Ok(Protocol::Http2);
        }
        if !PREFACE.starts_with(first) || io.read_buf(first).await? == 0 {
            return Ok(Protocol::Http1);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Ahead<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let length = self.first.len().min(buf.remaining());
        let rest = self.first.split_off(length);
        buf.put_slice(&self.first);
        self.first = rest;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Ahead<T> {
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    const PATIENCE: Patience =
        Patience { first: Duration::from_secs(75), rest: Duration::from_secs(10) };

    #[tokio::test]
    async fn nothing_read_to_find_out_is_lost() {
        for (sent, expected) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], Protocol::Http1),
            (b"P", Protocol::Http1),
            (b"POST / HTTP/1.1\r\n\r\n", Protocol::Http1),
            (b"PRI * HTTP/1.1\r\n\r\n", Protocol::Http1),
            (PREFACE, Protocol::Http2),
            (&[PREFACE, b"more"].concat(), Protocol::Http2),
        ] {
            for piece in [1, 7, 4096] {
                let (mut client, server) = duplex(piece);
                let bytes = sent.to_vec();
                let writer = tokio::spawn(async move { client.write_all(&bytes).await });
                let (mut ahead, found) = Ahead::read(server, PATIENCE).await.unwrap();
                assert_eq!(found, expected, "{}", String::from_utf8_lossy(sent));
                let mut all = Vec::new();
                ahead.read_to_end(&mut all).await.unwrap();
                assert_eq!(all, sent);
                writer.await.unwrap().unwrap();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_half_a_preface_end_in_time() {
        let begun = tokio::time::Instant::now();
        let (_client, server) = duplex(64);
        assert_eq!(Ahead::read(server, PATIENCE).await.unwrap_err(), None);
        assert_eq!(begun.elapsed().as_secs(), 75);
        let (mut client, server) = duplex(64);
        client.write_all(b"PRI * HTTP").await.unwrap();
        let late = Ahead::read(server, PATIENCE).await.unwrap_err();
        assert_eq!(late, Some(Ending::LateHead));
        assert_eq!(begun.elapsed().as_secs(), 85);
    }
}
