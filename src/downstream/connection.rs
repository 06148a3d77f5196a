//! One client connection, until it ends or the drain begins: what it speaks, and HTTP/1.1 with
//! keep-alive. HTTP/2 is in [`super::http2`].

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::ahead::{Ahead, Patience, Protocol};
use super::core::Arrived;
use super::head::{Ending, HeadTimer, Phase};
use super::line::Line;
use super::proxy_protocol::Origin;
use super::tls::Tls;
use super::{http2, proxy_protocol};
use crate::proxy::{self, Core};
use crate::sanitize::Peer;
use crate::shutdown::Drain;

/// What one connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// Between two requests.
    pub idle_timeout: Duration,
    /// The largest head that gets an answer of ours; above twice of it hyper answers.
    pub header_bytes: usize,
    /// Without anything of an answer being taken by the client.
    pub unread_timeout: Duration,
    /// To the head of Airflow's answer.
    pub answer_timeout: Duration,
}

/// What one connection may ask, before it has to be made anew: so that long-lived ones move to the
/// other replicas too, and nothing that might pile up does.
pub(super) const MOST_REQUESTS: u32 = 100_000;
/// hyper panics below it.
const LEAST_BUFFER: usize = 8192;

/// A client at one of our sockets, and what serves it.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) core: Rc<Core>,
    pub(super) peer: Peer,
    pub(super) limits: Limits,
    pub(super) line: Line,
    pub(super) drain: Drain,
}

/// How connections begin, at each of our sockets.
#[derive(Clone, Debug, Default)]
pub struct Welcome {
    /// Whether trusted peers say first for whom they come.
    pub proxy_protocol: bool,
    /// TLS, unless they are plain.
    pub tls: Option<Arc<Tls>>,
}

/// Serves the connection to its end.
pub async fn serve(
    core: Rc<Core>,
    arrived: Arrived,
    welcome: Welcome,
    limits: Limits,
    line: Line,
    drain: Drain,
) {
    let Arrived { socket, address, entrance } = arrived;
    let Ok(stream) = TcpStream::from_std(socket) else { return };
    // Answers leave at once; without it small ones may wait 40 ms for an ACK.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let peer = Peer::new(address, entrance, core.gate.sanitizer.trusted());
    let recorder = Rc::clone(&core.recorder);
    let visit = Visit { core, peer, limits, line, drain };
    let mut drain = visit.drain.clone();
    let opened = tokio::select! {
        biased;
        opened = visit.open(stream, &welcome) => opened,
        // Who has asked for nothing yet is owed nothing.
        () = drain.begun() => return,
    };
    // What is not plain HTTP/1.1 is put elsewhere, so that every task is not as large as the largest.
    match opened {
        Ok((visit, Opened::Plain(io), protocol)) => visit.speak(protocol, io).await,
        Ok((visit, Opened::Secure(io), protocol)) => Box::pin(visit.speak(protocol, *io)).await,
        Err(Some(ending)) => recorder.metrics.connection_ended(ending),
        // It went away, or never said a word.
        Err(None) => {}
    }
}

/// A connection on which requests may come.
enum Opened {
    Plain(Ahead<TcpStream>),
    Secure(Box<TlsStream<TcpStream>>),
}

impl Visit {
    /// Finds out for whom the connection is and what it speaks; otherwise why we end it.
    async fn open(
        mut self,
        mut stream: TcpStream,
        welcome: &Welcome,
    ) -> Result<(Rc<Self>, Opened, Protocol), Option<Ending>> {
        let limits = self.limits;
        if welcome.proxy_protocol && self.peer.is_trusted() {
            let origin = proxy_protocol::read(&mut stream);
            let origin = in_time(limits.header_timeout, origin, Ending::ProxyHeader).await?;
            self.come_for(origin);
        }
        if let Some(tls) = &welcome.tls {
            // Signing for a stranger is work as judging a token is.
            self.line.turn().await;
            let accepted = Box::pin(tls.accept(stream));
            let secured = in_time(limits.header_timeout, accepted, Ending::Handshake);
            let (stream, protocol) = secured.await?;
            self.peer = self.peer.over_tls();
            return Ok((Rc::new(self), Opened::Secure(Box::new(stream)), protocol));
        }
        let patience = Patience { first: limits.idle_timeout, rest: limits.header_timeout };
        let (io, protocol) = Ahead::read(stream, patience).await?;
        Ok((Rc::new(self), Opened::Plain(io), protocol))
    }

    /// The load balancer is trusted to name its client, which says nothing of that client. Of
    /// whom it does not name, nothing is believed either.
    fn come_for(&mut self, origin: Origin) {
        let (address, entrance) = (self.peer.address(), self.peer.entrance());
        self.peer = match origin {
            Origin::Client(client) => {
                Peer::new(client, entrance, self.core.gate.sanitizer.trusted())
            }
            Origin::Unnamed => Peer::new(address, entrance, &[]),
        };
    }

    async fn speak<T>(self: Rc<Self>, protocol: Protocol, io: T)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let phase = Phase::default();
        let ended = match protocol {
            Protocol::Http1 => {
                let ended = http1(&self, io, phase.clone()).await;
                ended.map_err(|error| (phase.ending(), error))
            }
            Protocol::Http2 => {
                let ended = Box::pin(http2::serve(Rc::clone(&self), io, phase.clone())).await;
                ended.map_err(|error| (http2::ending(&error, &phase), error))
            }
        };
        if let Err((ending, error)) = ended {
            self.core.recorder.connection_failed(&error, ending, self.peer.address());
        }
    }
}

async fn in_time<T>(
    limit: Duration,
    step: impl Future<Output = io::Result<T>>,
    failed: Ending,
) -> Result<T, Option<Ending>> {
    match timeout(limit, step).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(None),
        Ok(Err(error)) => {
            debug!(%error, reason = failed.name(), "connection ended");
            Err(Some(failed))
        }
        Err(_elapsed) => Err(Some(Ending::LateHead)),
    }
}

async fn http1<T>(visit: &Visit, io: T, phase: Phase) -> hyper::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Visit { core, peer, limits, line, drain } = visit;
    let io = HeadTimer::new(
        TokioIo::new(io),
        phase.clone(),
        limits.header_timeout,
        limits.unread_timeout,
        line.clone(),
    );
    // What follows when HTTP ends with a WebSocket.
    let tunnel = Cell::new(None);
    let service = service_fn(|request| {
        let turn = phase.serve();
        let last = phase.begun() >= MOST_REQUESTS;
        let others_first = turn.must_wait().then(|| line.turn());
        let answer = proxy::serve(core, peer, turn, request);
        let tunnel = &tunnel;
        async move {
            if let Some(others_first) = others_first {
                others_first.await;
            }
            let mut answer = answer.await;
            if last && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            tunnel.set(answer.body_mut().take_tunnel());
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.idle_timeout)
            .max_header_size(limits.header_bytes.saturating_mul(2))
            .max_buf_size(limits.header_bytes.saturating_mul(2).max(LEAST_BUFFER))
            .serve_connection(io, service)
            .with_upgrades()
    );
    let mut drain = drain.clone();
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = drain.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Some((tunnel, exchange)) = tunnel.take() {
        tunnel.run(exchange).await;
    }
    ended
}
