//! Questions over HTTP. nginx and Traefik ask at [`PREFIX`] and tell of the request in headers; Envoy
//! asks below it, by the request's own line.
//!
//! A proxy passes on what its client wrote, so each of them is an open door for the words of the other
//! two: behind Traefik a client may write `X-Original-URL`, behind nginx `X-Forwarded-Uri`. Therefore a
//! question in the words of more than one is refused, unless the configuration names the one that is
//! meant; then the others' words are a client's, and removed with the rest of them.

use http::HeaderMap;
use http::header::{HOST, HeaderName};
use http::request::Parts;

use super::question::{Line, malformed};
use super::{PREFIX, Protocol};
use crate::rejection::{Reason, Rejection};

/// Which protocol the question is in, and the line of the request that it is about.
pub(super) fn read(parts: &Parts, only: Option<Protocol>) -> Result<(Protocol, Line), Rejection> {
    let below = below(parts)?;
    let headers = &parts.headers;
    let told = |names: &[HeaderName]| names.iter().any(|name| headers.contains_key(name));
    let told = [
        (Protocol::Nginx, told(&[X_ORIGINAL_URL, X_ORIGINAL_URI, X_ORIGINAL_METHOD])),
        (Protocol::Traefik, is_traefiks(headers)),
        (Protocol::Envoy, below.is_some()),
    ];
    let mut told = told.into_iter().filter(|(_, told)| *told).map(|(protocol, _)| protocol);
    let protocol = match (only, told.next(), told.next()) {
        (Some(only), _, _) => only,
        (None, Some(protocol), None) => protocol,
        (None, None, _) => return Err(malformed(NOT_TOLD)),
        (None, Some(one), Some(other)) => {
            let (one, other) = (one.name(), other.name());
            let found = format!(
                "told in the words of {one} and of {other}: only one is the proxy's, so set forward_auth.protocol"
            );
            return Err(malformed(found));
        }
    };
    let line = match (protocol, below) {
        (Protocol::Nginx, None) => of_nginx(headers),
        (Protocol::Traefik, None) => of_traefik(headers),
        (Protocol::Envoy, Some(target)) => of_envoy(parts, target),
        (expected, _) => Err(not_spoken(expected)),
    };
    line.map(|line| (protocol, line))
}

/// Whether a request is told of as Traefik does it, beside other words or not.
pub(super) fn is_traefiks(headers: &HeaderMap) -> bool {
    [X_FORWARDED_URI, X_FORWARDED_METHOD].iter().any(|name| headers.contains_key(name))
}

/// Refuses a question in another protocol than the one that is spoken.
pub(super) fn spoken(protocol: Protocol, only: Option<Protocol>) -> Result<(), Rejection> {
    match only.filter(|only| *only != protocol) {
        Some(other) => Err(not_spoken(other)),
        None => Ok(()),
    }
}

fn not_spoken(expected: Protocol) -> Rejection {
    let expected = expected.name();
    malformed(format!("not asked as forward_auth.protocol {expected} has it"))
}

/// What follows [`PREFIX`], if anything does. The query of the question is nobody's word.
fn below(parts: &Parts) -> Result<Option<&str>, Rejection> {
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    match target.strip_prefix(PREFIX) {
        Some(below) if below.starts_with('/') => Ok(Some(below)),
        Some(below) if below.is_empty() || below.starts_with('?') => Ok(None),
        _ => Err(Rejection::found_that(Reason::NotFound, "not a path that proxies ask at")),
    }
}

/// `X-Original-URL` is `$scheme://$http_host$request_uri` (ingress-nginx, `nginx.tmpl`), of which a
/// client writes the last two. nginx lets `?` stand in a host, which would make a query of the path, but
/// no slash: so the path begins at the first one, and before it is a host or nothing is. Where it is told
/// once more in `X-Original-URI`, that has to be the same.
fn of_nginx(headers: &HeaderMap) -> Result<Line, Rejection> {
    let url = one(headers, &X_ORIGINAL_URL)?;
    let rest = [&b"http://"[..], b"https://"].iter().find_map(|scheme| url.strip_prefix(*scheme));
    let rest = rest.ok_or_else(|| malformed("X-Original-URL is no http or https address"))?;
    let slash = rest.iter().position(|byte| *byte == b'/');
    let slash = slash.ok_or_else(|| malformed("X-Original-URL has no path"))?;
    let (host, target) = rest.split_at(slash);
    if !host.iter().all(|byte| is_of_host(*byte)) {
        return Err(malformed("X-Original-URL has no host alone before its path"));
    }
    if headers.contains_key(&X_ORIGINAL_URI) && one(headers, &X_ORIGINAL_URI)? != target {
        return Err(malformed("X-Original-URI is another target than X-Original-URL has"));
    }
    Line::new(one(headers, &X_ORIGINAL_METHOD)?, target, host)
}

fn of_traefik(headers: &HeaderMap) -> Result<Line, Rejection> {
    let method = one(headers, &X_FORWARDED_METHOD)?;
    Line::new(method, one(headers, &X_FORWARDED_URI)?, one(headers, &X_FORWARDED_HOST)?)
}

fn of_envoy(parts: &Parts, target: &str) -> Result<Line, Rejection> {
    let host = one(&parts.headers, &HOST)?;
    Line::new(parts.method.as_str().as_bytes(), target.as_bytes(), host)
}

