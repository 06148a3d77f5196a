//! Airflow's side: [`balance`] chooses among its addresses by their [`health`], [`pool`] keeps
//! connections to one [`address`], [`tls`] or not, [`wire`] is their bytes, [`body`] carries the request's body
//! there, [`response`] cleans what comes back, [`tunnel`] follows a switch to WebSocket. Only a request from `handoff` gets in.

pub mod address;
pub mod balance;
pub mod body;
pub mod health;
pub mod pool;
pub mod response;
pub mod tls;
pub mod tunnel;
pub mod wire;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Response, Uri, Version};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant as TokioInstant;

use crate::alarm::Alarm;
use crate::answer::Answer;
use crate::handoff::{Airflow, Bearer, UpstreamRequest};
use crate::rejection::{Reason, Rejection};
use crate::telemetry::Exchange;
use address::Address;
use balance::{Balancer, Choice};
use body::{Progress, RequestBody};
use pool::{Connection, SendError};
use tunnel::Tunnel;

/// Where Airflow is and how long to wait for it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; what is learned of them is shared by all who hold them.
    pub addresses: Arc<[Arc<Address>]>,
    /// Prepended to every path; empty, or `/` and segments.
    pub prefix: String,
    /// To be connected.
    pub connect_timeout: Duration,
    /// From the end of the request body to the head of the answer.
    pub response_header_timeout: Duration,
    /// Without a byte either way.
    pub idle_timeout: Duration,
    /// The largest request body, where there is a limit.
    pub body_bytes: Option<u64>,
}

/// Airflow, as one core sees it.
#[derive(Debug)]
pub struct Upstream {
    settings: Settings,
    balancer: Balancer,
}

