//! What a proxy asks: a request as it would come by itself, made of what the proxy says of it. What
//! is missing, repeated or contradicts itself is refused, never guessed: at the other end of the
//! proxy is somebody who writes headers, too.

use std::net::IpAddr;

use http::header::{HOST, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use hyper::body::Incoming;

use super::{Protocol, grpc, stated};
use crate::downstream::acceptor::Entrance;
use crate::proxy::Core;
use crate::rejection::{Reason, Rejection};
use crate::sanitize::{self, Peer};

/// A request that a proxy asks about.
#[derive(Debug)]
pub(super) struct Question {
    /// The request, with all that its client wrote: nothing of it is removed yet.
    pub(super) request: Request<()>,
    /// Who sent it to the proxy. What it writes about others is not believed: the proxy has said it.
    pub(super) client: Peer,
    /// What the proxy calls it, if that is safe.
    pub(super) request_id: Option<HeaderValue>,
    /// The protocol that it was asked in.
    pub(super) protocol: Protocol,
    /// Whether it asks to leave HTTP.
    pub(super) upgrade: Upgrade,
}

/// Whether a request asks to leave HTTP, in which nothing is judged any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// No.
    None,
    /// To a WebSocket.
    WebSocket,
    /// To something else.
    Other,
}

/// What a proxy says of a request: its line and its host.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    pub(super) host: HeaderValue,
}

/// Reads the question. `client` is who sent the request, as far as headers of the proxy say.
pub(super) async fn read(
    core: &Core,
    peer: &Peer,
    client: IpAddr,
    request: Request<Incoming>,
) -> Result<Question, Rejection> {
    let gate = core.gate();
    let spoken = gate.forward_auth.protocol;
    if !grpc::is_call(&request) {
        let (parts, _body) = request.into_parts();
        let (protocol, line) = stated::read(&parts, spoken)?;
        return Ok(Question::new(protocol, line, parts.headers, client, None));
    }
    stated::spoken(Protocol::EnvoyGrpc, spoken)?;
    let call = grpc::read(request, core.generation.limits).await?;
    let (source, line, headers) = call.into_question()?;
    let from = Peer::new(source, Entrance::ForwardAuth, gate.sanitizer.trusted());
    let client = gate.sanitizer.provenance(&headers, &from).client;
    let request_id = gate.sanitizer.provenance(&headers, peer).request_id;
    Ok(Question::new(Protocol::EnvoyGrpc, line, headers, client, request_id))
}

impl Question {
    fn new(
        protocol: Protocol,
        line: Line,
        mut headers: HeaderMap,
        client: IpAddr,
        request_id: Option<HeaderValue>,
    ) -> Self {
        let Line { method, target, host } = line;
        let upgrade = Upgrade::of(&headers);
        headers.insert(HOST, host);
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from(target);
        *request.headers_mut() = headers;
        let client = Peer::new(client, Entrance::ForwardAuth, &[]);
        Self { request, client, request_id, protocol, upgrade }
    }
}

impl Upgrade {
    fn of(headers: &HeaderMap) -> Self {
        let mut asked = headers.get_all(UPGRADE).iter();
        match (asked.next(), asked.next()) {
            (None, _) => Self::None,
            (Some(one), None) if sanitize::is_websocket(one) => Self::WebSocket,
            _ => Self::Other,
        }
    }
}

impl Line {
    /// The line of a request for this target at this host.
    pub(super) fn new(method: &[u8], target: &[u8], host: &[u8]) -> Result<Self, Rejection> {
        let method = Method::from_bytes(method).map_err(|_| malformed("the method is none"))?;
        let host = match HeaderValue::from_bytes(host) {
            Ok(host) if !host.is_empty() => host,
            _ => return Err(malformed("the host is none")),
        };
        Ok(Self { method, target: origin_form(target)?, host })
    }
}

/// The target byte for byte, or nothing: who forwards it to Airflow does not read it as we do. A
/// fragment most of all is cut off by some and kept by others.
fn origin_form(target: &[u8]) -> Result<PathAndQuery, Rejection> {
    let parsed = PathAndQuery::try_from(target).ok();
    let parsed = parsed.filter(|parsed| parsed.as_str().as_bytes() == target);
    parsed.filter(|parsed| parsed.as_str().starts_with('/')).ok_or_else(|| {
        malformed("the target is no path that begins with a slash and has no fragment")
    })
}

/// A question that cannot be understood.
pub(super) fn malformed(found: impl Into<String>) -> Rejection {
    Rejection::found_that(Reason::RequestMalformed, found.into())
}
