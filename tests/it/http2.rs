//! HTTP/2 is served as HTTP/1.1 is: the same requests reach Airflow, and the same are refused.

mod conformance;
mod ends;
mod floods;

use crate::support::entra::v2_app;
use crate::support::expect::{Verdicts, assert_refused, is_request_id};
use crate::support::http::{Head, Request};
use crate::support::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, Outcome, Raw, block, frame, get,
};
use crate::support::scene::Scene;
use crate::support::upstream::Received;

#[test]
fn airflow_sees_no_difference_between_http_1_and_2() {
    let scene = Scene::start();
    let token = v2_app().token();
    let mut client = Http2::open(scene.airside.proxy);
    let mut verdicts = Verdicts::default();
    for (label, request) in [
        ("a read", Request::get("/api/v2/dags?limit=1&x=%2F").bearer(&token)),
        ("a write", Request::post("/api/v2/variables").bearer(&token)),
        ("HEAD", Request::new("HEAD", "/api/v2/dags").bearer(&token)),
        ("an encoded key", Request::get("/api/v2/variables/a%2Fb//c").bearer(&token)),
        ("another host", Request::get("/api/v2/dags").bearer(&token).host("airflow.example:8080")),
        ("an open path", Request::get("/api/v2/version")),
        ("a session", Request::get("/api/v2/dags").cookie("session=a")),
        ("cookies", Request::get("/").cookie("a=1").cookie("b=2").cookie("c=3")),
        ("trailers wanted", Request::get("/api/v2/version").header("te", "trailers")),
        (
            "headers of ours",
            Request::get("/api/v2/dags")
                .bearer(&token)
                .header("x-airside-user", "mallory")
                .header("x_airside_roles", "Admin")
                .header("x-forwarded-for", "198.51.100.1")
                .header("forwarded", "for=198.51.100.1"),
        ),
    ] {
        let [first, second] = [scene.forwarded(&request), {
            let answer = client.ask(&request);
            assert_eq!(answer.status, 200, "{label}: {}", answer.text());
            assert!(is_request_id(answer.header("x-request-id").unwrap()));
            scene.upstream.take().remove(0)
        }];
        let [one, two] = [&first, &second].map(comparable);
        verdicts.check(label, one == two, (one, two));
    }
    assert_eq!(scene.upstream.take().len(), 0);
}

/// What reached Airflow, without what differs from request to request.
fn comparable(received: &Received) -> (String, Vec<(String, String)>, Vec<u8>) {
    let mut fields: Vec<_> = received.head.fields.clone();
    fields.retain(|(name, _)| !["x-request-id", "accept"].contains(&name.as_str()));
    for (name, _) in &mut fields {
        name.make_ascii_lowercase();
    }
    fields.sort();
    (received.head.first.clone(), fields, received.body.clone())
}

#[test]
fn what_is_refused_is_refused_alike() {
    let scene = Scene::with(|config| {
        config.set("/limits/header_bytes", 16_384).set("/limits/body_bytes", 1000)
    });
    let token = v2_app().token();
    let mut client = Http2::open(scene.airside.proxy);
    let mut verdicts = Verdicts::default();
    let get = || Request::get("/api/v2/dags");
    for (label, request, status, reason) in [
        ("no token", get(), 401, "credential_missing"),
        ("a bad token", get().bearer("x.y.z"), 401, "token_malformed"),
        ("two tokens", get().bearer(&token).bearer(&token), 400, "credential_ambiguous"),
        ("dots", Request::get("/api/v2/../x").bearer(&token), 400, "path_ambiguous"),
        ("encoded dots", Request::get("/api/v2/%2e%2E/x").bearer(&token), 400, "path_ambiguous"),
        ("two slashes", Request::get("//api/v2/dags").bearer(&token), 400, "path_ambiguous"),
        ("ours", Request::get("/airside/x").bearer(&token), 404, "not_found"),
        ("TRACE", Request::new("TRACE", "/api/v2/dags").bearer(&token), 405, "method_refused"),
        ("another Host", get().bearer(&token).header("host", "b"), 400, "request_malformed"),
        (
            "a large head",
            get().bearer(&token).header("x-filler", &"x".repeat(20_000)),
            431,
            "headers_too_large",
        ),
        (
            "a large body",
            Request::post("/api/v2/variables").bearer(&token).body(vec![b'x'; 1001]),
            413,
            "body_too_large",
        ),
    ] {
        verdicts.refused(label, &client.ask(&request), status, &[reason]);
        if label != "another Host" {
            verdicts.refused(label, &scene.ask(&request), status, &[reason]);
        }
    }
    assert!(scene.upstream.requests().is_empty());
    // Far beyond, the HTTP library answers for itself.
    let huge = get().bearer(&token).header("x-filler", &"x".repeat(60_000));
    if let Ok(answer) = client.try_ask(&huge) {
        assert_eq!(answer.status, 431);
    }
    assert_eq!(Http2::open(scene.airside.proxy).ask(&get().bearer(&token)).status, 200);
}

