//! Forward-auth: another proxy asks whether a request may go on to Airflow, and with which headers.
//!
//! The request that it tells of walks the same path as one that comes by itself ([`proxy::walk`]);
//! what differs is the last step. Instead of being forwarded, what the hand-off made for Airflow is
//! the answer: [`question`] reads what is asked, as one of the [`Protocol`]s has it ([`stated`] in
//! headers or a path, [`grpc`] in a message of [`envoy`]), and [`permission`] says yes, which takes
//! an `UpstreamRequest` as forwarding does, and sees to what the proxy's client wrote ([`clients`]).
//! Whatever goes wrong is a no.

mod clients;
mod envoy;
mod grpc;
mod permission;
mod question;
mod stated;

use http::header::HeaderName;
use http::{Request, Response};
use hyper::body::Incoming;
use ipnet::IpNet;

use crate::answer::Answer;
use crate::downstream::head::Turn;
use crate::proxy::{self, Core, Passage};
use crate::rejection::{Reason, Rejection};
use crate::sanitize::Peer;
use crate::telemetry::Exchange;
use clients::Clients;
use permission::Permission;
use question::Question;

/// What is believed at the listener, and stated there, from the configuration.
#[derive(Debug)]
pub struct Rules {
    /// The peers whose questions are answered; empty: nobody's.
    pub trusted: Vec<IpNet>,
    /// The one protocol that is spoken; `None`: whichever, as long as a question is in one alone.
    pub protocol: Option<Protocol>,
    /// The headers that say who is calling: each permission states all of them.
    pub identity: Vec<HeaderName>,
}

/// How a proxy tells of the request that it asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `auth_request` of nginx, as ingress-nginx uses it: `X-Original-URL` and `X-Original-Method`.
    Nginx,
    /// `ForwardAuth` of Traefik: `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri`.
    Traefik,
    /// `ext_authz` of Envoy over HTTP: the method itself, and the path below [`PREFIX`].
    Envoy,
    /// `ext_authz` of Envoy over gRPC: a message.
    EnvoyGrpc,
}

/// Where proxies ask over HTTP, and what Envoy's `path_prefix` has to be.
pub const PREFIX: &str = "/airside/auth";

impl Protocol {
    /// The name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Traefik => "traefik",
            Self::Envoy => "envoy",
            Self::EnvoyGrpc => "envoy_grpc",
        }
    }
}

/// Answers one question.
pub async fn serve(
    core: &Core,
    peer: &Peer,
    turn: Turn,
    mut request: Request<Incoming>,
) -> Response<Answer> {
    let (form, mut exchange) = begin(core, peer, turn, &mut request);
    match judge(core, peer, &mut exchange, request).await {
        Ok(permission) => form.yes(&permission, exchange),
        Err(rejection) => form.no(core, rejection, exchange),
    }
}

/// Says no to a question that came by a connection too many.
pub fn turn_away(
    core: &Core,
    peer: &Peer,
    turn: Turn,
    mut request: Request<Incoming>,
) -> Response<Answer> {
    let (form, exchange) = begin(core, peer, turn, &mut request);
    form.no(core, Rejection::found_that(Reason::Overloaded, proxy::TOO_MANY), exchange)
}

fn begin(
    core: &Core,
    peer: &Peer,
    turn: Turn,
    request: &mut Request<Incoming>,
) -> (Form, Exchange) {
    let spoken = core.gate().forward_auth.protocol;
    clients::forget_request_id(request.headers_mut(), spoken);
    let mut exchange = core.begin(peer, turn, request);
    exchange.asked_by_proxy();
    (Form::of(request, spoken), exchange)
}

/// How an answer is said.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// By its status.
    Http,
    /// In a message, always with status 200.
    Grpc,
}

impl Form {
    /// A no over gRPC is a 200, which another proxy than Envoy would take for a yes.
    fn of(request: &Request<Incoming>, spoken: Option<Protocol>) -> Self {
        let by_message = spoken.is_none_or(|protocol| protocol == Protocol::EnvoyGrpc);
        if by_message && grpc::is_call(request) { Self::Grpc } else { Self::Http }
    }

    fn yes(self, permission: &Permission, mut exchange: Exchange) -> Response<Answer> {
        exchange.permitted();
        match self {
            Self::Http => proxy::end(permission.answer().map(Answer::own), exchange),
            Self::Grpc => grpc::allow(permission, exchange),
        }
    }

    fn no(self, core: &Core, rejection: Rejection, mut exchange: Exchange) -> Response<Answer> {
        let (rejection, answer) = proxy::refusal(core, rejection, &mut exchange);
        match self {
            Self::Http => proxy::end(answer.map(Answer::own), exchange),
            Self::Grpc => grpc::deny(&rejection, &answer, exchange),
        }
    }
}

/// The same steps as for a request that comes by itself, but for the first and the last.
async fn judge(
    core: &Core,
    peer: &Peer,
    exchange: &mut Exchange,
    request: Request<Incoming>,
) -> Result<Permission, Rejection> {
    if !peer.is_trusted() {
        let found = format!("{} is not in forward_auth.trusted", peer.address());
        return Err(Rejection::found_that(Reason::CallerUntrusted, found));
    }
    let Question { request, client, request_id, protocol, upgrade } =
        question::read(core, peer, exchange.client(), request).await?;
    exchange.is_about(request.method(), request.uri(), client.address(), request_id);
    let rules = &core.gate().forward_auth;
    let clients = Clients::of(request.headers(), &core.gate().sanitizer);
    match proxy::walk(core, &client, exchange, request).await? {
        Passage::Forward(request) => Permission::of(request, rules, upgrade, clients, protocol),
        // `route` gives out no tokens here: whoever asks forwards to Airflow, which has no such path.
        Passage::Exchange(..) => Err(Reason::NotFound.into()),
    }
}
