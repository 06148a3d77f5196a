//! The record of one request: it travels beside the request, each step fills in what it learns, and
//! when the last byte is answered (or the client is gone) it is dropped, logged and counted.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use tracing::debug;

use super::access::AccessLog;
use super::metrics::CoreMetrics;
use super::refusals::Refusals;
use super::trace::Trace;
use super::trace::export::Spans;
use crate::downstream::head::{Ending, Turn};
use crate::identity::Principal;
use crate::rejection::{Reason, Rejection};
use crate::route::{Action, Class};
use crate::token::worker::VerifiedTask;

/// One request as it is logged and counted.
#[derive(Debug)]
pub struct Exchange {
    recorder: Rc<Recorder>,
    pub(super) begun: Instant,
    pub(super) request_id: HeaderValue,
    asked_for_head: bool,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) client: IpAddr,
    pub(super) class: Class,
    pub(super) action: Option<Box<Action>>,
    pub(super) caller: Option<Caller>,
    /// The issuer entry that a refused token names.
    pub(super) named: Option<Arc<str>>,
    pub(super) reason: Option<Reason>,
    pub(super) found: Option<String>,
    pub(super) status: Option<StatusCode>,
    pub(super) verify: Option<Duration>,
    pub(super) upstream: Option<Duration>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) cut: bool,
    /// Whether another proxy asks about it, which forwards it itself.
    pub(super) asked_by_proxy: bool,
    pub(super) trace: Option<Box<Trace>>,
    turn: Turn,
}

/// Who is calling, once verified.
#[derive(Debug)]
pub(super) enum Caller {
    Principal(Arc<Principal>),
    Task(VerifiedTask),
}

impl Caller {
    pub(super) fn issuer(&self) -> &str {
        match self {
            Self::Principal(principal) => principal.issuer(),
            Self::Task(task) => task.issuer(),
        }
    }

    pub(super) fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Principal(principal) => principal.username().into(),
            Self::Task(task) => task.id().to_string().into(),
        }
    }

    pub(super) fn roles(&self) -> Option<&str> {
        match self {
            Self::Principal(principal) => principal.roles_header()?.to_str().ok(),
            Self::Task(_) => None,
        }
    }
}

/// Where a core's exchanges end.
#[derive(Debug)]
pub struct Recorder {
    /// The core's counters.
    pub metrics: Arc<CoreMetrics>,
    /// The access log, where it is on.
    pub log: Option<AccessLog>,
    /// The latest refusals.
    pub refusals: Arc<Refusals>,
    /// The collector's queue, where traces are wanted.
    pub spans: Option<Spans>,
}

impl Recorder {
    /// A connection ended badly outside of any exchange: hyper answered a head that it could not
    /// parse with a bare 400 or 431, or we ended it.
    pub fn connection_failed(&self, error: &hyper::Error, ended: Option<Ending>, client: IpAddr) {
        if let Some(ending) = ended {
            self.metrics.connection_ended(ending);
        } else if error.is_parse() {
            self.metrics.unparsed();
            let status = if error.is_parse_too_large() { 431 } else { 400 };
            let why = error.to_string();
            self.refusals.note_unparsed(status, client, &why);
            if let Some(log) = &self.log {
                log.write_unparsed(status, client, &why);
            }
        }
        debug!(%error, %client, reason = ended.map(Ending::name), "connection ended");
    }
}

impl Exchange {
    /// Begins the record of a request.
    #[must_use]
    pub fn begin(
        recorder: &Rc<Recorder>,
        request_id: HeaderValue,
        client: IpAddr,
        method: Method,
        uri: Uri,
        turn: Turn,
    ) -> Self {
        recorder.metrics.request_begins();
        Self {
            recorder: Rc::clone(recorder),
            begun: Instant::now(),
            request_id,
            asked_for_head: method == Method::HEAD,
            method,
            uri,
            client,
            class: Class::None,
            action: None,
            caller: None,
            named: None,
            reason: None,
            found: None,
            status: None,
            verify: None,
            upstream: None,
            bytes_in: 0,
            bytes_out: 0,
            cut: false,
            asked_by_proxy: false,
            trace: None,
            turn,
        }
    }

