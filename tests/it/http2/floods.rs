//! What a client may send beside requests has an end; others do not notice.

use std::thread;
use std::time::Duration;

use crate::support::entra::v2_app;
use crate::support::http::Request;
use crate::support::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, Outcome, PING, PRIORITY,
    RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, block, frame, get,
};
use crate::support::scene::Scene;

/// Far more of each than any client sends, and sent within seconds.
const ROUNDS: u32 = 3_000;

const UNDER_WAY: &str = "requests taken back once they are under way";

/// What is sent in each round.
type Flood = (&'static str, Box<dyn FnMut(u32) -> Vec<u8>>);

/// The same again and again, after what comes first.
fn repeated(first: Vec<u8>, then: Vec<u8>) -> Box<dyn FnMut(u32) -> Vec<u8>> {
    Box::new(move |round| if round == 0 { [&first[..], &then].concat() } else { then.clone() })
}

fn frames_that_carry_nothing(write: &[u8]) -> Vec<Flood> {
    let bare = block(&get("/api/v2/version"));
    let upload = frame(HEADERS, END_HEADERS, 1, write);
    let unfinished = frame(HEADERS, END_STREAM, 1, &bare);
    let filler = block(&[("x-filler", &"x".repeat(8_000))]);
    let many = |kind, flags, stream, payload: &[u8]| {
        repeated(Vec::new(), frame(kind, flags, stream, payload).repeat(100))
    };
    vec![
        ("PING", many(PING, 0, 0, b"12345678")),
        ("PING answers", many(PING, ACK, 0, b"12345678")),
        ("SETTINGS", many(SETTINGS, 0, 0, &[])),
        ("SETTINGS that change", many(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])),
        ("PRIORITY", many(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ("WINDOW_UPDATE", many(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown frames", many(0xFE, 0, 0, b"x")),
        ("empty DATA", repeated(upload, frame(DATA, 0, 1, &[]).repeat(100))),
        ("CONTINUATION", repeated(unfinished.clone(), frame(CONTINUATION, 0, 1, &[]).repeat(100))),
        (
            "CONTINUATION with fields",
            repeated(unfinished, frame(CONTINUATION, 0, 1, &filler).repeat(20)),
        ),
    ]
}

fn requests_that_are_none(read: Vec<u8>, write: Vec<u8>) -> Vec<Flood> {
    let (upload, again) = (write.clone(), write);
    vec![
        (
            "requests taken back at once",
            Box::new(move |round| {
                let each = |stream| {
                    let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &read);
                    [head, reset(stream)].concat()
                };
                (0..100).flat_map(|number| each((round * 100 + number) * 2 + 1)).collect()
            }),
        ),
        (
            UNDER_WAY,
            Box::new(move |round| {
                // Each round is read for itself, so that the request of the last one is accepted.
                thread::sleep(Duration::from_millis(2));
                let head = frame(HEADERS, END_HEADERS, 2 * round + 1, &upload);
                if round == 0 { head } else { [head, reset(2 * round - 1)].concat() }
            }),
        ),
        (
            "requests that make us reset them",
            Box::new(move |round| {
                // A window that is opened by nothing is an error of its stream.
                let each = |stream| {
                    let head = frame(HEADERS, END_HEADERS, stream, &again);
                    [head, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
                };
                (0..20).flat_map(|number| each((round * 20 + number) * 2 + 1)).collect()
            }),
        ),
        (
            "small blocks that unpack to large ones",
            Box::new(|round| {
                frame(HEADERS, END_HEADERS | END_STREAM, 2 * round + 1, &bomb(round == 0))
            }),
        ),
    ]
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// A field of 3 KB enters the table, and is named by one byte from then on.
fn bomb(first: bool) -> Vec<u8> {
    let mut fields = block(&get("/api/v2/version"));
    if first {
        let mut entry = block(&[("x", &"x".repeat(3_000))]);
        entry[0] = 0x40;
        fields.extend(entry);
    }
    fields.extend([0xBE; 12_000]);
    fields
}

#[test]
fn whoever_floods_is_closed_and_others_are_served() {
    let scene = Scene::start();
    let token = format!("Bearer {}", v2_app().token());
    let fields = |method, path| {
        let mut fields = get(path);
        fields[0].1 = method;
        block(&[&fields[..], &[("authorization", token.as_str())]].concat())
    };
    let (read, write) = (fields("GET", "/api/v2/dags"), fields("POST", "/api/v2/variables"));
    let mut floods = frames_that_carry_nothing(&write);
    floods.extend(requests_that_are_none(read, write));
    let mut witness = Http2::open(scene.airside.proxy);
    for (label, next) in floods {
        let closed = Raw::open(scene.airside.proxy).flood(next, ROUNDS);
        let rounds = closed.unwrap_or_else(|| panic!("{label}: nobody closed it"));
        // A request that is taken back is more than the frame by which it is.
        assert!(label != UNDER_WAY || rounds < 900, "{label}: closed after {rounds}");
        let request = Request::get("/api/v2/dags").header("authorization", &token);
        assert_eq!(witness.ask(&request).status, 200, "{label}: others notice");
    }
    let memory = scene.airside.memory();
    assert!(memory < 150 << 10, "{memory} KiB");
    assert!(scene.airside.ended("flood") > 0);
}

#[test]
fn a_client_that_takes_back_what_it_no_longer_needs_is_served_on() {
    let scene = Scene::start();
    let token = format!("Bearer {}", v2_app().token());
    let mut fields = get("/api/v2/variables").to_vec();
    fields[0].1 = "POST";
    fields.push(("authorization", &token));
    let head = block(&fields);
    let mut raw = Raw::open(scene.airside.proxy);
    // As a browser that leaves a page.
    for stream in (1..161).step_by(2) {
        raw.send(&frame(HEADERS, END_HEADERS, stream, &head)).unwrap();
    }
    for stream in (1..161).step_by(2) {
        raw.send(&reset(stream)).unwrap();
    }
    let read = block(&get("/api/v2/version"));
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 201, &read)).unwrap();
    assert_eq!(raw.outcome(201), Outcome::Status(200));
}
