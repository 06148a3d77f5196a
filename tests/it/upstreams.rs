//! Several Airflows behind one airside: they share the load, and one that fails costs no request
//! that could be sent elsewhere.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::entra::v2_app;
use crate::support::expect::{Verdicts, refusal};
use crate::support::http::{Connection, Request, Response};
use crate::support::issuer::Issuer;
use crate::support::upstream::{Answer, Upstream};
use crate::support::wait::eventually;

/// An airside before several upstreams, with one core, so that what it learns is in one place.
struct Several {
    airside: Airside,
    upstreams: Vec<Upstream>,
    _issuer: Issuer,
}

impl Several {
    fn before(upstreams: Vec<Upstream>) -> Self {
        let issuer = Issuer::start();
        let urls: Vec<Value> = upstreams.iter().map(|upstream| upstream.url().into()).collect();
        let config = Config::new(&issuer.url(), "")
            .set("/upstream", json!({"urls": urls}))
            .set("/threads", 1);
        Self { airside: Airside::start(&config), upstreams, _issuer: issuer }
    }

    fn get(&self) -> Response {
        self.airside.ask(&Request::get("/api/v2/dags").bearer(&v2_app().token()))
    }

    fn post(&self) -> Response {
        self.airside.ask(&Request::post("/api/v2/variables").bearer(&v2_app().token()))
    }

    fn is_up(&self, upstream: usize) -> bool {
        let address = self.upstreams[upstream].address();
        let up = format!("airside_upstream_up{{address=\"{address}\"}} ");
        let metrics = self.airside.ask_admin("/metrics").text();
        metrics.lines().find_map(|line| line.strip_prefix(&up)).unwrap() == "1"
    }
}

#[test]
fn several_airflows_share_the_requests() {
    let several = Several::before(vec![Upstream::start(), Upstream::start(), Upstream::start()]);
    let mut connection = Connection::open(several.airside.proxy);
    let request = Request::get("/api/v2/dags").bearer(&v2_app().token());
    for _ in 0..12 {
        assert_eq!(connection.ask(&request).status, 200);
    }
    for upstream in &several.upstreams {
        assert_eq!(upstream.requests().len(), 4);
        assert_eq!(upstream.connections(), 1, "each keeps its connection");
    }
}

#[test]
fn an_airflow_that_is_down_costs_no_request_and_is_used_again_when_it_is_back() {
    let mut several = Several::before(vec![Upstream::start(), Upstream::start()]);
    for _ in 0..4 {
        assert_eq!(several.get().status, 200);
    }
    several.upstreams[0].stop();
    let address = several.upstreams[0].address().to_string();
    for _ in 0..10 {
        assert_eq!(several.get().status, 200);
    }
    // By now no core takes the end of a connection for an idle one: a POST is not sent twice.
    for _ in 0..10 {
        assert_eq!(several.post().status, 200);
    }
    assert!(!several.is_up(0) && several.is_up(1));
    several.airside.line_with(&["WARN", "an address of Airflow is out", &address]);

    several.upstreams[0].restart();
    several.upstreams[0].take();
    eventually("it is back", || {
        assert_eq!(several.get().status, 200);
        (!several.upstreams[0].take().is_empty()).then_some(())
    });
    several.airside.line_with(&["INFO", "an address of Airflow is back", &address]);
    assert!(several.is_up(0));
}

#[test]
fn without_any_airflow_each_request_still_tries_one() {
    let mut several = Several::before(vec![Upstream::start(), Upstream::start()]);
    for upstream in &mut several.upstreams {
        upstream.stop();
    }
    for _ in 0..5 {
        refusal(&several.get(), 502, &["upstream_unavailable"]).unwrap();
    }
    let first = several.upstreams[0].address().to_string();
    let second = several.upstreams[1].address().to_string();
    several.airside.line_with(&["access", "upstream_unavailable", "found", &first, &second]);
    // Both are out; the first request finds the one that is back, due or not, or its neighbour.
    several.upstreams[1].restart();
    assert_eq!(several.get().status, 200);
}

