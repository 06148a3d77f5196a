//! How connections of HTTP/2 end: idle, slow, drained, full.

use std::io;
use std::sync::Mutex;
use std::sync::mpsc;

use crate::support::entra::v2_app;
use crate::support::http::Request;
use crate::support::http2::{
    CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, Outcome, PING, PREFACE, Raw,
    SETTINGS, WINDOW_UPDATE, block, frame, get,
};
use crate::support::issuer::Issuer;
use crate::support::scene::Scene;
use crate::support::upstream::Upstream;
use crate::support::wait::{DEADLINE, eventually};

/// Sends a chunk whenever it is told to; ends with the sender.
fn upstream_that_streams() -> (Upstream, mpsc::Sender<()>) {
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let upstream = Upstream::scripted(move |mut reader| {
        use std::io::Write as _;
        let Ok(head) = reader.head() else { return };
        if !head.first.contains("/api/v2/dags") {
            let _ = reader.stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = reader.stream.write_all(head);
        while gate.lock().unwrap().recv_timeout(DEADLINE).is_ok() {
            if reader.stream.write_all(b"5\r\nchunk\r\n").is_err() {
                return;
            }
        }
        let _ = reader.stream.write_all(b"0\r\n\r\n");
    });
    (upstream, go_on)
}

#[test]
fn an_idle_connection_is_told_to_go_and_closed() {
    let scene = Scene::with(|config| config.set("/limits/idle_timeout", "500ms"));
    let mut unused = Raw::open(scene.airside.proxy);
    let mut used = Raw::open(scene.airside.proxy);
    let request = block(&get("/api/v2/version"));
    used.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &request)).unwrap();
    assert_eq!(used.outcome(1), Outcome::Status(200));
    // Pings are no requests, and whoever does not answer ours is not waited for either.
    used.send(&frame(PING, 0, 0, b"12345678")).unwrap();
    for raw in [&mut unused, &mut used] {
        let rest = raw.rest().expect("closed");
        assert!(rest.iter().any(|frame| frame.kind == GOAWAY), "{rest:?}");
    }
}

#[test]
fn a_stream_keeps_its_connection_alive() {
    let (upstream, go_on) = upstream_that_streams();
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        config.set("/limits/idle_timeout", "300ms").set("/limits/header_timeout", "300ms")
    });
    let mut client = Http2::open(scene.airside.proxy);
    let mut answer = client.begin(&Request::get("/api/v2/dags").bearer(&v2_app().token())).unwrap();
    for _ in 0..3 {
        std::thread::sleep(std::time::Duration::from_millis(500));
        go_on.send(()).unwrap();
        assert_eq!(&client.piece(&mut answer).unwrap()[..], b"chunk");
    }
    drop(go_on);
    assert!(client.piece(&mut answer).unwrap().is_empty());
}

#[test]
fn a_head_that_does_not_end_is_given_up() {
    let scene = Scene::with(|config| config.set("/limits/header_timeout", "500ms"));
    let settings = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let request = block(&get("/api/v2/version"));
    let begun = [&settings[..], &frame(HEADERS, END_STREAM, 1, &request)].concat();
    for (label, start) in [
        ("half a preface", &PREFACE[..10]),
        ("a preface and half a frame", &settings[..PREFACE.len() + 4]),
        ("half a field block", &begun[..settings.len() + 12]),
        ("a field block without its end", &begun),
    ] {
        let mut raw = Raw::silent(scene.airside.proxy);
        raw.send(start).unwrap();
        assert!(raw.is_closed(), "{label} was left open");
    }
    // Nor does a drip of it help.
    let mut raw = Raw::silent(scene.airside.proxy);
    raw.send(&begun).unwrap();
    let started = std::time::Instant::now();
    while raw.send(&frame(CONTINUATION, 0, 1, &[])).is_ok() {
        assert!(started.elapsed() < DEADLINE, "left open");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    scene.airside.wait_for_ended("late_head", 5);
}

#[test]
fn a_running_stream_is_finished_before_the_end() {
    let (upstream, go_on) = upstream_that_streams();
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let mut client = Http2::open(scene.airside.proxy);
    let mut answer = client.begin(&Request::get("/api/v2/dags").bearer(&v2_app().token())).unwrap();
    let mut idle = Raw::open(scene.airside.proxy);
    scene.airside.terminate();
    let gone = idle.rest().expect("an idle one is closed");
    assert!(gone.iter().any(|frame| frame.kind == GOAWAY), "{gone:?}");
    go_on.send(()).unwrap();
    assert_eq!(&client.piece(&mut answer).unwrap()[..], b"chunk");
    drop(go_on);
    assert!(client.piece(&mut answer).unwrap().is_empty());
    assert_eq!(scene.airside.ended_within(DEADLINE).code, Some(0));
}

#[test]
fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    let scene = Scene::answering(|_| {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it";
        crate::support::upstream::Answer::LastBytes(bytes.to_vec())
    });
    let mut client = Http2::open(scene.airside.proxy);
    let request = Request::get("/api/v2/dags").bearer(&v2_app().token());
    assert!(client.try_ask(&request).is_err());
}

#[test]
fn a_client_that_leaves_ends_its_request_upstream() {
    let (upstream, go_on) = upstream_that_streams();
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let mut client = Http2::open(scene.airside.proxy);
    let answer = client.begin(&Request::get("/api/v2/dags").bearer(&v2_app().token())).unwrap();
    drop(answer);
    eventually("nothing is in flight any more", || {
        let metrics = scene.airside.ask_admin("/metrics").text();
        metrics.contains("airside_requests_in_flight 0").then_some(())
    });
    drop(go_on);
    // The connection goes on.
    assert_eq!(client.ask(&Request::get("/api/v2/version")).status, 200);
}

#[test]
fn a_connection_that_had_a_hundred_thousand_requests_is_made_anew() {
    let scene = Scene::with(|config| config.set("/log/access", false));
    let missing = get("/airside/nothing");
    let request = block(&missing);
    let mut raw = Raw::open(scene.airside.proxy);
    raw.send(&frame(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes())).unwrap();
    let (mut asked, mut answered) = (0_u32, 0_u32);
    let closed: io::Result<()> = loop {
        while asked < answered + 50 && asked < 100_001 {
            let head = frame(HEADERS, END_HEADERS | END_STREAM, 2 * asked + 1, &request);
            if raw.send(&head).is_err() {
                break;
            }
            asked += 1;
        }
        match raw.next() {
            Ok(frame) if frame.kind == GOAWAY => break Ok(()),
            Ok(frame) => answered += u32::from(frame.kind == HEADERS),
            Err(error) => break Err(error),
        }
    };
    assert!(closed.is_ok(), "{closed:?} after {answered} answers");
    assert!(answered > 99_000, "{answered}");
}
