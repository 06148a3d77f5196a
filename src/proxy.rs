//! The path of one request, in order.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN};
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Incoming;

use crate::answer::Answer;
use crate::caller::{Authenticated, Callers};
use crate::clock::{self, Timestamp};
use crate::credential::{self, BearerToken, Credential, Delegates};
use crate::downstream::head::Turn;
use crate::failures::Failures;
use crate::forward_auth;
use crate::generation::Generation;
use crate::handoff::{Handoff, UpstreamRequest};
use crate::policy::{self, Carrier};
use crate::rejection::{Reason, Rejection};
use crate::route::{Access, EdgeRoute, ExchangeRoute, ProtectedRoute, Route, TaskRoute};
use crate::sanitize::{Inbound, Peer, Sanitizer};
use crate::telemetry::{Exchange, Recorder};
use crate::token_exchange::{self, Asked, Refusal, Terms};
use crate::upstream::Upstream;

/// Everything that decides about requests: one configuration, shared by all cores.
#[derive(Debug)]
pub struct Gate {
    /// Removes what only airside may say.
    pub sanitizer: Sanitizer,
    /// Knows which rule a path falls under.
    pub access: Access,
    /// Recognises callers by their tokens.
    pub callers: Callers,
    /// Tells Airflow who is calling.
    pub handoff: Handoff,
    /// Whether a browser's session may take the place of a token.
    pub sessions: bool,
    /// Which schemes beside `Bearer` are Airflow's to judge.
    pub delegates: Delegates,
    /// What tokens are given for other tokens.
    pub terms: Terms,
    /// The largest token that is looked at, in bytes.
    pub token_bytes: usize,
    /// How many requests all cores serve at once.
    pub in_flight: u64,
    /// Counts credentials that fail.
    pub failures: Failures,
    /// Which proxies may ask, and how.
    pub forward_auth: forward_auth::Rules,
}

/// One core's view of one generation: what decides, its own connections to Airflow, its own counters.
#[derive(Debug)]
pub struct Core {
    /// What is in force for its requests.
    pub generation: Arc<Generation>,
    /// Where exchanges end.
    pub recorder: Rc<Recorder>,
    upstream: Upstream,
    ids: RequestIds,
}

impl Core {
    /// A core with its own connections and counters.
    #[must_use]
    pub fn new(
        number: usize,
        generation: Arc<Generation>,
        upstream: Upstream,
        recorder: Rc<Recorder>,
    ) -> Self {
        Self { generation, recorder, upstream, ids: RequestIds::new(number) }
    }

    /// What decides about its requests.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.generation.gate
    }
}

/// Serves one request: walks the path, and turns a rejection into its answer.
pub async fn serve(
    core: &Core,
    peer: &Peer,
    turn: Turn,
    request: Request<Incoming>,
) -> Response<Answer> {
    let mut exchange = core.begin(peer, turn, &request);
    let answered = match walk(core, peer, &mut exchange, request).await {
        Ok(Passage::Forward(request)) => core.upstream.send(request, &mut exchange).await,
        Ok(Passage::Exchange(request, route)) => {
            Ok(Box::pin(core.token_for_token(request, &route, &mut exchange)).await)
        }
        Err(rejection) => Err(rejection),
    };
    match answered {
        Ok(response) => end(response, exchange),
        Err(rejection) => {
            let (_, answer) = refusal(core, rejection, &mut exchange);
            end(answer.map(Answer::own), exchange)
        }
    }
}

/// What the path leads to.
#[derive(Debug)]
pub enum Passage<B = Incoming> {
    /// Airflow may see this.
    Forward(UpstreamRequest<B>),
    /// A token is asked for, which is for us to answer.
    Exchange(Inbound<B>, ExchangeRoute),
}

/// What is found of a connection beyond `limits.connections`.
pub const TOO_MANY: &str = "too many connections";

/// Refuses a request that came by a connection too many.
pub fn turn_away(
    core: &Core,
    peer: &Peer,
    turn: Turn,
    request: &Request<Incoming>,
) -> Response<Answer> {
    let rejection = Rejection::found_that(Reason::Overloaded, TOO_MANY);
    let mut exchange = core.begin(peer, turn, request);
    let (_, answer) = refusal(core, rejection, &mut exchange);
    end(answer.map(Answer::own), exchange)
}

/// The answer to a refusal, which is another one where its client has had too many of the kind.
pub fn refusal(
    core: &Core,
    rejection: Rejection,
    exchange: &mut Exchange,
) -> (Rejection, Response<Bytes>) {
    let many = core.gate().failures.too_many(exchange.client(), &rejection);
    let rejection = many.unwrap_or(rejection);
    exchange.refused(&rejection);
    let id = exchange.request_id().to_str().unwrap_or_default();
    let answer = rejection.answer(id, core.gate().delegates.challenges());
    (rejection, answer)
}

