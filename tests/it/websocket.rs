//! Going on as a WebSocket, between real ends: for verified callers alone, and nothing goes along.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket, accept, client};

use crate::support::airflow;
use crate::support::airside::Airside;
use crate::support::entra::{v2_app, v2_user};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Connection, Reader, Request};
use crate::support::issuer::Issuer;
use crate::support::scene::Scene;
use crate::support::terminator::Terminator;
use crate::support::tls::Authority;
use crate::support::upstream::{Answer, Upstream};
use crate::support::wait::{DEADLINE, eventually};

/// An upgrade by hand, as RFC 6455 has it.
fn upgrade(target: &str) -> Request {
    Request::get(target)
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// A WebSocket through airside, opened by a real client.
fn open(airside: &Airside) -> WebSocket<TcpStream> {
    let url = format!("ws://{}/api/v2/live?x=1", airside.proxy);
    let mut request = url.into_client_request().unwrap();
    let bearer = format!("Bearer {}", v2_app().token());
    request.headers_mut().insert("authorization", bearer.parse().unwrap());
    let stream = TcpStream::connect(airside.proxy).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let (socket, answer) = client(request, stream).unwrap();
    assert!(answer.headers().contains_key("x-request-id"));
    socket
}

/// A real WebSocket server that says everything back, and reports when a connection has ended.
fn echo() -> (Upstream, Receiver<()>) {
    let (report, ended) = mpsc::channel();
    let upstream = Upstream::scripted(move |reader| {
        let Ok(mut socket) = accept(reader.stream) else { return };
        while let Ok(message) = socket.read() {
            if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                break;
            }
        }
        let _nobody_asks = report.send(());
    });
    (upstream, ended)
}

