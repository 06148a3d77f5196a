//! One client connection, until it ends or the drain begins: what it speaks, and HTTP/1.1 with
//! keep-alive. HTTP/2 is in [`super::http2`].

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::acceptor::Entrance;
use super::ahead::{Ahead, Patience, Protocol};
use super::core::{Arrived, Current};
use super::head::{Ending, HeadTimer, Phase, Spans, Turn};
use super::line::Line;
use super::proxy_protocol::Origin;
use super::tls::Tls;
use super::{http2, proxy_protocol};
use crate::answer::Answer;
use crate::forward_auth;
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

/// What a request or its way may still take to arrive when the end begins.
const GRACE: Duration = Duration::from_millis(200);
/// Whoever comes by a connection too many and has a request sends it at once.
const SURPLUS_PATIENCE: Duration = Duration::from_secs(2);

impl Limits {
    /// A connection too many is not to stay.
    fn of_surplus(self) -> Self {
        let soon = |span: Duration| span.min(SURPLUS_PATIENCE);
        let (header_timeout, idle_timeout) = (soon(self.header_timeout), soon(self.idle_timeout));
        Self { header_timeout, idle_timeout, ..self }
    }
}

/// A client at one of our sockets, and what serves it.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) current: Rc<Current>,
    client: Client,
    surplus: bool,
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
    pub tls: Option<Tls>,
}

/// Serves the connection to its end. It begins and has limits by what is in force when it comes;
/// each request is served by what is in force when that comes.
pub async fn serve(current: Rc<Current>, arrived: Arrived, line: Line, drain: Drain) {
    let Arrived { socket, address, entrance, surplus } = arrived;
    let Ok(stream) = TcpStream::from_std(socket) else { return };
    // Answers leave at once; without it small ones may wait 40 ms for an ACK.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let core = current.core();
    let (recorder, limits) = (Rc::clone(&core.recorder), core.generation.limits);
    let limits = if surplus { limits.of_surplus() } else { limits };
    let client = Client::at(address, entrance);
    let visit = Visit { current, client, surplus, limits, line, drain };
    let drain = visit.drain.clone();
    let opened = tokio::select! {
        biased;
        opened = visit.open(stream, &core) => opened,
        // Who has asked for nothing by then is owed nothing.
        () = last_call(drain) => return,
    };
    drop(core);
    // What is not plain HTTP/1.1 is put elsewhere, so that every task is not as large as the largest.
    match opened {
        Ok((visit, Opened::Plain(io), protocol)) => visit.speak(protocol, io).await,
        Ok((visit, Opened::Secure(io), protocol)) => Box::pin(visit.speak(protocol, *io)).await,
        Err(Some(ending)) => recorder.metrics.connection_ended(ending),
        // It went away, or never said a word.
        Err(None) => {}
    }
}

/// The drain has begun, and what was on its way at that moment has arrived.
async fn last_call(mut drain: Drain) {
    drain.begun().await;
    sleep(GRACE).await;
}

/// A connection on which requests may come.
enum Opened {
    Plain(Ahead<TcpStream>),
    Secure(Box<TlsStream<TcpStream>>),
}

impl Visit {
    /// Answers a request by what is in force now.
    pub(super) async fn answer(&self, turn: Turn, request: Request<Incoming>) -> Response<Answer> {
        let core = self.current.core();
        let peer = self.client.judged_by(&core);
        match (peer.entrance(), self.surplus) {
            (Entrance::ForwardAuth, true) => forward_auth::turn_away(&core, &peer, turn, request),
            (Entrance::ForwardAuth, false) => {
                Box::pin(forward_auth::serve(&core, &peer, turn, request)).await
            }
            (Entrance::Callers | Entrance::Workers, true) => {
                proxy::turn_away(&core, &peer, turn, &request)
            }
            (Entrance::Callers | Entrance::Workers, false) => {
                proxy::serve(&core, &peer, turn, request).await
            }
        }
    }

    /// Whether the client should connect anew, elsewhere, for its next request.
    pub(super) fn ends(&self) -> bool {
        self.surplus || self.drain.is_announced()
    }

