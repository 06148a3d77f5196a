//! One request in is one answer out, from Airflow or about it.

use crate::support::entra::v2_app;
use crate::support::expect::{Verdicts, is_request_id, refusal};
use crate::support::http::{Connection, Request};
use crate::support::issuer::Issuer;
use crate::support::scene::Scene;
use crate::support::upstream::{Answer, Upstream};

#[test]
fn each_pipelined_request_is_judged_for_itself() {
    let scene = Scene::start();
    let good = Request::get("/api/v2/dags").bearer(&v2_app().token());
    let bare = Request::get("/api/v2/variables");
    let open = Request::get("/api/v2/version");
    let all = [&good, &bare, &open, &bare, &good].map(|request| request.bytes(scene.airside.proxy));
    let mut connection = Connection::open(scene.airside.proxy);
    connection.send(&all.concat()).unwrap();
    for expected in [200, 401, 200, 401, 200] {
        assert_eq!(connection.response_to("GET").unwrap().status, expected);
    }
    let targets: Vec<_> =
        scene.upstream.take().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(targets, ["/api/v2/dags", "/api/v2/version", "/api/v2/dags"]);
}

#[test]
fn a_connection_serves_many_requests() {
    let scene = Scene::start();
    let mut connection = Connection::open(scene.airside.proxy);
    let token = v2_app().token();
    for _ in 0..20 {
        assert_eq!(connection.ask(&Request::get("/api/v2/dags").bearer(&token)).status, 200);
    }
    assert!(scene.upstream.connections() < 20, "connections to the upstream are reused");
}

#[test]
fn what_is_no_request_of_today_is_refused() {
    let scene = Scene::start();
    for head in [
        "GET /api/v2/dags HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /api/v2/dags HTTP/1.0\r\n\r\n",
        "GET /api/v2/dags HTTP/0.9\r\n\r\n",
        "GET /api/v2/dags\r\n\r\n",
        "GET /api/v2/dags HTTP/1.1\r\n\r\n",
        "GET /api/v2/dags HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /api/v2/dags HTTP/3.0\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET  /api/v2/version HTTP/1.1\r\nHost: a\r\n\r\n",
        " GET /api/v2/dags HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut connection = Connection::open(scene.airside.proxy);
        connection.send(head.as_bytes()).unwrap();
        if let Ok(answer) = connection.response_to("GET") {
            assert!((400..=505).contains(&answer.status), "{head:?}: {answer:?}");
        }
    }
    assert!(scene.upstream.requests().is_empty());
}

#[test]
fn an_expected_continue_comes_before_the_body() {
    let scene = Scene::start();
    let head = |token: &str| {
        format!(
            "POST /api/v2/variables HTTP/1.1\r\nHost: airflow\r\nContent-Length: 4\r\n\
             Expect: 100-continue\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
    };
    let mut connection = Connection::open(scene.airside.proxy);
    connection.send(head(&v2_app().token()).as_bytes()).unwrap();
    let interim = connection.head().unwrap();
    assert!(interim.first.starts_with("HTTP/1.1 100"), "{}", interim.first);
    connection.send(b"body").unwrap();
    assert_eq!(connection.response_to("POST").unwrap().status, 200);
    assert_eq!(scene.upstream.last().body, b"body");

    let mut connection = Connection::open(scene.airside.proxy);
    connection.send(head("not-a-token").as_bytes()).unwrap();
    let refused = connection.head().unwrap();
    assert!(refused.first.starts_with("HTTP/1.1 401"), "{}", refused.first);
}

#[test]
fn an_upstream_that_is_down_is_a_bad_gateway() {
    // Nothing listens on port 1.
    let scene = Scene::with(|config| config.set("/upstream/url", "http://127.0.0.1:1"));
    for request in [
        Request::get("/api/v2/dags").bearer(&v2_app().token()),
        Request::post("/api/v2/variables").bearer(&v2_app().token()),
        Request::get("/api/v2/version"),
        Request::get("/"),
        Request::get("/execution/health"),
    ] {
        refusal(&scene.ask(&request), 502, &["upstream_unavailable"]).unwrap();
    }
    refusal(&scene.ask(&Request::get("/api/v2/dags")), 401, &["credential_missing"]).unwrap();
    assert_eq!(scene.airside.ask_admin("/livez").status, 200);
}

#[test]
fn an_upstream_that_comes_back_is_used_again() {
    let mut scene = Scene::start();
    let token = v2_app().token();
    assert_eq!(scene.present(&token).status, 200);
    scene.upstream.stop();
    refusal(&scene.present(&token), 502, &["upstream_unavailable"]).unwrap();
    scene.upstream.restart();
    assert_eq!(scene.present(&token).status, 200);
}

#[test]
fn a_slow_upstream_is_given_up_in_time() {
    let upstream = Upstream::answering(|_| Answer::Silence);
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        config.set("/upstream/response_header_timeout", "300ms")
    });
    for request in [
        Request::get("/api/v2/dags").bearer(&v2_app().token()),
        Request::post("/api/v2/variables").bearer(&v2_app().token()),
        Request::get("/api/v2/version"),
    ] {
        refusal(&scene.ask(&request), 504, &["upstream_timeout"]).unwrap();
    }
    assert_eq!(scene.upstream.requests().len(), 3, "none was tried again");
}