/// A server that answers an upgrade as the script says, which also gets the head.
fn by_hand(script: impl Fn(Reader, &str) + Send + Sync + 'static) -> Upstream {
    Upstream::scripted(move |mut reader| {
        let Ok(head) = reader.head() else { return };
        let text = String::from_utf8_lossy(&head.raw).into_owned();
        script(reader, &text);
    })
}

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[test]
fn a_verified_caller_talks_with_airflow_by_websocket() {
    let (upstream, ended) = echo();
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let mut socket = open(&scene.airside);
    for message in
        [Message::text("hello"), Message::binary(vec![7_u8; 3 << 20]), Message::text("once more")]
    {
        socket.send(message.clone()).unwrap();
        assert!(socket.read().unwrap() == message, "what comes back differs");
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    ended.recv_timeout(DEADLINE).unwrap();
    // The client keeps its end open, and that holds up nothing.
    let line = scene.airside.line_with(&["access", "status=101", "/api/v2/live"]);
    let bytes = |name: &str| -> u64 {
        let (_, rest) = line.split_once(&format!(" {name}=")).unwrap();
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    for name in ["bytes_in", "bytes_out"] {
        assert!((3 << 20..4 << 20).contains(&bytes(name)), "{line}");
    }
    assert!(line.contains("principal=") && !line.contains("cut="), "{line}");
}

#[test]
fn airflow_knows_who_opened_the_websocket() {
    let heads = Arc::new(Mutex::new(String::new()));
    let upstream = by_hand({
        let heads = Arc::clone(&heads);
        move |mut reader, head| {
            head.clone_into(&mut heads.lock().unwrap());
            reader.stream.write_all(SWITCHED.as_bytes()).unwrap();
            let _until_the_end = reader.stream.read(&mut [0; 16]);
        }
    });
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let token = v2_user().token();
    let request = upgrade("/api/v2/live").bearer(&token).cookie("session=x");
    let answer = Connection::open(scene.airside.proxy).ask(&request);
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("connection"), Some("Upgrade"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let head = heads.lock().unwrap().to_lowercase();
    for line in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "x-airside-user: "] {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert!(!head.contains(&token.to_lowercase()) && !head.contains("cookie"), "{head}");
}

#[test]
fn nobody_else_and_nothing_else_leaves_http() {
    let scene = Scene::start();
    let token = v2_app().token();
    let get = |target: &str| Request::get(target).header("Connection", "Upgrade");
    let mut verdicts = Verdicts::default();
    for (label, request, status) in [
        ("without a token", upgrade("/api/v2/live"), 401),
        ("a bad token", upgrade("/api/v2/live").bearer("a.b.c"), 401),
        ("no role", upgrade("/api/v2/live").bearer(&v2_app().roles(&[]).token()), 403),
        ("a session", upgrade("/ui/live").cookie("session=x"), 200),
        ("an open path", upgrade("/api/v2/version").bearer(&token), 200),
        ("a page", upgrade("/"), 200),
        ("a worker", upgrade("/execution/health").bearer(&token), 200),
        ("h2c", get("/api/v2/x").header("Upgrade", "h2c").bearer(&token), 200),
        ("TLS", get("/api/v2/x").header("Upgrade", "TLS/1.3").bearer(&token), 200),
        ("a list", get("/api/v2/x").header("Upgrade", "websocket, h2c").bearer(&token), 200),
        ("a version", get("/api/v2/x").header("Upgrade", "websocket/13").bearer(&token), 200),
        ("two", upgrade("/api/v2/x").header("Upgrade", "h2c").bearer(&token), 200),
        (
            "not nominated",
            Request::get("/api/v2/x").header("Upgrade", "websocket").bearer(&token),
            200,
        ),
        (
            "a POST",
            Request::post("/api/v2/x")
                .header("Connection", "Upgrade")
                .header("Upgrade", "websocket")
                .bearer(&token),
            200,
        ),
        ("a body", upgrade("/api/v2/x").bearer(&token).body("x"), 200),
    ] {
        let answer = scene.ask(&request);
        verdicts.check(label, answer.status == status, (answer.status, answer.text()));
        for received in scene.upstream.take() {
            let text = received.text().to_lowercase();
            let clean = !text.contains("upgrade:") && !text.contains("connection:");
            verdicts.check(label, clean, text);
        }
    }
    let mut old = Connection::open(scene.airside.proxy);
    let bytes = upgrade("/api/v2/x").bearer(&token).bytes(scene.airside.proxy);
    let bytes = String::from_utf8(bytes).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    old.send(bytes.as_bytes()).unwrap();
    verdicts.check("HTTP/1.0", old.response_to("GET").unwrap().status == 200, "refused");
    verdicts.check("HTTP/1.0", !scene.upstream.last().text().contains("websocket\r\n"), "passed");
}

#[test]
fn nothing_behind_the_request_is_sent_before_airflow_has_agreed() {
    let (report, seen) = mpsc::channel();
    let upstream = by_hand(move |mut reader, head| {
        reader.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let early = reader.exactly(1).map_err(|error| error.kind());
        reader.stream.write_all(SWITCHED.as_bytes()).unwrap();
        reader.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        report.send((head.contains("EARLY"), early, reader.exactly(5).unwrap())).unwrap();
        reader.stream.write_all(b"late").unwrap();
    });
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let mut connection = Connection::open(scene.airside.proxy);
    let request = upgrade("/api/v2/live").bearer(&v2_app().token());
    let bytes = [request.bytes(scene.airside.proxy), b"EARLY".to_vec()].concat();
    connection.send(&bytes).unwrap();
    let expected = (false, Err(io::ErrorKind::WouldBlock), b"EARLY".to_vec());
    assert_eq!(seen.recv_timeout(DEADLINE).unwrap(), expected);
    assert_eq!(connection.response_to("GET").unwrap().status, 101);
    assert_eq!(connection.rest().unwrap(), b"late");
}

#[test]
fn what_follows_a_refused_upgrade_is_judged_as_a_request() {
    for status in [200, 403, 426] {
        let scene = Scene::answering(move |_| Answer::json(status, &[], "{}"));
        let mut connection = Connection::open(scene.airside.proxy);
        let first = upgrade("/api/v2/live").bearer(&v2_app().token());
        let hidden = Request::get("/api/v2/hidden");
        let bytes = [first.bytes(scene.airside.proxy), hidden.bytes(scene.airside.proxy)].concat();
        connection.send(&bytes).unwrap();
        assert_eq!(connection.response_to("GET").unwrap().status, status);
        assert_refused(&connection.response_to("GET").unwrap(), 401, "credential_missing");
        assert_eq!(scene.upstream.requests().len(), 1);
        assert!(scene.upstream.last().text().contains("websocket"));
    }
}

#[test]
fn an_airflow_that_agrees_to_something_else_is_invalid() {
    let mut verdicts = Verdicts::default();
    for (label, rest) in [
        ("another", "Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        ("two", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"),
        ("none", "Connection: Upgrade\r\n"),
        ("not nominated", "Upgrade: websocket\r\n"),
    ] {
        let bytes = format!("HTTP/1.1 101 Switching Protocols\r\n{rest}\r\n");
        let scene = Scene::answering(move |_| Answer::Bytes(bytes.clone().into_bytes()));
        let answer = scene.ask(&upgrade("/api/v2/live").bearer(&v2_app().token()));
        verdicts.refused(label, &answer, 502, &["upstream_invalid"]);
    }
    let scene = Scene::answering(|_| Answer::Bytes(SWITCHED.into()));
    let answer = scene.present(&v2_app().token());
    verdicts.refused("nobody asked", &answer, 502, &["upstream_invalid"]);
    let answer = scene.ask(&upgrade("/").cookie("session=x"));
    verdicts.refused("nobody was asked for", &answer, 502, &["upstream_invalid"]);
}

#[test]
fn a_websocket_ends_for_both_when_one_side_is_gone() {
    let (upstream, ended) = echo();
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    drop(open(&scene.airside));
    ended.recv_timeout(DEADLINE).unwrap();
    scene.airside.line_with(&["access", "status=101"]);

    let upstream = by_hand(|mut reader, _| {
        reader.stream.write_all([SWITCHED, "last words"].concat().as_bytes()).unwrap();
    });
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let mut connection = Connection::open(scene.airside.proxy);
    assert_eq!(connection.ask(&upgrade("/api/v2/x").bearer(&v2_app().token())).status, 101);
    assert_eq!(connection.rest().unwrap(), b"last words");
}

#[test]
fn a_silent_websocket_is_given_up() {
    let (upstream, ended) = echo();
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        config.set("/upstream/idle_timeout", "500ms")
    });
    let mut socket = open(&scene.airside);
    assert!(socket.read().is_err());
    ended.recv_timeout(DEADLINE).unwrap();
    scene.airside.line_with(&["access", "status=101", "no byte either way"]);
}

#[test]
fn the_time_limits_of_requests_are_none_of_a_websockets() {
    let (upstream, _ended) = echo();
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        let config = config.set("/limits/header_timeout", "200ms");
        config.set("/limits/idle_timeout", "200ms").set("/upstream/response_header_timeout", "5s")
    });
    let mut socket = open(&scene.airside);
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(500));
        socket.send(Message::text("still there?")).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text("still there?"));
    }
}

