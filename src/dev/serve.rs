//! Serves a pure function over HTTP/1.1: the issuer and the sample upstream are each one function
//! from a whole request to a whole response, which is also how their tests call them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// A whole response, as the functions served here return it.
pub type Answer = Response<Full<Bytes>>;

/// Request bodies above this many bytes are refused: the largest honest one is a few kilobytes.
const BODY_LIMIT: usize = 64 * 1024;

/// How long to wait after a failed accept.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a client may take for its part of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Answers every request on `listener` with `answer`, until this future is dropped; its open
/// connections end with it.
pub async fn serve(
    listener: TcpListener,
    answer: impl Fn(&Request<Bytes>) -> Answer + Send + Sync + 'static,
) {
    let answer = Arc::new(answer);
    accept(listener, |stream| connection(stream, Arc::clone(&answer))).await;
}

/// The same over TLS.
pub async fn serve_tls(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    answer: impl Fn(&Request<Bytes>) -> Answer + Send + Sync + 'static,
) {
    let (tls, answer) = (TlsAcceptor::from(tls), Arc::new(answer));
    accept(listener, |stream| {
        let (handshake, answer) = (tls.accept(stream), Arc::clone(&answer));
        async move {
            // One that fails concerns its client alone.
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, handshake).await {
                connection(stream, answer).await;
            }
        }
    })
    .await;
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: &Value) -> Answer {
    text(status, "application/json", body.to_string())
}

/// An answer with the given body; nothing that `dev` serves may be stored.
pub(super) fn text(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .header(CACHE_CONTROL, "no-store")
        .body(Full::from(body))
        .expect("the parts are constants")
}

/// The token of the first Authorization field, where that is a bearer's.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Has every connection on `listener` served by what `serve` makes of it.
async fn accept<S>(listener: TcpListener, serve: impl Fn(TcpStream) -> S)
where
    S: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream));
                }
                // Out of file descriptors: wait for some to come back instead of spinning.
                Err(_) => sleep(PAUSE).await,
            },
        }
    }
}

async fn connection<A>(stream: impl AsyncRead + AsyncWrite + Unpin, answer: Arc<A>)
where
    A: Fn(&Request<Bytes>) -> Answer,
{
    let service = service_fn(|request| {
        let answer = Arc::clone(&answer);
        async move { Ok::<_, Infallible>(whole(request, &*answer).await) }
    });
    // A connection that breaks concerns its client alone.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn whole(request: Request<Incoming>, answer: &impl Fn(&Request<Bytes>) -> Answer) -> Answer {
    let (parts, body) = request.into_parts();
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => answer(&Request::from_parts(parts, body.to_bytes())),
        Err(_) => json(StatusCode::PAYLOAD_TOO_LARGE, &json!({"detail": "body too large"})),
    }
}

/// Status and JSON body (null for any other) of an answer.
#[cfg(test)]
pub(super) fn opened(answer: Answer) -> (u16, Value) {
    let status = answer.status().as_u16();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let body = runtime.block_on(answer.into_body().collect()).unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}