#[test]
fn a_refusal_of_head_is_as_long_as_one_of_get_and_has_no_body() {
    let scene = Scene::start();
    let length = |head: &Head| head.header("content-length").unwrap().to_owned();
    let ask = |method| Request::new(method, "/api/v2/dags").bearer("x.y.z");
    let got = scene.ask(&ask("GET"));
    let by_http1 = scene.ask(&ask("HEAD"));
    assert_eq!(length(&by_http1.head), length(&got.head));
    let mut fields = get("/api/v2/dags").to_vec();
    fields[0].1 = "HEAD";
    fields.push(("authorization", "Bearer x.y.z"));
    let mut raw = Raw::open(scene.airside.proxy);
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))).unwrap();
    let answer = raw.next().unwrap();
    assert_eq!((answer.kind, answer.flags), (HEADERS, END_HEADERS | END_STREAM));
    let by_http2 = Http2::open(scene.airside.proxy).ask(&ask("HEAD"));
    assert_eq!((by_http2.status, length(&by_http2.head)), (401, length(&got.head)));
}

#[test]
fn targets_and_fields_out_of_order_reach_nobody() {
    let scene = Scene::start();
    let token = format!("Bearer {}", v2_app().token());
    let mut verdicts = Verdicts::default();
    let good = get("/api/v2/dags");
    let with = |more: &[(&'static str, &'static str)]| [&good[..], more].concat();
    let instead = |name: &str, value: Option<&'static str>| -> Vec<(&'static str, &'static str)> {
        let kept = |field: &(&'static str, &'static str)| match (field.0 == name, value) {
            (false, _) => Some(*field),
            (true, value) => value.map(|value| (field.0, value)),
        };
        good.iter().filter_map(kept).collect()
    };
    for (label, fields) in [
        ("a blank in the path", instead(":path", Some("/api/v2/dags HTTP/1.1"))),
        ("an empty path", instead(":path", Some(""))),
        ("no path", instead(":path", None)),
        ("a path without a slash", instead(":path", Some("api/v2/dags"))),
        ("an absolute path", instead(":path", Some("http://evil.example/api/v2/dags"))),
        ("an asterisk", instead(":path", Some("*"))),
        ("a line break in the path", instead(":path", Some("/a\r\nHost: b"))),
        ("no method", instead(":method", None)),
        ("an odd method", instead(":method", Some("GE T"))),
        ("CONNECT", instead(":method", Some("CONNECT"))),
        ("no scheme", instead(":scheme", None)),
        ("no authority", instead(":authority", None)),
        ("an empty authority", instead(":authority", Some(""))),
        ("a user in the authority", instead(":authority", Some("a@b"))),
        ("an odd authority", instead(":authority", Some("a b"))),
        ("two paths", [&[(":path", "/api/v2/version")][..], &good].concat()),
        ("a path after the fields", with(&[("x", "y"), (":path", "/api/v2/version")])),
        ("an unknown pseudo-header", with(&[(":evil", "x")])),
        (":status", with(&[(":status", "200")])),
        (":protocol", with(&[(":protocol", "websocket")])),
        ("capitals", with(&[("X-Capital", "x")])),
        ("a blank in a name", with(&[("x y", "x")])),
        ("a line break in a value", with(&[("x", "a\r\nb: c")])),
        ("NUL in a value", with(&[("x", "a\0b")])),
        ("Connection", with(&[("connection", "close")])),
        ("Transfer-Encoding", with(&[("transfer-encoding", "chunked")])),
        ("Upgrade", with(&[("upgrade", "h2c")])),
        ("TE", with(&[("te", "gzip")])),
        ("a Host that contradicts", with(&[("host", "b")])),
        ("two lengths", with(&[("content-length", "0"), ("content-length", "1")])),
        ("a length without a body", with(&[("content-length", "5")])),
        ("a length that is none", with(&[("content-length", "+0")])),
    ] {
        let mut raw = Raw::open(scene.airside.proxy);
        let fields = [&fields[..], &[("authorization", token.as_str())]].concat();
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))).unwrap();
        let outcome = raw.outcome(1);
        let received = scene.upstream.take();
        verdicts.check(label, received.is_empty(), (outcome, &received));
        verdicts.check(label, outcome != Outcome::Status(200), outcome);
    }
    // Nor do frames that make no sense, which end the connection and are counted.
    let before = scene.airside.ended("malformed_http2");
    let mut raw = Raw::open(scene.airside.proxy);
    raw.send(&frame(DATA, END_STREAM, 1, b"of no stream")).unwrap();
    assert!(raw.rest().is_ok(), "left open");
    scene.airside.wait_for_ended("malformed_http2", before + 1);
    // A fragment is no part of a target: what was judged is what is forwarded.
    let mut raw = Raw::open(scene.airside.proxy);
    let fields = [&get("/api/v2/dags#/../x")[..], &[("authorization", token.as_str())]].concat();
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))).unwrap();
    if raw.outcome(1) == Outcome::Status(200) {
        assert_eq!(scene.upstream.last().target(), "/api/v2/dags");
    }
}

