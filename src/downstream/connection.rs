//! One client connection, until it ends or the drain begins: what it speaks, and HTTP/1.1 with
//! keep-alive. HTTP/2 is in [`super::http2`].

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::HeaderValue;
use http::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::ahead::{Ahead, Patience, Protocol};
use super::core::Arrived;
use super::head::{HeadTimer, Phase};
use super::http2;
use super::line::Line;
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
pub(super) const MOST_REQUESTS: u32 = 10_000;
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

/// Serves the connection to its end.
pub async fn serve(core: Rc<Core>, arrived: Arrived, limits: Limits, line: Line, drain: Drain) {
    let Arrived { socket, address, entrance } = arrived;
    let Ok(stream) = TcpStream::from_std(socket) else { return };
    // Answers leave at once; without it small ones may wait 40 ms for an ACK.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let peer = Peer::new(address, entrance, core.gate.sanitizer.trusted());
    let visit = Visit { core, peer, limits, line, drain };
    let patience = Patience { first: limits.idle_timeout, rest: limits.header_timeout };
    let mut drain = visit.drain.clone();
    let looked = tokio::select! {
        biased;
        looked = Ahead::read(stream, patience) => looked,
        // Who has asked for nothing yet is owed nothing.
        () = drain.begun() => None,
    };
    if let Some((io, protocol)) = looked {
        speak(Rc::new(visit), protocol, io, address).await;
    }
}

async fn speak<T>(visit: Rc<Visit>, protocol: Protocol, io: T, address: IpAddr)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let phase = Phase::default();
    let ended = match protocol {
        Protocol::Http1 => http1(&visit, io, phase.clone()).await,
        Protocol::Http2 => http2::serve(Rc::clone(&visit), io, phase.clone()).await,
    };
    if let Err(error) = ended {
        visit.core.recorder.connection_failed(&error, phase.ending(), address);
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
    let service = service_fn(|request| {
        let turn = phase.serve();
        let last = phase.begun() >= MOST_REQUESTS;
        let others_first = turn.must_wait().then(|| line.turn());
        let answer = proxy::serve(core, peer, turn, request);
        async move {
            if let Some(others_first) = others_first {
                others_first.await;
            }
            let mut answer = answer.await;
            if last {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
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
    );
    let mut drain = drain.clone();
    tokio::select! {
        ended = &mut connection => ended,
        () = drain.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}
