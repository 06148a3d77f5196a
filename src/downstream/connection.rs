//! One client connection: HTTP/1.1 with keep-alive, until it ends or the drain begins.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::core::Arrived;
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

/// hyper panics below it.
const LEAST_BUFFER: usize = 8192;

/// Serves the connection to its end.
pub async fn serve(core: Rc<Core>, arrived: Arrived, limits: Limits, line: Line, mut drain: Drain) {
    let Arrived { socket, address, entrance } = arrived;
    let Ok(stream) = TcpStream::from_std(socket) else { return };
    // Answers leave at once; without it small ones may wait 40 ms for an ACK.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let phase = Phase::default();
    let io =
        HeadTimer::new(TokioIo::new(stream), phase.clone(), limits.header_timeout, line.clone());
    let peer = Peer::new(address, entrance, core.gate.sanitizer.trusted());
    // What follows when HTTP ends with a WebSocket.
    let tunnel = Cell::new(None);
    let service = service_fn(|request| {
        let turn = phase.serve();
        let others_first = turn.must_wait().then(|| line.turn());
        let answer = proxy::serve(&core, &peer, turn, request);
        async {
            if let Some(others_first) = others_first {
                others_first.await;
            }
            let mut answer = answer.await;
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
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = drain.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        core.recorder.connection_failed(&error, address);
    }
    if let Some((tunnel, exchange)) = tunnel.take() {
        tunnel.run(exchange).await;
    }
}