/// The answer with its request's id, and the end of its record.
pub fn end(mut response: Response<Answer>, exchange: Exchange) -> Response<Answer> {
    response.headers_mut().insert(X_REQUEST_ID, exchange.request_id().clone());
    Answer::ending(response, exchange)
}

/// Everything that decides about a request, up to what Airflow may see of it.
pub async fn walk<B>(
    core: &Core,
    peer: &Peer,
    exchange: &mut Exchange,
    request: Request<B>,
) -> Result<Passage<B>, Rejection> {
    let gate = core.gate();
    let now = clock::now();
    core.admit()?;
    let request = gate.sanitizer.sanitize(request, peer, exchange.request_id())?;
    let head = request.head();
    let preflight = is_preflight(&head.headers);
    let route = gate.access.route(peer.entrance(), &head.method, head.uri.path(), preflight)?;
    let action = || gate.access.action(&route, &head.method, head.uri.path());
    exchange.routed(route.class(), action);
    let request = match route {
        Route::Open(route) => {
            policy::admit(&request, &route)?;
            let airflows = gate.airflows_bearer(&request, now).await?;
            gate.handoff.open(request, &route, airflows.as_ref())
        }
        Route::Untouched(route) => gate.handoff.untouched(request, &route),
        Route::Task(route) => Box::pin(gate.task(request, &route, exchange, now)).await?,
        Route::Edge(route) => Box::pin(gate.edge_worker(request, &route, exchange, now)).await?,
        Route::Exchange(route) => return Ok(Passage::Exchange(request, route)),
        Route::Protected(route) => core.authenticate(request, &route, exchange, now).await?,
    };
    Ok(Passage::Forward(request))
}

impl Core {
    /// A bearer token is judged here and nowhere else; other credentials are Airflow's to judge.
    async fn authenticate<B>(
        &self,
        request: Inbound<B>,
        route: &ProtectedRoute,
        exchange: &mut Exchange,
        now: Timestamp,
    ) -> Result<UpstreamRequest<B>, Rejection> {
        let gate = self.gate();
        let headers = &request.head().headers;
        let carrier = match gate.credential(headers)? {
            Some(Credential::Bearer(token)) => {
                return self.verify(request, route, &token, exchange, now).await;
            }
            _ if route.by_token_alone() => return Err(Reason::CredentialMissing.into()),
            Some(Credential::Delegated) => Carrier::Authorization,
            None if gate.sessions && credential::has_session_cookie(headers) => Carrier::Cookie,
            None => return Err(Reason::CredentialMissing.into()),
        };
        Ok(gate.handoff.delegated(policy::delegate(request, route, carrier)?))
    }

    /// Verify, identify, decide, hand off.
    async fn verify<B>(
        &self,
        request: Inbound<B>,
        route: &ProtectedRoute,
        token: &BearerToken,
        exchange: &mut Exchange,
        now: Timestamp,
    ) -> Result<UpstreamRequest<B>, Rejection> {
        let gate = self.gate();
        let begun = Instant::now();
        let caller = gate.callers.recognise(token, now).await;
        exchange.verified(begun);
        let caller = caller?;
        exchange.identified(caller.principal());
        let granted = policy::grant(request, route, caller)?;
        gate.handoff.as_caller(granted, now, &self.upstream).await
    }

    /// A token for a token: the same steps, and the answer is ours.
    async fn token_for_token(
        &self,
        request: Inbound,
        route: &ExchangeRoute,
        exchange: &mut Exchange,
    ) -> Response<Answer> {
        let answer = match self.issue(request, route, exchange, clock::now()).await {
            Ok(answer) => answer,
            Err(refusal) => {
                let failures = &self.gate().failures;
                let many = failures.too_many(exchange.client(), refusal.rejection());
                let refusal = many.map_or(refusal, Refusal::from);
                exchange.refused(refusal.rejection());
                refusal.answer(exchange.request_id().to_str().unwrap_or_default())
            }
        };
        answer.map(Answer::own)
    }

