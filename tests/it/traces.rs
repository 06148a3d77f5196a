//! Each request is a span, and the trace goes on in Airflow.

use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::support::collector::{Collector, said};
use crate::support::entra::{APP, v2_app};
use crate::support::expect::Verdicts;
use crate::support::http::{Connection, Request, Response};
use crate::support::http2::Http2;
use crate::support::issuer::Issuer;
use crate::support::listener::Listener;
use crate::support::scene::Scene;
use crate::support::upstream::{Answer, Received, Upstream};
use crate::support::wait::eventually;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn traced() -> (Scene, Collector) {
    let collector = Collector::start();
    let upstream = Upstream::answering(|received| match received.target() {
        "/api/v2/broken" => Answer::json(500, &[], "{}"),
        "/api/v2/hangup" => Answer::Hangup,
        _ => Answer::ok(&[]),
    });
    let endpoint = collector.endpoint();
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        config.set("/telemetry/otlp_endpoint", endpoint)
    });
    (scene, collector)
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn dags() -> Request {
    Request::get("/api/v2/dags?secret=1").bearer(&v2_app().token())
}

fn spans_of(collector: &Collector, answer: &Response) -> (Span, Option<Span>) {
    collector.spans_of(answer.header("x-request-id").unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn forwarded(scene: &Scene, request: &Request) -> (Response, Received) {
    let answer = scene.ask(request);
    (answer, scene.upstream.last())
}

#[test]
fn a_callers_trace_goes_on_in_airflow() {
    let (scene, collector) = traced();
    let request = dags().header("traceparent", &traceparent("01")).header("tracestate", "a=1,b=2");
    let (answer, received) = forwarded(&scene, &request);
    let (ours, below) = spans_of(&collector, &answer);
    let below = below.unwrap();
    assert_eq!((hex(&ours.trace_id), hex(&ours.parent_span_id)), (TRACE.into(), PARENT.into()));
    let id = answer.header("x-request-id").unwrap();
    scene.airside.line_with(&["access", id, &format!("trace_id={TRACE}")]);
    assert_eq!((hex(&below.trace_id), below.parent_span_id), (TRACE.into(), ours.span_id.clone()));
    let expected = format!("00-{TRACE}-{}-01", hex(&below.span_id));
    assert_eq!(received.header("traceparent"), Some(expected.as_str()));
    assert_eq!(received.header("tracestate"), Some("a=1,b=2"));
    assert_eq!((ours.trace_state.as_str(), below.trace_state.as_str()), ("a=1,b=2", "a=1,b=2"));
    assert_eq!((ours.kind, below.kind), (SpanKind::Server as i32, SpanKind::Client as i32));
    // Airflow's part lies within ours, and both within this test.
    assert!(ours.start_time_unix_nano <= below.start_time_unix_nano);
    assert!(below.start_time_unix_nano < below.end_time_unix_nano);
    assert!(below.end_time_unix_nano <= ours.end_time_unix_nano);
    // Bits 8 and 9: that it is known whether the parent is another's, and whether it is.
    assert_eq!((ours.flags, below.flags), (0x301, 0x101));
}

#[test]
fn a_trace_without_a_caller_begins_here() {
    let (scene, collector) = traced();
    let mut traces = std::collections::BTreeSet::new();
    for request in [
        dags(),
        dags().header("traceparent", "nonsense").header("tracestate", "a=1"),
        dags().header("traceparent", &traceparent("01").to_uppercase()).header("tracestate", "a=1"),
        dags().header("traceparent", &traceparent("01")).header("traceparent", &traceparent("01")),
    ] {
        let (answer, received) = forwarded(&scene, &request);
        let (ours, below) = spans_of(&collector, &answer);
        let below = below.unwrap();
        assert!(ours.parent_span_id.is_empty() && ours.trace_state.is_empty());
        let expected = format!("00-{}-{}-03", hex(&ours.trace_id), hex(&below.span_id));
        assert_eq!(received.header("traceparent"), Some(expected.as_str()));
        assert_eq!(received.header("tracestate"), None);
        traces.insert(ours.trace_id);
    }
    assert_eq!(traces.len(), 4, "each of its own");
}

#[test]
fn what_the_caller_does_not_record_passes_as_it_came() {
    let (scene, collector) = traced();
    let unsampled = traceparent("00");
    let request = dags().header("traceparent", &unsampled).header("tracestate", "a=1");
    let (_, received) = forwarded(&scene, &request);
    assert_eq!(received.header("traceparent"), Some(unsampled.as_str()));
    assert_eq!(received.header("tracestate"), Some("a=1"));
    let (answer, _) = forwarded(&scene, &dags());
    let (recorded, _) = spans_of(&collector, &answer);
    assert!(collector.spans().iter().all(|span| span.trace_id == recorded.trace_id));
}

#[test]
fn without_a_collector_nothing_is_added_or_taken() {
    let scene = Scene::start();
    for value in [traceparent("01"), "nonsense".into()] {
        let received =
            scene.forwarded(&dags().header("traceparent", &value).header("tracestate", "a=1"));
        assert_eq!(received.header("traceparent"), Some(value.as_str()));
        assert_eq!(received.header("tracestate"), Some("a=1"));
    }
    assert_eq!(scene.forwarded(&dags()).header("traceparent"), None);
    assert!(!scene.airside.ask_admin("/metrics").text().contains("trace"));
}

#[test]
fn what_workers_send_stays_as_it_is() {
    let (scene, collector) = traced();
    let value = traceparent("01");
    let request = Request::post("/execution/x").bearer("task").header("traceparent", &value);
    let (answer, received) = forwarded(&scene, &request);
    assert_eq!(received.header("traceparent"), Some(value.as_str()));
    assert_eq!(hex(&spans_of(&collector, &answer).0.trace_id), TRACE);
    let (_, received) = forwarded(&scene, &Request::post("/execution/x").bearer("task"));
    assert_eq!(received.header("traceparent"), None);
}

#[test]
fn a_span_says_what_the_conventions_for_http_ask_for() {
    let (scene, collector) = traced();
    let token = v2_app().token();
    let mut http2 = Http2::open(scene.airside.proxy);
    let mut verdicts = Verdicts::default();
    let variable =
        Request::new("PATCH", "/api/v2/variables/a%2Fb?x=1").bearer(&token).body("12345");
    for (answer, name, failed, expected) in [
        (
            http2.ask(&variable),
            "PATCH protected",
            false,
            &[
                ("http.request.method", "PATCH"),
                ("url.path", "/api/v2/variables/a%2Fb"),
                ("http.route", "protected"),
                ("http.response.status_code", "200"),
                ("client.address", "127.0.0.1"),
                ("network.protocol.version", "2"),
                ("http.request.body.size", "5"),
                ("error.type", ""),
            ][..],
        ),
        (
            scene.ask(&Request::get("/api/v2/dags")),
            "GET protected",
            false,
            &[("http.response.status_code", "401"), ("error.type", "credential_missing")],
        ),
        (
            scene.ask(&Request::get("/x/../y")),
            "GET none",
            false,
            &[("http.response.status_code", "400"), ("error.type", "path_ambiguous")],
        ),
        (
            scene.ask(&Request::get("/api/v2/broken").bearer(&token)),
            "GET protected",
            true,
            &[("http.response.status_code", "500"), ("error.type", "500")],
        ),
        (
            scene.ask(&Request::post("/api/v2/hangup").bearer(&token)),
            "POST protected",
            true,
            &[("http.response.status_code", "502"), ("error.type", "upstream_unavailable")],
        ),
        (
            scene.ask(&Request::new("INVENTED", "/api/v2/dags").bearer(&token)),
            "HTTP protected",
            false,
            &[("http.request.method", "_OTHER"), ("network.protocol.version", "1.1")],
        ),
    ] {
        let (ours, below) = spans_of(&collector, &answer);
        verdicts.check("name", ours.name == name, &ours);
        let status = ours.status.as_ref().map(Status::code);
        verdicts.check("status", (status == Some(StatusCode::Error)) == failed, &ours);
        for (key, value) in expected {
            verdicts.check(key, said(&ours, key) == *value, &ours);
        }
        let below = below.as_ref().map(|below| said(below, "error.type"));
        let expected = match answer.status {
            400 | 401 => None,
            200 => Some(String::new()),
            502 => Some("upstream_unavailable".into()),
            status => Some(status.to_string()),
        };
        verdicts.check("below", below == expected, &below);
    }
    let told = String::from_utf8_lossy(&collector.bytes()).into_owned();
    for word in [APP, "secret=1", "x=1", "INVENTED", "Op"] {
        verdicts.check(word, !told.contains(word), "told to the collector");
    }
}

#[test]
fn what_is_posted_is_otlp_in_protobuf() {
    let (scene, collector) = traced();
    spans_of(&collector, &scene.ask(&dags()));
    let head = collector.heads().remove(0);
    assert!(head.first.starts_with("POST /v1/traces HTTP/1.1"), "{}", head.first);
    assert_eq!(head.header("content-type"), Some("application/x-protobuf"));
    let resource = collector.requests()[0].resource_spans[0].resource.clone().unwrap();
    let names: Vec<_> = resource.attributes.iter().map(|attribute| &attribute.key).collect();
    assert_eq!(names, ["service.name", "service.version"]);
}

#[test]
fn a_client_that_leaves_is_a_span_too() {
    let collector = Collector::start();
    let upstream = Upstream::answering(|_| Answer::Silence);
    let endpoint = collector.endpoint();
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        config.set("/telemetry/otlp_endpoint", endpoint)
    });
    let mut leaving = Connection::open(scene.airside.proxy);
    leaving.send(&dags().bytes(scene.airside.proxy)).unwrap();
    eventually("it has come to Airflow", || (!scene.upstream.requests().is_empty()).then_some(()));
    drop(leaving);
    let both = eventually("its spans have come", || {
        let spans = collector.spans();
        (spans.len() == 2).then_some(spans)
    });
    for span in both {
        assert_eq!(said(&span, "error.type"), "abandoned", "{span:?}");
        assert_eq!(said(&span, "http.response.status_code"), "", "{span:?}");
    }
}

