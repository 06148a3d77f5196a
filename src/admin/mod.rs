//! The admin listener: probes, metrics and our public keys, apart from the port that callers reach.

pub mod health;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
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

use crate::generation::Generations;
use crate::telemetry::metrics::Metrics;
use health::Health;

/// What the admin listener shows.
#[derive(Debug)]
pub struct Admin {
    /// Whether to send requests here.
    pub health: Health,
    /// The counters.
    pub metrics: Metrics,
    /// The configuration in force.
    pub generations: Generations,
}

/// Serves the admin endpoints until the future is dropped. Above [`MOST_CONNECTIONS`] the oldest
/// gives way: a probe gets in however many a stranger holds open.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>) {
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= MOST_CONNECTIONS
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        connections.push_back(tokio::spawn(converse(stream, Arc::clone(&admin))).abort_handle());
    }
}

/// A kubelet, a few scrapers and people need a handful.
const MOST_CONNECTIONS: usize = 64;
/// For the whole of a head, and between two requests; the next probe connects anew.
const PATIENCE: Duration = Duration::from_secs(30);

async fn converse(stream: TcpStream, admin: Arc<Admin>) {
    let answer = |request: Request<Incoming>| {
        let answer = admin.answer(request.method(), request.uri().path());
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

impl Admin {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut answer = json_answer(StatusCode::METHOD_NOT_ALLOWED, &json!({}));
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        let generation = self.generations.current();
        match path {
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
            _ => json_answer(
                StatusCode::NOT_FOUND,
                &json!({
                    "status": "not_found",
                    "paths": ["/livez", "/readyz", "/metrics", "/jwks.json"],
                }),
            ),
        }
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
    answer
}