    /// Finds out for whom the connection is and what it speaks; otherwise why we end it.
    async fn open(
        mut self,
        mut stream: TcpStream,
        core: &Core,
    ) -> Result<(Rc<Self>, Opened, Protocol), Option<Ending>> {
        let (welcome, limits) = (&core.generation.welcome, self.limits);
        // Who asks about the requests of others comes for nobody: no header may say so.
        let for_others = welcome.proxy_protocol && self.client.entrance != Entrance::ForwardAuth;
        if for_others && self.client.judged_by(core).is_trusted() {
            let origin = proxy_protocol::read(&mut stream);
            let origin = in_time(limits.header_timeout, origin, Ending::ProxyHeader).await?;
            self.client.comes_for(origin);
        }
        if let Some(tls) = &welcome.tls {
            // Signing for a stranger is work as judging a token is.
            self.line.turn().await;
            let accepted = Box::pin(tls.accept(stream));
            let secured = in_time(limits.header_timeout, accepted, Ending::Handshake);
            let (stream, protocol) = secured.await?;
            self.client.over_tls();
            return Ok((Rc::new(self), Opened::Secure(Box::new(stream)), protocol));
        }
        let patience = Patience { first: limits.idle_timeout, rest: limits.header_timeout };
        let (io, protocol) = Ahead::read(stream, patience).await?;
        Ok((Rc::new(self), Opened::Plain(io), protocol))
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
            let core = self.current.core();
            core.recorder.connection_failed(&error, ending, self.client.address);
        }
    }
}

/// The other end of a connection, as requests know it: prepared once for all of them under one
/// configuration, because another may trust others.
#[derive(Debug)]
struct Client {
    address: IpAddr,
    entrance: Entrance,
    secure: bool,
    /// A load balancer that does not say for whom it comes: nothing that it passes on is believed.
    unnamed: bool,
    known: RefCell<Option<(u64, Rc<Peer>)>>,
}

impl Client {
    const fn at(address: IpAddr, entrance: Entrance) -> Self {
        let known = RefCell::new(None);
        Self { address, entrance, secure: false, unnamed: false, known }
    }

    /// The load balancer is trusted to name its client, which says nothing of that client.
    fn comes_for(&mut self, origin: Origin) {
        match origin {
            Origin::Client(address) => self.address = address,
            Origin::Unnamed => self.unnamed = true,
        }
        self.known.take();
    }

    fn over_tls(&mut self) {
        self.secure = true;
        self.known.take();
    }

    fn judged_by(&self, core: &Core) -> Rc<Peer> {
        let generation = &core.generation;
        let mut known = self.known.borrow_mut();
        if let Some((_, peer)) = known.as_ref().filter(|(number, _)| *number == generation.number) {
            return Rc::clone(peer);
        }
        let trusted = match self.entrance {
            Entrance::ForwardAuth => &generation.gate.forward_auth.trusted,
            _ if self.unnamed => &[][..],
            Entrance::Callers | Entrance::Workers => generation.gate.sanitizer.trusted(),
        };
        let peer = Peer::new(self.address, self.entrance, trusted);
        let peer = Rc::new(if self.secure { peer.over_tls() } else { peer });
        *known = Some((generation.number, Rc::clone(&peer)));
        peer
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
    let Visit { limits, line, drain, .. } = visit;
    let spans = Spans {
        idle: limits.idle_timeout,
        header: limits.header_timeout,
        unread: limits.unread_timeout,
    };
    let io = HeadTimer::new(TokioIo::new(io), phase.clone(), spans, line.clone());
    // What follows when HTTP ends with a WebSocket.
    let tunnel = Cell::new(None);
    let service = service_fn(|request| {
        let turn = phase.serve();
        let many = phase.begun() >= MOST_REQUESTS;
        let others_first = turn.must_wait().then(|| line.turn());
        let tunnel = &tunnel;
        // Boxed, or hyper would keep room for it beside every connection that is idle.
        let answer = Box::pin(visit.answer(turn, request));
        async move {
            if let Some(others_first) = others_first {
                others_first.await;
            }
            let mut answer = answer.await;
            let last = many || visit.ends();
            if last && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            tunnel.set(answer.body_mut().take_tunnel());
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .header_read_timeout(None)
            .max_header_size(limits.header_bytes.saturating_mul(2))
            .max_buf_size(limits.header_bytes.saturating_mul(2).max(LEAST_BUFFER))
            .serve_connection(io, service)
            .with_upgrades()
    );
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        () = last_call(drain.clone()) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Some((tunnel, exchange)) = tunnel.take() {
        tunnel.run(exchange).await;
    }
    ended
}