#[test]
fn a_body_is_as_long_as_it_says_or_it_is_no_request() {
    let scene = Scene::start();
    let token = format!("Bearer {}", v2_app().token());
    let head = |length: &'static str| {
        let mut fields = get("/api/v2/variables").to_vec();
        fields[0].1 = "POST";
        fields.extend([("content-length", length), ("authorization", token.as_str())]);
        frame(HEADERS, END_HEADERS, 1, &block(&fields))
    };
    for (length, body, whole) in [("4", "body", true), ("5", "body", false), ("3", "body", false)] {
        let mut raw = Raw::open(scene.airside.proxy);
        let body = frame(DATA, END_STREAM, 1, body.as_bytes());
        raw.send(&[head(length), body].concat()).unwrap();
        let outcome = raw.outcome(1);
        assert_eq!(outcome == Outcome::Status(200), whole, "{length}: {outcome:?}");
        // What the upstream takes for a request has a body as long as it says.
        for received in scene.upstream.take() {
            assert!(whole, "{}", received.text());
            assert_eq!(received.body, b"body");
        }
    }
}

/// Nor need one: a client that waits for it sends its body after a while (RFC 9110, section 10.1.1).
#[test]
fn expecting_100_brings_no_interim_answer_and_the_body_is_taken() {
    let scene = Scene::start();
    let token = format!("Bearer {}", v2_app().token());
    let mut fields = get("/api/v2/variables").to_vec();
    fields[0].1 = "POST";
    fields.extend([("expect", "100-continue"), ("authorization", token.as_str())]);
    let mut raw = Raw::open(scene.airside.proxy);
    let body = frame(DATA, END_STREAM, 1, b"body");
    raw.send(&[frame(HEADERS, END_HEADERS, 1, &block(&fields)), body].concat()).unwrap();
    assert_eq!(raw.outcome(1), Outcome::Status(200));
    assert_eq!(scene.upstream.last().body, b"body");
}