#[test]
fn an_upstream_that_speaks_no_http_is_a_bad_gateway() {
    let mut verdicts = Verdicts::default();
    for (label, bytes) in [
        ("nonsense", "SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        ("bad status", "HTTP/1.1 abc OK\r\n\r\n"),
        ("bad header", "HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 0\r\n\r\n"),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        (
            "unasked upgrade",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        ),
    ] {
        let scene = Scene::answering(|_| Answer::LastBytes(bytes.as_bytes().to_vec()));
        let answer = scene.present(&v2_app().token());
        let reasons = &["upstream_invalid", "upstream_unavailable"];
        verdicts.refused(label, &answer, 502, reasons);
    }
    let scene = Scene::answering(|_| Answer::Hangup);
    let answer = scene.present(&v2_app().token());
    verdicts.refused("hangs up", &answer, 502, &["upstream_invalid", "upstream_unavailable"]);
}

#[test]
fn airflows_refusals_pass_as_they_are() {
    for (status, body) in [
        (401, r#"{"detail":"Not authenticated"}"#),
        (403, r#"{"detail":"Forbidden"}"#),
        (404, r#"{"detail":"not here"}"#),
        (422, r#"{"detail":[]}"#),
        (500, r#"{"detail":"Internal Server Error"}"#),
        (503, r#"{"detail":"busy"}"#),
    ] {
        let scene = Scene::answering(move |_| Answer::json(status, &["X-From: airflow"], body));
        let answer = scene.present(&v2_app().token());
        assert_eq!((answer.status, answer.text().as_str()), (status, body));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-from"), Some("airflow"));
        assert!(is_request_id(answer.header("x-request-id").unwrap()));
    }
}

#[test]
fn a_reused_connection_that_turns_out_closed_is_replaced_for_safe_methods_alone() {
    // Every connection answers once and ends, without saying so, when it is used again.
    let upstream = Upstream::scripted(|mut reader| {
        use std::io::Write as _;
        if reader.head().is_ok() {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            reader.stream.write_all(answer).unwrap();
            let _used_again = reader.head();
        }
    });
    let scene = Scene::of(Issuer::start(), upstream, |config| config.set("/threads", 1));
    let token = v2_app().token();
    for _ in 0..5 {
        let answer = scene.present(&token);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(scene.upstream.connections() >= 5);
    // An unsafe method was perhaps carried out, so it is not sent twice.
    assert_eq!(scene.present(&token).status, 200);
    let before = scene.upstream.connections();
    let answer = scene.ask(&Request::post("/api/v2/variables").bearer(&token));
    if answer.status != 200 {
        refusal(&answer, 502, &["upstream_unavailable", "upstream_invalid"]).unwrap();
        assert_eq!(scene.upstream.connections(), before);
    }
}

#[test]
fn a_bare_line_feed_may_end_a_line_and_airflow_sees_none() {
    let scene = Scene::start();
    let mut connection = Connection::open(scene.airside.proxy);
    connection.send(b"GET /api/v2/version HTTP/1.1\nHost: a\nX-Field: b\n\n").unwrap();
    assert_eq!(connection.response_to("GET").unwrap().status, 200);
    let received = scene.upstream.last();
    assert_eq!(received.header("x-field"), Some("b"));
    assert!(!received.text().replace("\r\n", "").contains('\n'), "{}", received.text());
}
