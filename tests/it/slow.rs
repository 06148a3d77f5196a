//! Whoever is slow on purpose is given up, one by one; whoever has a slow answer is not.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use serde_json::json;

use crate::support::entra::v2_app;
use crate::support::http::{Connection, Request};
use crate::support::http2::{
    END_HEADERS, END_STREAM, HEADERS, Outcome, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, block,
    frame, get,
};
use crate::support::issuer::Issuer;
use crate::support::scene::Scene;
use crate::support::tls::Authority;
use crate::support::upstream::Upstream;
use crate::support::wait::{DEADLINE, eventually};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A byte each half second below `/api/v2/slow`, as much as is taken below `/api/v2/large`; counts
/// the large ones that were cut.
fn upstream() -> (Upstream, Arc<AtomicUsize>) {
    let cut = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&cut);
    let upstream = Upstream::scripted(move |mut reader| {
        while let Ok(head) = reader.head() {
            if head.first.contains("/api/v2/slow") {
                let _ = reader.stream.write_all(HEAD);
                while reader.stream.write_all(b"1\r\nx\r\n").is_ok() {
                    thread::sleep(Duration::from_millis(500));
                }
                return;
            }
            if head.first.contains("/api/v2/large") {
                let chunk = [b"10000\r\n", &vec![b'x'; 0x10000][..], b"\r\n"].concat();
                let _ = reader.stream.write_all(HEAD);
                // For as long as the test waits at the most.
                reader.stream.set_write_timeout(Some(2 * DEADLINE)).unwrap();
                while reader.stream.write_all(&chunk).is_ok() {}
                counted.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if reader.request_body(&head).is_err() {
                return;
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            if reader.stream.write_all(answer).is_err() {
                return;
            }
        }
    });
    (upstream, cut)
}

/// Sends the rest of `bytes` one by one until the other side has had enough.
fn drip(address: std::net::SocketAddr, start: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    stream.write_all(start).unwrap();
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < DEADLINE, "{} was left open", start.escape_ascii());
        let ended = stream.write_all(b"x").is_err()
            || match stream.read(&mut [0; 1024]) {
                Ok(0) => true,
                Ok(_) => false,
                Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
            };
        if ended {
            return;
        }
    }
}

#[test]
fn slow_clients_are_given_up_while_a_slow_stream_lives_on() {
    let (upstream, cut) = upstream();
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        config
            .set("/limits/header_timeout", "1s")
            .set("/upstream/idle_timeout", "4s")
            .set("/upstream/response_header_timeout", "4s")
    });
    let (proxy, token) = (scene.airside.proxy, v2_app().token());
    let mut stream = Connection::open(proxy);
    stream.send(&Request::get("/api/v2/slow").bearer(&token).bytes(proxy)).unwrap();
    assert!(stream.head().unwrap().first.contains("200"));

    let body = format!(
        "POST /api/v2/variables HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 5\r\n\r\nhe"
    );
    let large = Request::get("/api/v2/large").bearer(&token);
    let bearer = format!("Bearer {token}");
    thread::scope(|scope| {
        scope.spawn(|| drip(proxy, b"GET /api/v2/version HTTP/1.1\r\nHost: "));
        scope.spawn(|| drip(proxy, b"PRI * HTT"));
        // A body that stops is answered; whoever never reads is known by that alone.
        scope.spawn(|| {
            let mut stopped = Connection::open(proxy);
            stopped.send(body.as_bytes()).unwrap();
            assert_eq!(stopped.response_to("POST").unwrap().status, 408);
        });
        let mut unread = Connection::open(proxy);
        unread.send(&large.bytes(proxy)).unwrap();
        let fields = [&get("/api/v2/large")[..], &[("authorization", bearer.as_str())]].concat();
        let mut raw = Raw::open(proxy);
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))).unwrap();
        eventually("both answers that nobody reads are cut", || {
            (cut.load(Ordering::Relaxed) == 2).then_some(())
        });
        // Of HTTP/2 the stream alone.
        while raw.next().unwrap().kind != RST_STREAM {}
        let again = block(&get("/api/v2/version"));
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &again)).unwrap();
        assert_eq!(raw.outcome(3), Outcome::Status(200));
        drop(unread);
    });
    scene.airside.wait_for_ended("unread_answer", 2);
    // What is read is not given up, as slow as it is.
    for _ in 0..6 {
        assert_eq!(stream.chunk().unwrap(), b"x");
    }
}

