//! Load balancers that say first for whom they come.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use crate::support::config::Config;
use crate::support::entra::v2_app;
use crate::support::http::{Connection, Request};
use crate::support::http2::{
    END_HEADERS, END_STREAM, HEADERS, Outcome, PREFACE, Raw, SETTINGS, block, frame, get,
};
use crate::support::scene::Scene;
use crate::support::tls::{Authority, converse};
use crate::support::wait::DEADLINE;

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 49152 443\r\n";
/// 192.0.2.7, and a field that says nothing.
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x07\x0a\0\0\x01\xc0\0\x01\xbb\x04\0\0";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";

fn behind_a_balancer(config: Config) -> Config {
    config.set("/proxy_protocol", true).set("/forwarded/trusted", json!(["127.0.0.1"]))
}

/// The statuses of the answers, and what came first to Airflow.
fn ask(scene: &Scene, header: &[u8], request: &Request) -> u16 {
    let mut connection = Connection::open(scene.airside.proxy);
    let bytes = [header, &request.bytes(scene.airside.proxy)].concat();
    // Closed at once, it may no longer take what follows.
    let _ = connection.send(&bytes);
    connection.response_to("GET").map_or(0, |answer| answer.status)
}

#[test]
fn the_client_is_the_one_that_a_trusted_balancer_names() {
    let scene = Scene::with(behind_a_balancer);
    // What the client itself says of others is believed no more than without a balancer.
    let request = Request::get("/api/v2/dags")
        .bearer(&v2_app().token())
        .header("X-Forwarded-For", "198.51.100.1")
        .header("X-Forwarded-Host", "evil.example")
        .header("X-Request-Id", "chosen");
    for (header, client) in
        [(V1, "192.0.2.7"), (V2, "192.0.2.7"), (LOCAL, "127.0.0.1"), (UNKNOWN, "127.0.0.1")]
    {
        assert_eq!(ask(&scene, header, &request), 200, "{}", header.escape_ascii());
        let received = scene.upstream.last();
        assert_eq!(received.header("x-forwarded-for"), Some(client));
        assert_ne!(received.header("x-forwarded-host"), Some("evil.example"));
        assert_ne!(received.header("x-request-id"), Some("chosen"));
    }
    let log = scene.finish().log();
    assert_eq!(log.matches("client=192.0.2.7").count(), 2, "{log}");
}

#[test]
fn a_connection_serves_on_after_its_header() {
    let scene = Scene::with(behind_a_balancer);
    let mut connection = Connection::open(scene.airside.proxy);
    for byte in V2 {
        connection.send(&[*byte]).unwrap();
    }
    for _ in 0..3 {
        let request = Request::get("/api/v2/dags").bearer(&v2_app().token());
        assert_eq!(connection.ask(&request).status, 200);
    }
    let mut raw = Raw::silent(scene.airside.proxy);
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&get("/api/v2/version")));
    raw.send(&[V1, PREFACE, &frame(SETTINGS, 0, 0, &[]), &request].concat()).unwrap();
    assert_eq!(raw.outcome(1), Outcome::Status(200));
    assert_eq!(scene.upstream.last().header("x-forwarded-for"), Some("192.0.2.7"));
}

#[test]
fn it_comes_before_tls() {
    let authority = Authority::new();
    let shown = authority.issue(&["localhost"], |_| {});
    let scene = Scene::with(|config| {
        let certificate = config.file("tls.crt", &shown.chain_pem());
        let key = config.file("tls.key", &shown.key_pem());
        behind_a_balancer(config).set("/tls", json!({"cert_file": certificate, "key_file": key}))
    });
    let mut stream = TcpStream::connect(scene.airside.proxy).unwrap();
    stream.write_all(V1).unwrap();
    let request = Request::get("/api/v2/version").header("Connection", "close");
    let client = authority.client(None, &[], rustls::DEFAULT_VERSIONS);
    let answer = converse(stream, client, &request.bytes(scene.airside.proxy)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let received = scene.upstream.last();
    assert_eq!(received.header("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(received.header("x-forwarded-proto"), Some("https"));
}

#[test]
fn nobody_else_may_choose_an_address() {
    let request = Request::get("/api/v2/version");
    for trusted in [json!([]), json!(["10.0.0.0/8"])] {
        let scene = Scene::with(|config| {
            config.set("/proxy_protocol", true).set("/forwarded/trusted", trusted.clone())
        });
        for header in [V1, V2, LOCAL, UNKNOWN] {
            let status = ask(&scene, header, &request);
            assert!(matches!(status, 0 | 400), "{}: {status}", header.escape_ascii());
        }
        assert!(scene.upstream.requests().is_empty());
        // Whoever comes directly comes as themselves.
        assert_eq!(ask(&scene, b"", &request), 200);
        assert_eq!(scene.upstream.last().header("x-forwarded-for"), Some("127.0.0.1"));
    }
    // Nor does anybody where it is not asked for.
    let scene = Scene::with(|config| config.set("/forwarded/trusted", json!(["127.0.0.1"])));
    for header in [V1, V2] {
        assert!(matches!(ask(&scene, header, &request), 0 | 400));
    }
    assert!(scene.upstream.requests().is_empty());
}

#[test]
fn a_header_that_is_none_or_does_not_end_closes_the_connection() {
    let scene =
        Scene::with(|config| behind_a_balancer(config).set("/limits/header_timeout", "500ms"));
    let request = Request::get("/api/v2/version");
    let wrong = [
        &b""[..],
        b"PROXY TCP4 192.0.2.7\r\n",
        b"PROXY TCP4 192.0.2.700 10.0.0.1 1 2\r\n",
        b"PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\xc0\0\x01\xbb",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ];
    for header in wrong {
        assert_eq!(ask(&scene, header, &request), 0, "{}", header.escape_ascii());
    }
    scene.airside.wait_for_ended("proxy_header", wrong.len() as u64);
    for half in [&b""[..], &V1[..9], &V2[..14], &V2[..20]] {
        let mut stream = TcpStream::connect(scene.airside.proxy).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(half).unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
    scene.airside.wait_for_ended("late_head", 4);
    assert!(scene.upstream.requests().is_empty());
}
