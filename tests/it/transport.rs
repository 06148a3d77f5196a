//! Ways to Airflow: TLS, with certificates on one side or both, and Unix sockets.

use std::net::SocketAddr;

use rcgen::date_time_ymd;
use serde_json::json;

use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::entra::v2_app;
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Request, Response};
use crate::support::issuer::Issuer;
use crate::support::terminator::{Handshake, Socket, Terminator};
use crate::support::tls::{Authority, Shown};
use crate::support::upstream::Upstream;

/// An airside whose way to Airflow is `upstream` in its configuration.
struct Way {
    airside: Airside,
    _issuer: Issuer,
}

impl Way {
    fn by(hook: impl FnOnce(Config) -> Config) -> Self {
        let issuer = Issuer::start();
        let config = hook(Config::new(&issuer.url(), "")).set("/threads", 1);
        Self { airside: Airside::start(&config), _issuer: issuer }
    }

    /// By TLS, trusting `authority`, and showing `identity`.
    fn by_tls(url: &str, authority: Option<&Authority>, identity: Option<&Shown>) -> Self {
        Self::by(|config| {
            let mut config = config.set("/upstream/url", url);
            if let Some(authority) = authority {
                let file = config.file("ca.pem", &authority.pem());
                config = config.set("/upstream/ca_file", file.to_str());
            }
            if let Some(identity) = identity {
                let certificate = config.file("client.pem", &identity.chain_pem());
                let key = config.file("client.key", &identity.key_pem());
                config = config
                    .set("/upstream/client_cert_file", certificate.to_str())
                    .set("/upstream/client_key_file", key.to_str());
            }
            config
        })
    }

    fn get(&self) -> Response {
        let request = Request::get("/api/v2/dags").host("airflow.example");
        self.airside.ask(&request.bearer(&v2_app().token()))
    }
}

#[test]
fn airflow_is_reached_by_tls() {
    let (upstream, authority) = (Upstream::start(), Authority::new());
    let shown = authority.issue(&["localhost"], |_| {});
    let front = Terminator::before(upstream.address(), &shown, None);
    let way = Way::by_tls(&format!("{}/below", front.url()), Some(&authority), None);
    for _ in 0..3 {
        assert_eq!(way.get().status, 200);
    }
    let body = vec![b'x'; 1 << 20];
    let request = Request::new("POST", "/api/v2/variables").body(body.clone());
    assert_eq!(way.airside.ask(&request.bearer(&v2_app().token())).status, 200);
    assert_eq!(upstream.last().body, body);
    assert_eq!(upstream.requests()[0].target(), "/below/api/v2/dags");
    assert_eq!(upstream.requests()[0].header("host"), Some("airflow.example"));
    // The server would have chosen HTTP/2, had it been offered.
    let expected = Handshake {
        name: Some("localhost".into()),
        protocol: Some("http/1.1".into()),
        client: false,
    };
    assert_eq!(front.handshakes(), [expected], "one connection for all of them");
}

#[test]
fn an_airflow_that_cannot_prove_who_it_is_gets_no_request() {
    let (upstream, authority, other) = (Upstream::start(), Authority::new(), Authority::new());
    let localhost = ["localhost"];
    let mut verdicts = Verdicts::default();
    for (label, shown, trusted, found) in [
        ("wrong name", authority.issue(&["airflow.example"], |_| {}), true, "not valid for name"),
        ("unknown", other.issue(&localhost, |_| {}), true, "UnknownIssuer"),
        ("not public", authority.issue(&localhost, |_| {}), false, "UnknownIssuer"),
        (
            "expired",
            authority.issue(&localhost, |params| params.not_after = date_time_ymd(2020, 1, 1)),
            true,
            "expired",
        ),
        (
            "not yet valid",
            authority.issue(&localhost, |params| params.not_before = date_time_ymd(2999, 1, 1)),
            true,
            "not valid yet",
        ),
    ] {
        let front = Terminator::before(upstream.address(), &shown, None);
        let way = Way::by_tls(&front.url(), trusted.then_some(&authority), None);
        let answer = way.get();
        verdicts.refused(label, &answer, 502, &["upstream_unavailable"]);
        verdicts.check(label, !answer.text().contains("certificate"), answer.text());
        way.airside.line_with(&["access", "upstream_unavailable", "certificate", found]);
    }
    let plain = format!("https://localhost:{}", upstream.address().port());
    let way = Way::by_tls(&plain, Some(&authority), None);
    verdicts.refused("plain", &way.get(), 502, &["upstream_unavailable"]);
    assert!(upstream.requests().is_empty());
}