#[test]
fn what_waits_is_sent_before_the_end() {
    let (scene, collector) = traced();
    for _ in 0..20 {
        assert_eq!(scene.ask(&dags()).status, 200);
    }
    assert_eq!(scene.finish().code, Some(0));
    assert_eq!(collector.spans().len(), 40);
}

#[test]
fn a_collector_that_is_down_costs_requests_nothing_and_is_said_once() {
    let (scene, mut collector) = traced();
    spans_of(&collector, &scene.ask(&dags()));
    collector.stop();
    for _ in 0..50 {
        assert_eq!(scene.ask(&dags()).status, 200);
    }
    scene.airside.line_with(&["WARN", "the collector does not take traces", "/v1/traces"]);
    collector.restart();
    scene.airside.line_with(&["INFO", "the collector takes traces again"]);
    eventually("what waited has come", || (collector.spans().len() == 102).then_some(()));
    let count = |outcome: &str| {
        scene.airside.count(&format!("airside_trace_spans_total{{outcome=\"{outcome}\"}}"))
    };
    eventually("all are counted", || (count("exported") == 102).then_some(()));
    assert_eq!((count("failed"), count("dropped")), (0, 0));
    let log = scene.airside.log();
    assert_eq!(log.matches("does not take traces").count(), 1, "{log}");
    // What it refuses for good is not sent again.
    collector.answer(400);
    let before = collector.heads().len();
    assert_eq!(scene.ask(&dags()).status, 200);
    eventually("it is counted", || (count("failed") == 2).then_some(()));
    assert_eq!(collector.heads().len(), before + 1);
    scene.airside.line_with(&["WARN", "the collector does not take traces", "answered 400"]);
}

