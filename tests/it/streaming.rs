//! Bodies flow piece by piece in both directions, however long they are.

use std::io::{self, Write as _};
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};

use crate::support::entra::v2_app;
use crate::support::expect::refusal;
use crate::support::http::{Connection, Request};
use crate::support::issuer::Issuer;
use crate::support::scene::Scene;
use crate::support::upstream::{Answer, Upstream};
use crate::support::wait::DEADLINE;

#[test]
fn an_answer_arrives_while_it_is_being_written() {
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let upstream = Upstream::scripted(move |mut reader| {
        reader.head().unwrap();
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        reader.stream.write_all(head).unwrap();
        for piece in ["first\n", "second\n", "third\n"] {
            let length = piece.len();
            write!(reader.stream, "{length:x}\r\n{piece}\r\n").unwrap();
            gate.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        }
        reader.stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let mut connection = Connection::open(scene.airside.proxy);
    let request = Request::get("/api/v2/dags/d/dagRuns/r/wait").bearer(&v2_app().token());
    connection.send(&request.bytes(scene.airside.proxy)).unwrap();
    let head = connection.head().unwrap();
    assert!(head.first.starts_with("HTTP/1.1 200"), "{}", head.first);
    assert!(head.header("content-type").is_none(), "none is made up");
    for piece in ["first\n", "second\n", "third\n"] {
        // The upstream goes on only after the piece before was read here.
        assert_eq!(connection.chunk().unwrap(), piece.as_bytes());
        go_on.send(()).unwrap();
    }
    assert!(connection.chunk().unwrap().is_empty());
}

#[test]
fn an_upload_arrives_while_it_is_being_sent() {
    let (arrived, seen) = mpsc::channel::<Vec<u8>>();
    let upstream = piecewise_reader(arrived);
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let token = v2_app().token();
    let head = format!(
        "POST /api/v2/variables HTTP/1.1\r\nHost: airflow\r\nAuthorization: Bearer {token}\r\n"
    );
    let next = || seen.recv_timeout(DEADLINE).unwrap();

    let mut connection = Connection::open(scene.airside.proxy);
    connection.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    for piece in ["first", "other", "third"] {
        connection.send(format!("5\r\n{piece}\r\n").as_bytes()).unwrap();
        assert_eq!(next(), piece.as_bytes());
    }
    connection.send(b"0\r\n\r\n").unwrap();
    assert_eq!(connection.response_to("POST").unwrap().status, 200);

    let mut connection = Connection::open(scene.airside.proxy);
    connection.send(format!("{head}Content-Length: 15\r\n\r\n").as_bytes()).unwrap();
    for piece in ["first", "other", "third"] {
        connection.send(piece.as_bytes()).unwrap();
        assert_eq!(next(), piece.as_bytes());
    }
    assert_eq!(connection.response_to("POST").unwrap().status, 200);
}

#[test]
fn large_bodies_arrive_whole_in_both_directions() {
    let upstream = Upstream::answering(|request| {
        let length = request.body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        Answer::Bytes([head.into_bytes(), request.body.clone()].concat())
    });
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let body: Vec<u8> =
        (0..8 * 1024 * 1024_u32).flat_map(|n| n.to_le_bytes().into_iter().take(1)).collect();
    let request = Request::new("POST", "/api/v2/echo").bearer(&v2_app().token()).body(body.clone());
    let answer = scene.ask(&request);
    assert_eq!(answer.status, 200);
    assert!(answer.body == body, "the body differs");
    assert!(scene.upstream.last().body == body, "the upload differs");
}

#[test]
fn an_answer_that_breaks_off_never_looks_complete() {
    for (label, answer) in [
        ("length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"),
        ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n"),
    ] {
        let scene = Scene::answering(|_| Answer::LastBytes(answer.as_bytes().to_vec()));
        let request = Request::get("/api/v2/dags").bearer(&v2_app().token());
        match request.try_send(scene.airside.proxy) {
            Ok(answer) => refusal(&answer, 502, &["upstream_invalid", "upstream_unavailable"])
                .unwrap_or_else(|fault| panic!("{label}: {fault}")),
            Err(error) => assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "{label}: left open"),
        }
    }
}

#[test]
fn an_answer_that_stalls_is_given_up() {
    let stalls =
        |_: &_| Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthis".to_vec());
    let scene = Scene::of(Issuer::start(), Upstream::answering(stalls), |config| {
        config.set("/upstream/idle_timeout", "500ms")
    });
    let request = Request::get("/api/v2/dags").bearer(&v2_app().token());
    let error = request.try_send(scene.airside.proxy).unwrap_err();
    assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "left open");
}

