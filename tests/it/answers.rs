//! What Airflow answers is checked and cleaned: one answer to each request, of one length, without
//! anything that is airside's to say.

use std::io::{self, Write as _};
use std::thread;
use std::time::Duration;

use crate::support::entra::v2_app;
use crate::support::expect::Verdicts;
use crate::support::http::{Connection, Request, Response};
use crate::support::issuer::Issuer;
use crate::support::scene::Scene;
use crate::support::upstream::{Answer, Upstream};

/// Answers `/api/v2/case/N` with the bytes of that case and ends the connection, and all else with
/// `fine`.
fn answering(cases: &[(&str, String)]) -> Scene {
    let cases: Vec<Vec<u8>> = cases.iter().map(|(_, bytes)| bytes.clone().into_bytes()).collect();
    Scene::of(Issuer::start(), serving(cases, Answer::LastBytes), |config| {
        config.set("/threads", 1)
    })
}

fn serving(cases: Vec<Vec<u8>>, send: fn(Vec<u8>) -> Answer) -> Upstream {
    Upstream::answering(move |request| match request.target().strip_prefix("/api/v2/case/") {
        Some(number) => send(cases[number.parse::<usize>().unwrap()].clone()),
        None => Answer::json(200, &[], "fine"),
    })
}

fn case(number: usize) -> Request {
    Request::get(&format!("/api/v2/case/{number}")).bearer(&v2_app().token())
}

fn fine(scene: &Scene) -> Response {
    scene.ask(&Request::get("/api/v2/fine").bearer(&v2_app().token()))
}

fn ok(head: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}")
}

