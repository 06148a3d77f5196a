//! The record of one request: it travels beside the request, each step fills in what it learns, and
//! when the last byte is answered (or the client is gone) it is dropped, logged and counted.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, StatusCode, Uri};

use super::access::AccessLog;
use super::metrics::CoreMetrics;
use crate::downstream::head::Turn;
use crate::identity::Principal;
use crate::rejection::{Reason, Rejection};
use crate::route::Class;

/// One request as it is logged and counted.
#[derive(Debug)]
pub struct Exchange {
    recorder: Rc<Recorder>,
    pub(super) begun: Instant,
    pub(super) request_id: HeaderValue,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) client: IpAddr,
    pub(super) class: Class,
    pub(super) principal: Option<Arc<Principal>>,
    pub(super) reason: Option<Reason>,
    pub(super) found: Option<String>,
    pub(super) status: Option<StatusCode>,
    pub(super) verify: Option<Duration>,
    pub(super) upstream: Option<Duration>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    _turn: Turn,
}

/// Where a core's exchanges end.
#[derive(Debug)]
pub struct Recorder {
    /// The core's counters.
    pub metrics: Arc<CoreMetrics>,
    /// The access log, where it is on.
    pub log: Option<AccessLog>,
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
            method,
            uri,
            client,
            class: Class::None,
            principal: None,
            reason: None,
            found: None,
            status: None,
            verify: None,
            upstream: None,
            bytes_in: 0,
            bytes_out: 0,
            _turn: turn,
        }
    }

    /// The request's id, as it is sent upstream and back.
    #[must_use]
    pub const fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    /// The path has been judged.
    pub const fn routed(&mut self, class: Class) {
        self.class = class;
    }

    /// The caller is known.
    pub fn identified(&mut self, principal: &Arc<Principal>) {
        self.principal = Some(Arc::clone(principal));
    }

    /// Judging the credential took the time since `since`.
    pub fn verified(&mut self, since: Instant) {
        self.verify = Some(since.elapsed());
    }

    /// Airflow's answer began after the time since `since`.
    pub fn upstream_answered(&mut self, since: Instant) {
        self.upstream = Some(since.elapsed());
    }

    /// The request was refused.
    pub fn refused(&mut self, rejection: &Rejection) {
        self.reason = Some(rejection.reason());
        self.found = rejection.found().map(str::to_owned);
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

    /// Bytes of the answer's body that went out.
    pub const fn sent(&mut self, bytes: u64) {
        self.bytes_out += bytes;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let recorder = Rc::clone(&self.recorder);
        recorder.metrics.request_ended(self);
        if let Some(log) = &recorder.log {
            log.write(self);
        }
    }
}