    /// Follows the request in a trace, where there is a collector.
    pub fn traced<B>(&mut self, request: &Request<B>) {
        if let Some(spans) = &self.recorder.spans {
            self.trace = Trace::of(spans, request);
        }
    }

    /// Whether an answer without content is asked for.
    #[must_use]
    pub const fn asked_for_head(&self) -> bool {
        self.asked_for_head
    }

    /// The request's id, as it is sent upstream and back.
    #[must_use]
    pub const fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    /// Who is calling, as far as trusted peers say.
    #[must_use]
    pub const fn client(&self) -> IpAddr {
        self.client
    }

    /// Another proxy asks: about a request that is not known yet.
    pub const fn asked_by_proxy(&mut self) {
        self.asked_by_proxy = true;
    }

    /// What another proxy asks about: the record is of that.
    pub fn is_about(
        &mut self,
        method: &Method,
        uri: &Uri,
        client: IpAddr,
        request_id: Option<HeaderValue>,
    ) {
        self.method.clone_from(method);
        self.uri.clone_from(uri);
        self.client = client;
        if let Some(id) = request_id {
            self.request_id = id;
        }
    }

    /// The other proxy is told yes, and its connection is in good standing.
    pub fn permitted(&mut self) {
        self.turn.forwarded();
    }

    /// The path has been judged; where lines are written, they say what the request changes.
    pub fn routed(&mut self, class: Class, action: impl FnOnce() -> Option<Box<Action>>) {
        self.class = class;
        if self.recorder.log.is_some() {
            self.action = action();
        }
    }

    /// The caller is known.
    pub fn identified(&mut self, principal: &Arc<Principal>) {
        self.caller = Some(Caller::Principal(Arc::clone(principal)));
    }

    /// The caller is a worker, for this task.
    pub fn identified_task(&mut self, task: &VerifiedTask) {
        self.caller = Some(Caller::Task(task.clone()));
    }

    /// Judging the credential took the time since `since`.
    pub fn verified(&mut self, since: Instant) {
        self.verify = Some(since.elapsed());
    }

    /// The request goes to Airflow now, which continues the trace. What workers send stays as it is.
    pub fn goes_upstream(&mut self, headers: &mut HeaderMap, begun: Instant) {
        let Some(trace) = &mut self.trace else { return };
        if self.class == Class::Execution {
            trace.goes_upstream_untouched(begun);
        } else {
            trace.goes_upstream(headers, begun);
        }
    }

    /// Airflow's answer began after the time since `since`.
    pub fn upstream_answered(&mut self, since: Instant) {
        self.upstream = Some(since.elapsed());
        self.turn.forwarded();
    }

    /// The request was refused.
    pub fn refused(&mut self, rejection: &Rejection) {
        self.reason = Some(rejection.reason());
        self.found = rejection.found().map(str::to_owned);
        self.named = rejection.issuer().cloned();
        // Whether Airflow is down, or keys are, says nothing of the client.
        if rejection.reason().status().is_client_error() {
            self.turn.refused();
        }
    }

    /// An answer goes out with this status.
    pub const fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The answer broke off: Airflow's fault or the network's.
    pub const fn broke_off(&mut self, reason: Reason) {
        self.reason = Some(reason);
    }

    /// Something worth a field of the line.
    pub fn found(&mut self, what: &str) {
        self.found = Some(what.to_owned());
    }

    /// Bytes of the request body that came in.
    pub const fn received(&mut self, bytes: u64) {
        self.bytes_in += bytes;
    }

    /// The answer did not go out whole.
    pub const fn cut(&mut self) {
        self.cut = true;
    }

    /// Bytes of the answer's body that went out.
    pub const fn sent(&mut self, bytes: u64) {
        self.bytes_out += bytes;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let recorder = Rc::clone(&self.recorder);
        recorder.metrics.request_ended(self);
        recorder.refusals.note(self);
        if let Some(log) = &recorder.log {
            log.write(self);
        }
        if let Some(trace) = self.trace.take() {
            trace.end(self);
        }
    }
}