#[test]
fn slow_handshakes_hold_up_nobody() {
    let authority = Authority::new();
    let shown = authority.issue(&["localhost"], |_| {});
    let (upstream, _) = upstream();
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        let certificate = config.file("tls.crt", &shown.chain_pem());
        let key = config.file("tls.key", &shown.key_pem());
        config
            .set("/tls", json!({"cert_file": certificate, "key_file": key}))
            .set("/limits/header_timeout", "1s")
    });
    let proxy = scene.airside.proxy;
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(move || drip(proxy, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"));
        }
        let client = authority.client(None, &["h2"], rustls::DEFAULT_VERSIONS);
        let mut client = crate::support::http2::Http2::secure(proxy, client);
        let mut answer =
            client.begin(&Request::get("/api/v2/slow").bearer(&v2_app().token())).unwrap();
        for _ in 0..6 {
            assert_eq!(&client.piece(&mut answer).unwrap()[..], b"x");
        }
    });
}

#[test]
fn an_answer_over_tls_that_nobody_reads_is_cut() {
    let authority = Authority::new();
    let shown = authority.issue(&["localhost"], |_| {});
    let (upstream, cut) = upstream();
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        let certificate = config.file("tls.crt", &shown.chain_pem());
        let key = config.file("tls.key", &shown.key_pem());
        config
            .set("/tls", json!({"cert_file": certificate, "key_file": key}))
            .set("/upstream/idle_timeout", "1s")
    });
    let proxy = scene.airside.proxy;
    let client = authority.client(None, &[], rustls::DEFAULT_VERSIONS);
    let mut session =
        ClientConnection::new(client, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = TcpStream::connect(proxy).unwrap();
    let request = Request::get("/api/v2/large").bearer(&v2_app().token()).bytes(proxy);
    rustls::Stream::new(&mut session, &mut stream).write_all(&request).unwrap();
    eventually("it is cut", || (cut.load(Ordering::Relaxed) == 1).then_some(()));
    scene.airside.wait_for_ended("unread_answer", 1);
}

#[test]
fn the_last_request_that_a_connection_may_have_says_so() {
    let scene = Scene::with(|config| config.set("/log/access", false));
    let mut connection = Connection::open(scene.airside.proxy);
    let request = Request::get("/airside/nothing");
    let batch = request.bytes(scene.airside.proxy).repeat(100);
    for round in 1..=1000 {
        connection.send(&batch).unwrap();
        for number in 1..=100 {
            let answer = connection.response_to("GET").unwrap();
            let last = (round, number) == (1000, 100);
            assert_eq!(answer.header("connection") == Some("close"), last, "{round} {number}");
        }
    }
    assert!(connection.rest().unwrap().is_empty(), "closed");
}

#[test]
fn answers_that_nobody_reads_take_no_memory_to_speak_of() {
    let (upstream, _) = upstream();
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let bearer = format!("Bearer {}", v2_app().token());
    let fields = [&get("/api/v2/large")[..], &[("authorization", bearer.as_str())]].concat();
    let head = block(&fields);
    let before = scene.airside.memory();
    // Windows as large as they get, of which nothing is read.
    let wide = [
        frame(SETTINGS, 0, 0, &[0, 4, 0x7F, 0xFF, 0xFF, 0xFF]),
        frame(WINDOW_UPDATE, 0, 0, &0x7FFF_0000_u32.to_be_bytes()),
    ]
    .concat();
    let mut all = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::open(scene.airside.proxy);
        raw.send(&wide).unwrap();
        for stream in 0..100 {
            let request = frame(HEADERS, END_HEADERS | END_STREAM, 2 * stream + 1, &head);
            raw.send(&request).unwrap();
        }
        all.push(raw);
    }
    eventually("all are under way", || {
        let metrics = scene.airside.ask_admin("/metrics").text();
        metrics.contains("airside_requests_in_flight 300").then_some(())
    });
    let mut last = 0;
    eventually("it grows no more", || {
        thread::sleep(Duration::from_millis(500));
        let now = scene.airside.memory();
        let rests = now == last;
        last = now;
        rests.then_some(())
    });
    let each = (last - before) / 300;
    assert!(each < 1000, "{each} KiB for each answer");
}
