//! What a client may send beside requests has an end; others do not notice.

use crate::support::entra::v2_app;
use crate::support::http::Request;
use crate::support::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, PING, PRIORITY, RST_STREAM,
    Raw, SETTINGS, WINDOW_UPDATE, block, frame, get,
};
use crate::support::scene::Scene;

/// Far more than any client sends, and sent within seconds.
const ROUNDS: u32 = 300;

#[test]
fn whoever_floods_is_closed_and_others_are_served() {
    let scene = Scene::start();
    let token = format!("Bearer {}", v2_app().token());
    let mut read = get("/api/v2/dags").to_vec();
    read.push(("authorization", &token));
    let read = block(&read);
    let mut write = get("/api/v2/variables").to_vec();
    write[0].1 = "POST";
    write.push(("authorization", &token));
    let write = block(&write);
    let bare = block(&get("/api/v2/version"));
    let reset = |stream| frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    let many = |bytes: Vec<u8>| bytes.repeat(100);
    let mut witness = Http2::open(scene.airside.proxy);
    let floods: Vec<(&str, Box<dyn FnMut(u32) -> Vec<u8>>)> = vec![
        ("PING", Box::new(|_| many(frame(PING, 0, 0, b"12345678")))),
        ("PING answers", Box::new(|_| many(frame(PING, ACK, 0, b"12345678")))),
        ("SETTINGS", Box::new(|_| many(frame(SETTINGS, 0, 0, &[])))),
        (
            "SETTINGS that change",
            Box::new(|_| many(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]))),
        ),
        ("PRIORITY", Box::new(|_| many(frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])))),
        ("WINDOW_UPDATE", Box::new(|_| many(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])))),
        ("unknown frames", Box::new(|_| many(frame(0xFE, 0, 0, b"x")))),
        (
            "empty DATA",
            Box::new(|round| {
                let head = frame(HEADERS, END_HEADERS, 1, &write);
                let data = many(frame(DATA, 0, 1, &[]));
                if round == 0 { [head, data].concat() } else { data }
            }),
        ),
        (
            "CONTINUATION",
            Box::new(|round| {
                let head = frame(HEADERS, END_STREAM, 1, &bare);
                let more = many(frame(CONTINUATION, 0, 1, &[]));
                if round == 0 { [head, more].concat() } else { more }
            }),
        ),
        (
            "CONTINUATION with fields",
            Box::new(|round| {
                let head = frame(HEADERS, END_STREAM, 1, &bare);
                let filler = "x".repeat(8_000);
                let more = frame(CONTINUATION, 0, 1, &block(&[("x-filler", &filler)])).repeat(20);
                if round == 0 { [head, more].concat() } else { more }
            }),
        ),
        (
            "requests taken back at once",
            Box::new(|round| {
                let each = |stream| {
                    [frame(HEADERS, END_HEADERS | END_STREAM, stream, &read), reset(stream)]
                        .concat()
                };
                (0..100).flat_map(|n| each((round * 100 + n) * 2 + 1)).collect()
            }),
        ),
        (
            "requests taken back once they are under way",
            Box::new(|round| {
                // Each round is read for itself, so that the request of the last one is accepted.
                std::thread::sleep(std::time::Duration::from_millis(2));
                let head = frame(HEADERS, END_HEADERS, 2 * round + 1, &write);
                if round == 0 { head } else { [head, reset(2 * round - 1)].concat() }
            }),
        ),
        (
            "requests that make us reset them",
            Box::new(|round| {
                let each = |stream| {
                    // A window that is opened by nothing is an error of the stream.
                    [
                        frame(HEADERS, END_HEADERS, stream, &write),
                        frame(WINDOW_UPDATE, 0, stream, &[0; 4]),
                    ]
                    .concat()
                };
                (0..20).flat_map(|n| each((round * 20 + n) * 2 + 1)).collect()
            }),
        ),
        (
            "a small block that unpacks to a large one",
            Box::new(|_| {
                // One field of 3 KB enters the table, and is named by one byte from then on.
                let value = "x".repeat(3_000);
                let mut fields = bare.clone();
                fields.extend([0x40, 1, b'x', 127]);
                let mut rest = value.len() - 127;
                while rest >= 128 {
                    fields.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                fields.push(u8::try_from(rest).unwrap());
                fields.extend(value.bytes());
                fields.extend([0xBE; 12_000]);
                frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields)
            }),
        ),
    ];
    for (label, next) in floods {
        let closed = Raw::open(scene.airside.proxy).flood(next, ROUNDS);
        assert!(closed.is_some(), "{label}: nobody closed it");
        let request = Request::get("/api/v2/dags").header("authorization", &token);
        assert_eq!(witness.ask(&request).status, 200, "{label}: others notice");
    }
    let memory = scene.airside.memory();
    assert!(memory < 150 << 10, "{memory} KiB");
    let metrics = scene.airside.ask_admin("/metrics").text();
    let flood = "airside_ended_connections_total{reason=\"flood\"}";
    assert!(
        metrics.lines().any(|line| line.starts_with(flood) && !line.ends_with(" 0")),
        "{metrics}"
    );
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
        raw.send(&frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())).unwrap();
    }
    let read = block(&get("/api/v2/version"));
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 201, &read)).unwrap();
    assert_eq!(raw.outcome(201), crate::support::http2::Outcome::Status(200));
}
