//! Calls of Envoy over gRPC.

use super::{Asking, FORWARDING, claims};
use crate::support::airside::Airside;
use crate::support::entra::{APP, v2_app};
use crate::support::envoy::{Check, Message, Verdict, call, framed};
use crate::support::expect::Verdicts;
use crate::support::http::Request;
use crate::support::http2::Http2;

fn dags() -> Check {
    Check::get("/api/v2/dags").bearer(&v2_app().token())
}

/// An entry of `config.core.v3.HeaderMap`, as `encode_raw_headers` has it.
fn raw(fields: &[(u32, &[u8])]) -> Message {
    let header =
        fields.iter().fold(Message::new(), |all, (number, value)| all.with(*number, value));
    Message::new().with(1, header)
}

#[test]
fn a_call_is_permitted_with_headers_to_overwrite_and_to_remove() {
    let asking = Asking::start();
    let check = dags()
        .header(":path", "/api/v2/dags")
        .header(":method", "GET")
        .header(":authority", "airflow.example")
        .header(":scheme", "https")
        .header("cookie", "_token=x")
        .header("x-airside-user", "mallory")
        .header("x_airside_roles", "Admin")
        .header("x-airside-other", "mallory");
    let verdict = check.ask(asking.address);
    assert_eq!(verdict.code, 0, "{verdict:?}");
    let authorization = verdict.header("authorization").unwrap();
    assert_eq!(claims(authorization)["sub"], APP);
    assert_eq!(verdict.header("x-airside-user"), Some(APP), "overwritten, not appended");
    assert_eq!(verdict.header("x-airside-issuer"), Some("entra"));
    for name in ["cookie", "x-airside-assertion", "x_airside_roles", "x-airside-other"] {
        assert!(verdict.removes(name), "{name}: {verdict:?}");
    }
    for (name, _) in &verdict.headers {
        assert!(!verdict.removes(name), "{name} is set and removed: {verdict:?}");
    }
}

#[test]
fn what_an_open_path_must_not_carry_is_removed() {
    let asking = Asking::start();
    let check = Check::get("/api/v2/monitor/health?x=1").bearer("x.y.z");
    let verdict = check.header("x-airside-user", "mallory").ask(asking.address);
    assert_eq!((verdict.code, verdict.headers.len()), (0, 0), "{verdict:?}");
    for name in super::STATED {
        assert!(verdict.removes(name), "{name}: {verdict:?}");
    }
}

#[test]
fn what_speaks_for_a_proxy_is_removed() {
    let asking = Asking::start();
    let forging = FORWARDING.iter().fold(dags(), |check, name| check.header(name, "mallory"));
    let forging = forging.header("x-forwarded-for", "192.0.2.1").header("x-request-id", "x");
    let verdict = forging.header("x-forwarded-proto", "https").ask(asking.address);
    assert_eq!(verdict.code, 0, "{verdict:?}");
    for name in FORWARDING {
        assert!(verdict.removes(name), "{name}: {verdict:?}");
    }
    for name in ["x-forwarded-for", "x-forwarded-proto", "x-request-id", "host"] {
        assert!(!verdict.removes(name), "{name} is Envoy's own: {verdict:?}");
    }
}

#[test]
fn a_denial_has_the_status_headers_and_body_of_our_own_answers() {
    let asking = Asking::with(|config| config.set("/access/delegate/basic", true));
    let verdict = Check::get("/api/v2/dags").ask(asking.address);
    assert_eq!((verdict.code, verdict.status), (16, 401), "{verdict:?}");
    assert_eq!(verdict.reason(), "credential_missing");
    assert_eq!(verdict.header("www-authenticate"), Some("Bearer realm=\"airflow\""));
    assert_eq!(verdict.header("+www-authenticate"), Some("Basic realm=\"airflow\""));
    assert_eq!(verdict.header("content-type"), Some("application/problem+json"));
    assert_eq!(verdict.header("cache-control"), Some("no-store"));
    let id = verdict.header("x-request-id").unwrap();
    assert!(verdict.body.contains(id), "{verdict:?}");
    let nobody = Check::get("/api/v2/dags").bearer(&v2_app().without("roles").token());
    let verdict = nobody.ask(asking.address);
    assert_eq!((verdict.code, verdict.status), (7, 403), "{verdict:?}");
    let malformed = Check::get("/api/v2/dags#x").ask(asking.address);
    assert_eq!((malformed.code, malformed.status), (7, 400));
    assert_eq!(malformed.header("connection"), None, "the client's connection is Envoy's");
}

#[test]
fn an_outage_of_keys_is_no_permission() {
    let asking = Asking::with(|config| config.set("/issuers/0/authority", "http://127.0.0.1:1"));
    let verdict = dags().ask(asking.address);
    assert_eq!((verdict.code, verdict.status), (7, 503), "{verdict:?}");
    assert!(verdict.header("retry-after").is_some(), "{verdict:?}");
}

