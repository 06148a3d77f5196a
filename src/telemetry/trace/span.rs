//! What a trace says of an ended request, by OpenTelemetry's conventions for HTTP. Neither who called
//! nor what was found is in it: traces go to others than logs do, and the request's id joins them.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{StatusCode, Version};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as Outcome;
use opentelemetry_proto::tonic::trace::v1::{Span, SpanFlags, Status};

use super::Trace;
use super::context::SpanId;
use crate::rejection::Reason;
use crate::route::Class;
use crate::telemetry::access::MOST_OF_A_FIELD;
use crate::telemetry::exchange::Exchange;
use crate::telemetry::redact;

/// An ended request on its way to the collector, put into words on the control thread. What it has of
/// the head is copied: pieces of hyper's would keep the whole of it, tokens included, in the queue.
#[derive(Debug)]
pub(super) struct Ended {
    trace: Box<Trace>,
    request_id: Box<str>,
    method: &'static str,
    path: Box<str>,
    client: IpAddr,
    class: Class,
    status: Option<StatusCode>,
    reason: Option<Reason>,
    cut: bool,
    total: Duration,
    /// From the request's beginning until it went to Airflow.
    before_upstream: Option<Duration>,
    upstream: Option<Duration>,
    bytes_in: u64,
    bytes_out: u64,
}

impl Trace {
    /// The request has ended.
    pub(in crate::telemetry) fn end(self: Box<Self>, exchange: &Exchange) {
        let spans = self.spans.clone();
        let since = |begun| self.went_upstream.map(|went| went.saturating_duration_since(begun));
        spans.take(Ended {
            before_upstream: since(exchange.begun),
            trace: self,
            request_id: exchange.request_id.to_str().unwrap_or_default().into(),
            method: redact::method(&exchange.method),
            path: redact::shown(exchange.uri.path(), MOST_OF_A_FIELD).into(),
            client: exchange.client,
            class: exchange.class,
            status: exchange.status,
            reason: exchange.reason,
            cut: exchange.cut,
            total: exchange.begun.elapsed(),
            upstream: exchange.upstream,
            bytes_in: exchange.bytes_in,
            bytes_out: exchange.bytes_out,
        });
    }
}

impl Ended {
    /// The request as its caller sees it, and as Airflow does if it got that far.
    pub(super) fn spans(&self) -> impl Iterator<Item = Span> {
        [Some(self.server()), self.before_upstream.map(|before| self.client(before))]
            .into_iter()
            .flatten()
    }

    fn server(&self) -> Span {
        let mut attributes = vec![
            text("http.request.method", self.method),
            text("url.path", &*self.path),
            text("http.route", self.class.name()),
            text("client.address", self.client.to_string()),
            text("network.protocol.version", version(self.trace.version)),
            number("http.request.body.size", self.bytes_in),
            number("http.response.body.size", self.bytes_out),
            text("airside.request_id", &*self.request_id),
        ];
        attributes.extend(self.status.map(code));
        let error = self.error();
        attributes.extend(error.map(|error| text("error.type", error)));
        let failed = self.status.is_some_and(|status| status.is_server_error())
            || self.reason.is_some_and(|reason| reason.status().is_server_error());
        Span {
            parent_span_id: self.trace.context.parent().map_or_else(Vec::new, id),
            name: format!("{} {}", self.named_method(), self.class.name()),
            kind: SpanKind::Server.into(),
            flags: self.flags() | SpanFlags::ContextIsRemoteMask as u32,
            attributes,
            status: failed.then(failure),
            ..self.span(self.trace.ours, Duration::ZERO, self.total)
        }
    }

    fn client(&self, before: Duration) -> Span {
        let took = self.upstream.unwrap_or_else(|| self.total.saturating_sub(before));
        let mut attributes = vec![text("http.request.method", self.method)];
        attributes.extend(self.status.filter(|_| self.upstream.is_some()).map(code));
        let error = self.upstream_error();
        let failed = error.is_some();
        attributes.extend(error.map(|error| text("error.type", error)));
        Span {
            parent_span_id: id(self.trace.ours),
            name: self.named_method().to_owned(),
            kind: SpanKind::Client.into(),
            flags: self.flags(),
            attributes,
            status: failed.then(failure),
            ..self.span(self.trace.upstream, before, before + took)
        }
    }

    /// What both have, between these moments of the request.
    fn span(&self, span: SpanId, from: Duration, to: Duration) -> Span {
        let begun = self.trace.begun;
        Span {
            trace_id: self.trace.context.trace().to_vec(),
            span_id: id(span),
            trace_state: self.trace.state.as_deref().unwrap_or_default().into(),
            start_time_unix_nano: nanos(begun + from),
            end_time_unix_nano: nanos(begun + to),
            ..Span::default()
        }
    }

    /// Low eight bits as in `traceparent`, and that it is known whether the parent is another's.
    fn flags(&self) -> u32 {
        u32::from(self.trace.context.flags()) | SpanFlags::ContextHasIsRemoteMask as u32
    }

    /// To a client every refusal is an error, Airflow's own included.
    fn upstream_error(&self) -> Option<String> {
        if let Some(reason) = self.reason {
            return Some(reason.name().to_owned());
        }
        if self.upstream.is_none() {
            return Some(ABANDONED.to_owned());
        }
        let refused = |status: &StatusCode| status.is_client_error() || status.is_server_error();
        self.status.filter(refused).map(|status| status.as_str().to_owned())
    }

    fn error(&self) -> Option<String> {
        let server = self.status.filter(StatusCode::is_server_error);
        match (self.reason, server) {
            (Some(reason), _) => Some(reason.name().to_owned()),
            (None, Some(status)) => Some(status.as_str().to_owned()),
            (None, None) if self.cut || self.status.is_none() => Some(ABANDONED.to_owned()),
            (None, None) => None,
        }
    }

    /// In the name of a span, what a stranger may invent is no method.
    fn named_method(&self) -> &'static str {
        if self.method == redact::OTHER_METHOD { "HTTP" } else { self.method }
    }
}

/// The client went away.
const ABANDONED: &str = "abandoned";

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

fn failure() -> Status {
    Status { code: Outcome::Error.into(), message: String::new() }
}

fn code(status: StatusCode) -> KeyValue {
    number("http.response.status_code", u64::from(status.as_u16()))
}

pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn id(span: SpanId) -> Vec<u8> {
    span.bytes().to_vec()
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