#[test]
fn a_collector_can_be_named_and_left_while_airside_runs() {
    let (first, second) = (Collector::start(), Collector::start());
    let scene = Scene::start();
    let named = |collector: &Collector| {
        let endpoint = collector.endpoint();
        scene.airside.changes(|config| config.set("/telemetry/otlp_endpoint", endpoint));
    };
    named(&first);
    spans_of(&first, &scene.ask(&dags()));
    scene.airside.changes(|config| config.set("/leeway", "10s"));
    spans_of(&first, &scene.ask(&dags()));
    let exported = "airside_trace_spans_total{outcome=\"exported\"}";
    eventually("counted on", || (scene.airside.count(exported) == 4).then_some(()));
    named(&second);
    spans_of(&second, &scene.ask(&dags()));
    scene.airside.changes(|config| config.without("/telemetry"));
    assert_eq!(scene.forwarded(&dags()).header("traceparent"), None);
    assert_eq!((first.spans().len(), second.spans().len()), (4, 2));
}

#[test]
fn a_collector_that_hangs_holds_up_neither_requests_nor_the_end() {
    const REQUESTS: usize = 10_000;
    let hanging = Listener::start(|mut stream| {
        let _gone = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let endpoint = format!("http://{}", hanging.address());
    let scene = Scene::with(|config| {
        config.set("/telemetry/otlp_endpoint", endpoint).set("/log/access", false)
    });
    let bytes = dags().bytes(scene.airside.proxy);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut kept = Connection::open(scene.airside.proxy);
                for _ in 0..REQUESTS / 8 {
                    kept.send(&bytes).unwrap();
                    assert_eq!(kept.response_to("GET").unwrap().status, 200);
                }
            });
        }
    });
    // More than there is room for, less than one batch that is on its way.
    let dropped = scene.airside.count("airside_trace_spans_total{outcome=\"dropped\"}");
    assert!((1000..2000).contains(&dropped), "{dropped}");
    let begun = Instant::now();
    assert_eq!(scene.finish().code, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