#[test]
fn an_answer_that_could_be_read_in_two_ways_is_invalid() {
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    let cases = [
        ("length and chunks", ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunks)),
        ("chunks and length", ok("Transfer-Encoding: chunked\r\nContent-Length: 15\r\n", chunks)),
        ("two lengths", ok("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!")),
        ("the same twice", ok("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
        ("a list of lengths", ok("Content-Length: 5, 5\r\n", "hello")),
        ("plus", ok("Content-Length: +5\r\n", "hello")),
        ("minus", ok("Content-Length: -1\r\n", "hello")),
        ("hexadecimal", ok("Content-Length: 0x5\r\n", "hello")),
        ("no length", ok("Content-Length: \r\n", "hello")),
        ("too long a length", ok("Content-Length: 18446744073709551621\r\n", "hello")),
        ("gzip", ok("Transfer-Encoding: gzip\r\n", chunks)),
        ("gzip, chunked", ok("Transfer-Encoding: gzip, chunked\r\n", chunks)),
        ("chunked twice", ok("Transfer-Encoding: chunked, chunked\r\n", chunks)),
        ("identity", ok("Transfer-Encoding: identity\r\n", "hello")),
        ("not quite", ok("Transfer-Encoding: xchunked\r\n", chunks)),
        (
            "two codings",
            ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", chunks),
        ),
        ("chunks of old", ok("Transfer-Encoding: chunked\r\n", chunks).replace("/1.1", "/1.0")),
        ("NUL", ok("X-A: a\0b\r\nContent-Length: 5\r\n", "hello")),
        ("a bare CR", ok("X-A: a\rSet-Cookie: b=c\r\nContent-Length: 5\r\n", "hello")),
        ("a folded line", ok("X-A: a\r\n b\r\nContent-Length: 5\r\n", "hello")),
        ("a folded first line", ok(" X-A: a\r\nContent-Length: 5\r\n", "hello")),
        ("a blank before the colon", ok("Content-Length : 5\r\n", "hello")),
        ("a blank name", ok("X A: b\r\nContent-Length: 5\r\n", "hello")),
        ("no name", ok(": b\r\nContent-Length: 5\r\n", "hello")),
        ("no colon", ok("X-A\r\nContent-Length: 5\r\n", "hello")),
        ("a large head", ok(&format!("X-A: {}\r\n", "x".repeat(200_000)), "")),
        ("an endless head", ok(&format!("X-A: {}", "x".repeat(2 << 20)), "")),
        ("many fields", ok(&"X-A: b\r\n".repeat(1000), "")),
        ("another version", ok("Content-Length: 5\r\n", "hello").replace("/1.1", "/2.0")),
        ("no version", "hello".repeat(10)),
        ("a short status", "HTTP/1.1 20 OK\r\n\r\n".to_owned()),
        ("a long status", "HTTP/1.1 2000 OK\r\n\r\n".to_owned()),
        ("status 0", "HTTP/1.1 000 OK\r\n\r\n".to_owned()),
        ("endless interim", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(50_000)),
        (
            "interim of great size",
            format!("HTTP/1.1 103 A\r\nX-A: {}\r\n\r\n", "x".repeat(2 << 20)),
        ),
    ];
    let scene = answering(&cases);
    let mut verdicts = Verdicts::default();
    for (number, (label, _)) in cases.iter().enumerate() {
        verdicts.refused(label, &scene.ask(&case(number)), 502, &["upstream_invalid"]);
        verdicts.check(label, fine(&scene).text() == "fine", "and the next is another's");
    }
}

#[test]
fn an_answer_whose_body_goes_wrong_never_looks_complete() {
    let chunked = |body: &str| ok("Transfer-Encoding: chunked\r\n", body);
    let cases = [
        ("no number", chunked("5\r\nhello\r\nzz\r\nhello\r\n0\r\n\r\n")),
        ("no size", chunked("5\r\nhello\r\n\r\n0\r\n\r\n")),
        ("too large", chunked("5\r\nhello\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n")),
        ("minus", chunked("5\r\nhello\r\n-1\r\nhello\r\n0\r\n\r\n")),
        ("longer than said", chunked("5\r\nhello!\r\n0\r\n\r\n")),
        ("no end of a chunk", chunked("5\r\nhello5\r\nhello\r\n0\r\n\r\n")),
        ("no last chunk", chunked("5\r\nhello\r\n")),
        ("half a last chunk", chunked("5\r\nhello\r\n0\r\n")),
        ("a bad trailer", chunked("5\r\nhello\r\n0\r\nX A\r\n\r\n")),
        ("shorter than said", ok("Content-Length: 6\r\n", "hello")),
    ];
    let scene = answering(&cases);
    let mut verdicts = Verdicts::default();
    for (number, (label, _)) in cases.iter().enumerate() {
        let answer = case(number).try_send(scene.airside.proxy);
        let broken = match &answer {
            Ok(answer) => answer.status == 502,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        verdicts.check(label, broken, answer);
        verdicts.check(label, fine(&scene).text() == "fine", "and the next is another's");
    }
}

#[test]
fn what_follows_an_answer_is_never_the_answer_to_another_request() {
    let poison = ok("Content-Length: 6\r\n", "poison");
    let cases = [
        ("length", ok("Content-Length: 2\r\n", "ok")),
        ("chunks", ok("Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\n\r\n")),
        ("no content", "HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
        ("no content of a length", "HTTP/1.1 204 No\r\nContent-Length: 6\r\n\r\n".to_owned()),
        ("not modified", "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n".to_owned()),
    ];
    let poisoned = cases.each_ref().map(|(_, bytes)| format!("{bytes}{poison}").into_bytes());
    // The connections stay open.
    let upstream = serving(poisoned.to_vec(), Answer::Bytes);
    let scene = Scene::of(Issuer::start(), upstream, |config| config.set("/threads", 1));
    let mut verdicts = Verdicts::default();
    for (number, (label, _)) in cases.iter().enumerate() {
        let answer = scene.ask(&case(number));
        verdicts.check(label, matches!(answer.text().as_str(), "ok" | ""), answer.text());
        for _ in 0..5 {
            verdicts.check(label, fine(&scene).text() == "fine", "poisoned");
        }
    }
}

#[test]
fn answers_that_are_unusual_and_right_pass() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(3);
    let cases = [
        ("interim answers first", [interim, ok("Content-Length: 5\r\n", "hello")].concat()),
        ("chunked in any case", ok("transfer-ENCODING: Chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")),
        (
            "extensions and trailers",
            ok(
                "Transfer-Encoding: chunked\r\nTrailer: X-A\r\n",
                "3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nX-A: b\r\n\r\n",
            ),
        ),
        ("until the end", ok("", "hello")),
        ("of old", ok("", "hello").replace("/1.1", "/1.0")),
        ("no reason", ok("Content-Length: 5\r\n", "hello").replace(" OK", "")),
        ("cookies", ok(&"Set-Cookie: theme=dark\r\n".repeat(20), "hello")),
    ];
    let scene = answering(&cases);
    let mut verdicts = Verdicts::default();
    for (number, (label, _)) in cases.iter().enumerate() {
        let answer = scene.ask(&case(number));
        verdicts.check(label, answer.status == 200, answer.status);
        verdicts.check(label, answer.text() == "hello", answer.text());
        verdicts.check(label, answer.header("x-a").is_none(), "trailers are dropped");
        verdicts.check(label, answer.header("link").is_none(), "interim heads are dropped");
    }
}

#[test]
fn what_is_airsides_to_say_or_the_connections_is_taken_out() {
    let head = "X-Airside-User: mallory\r\nx_airside_roles: Admin\r\nX.Airside-Assertion: forged\r\n\
        X-Request-Id: forged\r\nX-Request-Id: forged\r\nConnection: X-Gone, keep-alive\r\n\
        X-Gone: gone\r\nKeep-Alive: timeout=gone\r\nProxy-Connection: gone\r\nTe: gone\r\n\
        Proxy-Authenticate: Basic realm=gone\r\nTrailer: X-Gone\r\nUpgrade: gone\r\n\
        Set-Cookie: session=gone; Path=/\r\nSet-Cookie: _token=gone\r\nSet-Cookie: theme=dark\r\n\
        X-Airsides: kept\r\nContent-Length: 5\r\n";
    let scene = answering(&[("", ok(head, "hello"))]);
    let answer = scene.ask(&case(0));
    let text = String::from_utf8_lossy(&answer.head.raw).into_owned();
    for word in ["mallory", "Admin", "forged", "gone", "Gone"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
    assert_eq!(answer.all("set-cookie"), ["theme=dark"]);
    assert_eq!(answer.header("x-airsides"), Some("kept"));
    assert!(answer.header("x-request-id").is_some());
}

#[test]
fn interim_answers_do_not_put_off_the_end_of_the_time() {
    let upstream = Upstream::scripted(|mut reader| {
        if reader.head().is_err() {
            return;
        }
        while reader.stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        config.set("/upstream/response_header_timeout", "500ms")
    });
    let mut verdicts = Verdicts::default();
    verdicts.refused("drip", &scene.present(&v2_app().token()), 504, &["upstream_timeout"]);
}

#[test]
fn a_head_request_takes_no_body_and_leaves_none() {
    let poison = ok("Content-Length: 6\r\n", "poison");
    let upstream = Upstream::scripted(move |mut reader| {
        while let Ok(head) = reader.head() {
            let body = if head.first.starts_with("HEAD") { poison.as_str() } else { "fine!!" };
            let answer = ok("Content-Length: 6\r\n", body);
            if reader.stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    let scene = Scene::of(Issuer::start(), upstream, |config| config.set("/threads", 1));
    let mut connection = Connection::open(scene.airside.proxy);
    let token = v2_app().token();
    for _ in 0..5 {
        let head = connection.ask(&Request::new("HEAD", "/api/v2/dags").bearer(&token));
        assert_eq!((head.status, head.header("content-length")), (200, Some("6")));
        let get = connection.ask(&Request::get("/api/v2/dags").bearer(&token));
        assert_eq!(get.text(), "fine!!");
    }
}
