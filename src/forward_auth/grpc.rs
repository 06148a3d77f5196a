//! Questions over gRPC, on HTTP/2: one message in, one out, each behind five bytes (gRPC over HTTP2,
//! Length-Prefixed-Message), and the end of the call in trailers.
//!
//! Whatever is wrong is a message that denies. gRPC's own errors would leave it to Envoy what becomes of
//! the request, and with `failure_mode_allow` that is a yes.

use std::net::{IpAddr, Ipv4Addr};
use std::str;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use prost::Message as _;
use tokio::time::timeout;

use super::envoy::{
    self, APPEND, BoolValue, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValueOption,
    HttpRequest, HttpStatus, OVERWRITE, OkHttpResponse, Status, Verdict,
};
use super::permission::Permission;
use super::question::{Line, malformed};
use crate::answer::Answer;
use crate::downstream::connection::Limits;
use crate::rejection::{Reason, Rejection};
use crate::telemetry::Exchange;

/// Whether it is a call of the one method that there is, in all its marks (gRPC over HTTP2, Requests).
/// A call is answered 200 whatever the verdict, which nginx or Traefik would take for a yes if they were
/// led to ask here.
pub(super) fn is_call<B>(request: &Request<B>) -> bool {
    let says = |name: HeaderName, beginning: &[u8]| {
        let value = request.headers().get(name);
        value.is_some_and(|value| value.as_bytes().starts_with(beginning))
    };
    request.uri().path() == CHECK
        && request.version() == Version::HTTP_2
        && *request.method() == Method::POST
        && says(CONTENT_TYPE, b"application/grpc")
        && says(TE, b"trailers")
}

/// What Envoy says, not yet looked at.
#[derive(Debug)]
pub(super) struct Call {
    /// Who sent the request to Envoy, where that is said and no socket of a file system.
    source: Option<IpAddr>,
    http: HttpRequest,
}

/// Receives the message, in the time and twice the size that a head may take: it has one, and names
/// around it.
pub(super) async fn read(request: Request<Incoming>, limits: Limits) -> Result<Call, Rejection> {
    let largest = limits.header_bytes.saturating_mul(2);
    let body = Limited::new(request.into_body(), largest.saturating_add(PREFIX)).collect();
    let body = match timeout(limits.header_timeout, body).await {
        Err(_elapsed) => return Err(Reason::RequestTimeout.into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let found = format!("a message of more than {largest} bytes");
            return Err(Rejection::found_that(Reason::HeadersTooLarge, found));
        }
        Ok(Err(_)) => return Err(malformed("the message broke off")),
        Ok(Ok(body)) => body.to_bytes(),
    };
    let message = unframed(&body)?;
    let asked =
        CheckRequest::decode(message).map_err(|_| malformed("the message is no CheckRequest"))?;
    let attributes = asked.attributes.unwrap_or_default();
    let http = attributes.request.and_then(|request| request.http);
    let http = http.ok_or_else(|| malformed("the message tells of no HTTP request"))?;
    let source = attributes.source.and_then(|peer| peer.address?.socket_address);
    let source = source.and_then(|source| source.address.parse().ok());
    Ok(Call { source, http })
}

/// The one message, as it is.
fn unframed(body: &[u8]) -> Result<&[u8], Rejection> {
    let Some((prefix, message)) = body.split_first_chunk::<PREFIX>() else {
        return Err(malformed("no message"));
    };
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err(malformed("a compressed message"));
    }
    if u32::from_be_bytes(length) as usize != message.len() {
        return Err(malformed("not one message of the length that it has"));
    }
    Ok(message)
}

impl Call {
    /// Who asked Envoy, the line of the request, and its headers.
    pub(super) fn into_question(self) -> Result<(IpAddr, Line, HeaderMap), Rejection> {
        let HttpRequest { method, headers, path, host, query, fragment, header_map } = self.http;
        if !query.is_empty() || !fragment.is_empty() {
            return Err(malformed("a query or fragment beside the path, which has them"));
        }
        let raw = header_map.into_iter().flat_map(|map| map.headers).map(named);
        let fields = headers.into_iter().map(told).chain(raw);
        let mut all = HeaderMap::new();
        for field in fields {
            let (name, value) = field?;
            let line = [(":method", &method), (":path", &path), (":authority", &host)];
            let line = line.into_iter().chain([(HOST.as_str(), &host)]);
            let said = line.into_iter().find(|(part, _)| *part == name);
            match said {
                Some((_, said)) if *said == value => {}
                Some((part, _)) => return Err(malformed(format!("{part} is told twice"))),
                None if name.starts_with(':') => {}
                None => {
                    let (name, value) = header(&name, &value)?;
                    if all.len() >= MOST_HEADERS || all.try_append(name, value).is_err() {
                        let found = format!("more than {MOST_HEADERS} headers");
                        return Err(Rejection::found_that(Reason::HeadersTooLarge, found));
                    }
                }
            }
        }
        // Over a Unix socket there is no address: nobody's, then, to whom no trust is given.
        let source = self.source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Ok((source, Line::new(&method, &path, &host)?, all))
    }
}

