//! HTTP/2 as a client: hyper's, for what is allowed, and frames made by hand, for what is not.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use super::http::{Head, Request, Response};
use super::wait::DEADLINE;

/// A runtime that goes on while the test does something else.
pub(crate) struct Driven {
    handle: Handle,
    _until: oneshot::Sender<()>,
}

impl Driven {
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (until, ended) = oneshot::channel();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(ended));
        Self { handle, _until: until }
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.handle.block_on(future)
    }
}

/// A well-behaved client's connection.
pub(crate) struct Http2 {
    runtime: Driven,
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

impl Http2 {
    /// With prior knowledge.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let runtime = Driven::start();
        let socket = runtime.block_on(tokio::net::TcpStream::connect(address)).unwrap();
        Self::over(runtime, socket, address)
    }

    /// Over TLS, agreed on by ALPN.
    pub(crate) fn secure(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let runtime = Driven::start();
        let socket = runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            TlsConnector::from(config).connect(name, socket).await.unwrap()
        });
        assert_eq!(socket.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Self::over(runtime, socket, address)
    }

    pub(crate) fn over(
        runtime: Driven,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        address: SocketAddr,
    ) -> Self {
        let sender = runtime.block_on(async {
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender, address }
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Response {
        self.try_ask(request).unwrap()
    }

    pub(crate) fn try_ask(&mut self, request: &Request) -> hyper::Result<Response> {
        let mut body = self.begin(request)?;
        let head = body.head.clone();
        let bytes = self.runtime.block_on(async { body.incoming.collect().await })?.to_bytes();
        body.head = head;
        Ok(Response { status: body.status, head: body.head, body: bytes.to_vec() })
    }

    /// The answer and its trailers.
    pub(crate) fn call(
        &mut self,
        request: &Request,
    ) -> hyper::Result<(Response, Option<http::HeaderMap>)> {
        let body = self.begin(request)?;
        let (status, head) = (body.status, body.head);
        let collected = self.runtime.block_on(async { body.incoming.collect().await })?;
        let trailers = collected.trailers().cloned();
        Ok((Response { status, head, body: collected.to_bytes().to_vec() }, trailers))
    }

    /// Sends the request and reads the head of the answer alone.
    pub(crate) fn begin(&mut self, request: &Request) -> hyper::Result<Begun> {
        let request = request.as_http2(self.address);
        let answer = self.runtime.block_on(async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        })?;
        let (parts, incoming) = answer.into_parts();
        let fields = parts.headers.iter().map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let first = format!("HTTP/2 {}", parts.status);
        let head = Head { first, fields: fields.collect(), raw: Vec::new() };
        Ok(Begun { status: parts.status.as_u16(), head, incoming })
    }

    /// The next piece of an answer; empty at its end.
    pub(crate) fn piece(&self, begun: &mut Begun) -> hyper::Result<Bytes> {
        let frame = self.runtime.block_on(begun.incoming.frame()).transpose()?;
        Ok(frame.and_then(|frame| frame.into_data().ok()).unwrap_or_default())
    }
}

/// An answer whose body is still to come.
pub(crate) struct Begun {
    pub(crate) status: u16,
    pub(crate) head: Head,
    incoming: Incoming,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PRIORITIZED: u8 = 32;

/// One frame as it came.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// One frame as its bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field block in which nothing is compressed.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            write_length(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541, section 5.1).
fn write_length(length: usize, block: &mut Vec<u8>) {
    let Some(mut rest) = length.checked_sub(127) else {
        block.push(u8::try_from(length).unwrap());
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The pseudo-headers of `GET` on a path.
pub(crate) fn get(path: &str) -> [(&str, &str); 4] {
    [(":method", "GET"), (":scheme", "http"), (":authority", "airflow.example"), (":path", path)]
}

/// A connection that sends what it is given.
pub(crate) struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// With preface and settings.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let mut raw = Self::silent(address);
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).unwrap();
        raw
    }

    /// Without a word.
    pub(crate) fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The same connection once more, for a thread that writes while another reads.
    pub(crate) fn again(&self) -> Self {
        Self { stream: self.stream.try_clone().unwrap() }
    }

    /// Sends it again and again, until the connection is closed; `None` when it takes all of it.
    pub(crate) fn flood(
        mut self,
        mut next: impl FnMut(u32) -> Vec<u8>,
        rounds: u32,
    ) -> Option<u32> {
        let mut reader = self.stream.try_clone().unwrap();
        let drain = std::thread::spawn(move || {
            let mut bytes = [0; 16 * 1024];
            while matches!(reader.read(&mut bytes), Ok(1..)) {}
        });
        let refused = (0..rounds).find(|round| self.send(&next(*round)).is_err());
        // What was sent last may still be on its way: the other side closes, or it does not.
        let closed = refused.or_else(|| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(10) {
                if drain.is_finished() {
                    return Some(rounds);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            None
        });
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        drain.join().unwrap();
        closed
    }

    /// The next frame; the settings of the other side are agreed to on the way.
    pub(crate) fn next(&mut self) -> io::Result<Frame> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head)?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload)?;
            let stream = u32::from_be_bytes([head[5] & 0x7F, head[6], head[7], head[8]]);
            let frame = Frame { kind: head[3], flags: head[4], stream, payload };
            match (frame.kind, frame.flags) {
                (SETTINGS, 0) => self.send(&self::frame(SETTINGS, ACK, 0, &[]))?,
                (SETTINGS | WINDOW_UPDATE, _) => {}
                _ => return Ok(frame),
            }
        }
    }

    /// Waits for the end of the connection without a word.
    pub(crate) fn is_closed(&mut self) -> bool {
        let ended = self.stream.read_to_end(&mut Vec::new());
        !ended.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// All that comes until the end of the connection.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<Frame>> {
        let mut frames = Vec::new();
        loop {
            match self.next() {
                Ok(frame) => frames.push(frame),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_closed) => return Ok(frames),
            }
        }
    }

    /// The first byte of the field block that answers a stream says its usual statuses (RFC 7541,
    /// appendix A); anything else is a reset, another status, or the end.
    pub(crate) fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            match self.next() {
                Ok(frame) if frame.kind == GOAWAY => return Outcome::Closed,
                Ok(frame) if frame.stream != stream => {}
                Ok(frame) if frame.kind == RST_STREAM => return Outcome::Reset,
                Ok(frame) if frame.kind == HEADERS => {
                    return match frame.payload.iter().find(|byte| **byte & 0xE0 != 0x20) {
                        Some(0x88) => Outcome::Status(200),
                        Some(0x8C) => Outcome::Status(400),
                        Some(0x8D) => Outcome::Status(404),
                        _ => Outcome::Status(0),
                    };
                }
                Ok(_) => {}
                Err(error) => {
                    assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "no answer, and left open");
                    return Outcome::Closed;
                }
            }
        }
    }
}

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered with this status; 0 is one that is not among the usual.
    Status(u16),
    /// Reset.
    Reset,
    /// With the whole connection.
    Closed,
}

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