/// CVE-2023-27488: Envoy told nothing of such a value, and Airflow saw it.
#[test]
fn a_header_that_is_not_told_as_it_is_denies() {
    let asking = Asking::start();
    let mut verdicts = Verdicts::default();
    for (label, check) in [
        ("not UTF-8", dags().header("x-note", b"\xff\xfe")),
        ("not UTF-8 in a cookie", dags().header("cookie", b"a=\xe9")),
        ("no value", dags().header("x-note", "")),
        ("a name that is none", dags().header("x note", "1")),
        ("a line break", dags().header("x-note", "1\r\nx-airside-user: mallory")),
        ("raw, not UTF-8", dags().field(13, raw(&[(1, b"x-note"), (3, b"\xff")]))),
        ("raw, in value", dags().field(13, raw(&[(1, b"x-note"), (2, b"\xff")]))),
        ("raw, two values", dags().field(13, raw(&[(1, b"x-note"), (2, b"a"), (3, b"b")]))),
        ("raw, without name", dags().field(13, raw(&[(3, b"a")]))),
    ] {
        let verdict = check.ask(asking.address);
        let reason = verdict.reason();
        verdicts.check(label, verdict.code == 7 && reason == "request_malformed", &verdict);
    }
    let good = Check::get("/api/v2/dags").field(
        13,
        raw(&[(1, b"authorization"), (3, format!("Bearer {}", v2_app().token()).as_bytes())]),
    );
    assert_eq!(good.ask(asking.address).code, 0, "raw headers are read as the others");
    // Here nothing is nothing: browsers send an empty Referer.
    let empty = good.field(13, raw(&[(1, b"referer")]));
    assert_eq!(empty.ask(asking.address).code, 0, "raw headers may be empty");
}

#[test]
fn what_contradicts_itself_denies() {
    let asking = Asking::start();
    let mut verdicts = Verdicts::default();
    let open = "/api/v2/version";
    let version = || Check::get(open);
    for (label, check, reason) in [
        ("another path", version().header(":path", "/api/v2/dags"), "request_malformed"),
        ("another method", version().header(":method", "DELETE"), "request_malformed"),
        ("another authority", version().header(":authority", "other.example"), "request_malformed"),
        ("another host", version().header("host", "other.example"), "request_malformed"),
        ("a query apart", version().field(7, "x"), "request_malformed"),
        ("a fragment apart", version().field(8, "x"), "request_malformed"),
        ("a fragment", Check::get("/api/v2/dags#/../version"), "request_malformed"),
        ("no method", Check::new("", open), "request_malformed"),
        ("no method at all", Check::new("GET POST", open), "request_malformed"),
        ("no path", Check::get(""), "request_malformed"),
        ("no path at all", Check::get("*"), "request_malformed"),
        ("absolute", Check::get("http://a.example/api/v2/version"), "request_malformed"),
        ("no host", version().host(""), "request_malformed"),
        ("a host that is none", version().host("a/b"), "request_malformed"),
        ("CONNECT", Check::new("CONNECT", "/x"), "method_refused"),
        (
            "two credentials",
            dags().field(13, raw(&[(1, b"authorization"), (3, b"Bearer a.b.c")])),
            "credential_ambiguous",
        ),
        ("the query", Check::get("/api/v2/dags?/api/v2/version"), "credential_missing"),
        ("Traefik's words", dags().header("x-forwarded-uri", open), "none"),
    ] {
        let verdict = check.ask(asking.address);
        verdicts.check(label, verdict.reason() == reason, &verdict);
    }
}

/// Not an error of gRPC, which `failure_mode_allow` would take for a yes.
#[test]
fn a_message_that_is_none_is_denied() {
    let asking = Asking::with(|config| config.set("/limits/header_bytes", 4096));
    let message = framed(&dags().message().0);
    let compressed = [&[1], &message[1..]].concat();
    let mut longer = message.clone();
    longer[4] = longer[4].wrapping_add(1);
    let of = |message: &Message| framed(&message.0);
    let large = |size: usize| dags().header("x-large", "x".repeat(size)).message();
    let mut verdicts = Verdicts::default();
    for (label, body, reason) in [
        ("nothing", vec![], "request_malformed"),
        ("half a prefix", vec![0, 0, 0], "request_malformed"),
        ("an empty message", framed(&[]), "request_malformed"),
        ("compressed", compressed, "request_malformed"),
        ("longer than it is", longer, "request_malformed"),
        ("two messages", [&message[..], &message].concat(), "request_malformed"),
        ("something else", framed(b"\xff\xff\xff\xff"), "request_malformed"),
        ("no request", of(&Message::new().with(1, Message::new())), "request_malformed"),
        ("a large head", of(&large(5000)), "headers_too_large"),
        ("a large message", of(&large(10_000)), "headers_too_large"),
    ] {
        let verdict = Verdict::of(&mut Http2::open(asking.address), &call(body));
        verdicts.check(label, verdict.code == 7 && verdict.reason() == reason, &verdict);
    }
}

