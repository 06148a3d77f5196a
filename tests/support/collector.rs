//! A collector of traces on loopback: it takes what is posted to `/v1/traces` as protobuf, and
//! remembers it.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::http::{Head, Reader};
use super::listener::Listener;
use super::wait::eventually;

pub(crate) struct Collector {
    listener: Listener,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What is answered, where that is not 200.
    status: Option<u16>,
    posts: Vec<(Head, Vec<u8>)>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let state = Arc::<Mutex<State>>::default();
        let listener = Listener::start({
            let state = Arc::clone(&state);
            move |stream| converse(stream, &state)
        });
        Self { listener, state }
    }

    /// What `telemetry.otlp_endpoint` is set to.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// Answers with this status from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.state.lock().unwrap().status = Some(status).filter(|status| *status != 200);
    }

    pub(crate) fn stop(&mut self) {
        self.listener.stop();
    }

    pub(crate) fn restart(&mut self) {
        self.listener.restart();
    }

    /// The heads of what was posted, refused or not.
    pub(crate) fn heads(&self) -> Vec<Head> {
        self.state.lock().unwrap().posts.iter().map(|(head, _)| head.clone()).collect()
    }

    /// Every byte that was posted.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let posts = &self.state.lock().unwrap().posts;
        posts
            .iter()
            .flat_map(|(head, body)| [head.raw.as_slice(), body])
            .flatten()
            .copied()
            .collect()
    }

    /// Everything posted, as it was meant.
    pub(crate) fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let posts = &self.state.lock().unwrap().posts;
        posts
            .iter()
            .map(|(_, body)| ExportTraceServiceRequest::decode(&body[..]).unwrap())
            .collect()
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let all = self.requests().into_iter().flat_map(|request| request.resource_spans);
        let all = all.flat_map(|resource| resource.scope_spans);
        all.flat_map(|scope| scope.spans).collect()
    }

    /// Waits for the spans of the request with this id: ours, and the one of Airflow's side if there
    /// is one.
    pub(crate) fn spans_of(&self, request_id: &str) -> (Span, Option<Span>) {
        eventually("its spans have come", || {
            let all = self.spans();
            let ours = all.iter().find(|span| said(span, "airside.request_id") == request_id)?;
            let below = all.iter().find(|span| span.parent_span_id == ours.span_id);
            Some((ours.clone(), below.cloned()))
        })
    }
}

/// An attribute as text; empty where there is none.
pub(crate) fn said(span: &Span, key: &str) -> String {
    let of = |attribute: &KeyValue| match attribute.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    };
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key);
    attribute.and_then(of).unwrap_or_default()
}

fn converse(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = Reader::new(stream);
    while let Ok(head) = reader.head() {
        let Ok((_, body)) = reader.request_body(&head) else { return };
        let status = {
            let mut state = state.lock().unwrap();
            state.posts.push((head, body));
            state.status.unwrap_or(200)
        };
        let answer = format!(
            "HTTP/1.1 {status} Scripted\r\nContent-Type: application/x-protobuf\r\n\
             Content-Length: 0\r\n\r\n"
        );
        if reader.stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
