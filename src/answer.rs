//! The body of an answer, which ends the exchange: it owns the record of the request and the
//! connection to Airflow, so that dropping it (at the end, or when the client is gone) logs,
//! counts, and gives the connection back or closes it.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant as TokioInstant, Sleep, sleep_until};

use crate::handoff::Bearer;
use crate::identity::Principal;
use crate::rejection::Reason;
use crate::telemetry::Exchange;
use crate::upstream::body::Progress;
use crate::upstream::pool::Connection;
use crate::upstream::tunnel::Tunnel;

/// The body of an answer.
#[derive(Debug)]
pub struct Answer {
    source: Source,
    exchange: Option<Exchange>,
}

#[derive(Debug)]
enum Source {
    Own(Option<Bytes>),
    /// A body of our own, and what follows it.
    WithTrailers(Option<Bytes>, Option<HeaderMap>),
    Upstream(Box<Stream>),
    /// No body: a WebSocket follows.
    Switching(Option<Box<Tunnel>>),
}

#[derive(Debug)]
struct Stream {
    incoming: Incoming,
    connection: Option<Connection>,
    progress: Option<Rc<Progress>>,
    idle_timeout: Duration,
    /// Since when the next byte is waited for.
    waiting: Option<Instant>,
    /// Nothing more comes. A chunked body only says so at its end.
    whole: bool,
    alarm: Option<Pin<Box<Sleep>>>,
    told: Option<Arc<Principal>>,
}

impl Bearer {
    /// The principal whose signed token must be looked at again after an answer of this status;
    /// forgets it at once where the status alone says that Airflow did not take it.
    pub(crate) fn told(self, status: StatusCode) -> Option<Arc<Principal>> {
        let Self::Ours(principal) = self else {
            return None;
        };
        if status == StatusCode::UNAUTHORIZED {
            principal.disown_statement();
        }
        (status == StatusCode::FORBIDDEN || status == StatusCode::UNAUTHORIZED).then_some(principal)
    }
}

impl Answer {
    /// A body of our own; an empty one is none.
    #[must_use]
    pub fn own(body: Bytes) -> Self {
        Self { source: Source::Own(Some(body).filter(|body| !body.is_empty())), exchange: None }
    }

    /// A body of our own with trailers, which HTTP/2 alone has for it.
    #[must_use]
    pub const fn with_trailers(body: Bytes, trailers: HeaderMap) -> Self {
        Self { source: Source::WithTrailers(Some(body), Some(trailers)), exchange: None }
    }

    /// A body that streams from Airflow. `told` is the principal whose token Airflow may have
    /// refused.
    pub(crate) fn upstream(
        incoming: Incoming,
        connection: Connection,
        progress: Option<Rc<Progress>>,
        idle_timeout: Duration,
        told: Option<Arc<Principal>>,
    ) -> Self {
        let stream = Stream {
            incoming,
            connection: Some(connection),
            progress,
            idle_timeout,
            waiting: None,
            whole: false,
            alarm: None,
            told,
        };
        Self { source: Source::Upstream(Box::new(stream)), exchange: None }
    }

    /// The end of HTTP on this connection: a WebSocket follows, and the exchange ends with it.
    pub(crate) fn switching(tunnel: Tunnel) -> Self {
        Self { source: Source::Switching(Some(Box::new(tunnel))), exchange: None }
    }

    /// What follows on this connection, if HTTP ends with this answer; for who owns the connection.
    pub fn take_tunnel(&mut self) -> Option<(Box<Tunnel>, Exchange)> {
        let Source::Switching(tunnel) = &mut self.source else { return None };
        tunnel.take().zip(self.exchange.take())
    }

    /// Hands the record of the request to its answer, to be ended with it.
    #[must_use]
    pub fn ending(response: Response<Self>, exchange: Exchange) -> Response<Self> {
        let status = response.status();
        Self::ending_with(response, status, exchange)
    }

    /// The same, where the answer says that the request has another status than its own.
    #[must_use]
    pub fn ending_with(
        mut response: Response<Self>,
        status: StatusCode,
        mut exchange: Exchange,
    ) -> Response<Self> {
        exchange.answered(status);
        if exchange.asked_for_head() {
            Self::keep_content(&mut response);
        }
        response.map(|mut answer| {
            answer.exchange = Some(exchange);
            answer
        })
    }

    /// HEAD is answered without content (RFC 9110, section 9.3.2). Of Airflow's answers there is
    /// none; of ours hyper would leave it out with HTTP/1.1 alone.
    fn keep_content(response: &mut Response<Self>) {
        let Source::Own(content) = &mut response.body_mut().source else { return };
        if let Some(content) = content.take() {
            response.headers_mut().insert(CONTENT_LENGTH, content.len().into());
        }
    }

