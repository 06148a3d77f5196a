//! One client connection: HTTP/1.1 with keep-alive, until it ends or the drain begins.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::acceptor::Entrance;
use super::core::{Arrived, Current};
use super::head::{HeadTimer, Phase};
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
}

impl Limits {
    /// A connection too many is not to stay.
    fn of_surplus(self) -> Self {
        let soon = |span: Duration| span.min(SURPLUS_PATIENCE);
        let (header_timeout, idle_timeout) = (soon(self.header_timeout), soon(self.idle_timeout));
        Self { header_timeout, idle_timeout, ..self }
    }
}

/// Whoever has a request sends it at once.
const SURPLUS_PATIENCE: Duration = Duration::from_secs(2);

/// hyper panics below it.
const LEAST_BUFFER: usize = 8192;

/// What a request or its way may still take to arrive when the end begins.
const GRACE: Duration = Duration::from_millis(200);

/// Serves the connection to its end. Its limits are those in force when it came; each request is
/// served by what is in force when it comes.
pub async fn serve(current: Rc<Current>, arrived: Arrived, line: Line, mut drain: Drain) {
    let Arrived { socket, address, entrance, surplus } = arrived;
    let Ok(stream) = TcpStream::from_std(socket) else { return };
    // Answers leave at once; without it small ones may wait 40 ms for an ACK.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let phase = Phase::default();
    let mut limits = current.core().generation.limits;
    if surplus {
        limits = limits.of_surplus();
    }
    let io =
        HeadTimer::new(TokioIo::new(stream), phase.clone(), limits.header_timeout, line.clone());
    let peer = Known::default();
    let announced = drain.clone();
    let service = service_fn(|request| {
        let turn = phase.serve();
        let others_first = turn.must_wait().then(|| line.turn());
        let (current, peer, announced) = (&current, &peer, &announced);
        async move {
            if let Some(others_first) = others_first {
                others_first.await;
            }
            let core = current.core();
            let peer = peer.judged_by(&core, address, entrance);
            let mut answer = if surplus {
                proxy::turn_away(&core, &peer, turn, &request)
            } else {
                proxy::serve(&core, &peer, turn, request).await
            };
            if surplus || announced.is_announced() {
                last_one(&mut answer);
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
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        // What is on its way at this moment is still answered.
        () = async { drain.begun().await; sleep(GRACE).await } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        current.core().recorder.connection_failed(&error, address);
    }
}

/// Tells the client that nothing more will be answered on this connection.
fn last_one<B>(answer: &mut Response<B>) {
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The other end, prepared once for all requests under one configuration: another may trust others.
#[derive(Default)]
struct Known(RefCell<Option<(u64, Rc<Peer>)>>);

impl Known {
    fn judged_by(&self, core: &Core, address: IpAddr, entrance: Entrance) -> Rc<Peer> {
        let generation = &core.generation;
        let mut known = self.0.borrow_mut();
        if let Some((_, peer)) = known.as_ref().filter(|(number, _)| *number == generation.number) {
            return Rc::clone(peer);
        }
        let trusted = generation.gate.sanitizer.trusted();
        let peer = Rc::new(Peer::new(address, entrance, trusted));
        *known = Some((generation.number, Rc::clone(&peer)));
        peer
    }
}