#[test]
fn an_open_websocket_is_a_request_being_served() {
    let (upstream, _ended) = echo();
    let scene = Scene::of(Issuer::start(), upstream, |config| config.set("/limits/in_flight", 1));
    let socket = open(&scene.airside);
    assert_refused(&scene.present(&v2_app().token()), 503, "overloaded");
    drop(socket);
    eventually("there is room again", || {
        let answer = scene.ask(&Request::get("/api/v2/dags").bearer(&v2_app().token()));
        (answer.status != 503).then_some(())
    });
}

#[test]
fn a_websocket_may_go_on_while_airside_drains() {
    let (upstream, _ended) = echo();
    let mut scene = Scene::of(Issuer::start(), upstream, |config| config);
    let mut socket = open(&scene.airside);
    scene.airside.terminate();
    eventually("nobody else is served", || TcpStream::connect(scene.airside.proxy).err());
    socket.send(Message::text("wait")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("wait"));
    assert!(!scene.airside.has_ended());
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    drop(socket);
    let ended = scene.airside.ended_within(DEADLINE);
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    assert!(ended.log().contains("status=101"), "{}", ended.log());
}

#[test]
fn a_websocket_that_does_not_end_does_not_hold_up_the_end() {
    let (upstream, _ended) = echo();
    let scene = Scene::of(Issuer::start(), upstream, |config| config.set("/drain/timeout", "1s"));
    let mut socket = open(&scene.airside);
    scene.airside.terminate();
    scene.airside.ended_within(DEADLINE);
    assert!(socket.read().is_err());
}

#[test]
fn a_websocket_passes_through_tls_to_airflow() {
    let (upstream, ended) = echo();
    let authority = Authority::new();
    let shown = authority.issue(&["localhost"], |_| {});
    let front = Terminator::before(upstream.address(), &shown, None);
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        let ca = config.file("ca.pem", &authority.pem());
        config.set("/upstream/url", front.url()).set("/upstream/ca_file", ca.to_str())
    });
    let mut socket = open(&scene.airside);
    let message = Message::binary(vec![7_u8; 1 << 20]);
    socket.send(message.clone()).unwrap();
    assert!(socket.read().unwrap() == message, "what comes back differs");
    drop(socket);
    ended.recv_timeout(DEADLINE).unwrap();
}

#[test]
fn a_token_of_airflows_own_opens_one_too() {
    let (upstream, _ended) = echo();
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let request = upgrade("/api/v2/live").bearer(&airflow::token());
    assert_eq!(Connection::open(scene.airside.proxy).ask(&request).status, 101);
}