#[test]
fn trailers_are_dropped() {
    let scene = Scene::start();
    let token = format!("Bearer {}", v2_app().token());
    let mut fields = get("/api/v2/variables").to_vec();
    fields[0].1 = "POST";
    fields.push(("authorization", token.as_str()));
    let trailers = block(&[
        ("x-airside-user", "mallory"),
        ("authorization", "Bearer mallory"),
        ("content-length", "7"),
        ("host", "mallory"),
        ("x-late", "1"),
    ]);
    let mut raw = Raw::open(scene.airside.proxy);
    raw.send(
        &[
            frame(HEADERS, END_HEADERS, 1, &block(&fields)),
            frame(DATA, 0, 1, b"body"),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers),
        ]
        .concat(),
    )
    .unwrap();
    assert_eq!(raw.outcome(1), Outcome::Status(200));
    let received = scene.upstream.last();
    assert_eq!(received.body, b"body");
    assert!(!received.text().contains("mallory") && !received.text().contains("x-late"));
}

#[test]
fn a_refused_head_request_is_answered_without_content() {
    let scene = Scene::start();
    let request = Request::new("HEAD", "/api/v2/dags");
    // A client that is sent content here takes it for a broken connection.
    let by_http2 = Http2::open(scene.airside.proxy).ask(&request);
    for answer in [scene.ask(&request), by_http2] {
        assert_eq!((answer.status, answer.body.len()), (401, 0));
        let get = scene.ask(&Request::get("/api/v2/dags"));
        assert_eq!(answer.header("content-length"), get.header("content-length"));
    }
}

#[test]
fn a_head_in_pieces_is_one_head() {
    let scene = Scene::start();
    let fields = block(&get("/api/v2/version"));
    let (start, rest) = fields.split_at(20);
    let mut raw = Raw::open(scene.airside.proxy);
    raw.send(&frame(HEADERS, END_STREAM, 1, start)).unwrap();
    for byte in frame(CONTINUATION, END_HEADERS, 1, rest) {
        raw.send(&[byte]).unwrap();
    }
    assert_eq!(raw.outcome(1), Outcome::Status(200));
    assert_eq!(scene.upstream.last().header("host"), Some("airflow.example"));
}

#[test]
fn many_requests_at_once_are_each_judged_for_itself() {
    let scene = Scene::start();
    let token = format!("Bearer {}", v2_app().token());
    let mut raw = Raw::open(scene.airside.proxy);
    let mut all = Vec::new();
    for stream in 0..50 {
        let mut fields = get("/api/v2/dags").to_vec();
        if stream % 2 == 0 {
            fields.push(("authorization", token.as_str()));
        }
        all.extend(frame(HEADERS, END_HEADERS | END_STREAM, 2 * stream + 1, &block(&fields)));
    }
    raw.send(&all).unwrap();
    let mut answers = 0;
    while answers < 50 {
        answers += usize::from(raw.next().unwrap().kind == HEADERS);
    }
    assert_eq!(scene.upstream.take().len(), 25);
}

#[test]
fn each_request_of_a_connection_has_its_line_and_is_counted() {
    let scene = Scene::start();
    let mut client = Http2::open(scene.airside.proxy);
    let token = v2_app().token();
    let mut ids = Vec::new();
    for request in [Request::get("/api/v2/dags").bearer(&token), Request::get("/api/v2/dags")] {
        ids.push(client.ask(&request).header("x-request-id").unwrap().to_owned());
    }
    assert_refused(&client.ask(&Request::get("/api/v2/dags")), 401, "credential_missing");
    let metrics = scene.airside.ask_admin("/metrics").text();
    assert!(metrics.contains("airside_requests_in_flight 0"), "{metrics}");
    drop(client);
    let log = scene.finish().log();
    for id in ids {
        assert_eq!(log.matches(&id).count(), 1, "{log}");
    }
}
