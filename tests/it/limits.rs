//! How much and how slow a client may be.

use std::io;
use std::sync::mpsc;

use serde_json::json;

use crate::support::entra::{v2_app, v2_user};
use crate::support::expect::{assert_refused, refusal};
use crate::support::http::{Connection, Request};
use crate::support::issuer::Issuer;
use crate::support::scene::Scene;
use crate::support::upstream::{Answer, Upstream};
use crate::support::wait::eventually;

#[test]
fn a_token_beyond_the_limit_is_too_large() {
    let scene = Scene::with(|config| config.set("/limits/token_bytes", 4096));
    let groups: Vec<_> = (0..100).map(|n| format!("{n:08}-1111-2222-3333-444455556666")).collect();
    let token = v2_user().with("groups", json!(groups)).token();
    assert!(token.len() > 4096);
    assert_refused(&scene.present(&token), 401, "token_too_large");
    assert_eq!(scene.present(&v2_user().token()).status, 200);
    assert_eq!(scene.upstream.requests().len(), 1);
}

#[test]
fn a_token_may_have_32_kib_unless_told_otherwise() {
    let scene = Scene::start();
    let of_length = |length: usize| {
        // The filler is found by its length in base64: four characters for three bytes.
        let bare = v2_app().with("filler", "").token().len();
        let filler = "x".repeat((length - bare) * 3 / 4);
        let token = v2_app().with("filler", filler).token();
        assert!(token.len().abs_diff(length) < 4, "{} for {length}", token.len());
        token
    };
    let (good, large) = (of_length(32 * 1024 - 4), of_length(32 * 1024 + 5));
    assert!(good.len() <= 32 * 1024 && large.len() > 32 * 1024);
    assert_eq!(scene.present(&good).status, 200);
    assert_refused(&scene.present(&large), 401, "token_too_large");
    // Entra's richest: 8 KB of roles.
    let mut roles: Vec<_> = (0..200).map(|number| format!("{number:040}")).collect();
    roles.push("Airflow.Op".to_owned());
    assert_eq!(scene.present(&v2_app().with("roles", json!(roles)).token()).status, 200);
}

#[test]
fn a_head_beyond_the_limit_is_too_large() {
    let scene = Scene::with(|config| config.set("/limits/header_bytes", 16_384));
    let with_filler = |length: usize| {
        Request::get("/api/v2/dags")
            .bearer(&v2_app().token())
            .header("X-Filler", &"x".repeat(length))
    };
    assert_eq!(scene.ask(&with_filler(8_000)).status, 200);
    assert_refused(&scene.ask(&with_filler(20_000)), 431, "headers_too_large");
    let many = (0..500).fold(Request::get("/api/v2/dags"), |request, number| {
        request.header(&format!("X-Filler-{number}"), &"x".repeat(20))
    });
    let answer = scene.ask(&many);
    assert!(answer.status == 431 || answer.status == 400, "{answer:?}");
    // Far beyond, the HTTP library answers for itself, if at all.
    let far_beyond: io::Result<_> = with_filler(400_000).try_send(scene.airside.proxy);
    if let Ok(answer) = far_beyond {
        assert_eq!(answer.status, 431);
    }
    assert_eq!(scene.upstream.requests().len(), 1);
}

#[test]
fn a_body_beyond_the_limit_is_too_large() {
    let scene = Scene::with(|config| config.set("/limits/body_bytes", 1000));
    let post = |length: usize| {
        let body = vec![b'x'; length];
        Request::new("POST", "/api/v2/variables").bearer(&v2_app().token()).body(body)
    };
    assert_eq!(scene.ask(&post(1000)).status, 200);
    assert_refused(&scene.ask(&post(1001)), 413, "body_too_large");
    assert_eq!(scene.upstream.requests().len(), 1);
    // Of a body without a length it shows only on the way, when some of it is gone already.
    let mut connection = Connection::open(scene.airside.proxy);
    let token = v2_app().token();
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500)).repeat(3);
    let request = format!(
        "POST /api/v2/variables HTTP/1.1\r\nHost: airflow\r\nAuthorization: Bearer {token}\r\n\
         Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
    );
    connection.send(request.as_bytes()).unwrap();
    if let Ok(answer) = connection.response_to("POST") {
        assert_refused(&answer, 413, "body_too_large");
    }
    assert_eq!(scene.upstream.requests().len(), 1, "a body cut short is no whole request");
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let scene = Scene::with(|config| config.set("/limits/idle_timeout", "500ms"));
    let mut connection = Connection::open(scene.airside.proxy);
    assert_eq!(connection.ask(&Request::get("/api/v2/version")).status, 200);
    assert!(connection.rest().unwrap().is_empty(), "closed without a word");
}

#[test]
fn a_head_that_does_not_end_is_given_up() {
    let scene = Scene::with(|config| config.set("/limits/header_timeout", "500ms"));
    for start in ["G", "GET /api/v2/version HTTP/1.1\r\nHost: airflow\r\nX-Slow: "] {
        let mut connection = Connection::open(scene.airside.proxy);
        connection.send(start.as_bytes()).unwrap();
        match connection.response_to("GET") {
            Ok(answer) => assert_eq!(answer.status, 408),
            Err(error) => assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "left open"),
        }
    }
    // An idle connection is not a slow head: it may be used later.
    let mut connection = Connection::open(scene.airside.proxy);
    let version = Request::get("/api/v2/version");
    assert_eq!(connection.ask(&version).status, 200);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(connection.ask(&version).status, 200);
}

#[test]
fn more_requests_than_may_be_in_flight_are_shed() {
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let upstream = Upstream::answering(move |request| {
        if request.target() == "/api/v2/held" {
            held.lock().unwrap().recv().unwrap();
        }
        Answer::ok(&[])
    });
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        config.set("/limits/in_flight", 1).set("/threads", 2)
    });
    let token = v2_app().token();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| scene.ask(&Request::get("/api/v2/held").bearer(&token)));
        eventually("the first is under way", || scene.upstream.requests().first().map(|_| ()));
        let second = scene.present(&token);
        release.send(()).unwrap();
        refusal(&second, 503, &["overloaded"]).unwrap();
        assert_eq!(first.join().unwrap().status, 200);
    });
    eventually("there is room again", || (scene.present(&token).status == 200).then_some(()));
}

#[test]
fn a_body_that_stops_on_its_way_is_the_clients_fault() {
    let scene = Scene::with(|config| config.set("/upstream/idle_timeout", "300ms"));
    let token = v2_app().token();
    let mut connection = Connection::open(scene.airside.proxy);
    let request = format!(
        "POST /api/v2/variables HTTP/1.1\r\nHost: airflow\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 5\r\n\r\nhe"
    );
    connection.send(request.as_bytes()).unwrap();
    refusal(&connection.response_to("POST").unwrap(), 408, &["request_timeout"]).unwrap();
}