/// A header of `headers`, where one without a value may be one whose value was not passed on.
fn told((name, value): (String, Vec<u8>)) -> Result<(String, Vec<u8>), Rejection> {
    if value.is_empty() {
        return Err(malformed("a header without a value, or with one that was not passed on"));
    }
    Ok((name, value))
}

/// A header of `header_map`, which has values as they are: none is none.
fn named(field: envoy::HeaderValue) -> Result<(String, Vec<u8>), Rejection> {
    let envoy::HeaderValue { key, value, raw_value } = field;
    if !value.is_empty() && !raw_value.is_empty() && value != raw_value {
        return Err(malformed("a header with two values"));
    }
    Ok((key, if raw_value.is_empty() { value } else { raw_value }))
}

/// Envoy's words for what is not UTF-8 have been nothing, and `!` (CVE-2023-27488): Airflow would see
/// another value than the one that is judged. So such a header is refused.
fn header(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), Rejection> {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(malformed("a header whose name is none"));
    };
    match HeaderValue::from_bytes(value) {
        Ok(value) if str::from_utf8(value.as_bytes()).is_ok() => Ok((name, value)),
        _ => Err(malformed(format!("{name} is not UTF-8, or has control characters"))),
    }
}

/// The answer that lets the request through.
pub(super) fn allow(permission: &Permission, exchange: Exchange) -> Response<Answer> {
    let set = permission.set().iter();
    let removed = permission.removed().iter();
    let ok = OkHttpResponse {
        headers: set.map(|(name, value)| option(name, value, OVERWRITE)).collect(),
        headers_to_remove: removed.map(ToString::to_string).collect(),
    };
    let response = CheckResponse {
        status: Some(Status { code: OK, message: String::new() }),
        verdict: Some(Verdict::Ok(ok)),
    };
    answer(&response, StatusCode::OK, exchange)
}

/// The answer that has Envoy give its client ours.
pub(super) fn deny(
    rejection: &Rejection,
    ours: &Response<Bytes>,
    exchange: Exchange,
) -> Response<Answer> {
    let id = (&X_REQUEST_ID, exchange.request_id());
    let headers = ours.headers();
    let mut told: Vec<HeaderValueOption> = Vec::new();
    for (name, value) in headers.iter().chain([id]) {
        // These are about our connection to Envoy.
        if name == CONNECTION || name == CONTENT_LENGTH {
            continue;
        }
        let before = told.iter().filter_map(|told| told.header.as_ref());
        let again = before.into_iter().any(|told| told.key == name.as_str());
        told.push(option(name, value, if again { APPEND } else { OVERWRITE }));
    }
    let status = ours.status();
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: status.as_u16().into() }),
        headers: told,
        body: String::from_utf8_lossy(ours.body()).into_owned(),
    };
    let code = if status == StatusCode::UNAUTHORIZED { UNAUTHENTICATED } else { PERMISSION_DENIED };
    let response = CheckResponse {
        status: Some(Status { code, message: rejection.reason().name().to_owned() }),
        verdict: Some(Verdict::Denied(denied)),
    };
    answer(&response, status, exchange)
}

fn option(name: &HeaderName, value: &HeaderValue, append_action: i32) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(envoy::HeaderValue {
            key: name.to_string(),
            value: value.as_bytes().to_vec(),
            raw_value: Vec::new(),
        }),
        append: Some(BoolValue { value: append_action == APPEND }),
        append_action,
    }
}

/// The message and the end of the call, which went well whatever it says; `status` is for the record.
fn answer(message: &CheckResponse, status: StatusCode, exchange: Exchange) -> Response<Answer> {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX + length);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    framed.put_slice(&message.encode_to_vec());
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let mut response = Response::new(Answer::with_trailers(framed.freeze(), trailers));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(X_REQUEST_ID, exchange.request_id().clone());
    Answer::ending_with(response, status, exchange)
}

/// Ten times what Envoy takes unless told otherwise (`max_headers_count`).
const MOST_HEADERS: usize = 1000;
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// Whether it is compressed, and the length.
const PREFIX: usize = 5;
/// Codes of `google.rpc.Code`.
const OK: i32 = 0;
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