impl Upstream {
    /// An upstream without connections yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let balancer = Balancer::new(&settings.addresses, settings.connect_timeout);
        Self { settings, balancer }
    }

    /// Sends the request and gives the answer as soon as its head is there; both bodies stream.
    pub async fn send(
        &self,
        request: UpstreamRequest,
        exchange: &mut Exchange,
    ) -> Result<Response<Answer>, Rejection> {
        let begun = Instant::now();
        let (mut parts, body, bearer, switch) = request.into_parts();
        parts.uri = self.target(&parts.uri)?;
        parts.version = Version::HTTP_11;
        let progress = (!body.is_end_stream()).then(Progress::begin);
        let body = RequestBody::new(body, progress.clone(), self.settings.body_bytes)?;
        if progress.is_some() && body.size_hint().exact().is_none() {
            // hyper would send a GET of unknown length without its body.
            parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        // With a body there would be two things to follow the head.
        let switch = switch.filter(|_| progress.is_none());
        if switch.is_some() {
            response::announce_websocket(&mut parts.headers);
        }
        exchange.goes_upstream(&mut parts.headers, begun);
        let mut request = Some(http::Request::from_parts(parts, body));
        let answered = self.exchange(&mut request, progress.as_deref()).await;
        let (response, connection) = answered.inspect_err(|_| {
            exchange.received(progress.as_ref().map_or(0, |progress| progress.bytes()));
        })?;
        exchange.upstream_answered(begun);
        let response = response::clean(response, &bearer, switch.is_some())?;
        let idle = self.settings.idle_timeout;
        let (mut parts, body) = response.into_parts();
        // hyper leaves its side with the head of a 101 alone.
        let airflow = parts.extensions.remove::<OnUpgrade>();
        let answer = match switch.zip(airflow) {
            Some((switch, airflow)) => {
                Answer::switching(Tunnel::new(switch, airflow, connection, idle))
            }
            None => Answer::upstream(body, connection, progress, idle, bearer.told(parts.status)),
        };
        Ok(Response::from_parts(parts, answer))
    }

    /// Sends a request of our own and reads the whole answer. How long that may take is for whoever
    /// waits to say.
    async fn ask(&self, request: UpstreamRequest<Bytes>) -> Result<Response<Bytes>, Rejection> {
        let (mut parts, body, ..) = request.into_parts();
        parts.uri = self.target(&parts.uri)?;
        let host = self.settings.addresses.first().map_or("", |address| address.host());
        let host = HeaderValue::try_from(host).map_err(|_| Reason::RequestMalformed)?;
        parts.headers.insert(HOST, host);
        let mut request = Some(http::Request::from_parts(parts, RequestBody::own(body)));
        let (response, connection) = self.exchange(&mut request, None).await?;
        let (parts, body) = response::clean(response, &Bearer::None, false)?.into_parts();
        let body = Limited::new(body, MOST_TO_US).collect().await.map_err(|error| {
            Rejection::found_that(Reason::UpstreamInvalid, format!("an answer to us: {error}"))
        })?;
        connection.release();
        Ok(Response::from_parts(parts, body.to_bytes()))
    }

    /// Sends on a pooled connection; once more on a fresh one where nothing was sent, or where a
    /// repeatable request got no byte of an answer. The request stays where it is until a connection
    /// takes it: moving it from step to step costs as much as some of the steps.
    async fn exchange(
        &self,
        request: &mut Option<http::Request<RequestBody>>,
        progress: Option<&Progress>,
    ) -> Result<(Response<Incoming>, Connection), Rejection> {
        let choice = self.balancer.choose(None).ok_or(Reason::UpstreamUnavailable)?;
        if let Some(connection) = choice.idle() {
            let spare = request.as_ref().and_then(spare);
            match self.answered(connection, request, progress).await {
                Ok(answered) => {
                    choice.answered();
                    return Ok(answered);
                }
                Err(SendError::Unsent) => {}
                Err(SendError::Closed { unheard: true, .. }) if spare.is_some() => *request = spare,
                Err(error) => return Err(Self::rejection(error, progress)),
            }
        }
        // Boxed, because its room would be moved about with every request, and few need it.
        let (choice, connection) = Box::pin(self.fresh(choice)).await?;
        let answered = self.answered(connection, request, progress).await;
        match &answered {
            Ok(_) => choice.answered(),
            Err(SendError::Closed { why, .. }) if !broke_off(progress) => choice.reset(why),
            Err(_) => {}
        }
        answered.map_err(|error| Self::rejection(error, progress))
    }

    /// A fresh connection: there, or once elsewhere, since nothing was sent.
    async fn fresh(&self, choice: Choice) -> Result<(Choice, Connection), Rejection> {
        let unavailable = |why| Rejection::found_that(Reason::UpstreamUnavailable, why);
        let why = match choice.connect().await {
            Ok(connection) => return Ok((choice, connection)),
            Err(why) => why,
        };
        let Some(other) = self.balancer.choose(Some(&choice)) else {
            return Err(unavailable(why));
        };
        match other.connect().await {
            Ok(connection) => Ok((other, connection)),
            Err(also) => Err(unavailable(format!("{why}; {also}"))),
        }
    }

    async fn answered(
        &self,
        mut connection: Connection,
        request: &mut Option<http::Request<RequestBody>>,
        progress: Option<&Progress>,
    ) -> Result<(Response<Incoming>, Connection), SendError> {
        let overdue = async |alarm: &mut Alarm| self.overdue(progress, alarm).await;
        let response = connection.send(request, overdue).await?;
        Ok((response, connection))
    }

    /// Ends when Airflow has kept silent for too long, counted from the end of the request's body;
    /// or the client, counted from the last byte of a body that has not ended.
    async fn overdue(&self, progress: Option<&Progress>, alarm: &mut Alarm) -> Rejection {
        let begun = Instant::now();
        loop {
            let deadline = match progress.map(Progress::ended) {
                None => begun + self.settings.response_header_timeout,
                Some(Some(ended)) => ended + self.settings.response_header_timeout,
                Some(None) => progress.map_or(begun, Progress::last) + self.settings.idle_timeout,
            };
            if deadline <= Instant::now() {
                return match progress {
                    Some(progress) if progress.ended().is_none() => {
                        let span = self.settings.idle_timeout;
                        let found = format!("no byte of the request body for {span:?}");
                        Rejection::found_that(Reason::RequestTimeout, found)
                    }
                    _ => {
                        let span = self.settings.response_header_timeout;
                        let found = format!("no answer within {span:?}");
                        Rejection::found_that(Reason::UpstreamTimeout, found)
                    }
                };
            }
            let wake = match progress {
                // The body may end at any time and bring the deadline forward.
                Some(progress) if progress.ended().is_none() => {
                    deadline.min(Instant::now() + self.settings.response_header_timeout)
                }
                _ => deadline,
            };
            alarm.clear();
            alarm.set(|| TokioInstant::from_std(wake));
            poll_fn(|cx| alarm.poll(cx)).await;
        }
    }

    fn rejection(error: SendError, progress: Option<&Progress>) -> Rejection {
        if let Some(rejection) = progress.and_then(Progress::fault) {
            return rejection;
        }
        let (reason, found) = match error {
            SendError::Unsent => {
                (Reason::UpstreamUnavailable, "the connection was closed at once".into())
            }
            SendError::Closed { why, .. } => {
                let found = format!("the connection was closed before an answer: {why}");
                (Reason::UpstreamUnavailable, found)
            }
            SendError::Invalid(why) => (Reason::UpstreamInvalid, why),
            SendError::Overdue(rejection) => return rejection,
        };
        Rejection::found_that(reason, found)
    }

    /// The path and query as they came, below the configured prefix.
    fn target(&self, uri: &Uri) -> Result<Uri, Rejection> {
        let target = uri.path_and_query().ok_or(Reason::RequestMalformed)?.clone();
        if self.settings.prefix.is_empty() {
            return Ok(Uri::from(target));
        }
        let target = format!("{}{target}", self.settings.prefix);
        Uri::try_from(target).map_err(|_| Reason::RequestMalformed.into())
    }
}

impl Airflow for Upstream {
    async fn ask(&self, request: UpstreamRequest<Bytes>) -> Result<Response<Bytes>, Rejection> {
        self.ask(request).await
    }
}

/// Whether it was the request's own body that ended the connection.
fn broke_off(progress: Option<&Progress>) -> bool {
    progress.is_some_and(|progress| progress.fault().is_some())
}

/// Answers to us are a user or a list of packages: some kilobytes.
const MOST_TO_US: usize = 1 << 20;

/// A copy of a request that may be sent twice: nothing is changed by it, and it has no body.
fn spare(request: &http::Request<RequestBody>) -> Option<http::Request<RequestBody>> {
    let repeatable = matches!(*request.method(), Method::GET | Method::HEAD);
    (repeatable && request.body().is_end_stream()).then(|| {
        let mut copy = http::Request::new(RequestBody::own(Bytes::new()));
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        copy.headers_mut().clone_from(request.headers());
        copy
    })
}
