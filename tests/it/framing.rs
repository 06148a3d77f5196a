//! Where a message ends can be read in one way only, or it is nobody's message: what stands behind it
//! never becomes a request of its own, however good the token in it.

use std::io;

use crate::support::entra::v2_app;
use crate::support::expect::{Verdicts, refusal};
use crate::support::http::{Connection, Request, Response};
use crate::support::scene::Scene;
use crate::support::upstream::Received;

/// What may become of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// 400, the end of the connection, and nothing for Airflow.
    Refused,
    /// No answer but a refusal, the end of the connection, and nothing whole for Airflow: the head
    /// was good and is under way when its body turns out not to be.
    Broken,
    /// Exactly this body for Airflow, and the end of the connection.
    Plain(&'static str),
}

use Fate::{Broken, Plain, Refused};

/// A head that may be written to, and a request that must never be served.
struct Probe {
    scene: Scene,
    head: String,
    hidden: String,
}

impl Probe {
    fn new() -> Self {
        let token = v2_app().token();
        let head = format!(
            "POST /api/v2/variables HTTP/1.1\r\nHost: airflow\r\nAuthorization: Bearer {token}\r\n"
        );
        let hidden = format!(
            "GET /api/v2/hidden HTTP/1.1\r\nHost: hidden\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        Self { scene: Scene::start(), head, hidden }
    }

    /// Sends the bytes with the hidden request behind them.
    fn judge(&self, verdicts: &mut Verdicts, label: &str, bytes: &[u8], fate: Fate) {
        self.scene.upstream.take();
        let mut connection = Connection::open(self.scene.airside.proxy);
        // A large one may be refused before it is sent.
        let _closed_already = connection.send(&[bytes, self.hidden.as_bytes()].concat());
        let (answers, closed) = answers_until_the_end(&mut connection);
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        let received = self.scene.upstream.take();
        let bodies: Vec<_> = received.iter().map(|request| &request.body[..]).collect();
        let as_expected = match fate {
            Refused => statuses == [400] && bodies.is_empty(),
            Broken => statuses.iter().all(|status| *status >= 400) && bodies.is_empty(),
            Plain(body) => statuses == [200] && bodies == [body.as_bytes()],
        };
        let seen =
            (fate, &statuses, closed, received.iter().map(Received::text).collect::<Vec<_>>());
        verdicts.check(label, as_expected && closed && statuses.len() < 2, seen);
        for request in &received {
            let both = request.header("content-length").is_some()
                && request.header("transfer-encoding").is_some();
            let hidden = request.target().contains("hidden");
            verdicts.check(label, !both && !hidden, request.text());
        }
    }
}

/// Every answer, and whether the connection ended after them; for a while, where it does not.
fn answers_until_the_end(connection: &mut Connection) -> (Vec<Response>, bool) {
    connection.patience(std::time::Duration::from_secs(5));
    let mut answers = Vec::new();
    loop {
        match connection.response_to("POST") {
            Ok(answer) => answers.push(answer),
            Err(error) => return (answers, error.kind() != io::ErrorKind::WouldBlock),
        }
    }
}

#[test]
fn a_length_that_can_be_read_in_two_ways_ends_the_connection() {
    let probe = Probe::new();
    let mut verdicts = Verdicts::default();
    let chunks = "4\r\nbody\r\n0\r\n\r\n";
    for (label, fields, body, fate) in [
        // A length and chunks: chunks count, as RFC 9112 has it, and nothing more is read.
        ("CL.TE", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", chunks, Plain("body")),
        ("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", chunks, Plain("body")),
        ("0.TE", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", chunks, Plain("body")),
        (
            "a bad length beside chunks",
            "Content-Length: x\r\nTransfer-Encoding: chunked\r\n",
            chunks,
            Refused,
        ),
        // Codings beside chunks, or none.
        ("identity", "Transfer-Encoding: identity\r\n", "", Refused),
        (
            "identity and a length",
            "Transfer-Encoding: identity\r\nContent-Length: 4\r\n",
            "body",
            Refused,
        ),
        ("gzip", "Transfer-Encoding: gzip\r\n", chunks, Refused),
        ("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n", chunks, Refused),
        ("chunked, identity", "Transfer-Encoding: chunked, identity\r\n", chunks, Refused),
        ("identity, chunked", "Transfer-Encoding: identity, chunked\r\n", chunks, Refused),
        ("chunked, chunked", "Transfer-Encoding: chunked, chunked\r\n", chunks, Refused),
        (
            "chunked twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            chunks,
            Refused,
        ),
        (
            "chunked, then identity",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            chunks,
            Refused,
        ),
        (
            "identity, then chunked",
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
            chunks,
            Refused,
        ),
        (
            "nothing, then chunked",
            "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n",
            chunks,
            Refused,
        ),
        ("an empty coding", "Transfer-Encoding:\r\n", chunks, Refused),
        ("a comma behind", "Transfer-Encoding: chunked,\r\n", chunks, Refused),
        ("a comma before", "Transfer-Encoding: ,chunked\r\n", chunks, Refused),
        ("xchunked", "Transfer-Encoding: xchunked\r\n", chunks, Refused),
        ("chunkedx", "Transfer-Encoding: chunkedx\r\n", chunks, Refused),
        ("in quotes", "Transfer-Encoding: \"chunked\"\r\n", chunks, Refused),
        ("with a parameter", "Transfer-Encoding: chunked;q=1\r\n", chunks, Refused),
        ("a vertical tab before", "Transfer-Encoding: \x0bchunked\r\n", chunks, Refused),
        ("a vertical tab behind", "Transfer-Encoding: chunked\x0b\r\n", chunks, Refused),
        ("a NUL behind", "Transfer-Encoding: chunked\0\r\n", chunks, Refused),
        ("a blank before the colon", "Transfer-Encoding : chunked\r\n", chunks, Refused),
        ("a tab before the colon", "Transfer-Encoding\t: chunked\r\n", chunks, Refused),
        ("on a folded line", "Transfer-Encoding:\r\n chunked\r\n", chunks, Refused),
        ("behind a bare CR", "X-A: b\rTransfer-Encoding: chunked\r\n", chunks, Refused),
        // Lengths that contradict each other or are none.
        ("two lengths", "Content-Length: 4\r\nContent-Length: 40\r\n", "body", Refused),
        ("a list of lengths", "Content-Length: 4, 40\r\n", "body", Refused),
        ("the same in a list", "Content-Length: 4, 4\r\n", "body", Refused),
        ("an empty length", "Content-Length: \r\n", "", Refused),
        ("plus", "Content-Length: +4\r\n", "body", Refused),
        ("minus", "Content-Length: -4\r\n", "body", Refused),
        ("minus zero", "Content-Length: -0\r\n", "", Refused),
        ("hexadecimal", "Content-Length: 0x4\r\n", "body", Refused),
        ("two numbers", "Content-Length: 4 4\r\n", "body", Refused),
        ("a fraction", "Content-Length: 4.0\r\n", "body", Refused),
        ("an exponent", "Content-Length: 4e0\r\n", "body", Refused),
        ("letters behind", "Content-Length: 4a\r\n", "body", Refused),
        ("digits of another script", "Content-Length: \u{664}\r\n", "body", Refused),
        ("2^64", "Content-Length: 18446744073709551616\r\n", "body", Refused),
        ("2^64 + 4", "Content-Length: 18446744073709551620\r\n", "body", Refused),
    ] {
        let bytes = format!("{}{fields}\r\n{body}", probe.head);
        probe.judge(&mut verdicts, label, bytes.as_bytes(), fate);
    }
    let token = v2_app().token();
    verdicts.check("and the proxy serves on", probe.scene.present(&token).status == 200, ());
}

#[test]
fn chunks_that_are_not_well_formed_are_no_body() {
    let probe = Probe::new();
    let mut verdicts = Verdicts::default();
    let long_extension = format!("4;{}\r\nbody\r\n0\r\n\r\n", "x".repeat(64 * 1024));
    let long_trailers = format!("4\r\nbody\r\n0\r\n{}\r\n", "X-A: b\r\n".repeat(20_000));
    for (label, body, fate) in [
        ("no size", "\r\nbody\r\n0\r\n\r\n", Broken),
        ("a prefix", "0x4\r\nbody\r\n0\r\n\r\n", Broken),
        ("plus", "+4\r\nbody\r\n0\r\n\r\n", Broken),
        ("minus", "-4\r\nbody\r\n0\r\n\r\n", Broken),
        ("no number", "four\r\nbody\r\n0\r\n\r\n", Broken),
        ("a blank before", " 4\r\nbody\r\n0\r\n\r\n", Broken),
        ("2^64", "10000000000000000\r\nbody\r\n0\r\n\r\n", Broken),
        ("2^64 + 4", "10000000000000004\r\nbody\r\n0\r\n\r\n", Broken),
        ("a bare LF behind the size", "4\nbody\r\n0\r\n\r\n", Broken),
        ("a bare CR behind the size", "4\rbody\r\n0\r\n\r\n", Broken),
        ("a bare LF behind the data", "4\r\nbody\n0\r\n\r\n", Broken),
        ("a bare LF in an extension", "4;a\nb\r\nbody\r\n0\r\n\r\n", Broken),
        ("a bare CR in an extension", "4;a\rb\r\nbody\r\n0\r\n\r\n", Broken),
        ("a bare LF ends an extension", "4;a\nbody\r\n0\r\n\r\n", Broken),
        ("a bare LF behind the last size", "4\r\nbody\r\n0;a\n\r\n", Broken),
        ("longer than it says", "3\r\nbody\r\n0\r\n\r\n", Broken),
        ("shorter than it says", "5\r\nbody\r\n0\r\n\r\n", Broken),
        ("no trailer", "4\r\nbody\r\n0\r\nno trailer\r\n\r\n", Broken),
        ("an endless extension", &long_extension, Broken),
        ("endless trailers", &long_trailers, Broken),
    ] {
        let bytes = format!("{}Transfer-Encoding: chunked\r\n\r\n{body}", probe.head);
        probe.judge(&mut verdicts, label, bytes.as_bytes(), fate);
    }
    // Odd and right: Airflow gets the body alone, in chunks of ours.
    for (label, body) in [
        ("leading zeros", "0004\r\nbody\r\n000\r\n\r\n"),
        ("an extension", "4;a=b\r\nbody\r\n0;c\r\n\r\n"),
        ("a trailer", "4\r\nbody\r\n0\r\nContent-Length: 40\r\n\r\n"),
        ("capital letters", "00A\r\nbody, body\r\n0\r\n\r\n"),
    ] {
        let mut connection = Connection::open(probe.scene.airside.proxy);
        let head = format!("{}Transfer-Encoding: Chunked\r\n\r\n", probe.head);
        connection.send(format!("{head}{body}").as_bytes()).unwrap();
        let answer = connection.response_to("POST").unwrap();
        let received = probe.scene.upstream.last();
        verdicts.check(label, answer.status == 200, answer.text());
        verdicts.check(label, received.body.starts_with(b"body"), received.text());
        let chunks = String::from_utf8_lossy(&received.raw_body);
        let clean = !chunks.contains(';') && !chunks.contains("40");
        verdicts.check(label, clean, chunks);
    }
}

#[test]
fn a_head_with_bytes_that_no_head_has_is_refused() {
    let probe = Probe::new();
    let mut verdicts = Verdicts::default();
    for (label, line) in [
        ("a folded line", "X-A: b\r\n c\r\n"),
        ("a folded line by a tab", "X-A: b\r\n\tc\r\n"),
        ("a bare CR in a value", "X-A: b\rX-B: c\r\n"),
        ("NUL in a value", "X-A: b\0c\r\n"),
        ("a control byte in a value", "X-A: b\x01c\r\n"),
        ("DEL in a value", "X-A: b\x7fc\r\n"),
        ("a blank before the colon", "X-Airside-User : mallory\r\n"),
        ("a tab before the colon", "X-Airside-User\t: mallory\r\n"),
        ("a blank in a name", "X A: b\r\n"),
        ("a bracket in a name", "X-(A): b\r\n"),
        ("a colon alone", ": b\r\n"),
        ("no colon", "X-A\r\n"),
        ("NUL in a name", "X-\0A: b\r\n"),
        ("a dash of another script in a name", "X\u{2010}Airside\u{2010}User: mallory\r\n"),
        ("a letter of another script in a name", "\u{445}-airside-user: mallory\r\n"),
        ("a slash in a name", "X/A: b\r\n"),
        ("quotes in a name", "\"X-A\": b\r\n"),
    ] {
        let bytes = format!("{}{line}Content-Length: 4\r\n\r\nbody", probe.head);
        probe.judge(&mut verdicts, label, bytes.as_bytes(), Refused);
    }
    for (label, start) in [
        ("a blank before the first field", "GET /api/v2/dags HTTP/1.1\r\n Host: a\r\n"),
        ("a blank before the method", " GET /api/v2/dags HTTP/1.1\r\nHost: a\r\n"),
        ("a tab behind the method", "GET\t/api/v2/dags HTTP/1.1\r\nHost: a\r\n"),
        ("two blanks", "GET  /api/v2/dags HTTP/1.1\r\nHost: a\r\n"),
        ("a blank in the target", "GET /api/v2/dags x HTTP/1.1\r\nHost: a\r\n"),
        ("a bare CR in the target", "GET /api/v2/dags\rx HTTP/1.1\r\nHost: a\r\n"),
        ("NUL in the target", "GET /api/v2/dags\0 HTTP/1.1\r\nHost: a\r\n"),
        ("brackets in the method", "G(E)T /api/v2/dags HTTP/1.1\r\nHost: a\r\n"),
        ("no method", "/api/v2/dags HTTP/1.1\r\nHost: a\r\n"),
        ("no version", "GET /api/v2/dags\r\nHost: a\r\n"),
        ("a version of old", "GET /api/v2/dags HTTP/0.9\r\nHost: a\r\n"),
        ("a version to come", "GET /api/v2/dags HTTP/1.2\r\nHost: a\r\n"),
        ("a small version", "GET /api/v2/dags http/1.1\r\nHost: a\r\n"),
        ("chunks of old", "GET /api/v2/dags HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"),
    ] {
        let token = v2_app().token();
        let bytes = format!("{start}Authorization: Bearer {token}\r\n\r\n");
        probe.judge(&mut verdicts, label, bytes.as_bytes(), Refused);
    }
}

#[test]
fn a_request_names_one_host_or_is_refused() {
    let probe = Probe::new();
    let mut verdicts = Verdicts::default();
    let bearer = format!("Authorization: Bearer {}\r\n", v2_app().token());
    for (label, target, hosts) in [
        ("none", "/api/v2/dags", ""),
        ("two", "/api/v2/dags", "Host: a\r\nHost: b\r\n"),
        ("the same twice", "/api/v2/dags", "Host: a\r\nHost: a\r\n"),
        ("a user", "/api/v2/dags", "Host: a@b\r\n"),
        ("a list", "/api/v2/dags", "Host: a, b\r\n"),
        ("a blank", "/api/v2/dags", "Host: a b\r\n"),
        ("a path", "/api/v2/dags", "Host: a/b\r\n"),
        ("a query", "/api/v2/dags", "Host: a?b\r\n"),
        ("a fragment", "/api/v2/dags", "Host: a#b\r\n"),
        ("a backslash", "/api/v2/dags", "Host: a\\b\r\n"),
        ("a parameter of Forwarded", "/api/v2/dags", "Host: a\";by=\"b\r\n"),
        ("a port that is none", "/api/v2/dags", "Host: a:b\r\n"),
        ("two ports", "/api/v2/dags", "Host: a:1:2\r\n"),
        ("half an address", "/api/v2/dags", "Host: [::1\r\n"),
        ("another in the target", "http://b/api/v2/dags", "Host: a\r\n"),
        ("another port in the target", "http://a:81/api/v2/dags", "Host: a\r\n"),
        ("a user in the target", "http://b@a/api/v2/dags", "Host: a\r\n"),
        ("none but in the target", "http://a/api/v2/dags", ""),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\n{hosts}{bearer}\r\n");
        probe.judge(&mut verdicts, label, bytes.as_bytes(), Refused);
    }
    for (label, target, host) in [
        ("a dot behind", "/api/v2/dags", "airflow.example."),
        ("capitals", "/api/v2/dags", "AIRFLOW.Example:8443"),
        ("an address", "/api/v2/dags", "[::1]:8080"),
        ("the same in the target", "http://AIRFLOW.example/api/v2/dags", "airflow.example"),
    ] {
        let received =
            probe.scene.forwarded(&Request::get(target).host(host).bearer(&v2_app().token()));
        verdicts.check(label, received.header("host") == Some(host), received.text());
        verdicts.check(label, received.target() == "/api/v2/dags", received.text());
    }
}

#[test]
fn the_body_of_a_request_is_never_the_next_request() {
    let probe = Probe::new();
    let mut verdicts = Verdicts::default();
    let token = v2_app().token();
    let length = probe.hidden.len();
    let with_length = format!("Content-Length: {length}\r\n");
    let expecting = format!("Content-Length: {length}\r\nExpect: 100-continue\r\n");
    let oddly_expecting = format!("Content-Length: {length}\r\nExpect: 200-ok\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n".to_owned();
    let chunks = format!("{length:x}\r\n{}\r\n0\r\n\r\n", probe.hidden);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let roleless = format!("Authorization: Bearer {}\r\n", v2_app().roles(&[]).token());
    let twice = bearer.repeat(2);
    let session = "Cookie: _token=x\r\nSec-Fetch-Site: cross-site\r\n";
    for (label, line, credential, expected) in [
        ("a body on GET", "GET /api/v2/dags", bearer.as_str(), 200),
        ("a body on HEAD", "HEAD /api/v2/dags", &bearer, 200),
        ("a body on DELETE", "DELETE /api/v2/dags/x", &bearer, 200),
        ("a body on OPTIONS", "OPTIONS /api/v2/dags", &bearer, 200),
        ("an open path", "GET /api/v2/version", "", 200),
        ("a page", "GET /", "", 200),
        ("a worker", "POST /execution/x", "", 200),
        ("no token", "POST /api/v2/variables", "", 401),
        ("a bad token", "POST /api/v2/variables", "Authorization: Bearer x.y.z\r\n", 401),
        ("another scheme", "POST /api/v2/variables", "Authorization: Basic eDp5\r\n", 401),
        ("two tokens", "POST /api/v2/variables", &twice, 400),
        ("no role", "POST /api/v2/variables", &roleless, 403),
        ("another site", "POST /api/v2/variables", session, 403),
        ("dots", "POST /api/v2/../variables", &bearer, 400),
        ("ours", "POST /airside/x", &bearer, 404),
        ("TRACE", "TRACE /api/v2/dags", &bearer, 405),
    ] {
        let method = line.split(' ').next().unwrap();
        for (framing, body) in [
            (&with_length, &probe.hidden),
            (&chunked, &chunks),
            (&expecting, &probe.hidden),
            (&oddly_expecting, &probe.hidden),
        ] {
            let label = format!("{label}, {}", framing.trim().replace("\r\n", ", "));
            probe.scene.upstream.take();
            let mut connection = Connection::open(probe.scene.airside.proxy);
            let head = format!("{line} HTTP/1.1\r\nHost: airflow\r\n{credential}{framing}\r\n");
            connection.send(format!("{head}{body}").as_bytes()).unwrap();
            let answer = connection.response_to(method).unwrap();
            verdicts.check(&label, answer.status == expected, (answer.status, answer.text()));
            // The connection either goes on with the next request, or it ends.
            let next = Request::get("/api/v2/dags").host("next").bearer(&token);
            let next = next.bytes(probe.scene.airside.proxy);
            let answer = connection.send(&next).and_then(|()| connection.response_to("GET"));
            let served = answer.as_ref().map_or(200, |answer| answer.status);
            verdicts.check(&label, served == 200, &answer);
            // Whoever has no token of its own is refused, whatever came before.
            let bare = Request::get("/api/v2/dags").bytes(probe.scene.airside.proxy);
            if answer.is_ok() && connection.send(&bare).is_ok() {
                let answer = connection.response_to("GET").unwrap();
                verdicts.case(&label, refusal(&answer, 401, &["credential_missing"]));
            }
            for received in probe.scene.upstream.take() {
                verdicts.check(&label, received.header("host") != Some("hidden"), received.text());
            }
        }
    }
}

#[test]
fn what_follows_a_connect_goes_nowhere() {
    let probe = Probe::new();
    let token = v2_app().token();
    for credential in [String::new(), format!("Authorization: Bearer {token}\r\n")] {
        let mut connection = Connection::open(probe.scene.airside.proxy);
        let head = format!(
            "CONNECT airflow.example:443 HTTP/1.1\r\nHost: airflow.example:443\r\n{credential}\r\n"
        );
        connection.send(format!("{head}\x16\x03\x01tunnelled").as_bytes()).unwrap();
        let answer = connection.response_to("GET").unwrap();
        refusal(&answer, 405, &["method_refused"]).unwrap();
        let (answers, closed) = answers_until_the_end(&mut connection);
        assert!(closed && answers.iter().all(|answer| answer.status == 400), "{answers:?}");
    }
    assert!(probe.scene.upstream.requests().is_empty());
    assert_eq!(probe.scene.upstream.connections(), 0, "nobody was even asked");
}

#[test]
fn a_request_of_old_http_has_the_body_that_it_says() {
    let probe = Probe::new();
    let mut verdicts = Verdicts::default();
    let head = probe.head.replace("HTTP/1.1", "HTTP/1.0");
    for (label, fields, body, expected) in
        [("no length", "", "", ""), ("a length", "Content-Length: 4\r\n", "body", "body")]
    {
        let bytes = format!("{head}{fields}\r\n{body}");
        probe.judge(&mut verdicts, label, bytes.as_bytes(), Plain(expected));
    }
}

#[test]
fn a_method_is_what_it_says_and_nothing_else() {
    let scene = Scene::start();
    let token = v2_app().token();
    let long = "M".repeat(1024);
    let mut verdicts = Verdicts::default();
    for method in ["get", "Get", "PROPFIND", "M-SEARCH", "PURGE", &long] {
        // None of them opens what GET opens.
        let bare = scene.ask(&Request::new(method, "/api/v2/version"));
        verdicts.refused(method, &bare, 401, &["credential_missing"]);
        for (name, value) in [
            ("X-HTTP-Method-Override", "GET"),
            ("X-HTTP-Method", "GET"),
            ("X-Method-Override", "GET"),
        ] {
            let overridden =
                Request::new(method, "/api/v2/version?_method=GET").header(name, value);
            let label = format!("{method} with {name}");
            verdicts.refused(&label, &scene.ask(&overridden), 401, &["credential_missing"]);
        }
        let received = scene.forwarded(&Request::new(method, "/api/v2/dags").bearer(&token));
        verdicts.check(method, received.method() == method, received.text());
    }
}