    async fn issue(
        &self,
        request: Inbound,
        route: &ExchangeRoute,
        exchange: &mut Exchange,
        now: Timestamp,
    ) -> Result<Response<Bytes>, Refusal> {
        let gate = self.gate();
        let form = token_exchange::receive(request, &gate.terms, gate.token_bytes).await?;
        exchange.received(form.len() as u64);
        let asked = Asked::read(&form, &gate.terms, gate.token_bytes)?;
        let begun = Instant::now();
        let caller = gate.callers.recognise(asked.subject(), now).await;
        exchange.verified(begun);
        let caller = caller?;
        exchange.identified(caller.principal());
        let entitled = policy::grant_token(route, caller)?;
        let longest = gate.terms.lifetime;
        let issued = gate.handoff.issue(&entitled, longest, now, &self.upstream).await?;
        Ok(asked.answer(&issued.token, issued.lifetime))
    }
}

impl Gate {
    fn credential(&self, headers: &HeaderMap) -> Result<Option<Credential>, Rejection> {
        credential::read(headers, self.token_bytes, self.delegates)
    }

    /// Verify and decide for a task: its token is nobody's identity, and goes on as it came.
    async fn task<B>(
        &self,
        request: Inbound<B>,
        route: &TaskRoute,
        exchange: &mut Exchange,
        now: Timestamp,
    ) -> Result<UpstreamRequest<B>, Rejection> {
        let headers = &request.head().headers;
        let read = credential::read(headers, self.token_bytes, Delegates::default())?;
        let Some(Credential::Bearer(token)) = read else {
            return Err(Reason::CredentialMissing.into());
        };
        let begun = Instant::now();
        let task = self.callers.verifier().verify_task(&token, now).await;
        exchange.verified(begun);
        let task = task?;
        exchange.identified_task(&task);
        Ok(self.handoff.errand(policy::grant_task(request, route, &task)?))
    }

    /// The same for an Edge worker.
    async fn edge_worker<B>(
        &self,
        request: Inbound<B>,
        route: &EdgeRoute,
        exchange: &mut Exchange,
        now: Timestamp,
    ) -> Result<UpstreamRequest<B>, Rejection> {
        let token = credential::read_bare(&request.head().headers, self.token_bytes)?;
        let token = token.ok_or(Reason::CredentialMissing)?;
        let begun = Instant::now();
        let worker = self.callers.verifier().verify_edge(&token, now).await;
        exchange.verified(begun);
        Ok(self.handoff.errand(policy::grant_edge(request, route, &worker?)?))
    }

    /// Proof that the bearer on an open path, if any, is one that Airflow issued.
    async fn airflows_bearer<B>(
        &self,
        request: &Inbound<B>,
        now: Timestamp,
    ) -> Result<Option<Authenticated>, Rejection> {
        match self.credential(&request.head().headers) {
            Ok(Some(Credential::Bearer(token))) => {
                Ok(self.callers.recognise_airflows(&token, now).await)
            }
            Err(rejection) if rejection.reason() == Reason::CredentialAmbiguous => Err(rejection),
            Ok(Some(Credential::Delegated) | None) | Err(_) => Ok(None),
        }
    }
}

impl Core {
    /// Begins the record of a request.
    pub fn begin(&self, peer: &Peer, turn: Turn, request: &Request<Incoming>) -> Exchange {
        let provenance = self.gate().sanitizer.provenance(request.headers(), peer);
        let id = provenance.request_id.unwrap_or_else(|| self.ids.next());
        let client: IpAddr = provenance.client;
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let mut exchange = Exchange::begin(&self.recorder, id, client, method, uri, turn);
        exchange.traced(request);
        exchange
    }

    /// Sheds load rather than queue it. The request itself is already counted.
    fn admit(&self) -> Result<(), Rejection> {
        if self.recorder.metrics.in_flight() > self.gate().in_flight {
            return Err(Reason::Overloaded.into());
        }
        Ok(())
    }
}

/// A CORS preflight has both (WHATWG Fetch, section 3.3.2).
fn is_preflight(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Unique ids: a random half for the core, a counted half for the request.
#[derive(Debug)]
struct RequestIds {
    prefix: u64,
    count: std::cell::Cell<u64>,
}

impl RequestIds {
    fn new(number: usize) -> Self {
        let mut bytes = [0; 8];
        // Without randomness ids still differ between cores; they are names, not secrets.
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        let prefix = u64::from_be_bytes(bytes) ^ number as u64;
        Self { prefix, count: std::cell::Cell::new(0) }
    }

    fn next(&self) -> HeaderValue {
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        let mut id = [0; 32];
        let bytes = self.prefix.to_be_bytes().into_iter().chain(count.to_be_bytes());
        let digits = bytes.flat_map(|byte| [byte >> 4, byte & 0xf]);
        for (place, digit) in id.iter_mut().zip(digits) {
            *place = if digit < 10 { b'0' + digit } else { b'a' - 10 + digit };
        }
        HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("unknown"))
    }
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
