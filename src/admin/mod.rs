//! The admin listener, apart from the port that callers reach: probes, metrics and our public keys
//! for all who reach it; for its [`viewers`] how everything is, as JSON ([`status`]) and for people
//! ([`page`]).

pub mod health;
mod html;
pub mod page;
mod plot;
pub mod status;
pub mod viewers;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tracing::debug;

use crate::clock::Timestamp;
use crate::generation::Generations;
use crate::telemetry::history::History;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::refusals::Refusals;
use health::Health;
use viewers::Barred;

/// What the admin listener shows.
#[derive(Debug)]
pub struct Admin {
    /// Whether to send requests here.
    pub health: Health,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// What they were.
    pub history: Arc<History>,
    /// The latest refusals.
    pub refusals: Arc<Refusals>,
    /// The configuration in force.
    pub generations: Generations,
    /// Where the configuration comes from, if from a file.
    pub config_file: Option<PathBuf>,
    /// Since when all this is.
    pub started: Timestamp,
}

/// Serves the admin endpoints until the future is dropped. Above [`MOST_CONNECTIONS`] the oldest
/// gives way: a probe gets in however many a stranger holds open.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>) {
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= MOST_CONNECTIONS
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        let conversation = converse(stream, peer.ip(), Arc::clone(&admin));
        connections.push_back(tokio::spawn(conversation).abort_handle());
    }
}

/// A kubelet, a few scrapers and people need a handful.
const MOST_CONNECTIONS: usize = 64;
/// For the whole of a head, and between two requests; the next probe connects anew.
const PATIENCE: Duration = Duration::from_secs(30);

async fn converse(stream: TcpStream, peer: IpAddr, admin: Arc<Admin>) {
    let answer = |request: Request<Incoming>| {
        let answer = admin.answer(peer, &request);
        async { Ok::<_, Infallible>(answer) }
    };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    if let Err(error) = served.await {
        debug!(%error, "admin connection ended");
    }
}

/// What is served, for who asks for something else.
const PATHS: [&str; 6] = ["/", "/status", "/livez", "/readyz", "/metrics", "/jwks.json"];

impl Admin {
    fn answer<B>(&self, peer: IpAddr, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = json_answer(StatusCode::METHOD_NOT_ALLOWED, &json!({}));
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        let generation = self.generations.current();
        match request.uri().path() {
            "/livez" => json_answer(StatusCode::OK, &json!({ "status": "live" })),
            "/readyz" => {
                let needs_keys = generation.ready_needs_keys;
                let (ready, report) = self.health.report(&generation.keys, needs_keys);
                let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                json_answer(status, &report)
            }
            "/metrics" => {
                answer(StatusCode::OK, OPEN_METRICS, self.metrics.encode(generation.shown()))
            }
            "/jwks.json" => answer(StatusCode::OK, JWK_SET, generation.published.clone()),
            path @ ("/" | "/status") => match generation.viewers.admit(peer, request) {
                Err(barred) => barred.answer(),
                Ok(()) if path == "/" => page::answer(&self.status()),
                Ok(()) => json_answer(StatusCode::OK, &json!(self.status())),
            },
            _ => {
                let body = json!({ "status": "not_found", "paths": PATHS });
                json_answer(StatusCode::NOT_FOUND, &body)
            }
        }
    }
}

impl Barred {
    fn answer(self) -> Response<Full<Bytes>> {
        let body = json!({
            "title": "Forbidden",
            "status": StatusCode::FORBIDDEN.as_u16(),
            "detail": self.sentence(),
        });
        answer(StatusCode::FORBIDDEN, "application/problem+json", body.to_string())
    }
}

/// OpenMetrics 1.0, section "Protocol negotiation".
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// RFC 7517, section 8.5.2.
const JWK_SET: &str = "application/jwk-set+json";

fn json_answer(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    answer(status, "application/json", body.to_string())
}

fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A page of another site can neither show it nor run it.
    headers.insert(CORP, HeaderValue::from_static("same-origin"));
    answer
}

const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