#[test]
fn what_may_have_been_carried_out_is_sent_once() {
    let hangs_up = || Upstream::answering(|_| Answer::Hangup);
    let several = Several::before(vec![hangs_up(), hangs_up()]);
    for _ in 0..5 {
        refusal(&several.post(), 502, &["upstream_unavailable"]).unwrap();
        // On a fresh connection a GET is not repeated either: it may be what Airflow cannot bear.
        refusal(&several.get(), 502, &["upstream_unavailable"]).unwrap();
    }
    let sent: usize = several.upstreams.iter().map(|upstream| upstream.requests().len()).sum();
    assert_eq!(sent, 10);
}

#[test]
fn a_request_is_not_repeated_when_its_answer_had_begun() {
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    let upstream = Upstream::scripted(|mut reader| {
        if reader.head().is_err() {
            return;
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        reader.stream.write_all(answer).unwrap();
        if reader.head().is_ok() {
            BEGUN.fetch_add(1, Ordering::SeqCst);
            let _gone = reader.stream.write_all(b"HTTP/1.1 2");
        }
    });
    let several = Several::before(vec![upstream]);
    assert_eq!(several.get().status, 200);
    refusal(&several.get(), 502, &["upstream_unavailable", "upstream_invalid"]).unwrap();
    assert_eq!(BEGUN.load(Ordering::SeqCst), 1);
    assert_eq!(several.upstreams[0].connections(), 1, "not tried on another");
}

#[test]
fn the_connections_to_each_airflow_are_counted() {
    let several = Several::before(vec![Upstream::start()]);
    several.get();
    let address = several.upstreams[0].address();
    let metrics = several.airside.ask_admin("/metrics").text();
    for (outcome, count) in [("ok", 1), ("failed", 0)] {
        let line = format!(
            "airside_upstream_connections_total{{address=\"{address}\",outcome=\"{outcome}\"}} {count}"
        );
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
}

#[test]
fn addresses_that_do_not_fit_together_are_refused() {
    let mut verdicts = Verdicts::default();
    for (label, upstream, words) in [
        ("both", json!({"url": "http://a:1", "urls": ["http://b:1"]}), &["url or urls"][..]),
        ("none", json!({}), &["upstream.url", "nothing"]),
        ("empty", json!({"urls": []}), &["upstream.urls", "an empty list"]),
        (
            "paths",
            json!({"urls": ["http://a:1/x", "http://b:1/y"]}),
            &["upstream.urls[1]", "the path \"/y\"", "\"/x\""],
        ),
        (
            "twice",
            json!({"urls": ["http://a:80", "http://b", "http://a"]}),
            &["upstream.urls[2]", "a:80 again"],
        ),
        ("no address", json!({"urls": ["http://a", "airflow"]}), &["upstream.urls[1]", "airflow"]),
        ("query", json!({"url": "http://a:1/?x=1"}), &["upstream.url", "without a query"]),
        ("fragment", json!({"url": "http://a:1/#x"}), &["upstream.url", "a fragment"]),
    ] {
        let config = Config::new("http://127.0.0.1:1", "").set("/upstream", upstream);
        let ended = Airside::fails(&config);
        verdicts.check(label, ended.code == Some(78), &ended);
        for word in words {
            verdicts.check(label, ended.stderr.contains(word), &ended.stderr);
        }
    }
}

#[test]
fn an_upstream_by_flag_is_the_only_one() {
    let (upstream, issuer) = (Upstream::start(), Issuer::start());
    let config = Config::new(&issuer.url(), "")
        .set("/upstream", json!({"urls": ["http://127.0.0.1:1", "http://127.0.0.1:2"]}))
        .args(&["--upstream", &upstream.url()]);
    let airside = Airside::start(&config);
    assert_eq!(airside.ask(&Request::get("/api/v2/version")).status, 200);
    assert_eq!(upstream.requests().len(), 1);
}