#[test]
fn airside_shows_its_certificate_to_an_airflow_that_asks_for_one() {
    let (upstream, authority, other) = (Upstream::start(), Authority::new(), Authority::new());
    let shown = authority.issue(&["localhost"], |_| {});
    let front = Terminator::before(upstream.address(), &shown, Some(&authority));
    let ours = authority.issue(&["airside"], |_| {});
    let way = Way::by_tls(&front.url(), Some(&authority), Some(&ours));
    assert_eq!(way.get().status, 200);
    assert!(front.handshakes().iter().all(|handshake| handshake.client));

    let theirs = other.issue(&["airside"], |_| {});
    for identity in [None, Some(&theirs)] {
        let way = Way::by_tls(&front.url(), Some(&authority), identity);
        assert_refused(&way.get(), 502, "upstream_unavailable");
        way.airside.line_with(&["access", "upstream_unavailable", "alert"]);
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn airflow_may_listen_on_a_unix_socket() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("airflow.sock");
    let socket = Socket::at(&path, upstream.address());
    let url = format!("unix:{}", path.display());
    let way = Way::by(|config| config.set("/upstream/url", url.as_str()));
    for _ in 0..3 {
        assert_eq!(way.get().status, 200);
    }
    let received = upstream.last();
    assert_eq!(received.target(), "/api/v2/dags");
    assert_eq!(received.header("host"), Some("airflow.example"));
    let up = format!("airside_upstream_up{{address=\"{url}\"}} 1");
    assert!(way.airside.ask_admin("/metrics").text().contains(&up));

    drop(socket);
    assert_refused(&way.get(), 502, "upstream_unavailable");
    way.airside.line_with(&["access", "upstream_unavailable", &url]);
    std::fs::remove_file(&path).unwrap();
    assert_refused(&way.get(), 502, "upstream_unavailable");
    let _back = Socket::at(&path, upstream.address());
    assert_eq!(way.get().status, 200);
}

#[test]
fn a_way_that_cannot_work_is_a_wrong_configuration() {
    let authority = Authority::new();
    let (ours, other) = (authority.issue(&["airside"], |_| {}), authority.issue(&["x"], |_| {}));
    let sound = Config::new("http://127.0.0.1:1", "").set("/upstream/url", "https://airflow:8443");
    let file = |name: &str, content: &str| sound.file(name, content).display().to_string();
    let certificate = file("client.pem", &ours.chain_pem());
    let key = file("client.key", &ours.key_pem());
    let others = file("other.key", &other.key_pem());
    let rubbish = file("rubbish.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----");
    let empty = file("empty.pem", "");
    let upstream = |more: serde_json::Value| {
        let mut upstream = json!({"url": "https://airflow:8443"});
        let members = more.as_object().unwrap().clone();
        upstream.as_object_mut().unwrap().extend(members);
        sound.clone().set("/upstream", upstream)
    };
    let long = format!("unix:/{}", "x".repeat(200));
    let mut verdicts = Verdicts::default();
    for (label, config, words) in [
        ("no ca", upstream(json!({"ca_file": "/nowhere"})), &["upstream.ca_file", "/nowhere"][..]),
        ("rubbish", upstream(json!({"ca_file": rubbish})), &["upstream.ca_file", &rubbish]),
        ("empty", upstream(json!({"ca_file": empty})), &["upstream.ca_file", "no certificate"]),
        ("key alone", upstream(json!({"client_key_file": key})), &["upstream.client_cert_file"]),
        (
            "certificate alone",
            upstream(json!({"client_cert_file": certificate})),
            &["upstream.client_key_file"],
        ),
        (
            "another's key",
            upstream(json!({"client_cert_file": certificate, "client_key_file": others})),
            &["upstream.client_key_file", "the key of upstream.client_cert_file"],
        ),
        (
            "no key in it",
            upstream(json!({"client_cert_file": certificate, "client_key_file": certificate})),
            &["upstream.client_key_file", &certificate],
        ),
        (
            "plain",
            upstream(json!({"url": "http://airflow:80", "ca_file": certificate})),
            &["upstream.ca_file", "only an address with https"],
        ),
        (
            "some plain",
            sound.clone().set("/upstream", json!({"urls": ["https://a", "http://b"]})),
            &["upstream.urls[1]", "https for all of them, or for none"],
        ),
        ("relative", upstream(json!({"url": "unix:airflow.sock"})), &["upstream.url", "absolute"]),
        ("too long", upstream(json!({"url": long})), &["upstream.url", "at most 107 bytes"]),
        ("ftp", upstream(json!({"url": "ftp://airflow"})), &["upstream.url", "unix:/path.sock"]),
    ] {
        let ended = Airside::fails(&config);
        verdicts.check(label, ended.code == Some(78), &ended);
        for word in words {
            verdicts.check(label, ended.stderr.contains(word), &ended.stderr);
        }
    }
}

#[test]
fn several_airflows_may_be_reached_by_tls() {
    let authority = Authority::new();
    let shown = authority.issue(&["localhost"], |_| {});
    let upstreams = [Upstream::start(), Upstream::start()];
    let front = |address: SocketAddr| Terminator::before(address, &shown, None);
    let fronts = upstreams.each_ref().map(|upstream| front(upstream.address()));
    let urls = fronts.each_ref().map(Terminator::url);
    let way = Way::by(|config| {
        let ca = config.file("ca.pem", &authority.pem());
        config.set("/upstream", json!({"urls": urls, "ca_file": ca}))
    });
    for _ in 0..4 {
        assert_eq!(way.get().status, 200);
    }
    assert!(upstreams.iter().all(|upstream| upstream.requests().len() == 2));
}
