//! Traces: each request is a span of ours, and what is sent to Airflow another below it, in the trace
//! that the caller began or in a new one (W3C Trace Context). [`context`] reads and writes
//! `traceparent`, [`span`] says what is known of an ended request, [`export`] brings it to a
//! collector.
//!
//! Without a collector nothing of this happens, and `traceparent` passes through as it came.

pub mod context;
pub mod export;
pub mod span;

use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderValue, Request, Version};

use self::context::{Context, SpanId, TRACEPARENT, TRACESTATE};
use self::export::Spans;
use super::redact;
use crate::clock;

/// A request that is traced.
#[derive(Debug)]
pub(super) struct Trace {
    spans: Spans,
    context: Context,
    /// As it came, for the collector: it is others' to read.
    state: Option<Box<str>>,
    ours: SpanId,
    upstream: SpanId,
    begun: SystemTime,
    went_upstream: Option<Instant>,
    version: Version,
}

impl Trace {
    /// Follows a request, if its caller does not ask for the contrary: one that is not sampled
    /// passes as it came.
    pub(super) fn of<B>(spans: &Spans, request: &Request<B>) -> Option<Box<Self>> {
        let headers = request.headers();
        let continued = Context::of(headers);
        if continued.as_ref().is_some_and(|context| !context.is_sampled()) {
            return None;
        }
        let state = headers.get(&TRACESTATE).filter(|_| continued.is_some()).and_then(told);
        let context = match continued {
            Some(context) => context,
            None => Context::new()?,
        };
        Some(Box::new(Self {
            spans: spans.clone(),
            context,
            state,
            ours: SpanId::random()?,
            upstream: SpanId::random()?,
            begun: clock::wall(),
            went_upstream: None,
            version: request.version(),
        }))
    }

    /// The trace's id, as collectors show it.
    pub(super) fn id(&self) -> String {
        self.context.trace_id()
    }

    /// The request goes to Airflow now, under the second span. A `tracestate` without a trace that it
    /// belongs to is dropped (section 3.4 of Trace Context).
    pub(super) fn goes_upstream(&mut self, headers: &mut HeaderMap, begun: Instant) {
        self.went_upstream = Some(begun);
        if self.context.parent().is_none() {
            headers.remove(&TRACESTATE);
        }
        if let Some(parent) = self.context.child(self.upstream) {
            headers.insert(TRACEPARENT, parent);
        }
    }

    /// The same where nothing of ours may be added.
    pub(super) const fn goes_upstream_untouched(&mut self, begun: Instant) {
        self.went_upstream = Some(begun);
    }
}

/// What the collector is told of a `tracestate`: all of it or nothing.
fn told(state: &HeaderValue) -> Option<Box<str>> {
    let state = state.to_str().ok().filter(|state| state.len() <= LONGEST_STATE)?;
    (!redact::has_token(state)).then(|| state.into())
}

/// What others must pass on of it (section 3.3.1.5 of Trace Context); longer ones are.
const LONGEST_STATE: usize = 512;