#[test]
fn the_time_for_an_answer_begins_when_the_upload_ends() {
    let (arrived, seen) = mpsc::channel::<Vec<u8>>();
    let upstream = piecewise_reader(arrived);
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        config.set("/upstream/response_header_timeout", "300ms")
    });
    let token = v2_app().token();
    let mut connection = Connection::open(scene.airside.proxy);
    let head = format!(
        "POST /api/v2/variables HTTP/1.1\r\nHost: airflow\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 15\r\n\r\n"
    );
    connection.send(head.as_bytes()).unwrap();
    for piece in ["first", "other", "third"] {
        // Each pause is longer than the time for the answer.
        std::thread::sleep(std::time::Duration::from_millis(400));
        connection.send(piece.as_bytes()).unwrap();
        seen.recv_timeout(DEADLINE).unwrap();
    }
    let answer = connection.response_to("POST").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn answers_without_a_body_stay_without() {
    for (status, line) in [(204, "204 No Content"), (304, "304 Not Modified")] {
        let scene = Scene::answering(move |_| {
            Answer::Bytes(format!("HTTP/1.1 {line}\r\nETag: \"x\"\r\n\r\n").into_bytes())
        });
        let mut connection = Connection::open(scene.airside.proxy);
        let request = Request::get("/api/v2/dags").bearer(&v2_app().token());
        for _ in 0..2 {
            let answer = connection.ask(&request);
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("etag"), Some("\"x\""));
        }
    }
}

#[test]
fn a_head_request_keeps_the_length_that_a_get_would_have() {
    let scene = Scene::start();
    let mut connection = Connection::open(scene.airside.proxy);
    let request = |method| Request::new(method, "/api/v2/dags").bearer(&v2_app().token());
    for _ in 0..2 {
        let head = connection.ask(&request("HEAD"));
        assert_eq!(head.status, 200);
        let get = connection.ask(&request("GET"));
        assert_eq!(head.header("content-length"), get.header("content-length"));
    }
}

/// Reports each piece of fifteen bytes of upload, five at a time, and answers at their end.
fn piecewise_reader(arrived: Sender<Vec<u8>>) -> Upstream {
    Upstream::scripted(move |mut reader| {
        let Ok(head) = reader.head() else { return };
        let chunked = head.header("transfer-encoding").is_some();
        for _ in 0..3 {
            let piece = if chunked { reader.chunk() } else { reader.exactly(5) };
            let Ok(piece) = piece else { return };
            arrived.send(piece).unwrap();
        }
        if chunked && reader.chunk().is_err() {
            return;
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        let _gone = reader.stream.write_all(answer);
    })
}

#[test]
fn a_connection_is_used_again_after_an_answer_of_unknown_length() {
    let scene = Scene::answering(|_| {
        Answer::Bytes(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                .to_vec(),
        )
    });
    let token = v2_app().token();
    let mut connection = Connection::open(scene.airside.proxy);
    for _ in 0..20 {
        let answer = connection.ask(&Request::get("/api/v2/dags").bearer(&token));
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    }
    assert!(scene.upstream.connections() <= 3, "{} connections", scene.upstream.connections());
}

#[test]
fn a_get_of_unknown_length_keeps_its_body() {
    let scene = Scene::start();
    let token = v2_app().token();
    let mut connection = Connection::open(scene.airside.proxy);
    let request = format!(
        "GET /api/v2/dags HTTP/1.1\r\nHost: airflow\r\nAuthorization: Bearer {token}\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    );
    connection.send(request.as_bytes()).unwrap();
    assert_eq!(connection.response_to("GET").unwrap().status, 200);
    assert_eq!(scene.upstream.last().body, b"hello");
}

#[test]
fn a_client_that_leaves_early_shows_in_the_log() {
    let upstream = Upstream::scripted(|mut reader| {
        let Ok(_) = reader.head() else { return };
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        let _gone = reader.stream.write_all(head);
        let piece = [b'x'; 8192];
        while reader.stream.write_all(&piece).is_ok() {}
    });
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let mut connection = Connection::open(scene.airside.proxy);
    let request = Request::get("/api/v2/dags").bearer(&v2_app().token());
    connection.send(&request.bytes(scene.airside.proxy)).unwrap();
    connection.head().unwrap();
    drop(connection);
    scene.airside.line_with(&["access", "status=200", "cut=true"]);
}