/// The one value of a header. Where there are two, a client's is among them.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h [u8], Rejection> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.as_bytes()),
        (None, _) => Err(malformed(format!("no {name}"))),
        (Some(_), Some(_)) => Err(malformed(format!("more than one {name}"))),
    }
}

/// What a host and its port are made of, IPv6 addresses included.
const fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
}

const X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const NOT_TOLD: &str = "no request is told of: X-Original-URL and X-Original-Method (nginx), X-Forwarded-Uri and X-Forwarded-Method (Traefik), or a path below /airside/auth (Envoy)";

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn read(target: &str, headers: &[(&str, &str)], only: Option<Protocol>) -> String {
        let mut request = Request::builder().method("PUT").uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        match super::read(&parts, only) {
            Ok((protocol, Line { method, target, host })) => {
                format!("{} {method} {target} {}", protocol.name(), host.to_str().unwrap())
            }
            Err(rejection) => rejection.reason().name().to_owned(),
        }
    }

    const URL: (&str, &str) = ("x-original-url", "https://a.example/x?y");
    const METHOD: (&str, &str) = ("x-original-method", "GET");
    const FORWARDED: [(&str, &str); 3] = [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-host", "a.example"),
        ("x-forwarded-uri", "/x?y"),
    ];

    #[test]
    fn each_proxy_is_understood_in_its_own_words() {
        let host = ("host", "a.example");
        for (target, headers, expected) in [
            ("/airside/auth", &[URL, METHOD][..], "nginx GET /x?y a.example"),
            (
                "/airside/auth?z",
                &[URL, METHOD, ("x-original-uri", "/x?y")],
                "nginx GET /x?y a.example",
            ),
            ("/airside/auth", &FORWARDED, "traefik GET /x?y a.example"),
            ("/airside/auth/x?y", &[host], "envoy PUT /x?y a.example"),
            ("/airside/auth/", &[host], "envoy PUT / a.example"),
            ("/airside/auth//x", &[host], "envoy PUT //x a.example"),
        ] {
            assert_eq!(read(target, headers, None), expected, "{target} {headers:?}");
        }
    }

    #[test]
    fn what_is_missing_repeated_or_contradicts_itself_is_refused() {
        let url = |value| [("x-original-url", value), METHOD];
        for headers in [
            &[][..],
            &[URL],
            &[METHOD],
            &[URL, URL, METHOD],
            &[URL, METHOD, METHOD],
            &[URL, METHOD, ("x-original-uri", "/x")],
            &[URL, METHOD, ("x-original-uri", "/x?y"), ("x-original-uri", "/x?y")],
            &[URL, ("x-original-method", "")],
            &[URL, ("x-original-method", "GET, PUT")],
            &url(""),
            &url("/x"),
            &url("//a.example/x"),
            &url("ftp://a.example/x"),
            &url("HTTP://a.example/x"),
            &url("http://a.example"),
            &url("http:///x"),
            &url("http://a?x=/api/v2/dags"),
            &url("http://a#/api/v2/dags"),
            &url("http://user@a/x"),
            &url("http://a\\b/x"),
            &url("http://a/x#y"),
            &url("http://a/x y"),
            &FORWARDED[..2],
            &FORWARDED[1..],
            &[FORWARDED[0], FORWARDED[2]],
            &[FORWARDED[0], FORWARDED[1], FORWARDED[2], ("x-forwarded-uri", "/y")],
            &[FORWARDED[0], FORWARDED[1], ("x-forwarded-uri", "http://a/x")],
            &[FORWARDED[0], FORWARDED[1], ("x-forwarded-uri", "")],
        ] {
            assert_eq!(read("/airside/auth", headers, None), "request_malformed", "{headers:?}");
        }
        assert_eq!(read("/airside/auth/x", &[], None), "request_malformed", "Envoy tells a host");
        for target in ["/", "/airside", "/airside/authx", "/airside/auth2/x", "/airside/token"] {
            assert_eq!(read(target, &[URL, METHOD], None), "not_found", "{target}");
        }
    }

    #[test]
    fn the_words_of_two_are_refused_unless_one_is_named() {
        let host = ("host", "b.example");
        let both = [URL, METHOD, FORWARDED[0], FORWARDED[1], FORWARDED[2], host];
        let forged = [URL, METHOD, ("x-forwarded-uri", "/open"), host];
        for (target, headers) in [
            ("/airside/auth", &both[..]),
            ("/airside/auth", &forged),
            ("/airside/auth/x", &[URL, host]),
            ("/airside/auth/x", &[FORWARDED[0], host]),
        ] {
            assert_eq!(read(target, headers, None), "request_malformed", "{target} {headers:?}");
        }
        for (target, only, expected) in [
            ("/airside/auth", Protocol::Nginx, "nginx GET /x?y a.example"),
            ("/airside/auth", Protocol::Traefik, "traefik GET /x?y a.example"),
            ("/airside/auth/z", Protocol::Envoy, "envoy PUT /z b.example"),
            ("/airside/auth", Protocol::Envoy, "request_malformed"),
            ("/airside/auth/z", Protocol::Nginx, "request_malformed"),
            ("/airside/auth/z", Protocol::Traefik, "request_malformed"),
            ("/airside/auth", Protocol::EnvoyGrpc, "request_malformed"),
        ] {
            assert_eq!(read(target, &both, Some(only)), expected, "{target} {only:?}");
        }
    }
}