/// More than the map has room for, too: whatever a message can hold is answered.
#[test]
fn more_headers_than_there_can_be_are_denied() {
    let asking = Asking::with(|config| config.set("/limits/header_bytes", 1_048_576));
    for (number, expected) in [(998, 0), (1_000, 7), (26_000, 7)] {
        let many =
            (0..number).fold(dags(), |check, number| check.header(&format!("x-{number}"), "x"));
        let verdict = many.ask(asking.address);
        assert_eq!(verdict.code, expected, "{number}: {verdict:?}");
        let reason = if expected == 0 { "none" } else { "headers_too_large" };
        assert_eq!(verdict.reason(), reason, "{number}");
    }
}

#[test]
fn a_message_that_stops_on_its_way_is_denied_in_time() {
    use crate::support::http2::{DATA, END_HEADERS, HEADERS, Raw, block, frame};
    let asking = Asking::with(|config| config.set("/limits/header_timeout", "300ms"));
    let mut raw = Raw::open(asking.address);
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "airside"),
        (":path", "/envoy.service.auth.v3.Authorization/Check"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    raw.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).unwrap();
    raw.send(&frame(DATA, 0, 1, &[0, 0, 0])).unwrap();
    let line = asking.scene.airside.line_with(&["access", "listener=forward_auth"]);
    assert!(line.contains("reason=request_timeout"), "{line}");
}

/// Whoever is led to ask over HTTP where calls go must not take the 200 of a call for a yes.
#[test]
fn only_a_call_is_answered_as_one() {
    let asking = Asking::start();
    let path = "/envoy.service.auth.v3.Authorization/Check";
    let marks = |request: Request| {
        request.header("Content-Type", "application/grpc").header("TE", "trailers")
    };
    let message = framed(&dags().message().0);
    let mut verdicts = Verdicts::default();
    for (label, request) in [
        ("nginx", Request::get(path)),
        ("a POST", marks(Request::post(path).body(message.clone()))),
    ] {
        verdicts.refused(label, &asking.ask(&request), 404, &["not_found"]);
    }
    for (label, request) in [
        ("GET", marks(Request::get(path))),
        ("no te", Request::post(path).header("Content-Type", "application/grpc").body(&*message)),
        ("no type", Request::post(path).header("TE", "trailers").body(&*message)),
        ("another method", marks(Request::post(&format!("{path}2")).body(&*message))),
    ] {
        let answer = Http2::open(asking.address).ask(&request);
        verdicts.refused(label, &answer, 404, &["not_found"]);
    }
}

/// gRPC's own error would leave it to Envoy what becomes of the request.
#[test]
fn by_a_connection_too_many_a_call_is_denied() {
    let asking = Asking::with(|config| config.set("/limits/connections", 1));
    let mut first = Http2::open(asking.address);
    let good = call(framed(&dags().message().0));
    assert_eq!(Verdict::of(&mut first, &good).code, 0);
    let surplus = dags().ask(asking.address);
    assert_eq!((surplus.status, surplus.reason()), (503, "overloaded".to_owned()), "{surplus:?}");
    assert_ne!(surplus.code, 0, "{surplus:?}");
    assert_eq!(Verdict::of(&mut first, &good).code, 0);
}

#[test]
fn one_connection_carries_many_calls() {
    let asking = Asking::start();
    let mut connection = Http2::open(asking.address);
    let good = call(framed(&dags().message().0));
    let bad = call(framed(&Check::get("/api/v2/dags").message().0));
    for _ in 0..20 {
        assert_eq!(Verdict::of(&mut connection, &good).code, 0);
        assert_eq!(Verdict::of(&mut connection, &bad).code, 16);
    }
}

fn client_of(airside: &Airside, path: &str) -> String {
    let line = airside.line_with(&[path, "access"]);
    let (_, rest) = line.split_once("client=").unwrap();
    rest.split(' ').next().unwrap().to_owned()
}

#[test]
fn the_client_is_whom_envoy_names_and_what_proxies_before_it_say() {
    let asking = Asking::with(|config| config.set("/forwarded/trusted", ["10.0.0.0/8"].as_slice()));
    for (number, (source, forwarded, client)) in [
        ("192.0.2.77", None, "192.0.2.77"),
        ("192.0.2.77", Some("203.0.113.9"), "192.0.2.77"),
        ("10.0.0.1", Some("203.0.113.9, 10.0.0.1"), "203.0.113.9"),
        ("10.0.0.1", Some("198.51.100.1, 203.0.113.9"), "203.0.113.9"),
        ("2001:db8::1", None, "2001:db8::1"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/api/v2/dags/number-{number}");
        let check = Check::get(&path).from(source);
        let check = match forwarded {
            Some(forwarded) => check.header("x-forwarded-for", forwarded),
            None => check,
        };
        check.header("x-request-id", format!("of-envoy-{number}")).ask(asking.address);
        assert_eq!(client_of(&asking.scene.airside, &path), client, "{source} {forwarded:?}");
        asking.scene.airside.line_with(&[&format!("request_id=of-envoy-{number} ")]);
    }
}