    fn broke_off(&mut self, reason: Reason) -> BrokenOff {
        if let Some(exchange) = &mut self.exchange {
            exchange.broke_off(reason);
        }
        BrokenOff
    }
}

impl Stream {
    fn is_whole(&self) -> bool {
        self.whole || self.incoming.is_end_stream()
    }

    /// Gives the connection back as soon as nothing more will come over it.
    fn release_at_end(&mut self) {
        let sent = self.progress.as_ref().is_none_or(|progress| progress.ended().is_some());
        if self.is_whole()
            && sent
            && let Some(connection) = self.connection.take()
        {
            connection.release();
        }
    }

    /// Airflow 3 answers 403 with this text where it cannot verify a token
    /// (`api_fastapi/core_api/security.py`): what we signed is not signed again for others.
    fn look_for_refusal(&mut self, data: &Bytes) -> bool {
        let Some(principal) = self.told.take() else {
            return false;
        };
        let refused = data.windows(INVALID_TOKEN.len()).any(|window| window == INVALID_TOKEN);
        if refused {
            principal.disown_statement();
        }
        refused
    }

    /// Ready when no byte has passed either way for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waiting = *self.waiting.get_or_insert_with(Instant::now);
        loop {
            let sent = self.progress.as_ref().map_or(waiting, |progress| progress.last());
            let deadline = waiting.max(sent) + self.idle_timeout;
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            let deadline = TokioInstant::from_std(deadline);
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if alarm.deadline() != deadline {
                alarm.as_mut().reset(deadline);
            }
            ready!(alarm.as_mut().poll(cx));
        }
    }
}

const INVALID_TOKEN: &[u8] = b"Invalid JWT token";

impl Body for Answer {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = &mut *self;
        let stream = match &mut this.source {
            Source::Own(body) => {
                let data = body.take();
                if let (Some(exchange), Some(data)) = (&mut this.exchange, &data) {
                    exchange.sent(data.len() as u64);
                }
                return Poll::Ready(data.map(|data| Ok(Frame::data(data))));
            }
            Source::WithTrailers(body, trailers) => {
                if let (Some(exchange), Some(data)) = (&mut this.exchange, body.as_ref()) {
                    exchange.sent(data.len() as u64);
                }
                let frame = body.take().map(Frame::data);
                let frame = frame.or_else(|| trailers.take().map(Frame::trailers));
                return Poll::Ready(frame.map(Ok));
            }
            Source::Upstream(stream) => stream,
            Source::Switching(_) => return Poll::Ready(None),
        };
        let Poll::Ready(frame) = Pin::new(&mut stream.incoming).poll_frame(cx) else {
            ready!(stream.poll_silence(cx));
            return Poll::Ready(Some(Err(this.broke_off(Reason::UpstreamTimeout))));
        };
        stream.waiting = None;
        match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => {
                let refused = stream.look_for_refusal(&data);
                stream.release_at_end();
                if let Some(exchange) = &mut this.exchange {
                    exchange.sent(data.len() as u64);
                    if refused {
                        exchange.found(TOKEN_REFUSED);
                    }
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            // Trailers are dropped; nothing follows them.
            Some(Ok(Err(_))) | None => {
                stream.whole = true;
                stream.release_at_end();
                Poll::Ready(None)
            }
            Some(Err(_)) => Poll::Ready(Some(Err(this.broke_off(Reason::UpstreamInvalid)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(body) => body.is_none(),
            Source::WithTrailers(_, trailers) => trailers.is_none(),
            Source::Upstream(stream) => stream.incoming.is_end_stream(),
            Source::Switching(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(body) => SizeHint::with_exact(body.as_ref().map_or(0, |b| b.len() as u64)),
            // No length: it would say that nothing follows.
            Source::WithTrailers(..) => SizeHint::new(),
            Source::Upstream(stream) => stream.incoming.size_hint(),
            Source::Switching(_) => SizeHint::with_exact(0),
        }
    }
}

const TOKEN_REFUSED: &str = "Airflow refused the token that airside signed: compare \
    handoff.secret_file, audience and issuer with [api_auth] jwt_secret, jwt_audience and \
    jwt_issuer, and the clocks; with handoff.private_key_file, trusted_jwks_url must be our \
    /jwks.json, which Airflow reads once an hour; with auth_manager fab the user may be gone, and is \
    looked up again";

impl Drop for Answer {
    fn drop(&mut self) {
        if let Source::Upstream(stream) = &mut self.source {
            stream.release_at_end();
            if let Some(exchange) = &mut self.exchange {
                exchange.received(stream.progress.as_ref().map_or(0, |progress| progress.bytes()));
                if !stream.is_whole() {
                    exchange.cut();
                }
            }
        }
    }
}

/// The answer ended before its end: hyper closes the client's connection, so that nobody takes it
/// for whole.
#[derive(Debug)]
pub struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer broke off")
    }
}

impl std::error::Error for BrokenOff {}
