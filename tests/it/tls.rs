//! TLS towards clients.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use serde_json::json;

use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::entra::v2_app;
use crate::support::http::Request;
use crate::support::http2::Http2;
use crate::support::issuer::Issuer;
use crate::support::scene::Scene;
use crate::support::tls::{Authority, Shown, converse};
use crate::support::upstream::Upstream;
use crate::support::wait::{DEADLINE, eventually};

fn showing(config: Config, shown: &Shown) -> Config {
    let certificate = config.file("tls.crt", &shown.chain_pem());
    let key = config.file("tls.key", &shown.key_pem());
    config.set("/tls", json!({"cert_file": certificate, "key_file": key}))
}

fn for_localhost(authority: &Authority) -> Shown {
    authority.issue(&["localhost"], |_| {})
}

/// An HTTP/1.1 request with a good token; the whole answer.
fn ask(address: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<String> {
    let token = v2_app().token();
    let request = Request::get("/api/v2/dags").bearer(&token).header("Connection", "close");
    converse(TcpStream::connect(address)?, Arc::clone(config), &request.bytes(address))
}

fn served(answer: &std::io::Result<String>) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

#[test]
fn both_versions_and_both_protocols_are_served() {
    let authority = Authority::new();
    let scene = Scene::with(|config| showing(config, &for_localhost(&authority)));
    for version in [&TLS12, &TLS13] {
        for alpn in [&[][..], &["http/1.1"]] {
            let answer = ask(scene.airside.proxy, &authority.client(None, alpn, &[version]));
            assert!(served(&answer), "{version:?} {alpn:?}: {answer:?}");
            assert_eq!(scene.upstream.last().header("x-forwarded-proto"), Some("https"));
        }
        let config = authority.client(None, &["h2", "http/1.1"], &[version]);
        let mut client = Http2::secure(scene.airside.proxy, config);
        let answer = client.ask(&Request::get("/api/v2/dags").bearer(&v2_app().token()));
        assert_eq!(answer.status, 200);
        assert_eq!(scene.upstream.last().header("x-forwarded-proto"), Some("https"));
    }
    // What is in none of ours is refused rather than guessed.
    assert!(ask(scene.airside.proxy, &authority.client(None, &["h3"], &[&TLS13])).is_err());
}

#[test]
fn a_client_must_show_a_certificate_where_an_authority_is_named() {
    let (authority, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let scene = Scene::with(|config| {
        let file = config.file("clients.pem", &clients.pem());
        showing(config, &for_localhost(&authority))
            .set("/tls/client_ca_file", file.display().to_string())
    });
    let known = clients.issue(&["worker"], |_| {});
    let expired = clients.issue(&["worker"], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let unknown = others.issue(&["worker"], |_| {});
    for version in [&TLS12, &TLS13] {
        for (shown, expected) in
            [(Some(&known), true), (None, false), (Some(&expired), false), (Some(&unknown), false)]
        {
            let answer = ask(scene.airside.proxy, &authority.client(shown, &[], &[version]));
            assert_eq!(served(&answer), expected, "{version:?}: {answer:?}");
        }
    }
    assert_eq!(scene.upstream.requests().len(), 2);
    scene.airside.wait_for_ended("tls_handshake", 6);
}

#[test]
fn http_spoken_to_tls_gets_a_plain_refusal() {
    let authority = Authority::new();
    let scene = Scene::with(|config| showing(config, &for_localhost(&authority)));
    let answer = Request::get("/api/v2/version").send(scene.airside.proxy);
    assert_eq!((answer.status, answer.text().as_str()), (400, "this port takes TLS only"));
    for nonsense in
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"\x16\x03\x01", b"\x16nonsense at length"]
    {
        let mut stream = TcpStream::connect(scene.airside.proxy).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(nonsense).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let ended = stream.read_to_end(&mut Vec::new());
        let left_open = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!left_open, "{}", nonsense.escape_ascii());
    }
    assert!(scene.upstream.requests().is_empty());
}

#[test]
fn workers_come_over_tls_too() {
    let authority = Authority::new();
    let mut scene = Scene::with(|config| {
        showing(config, &for_localhost(&authority)).set("/execution_listen", "127.0.0.1:0")
    });
    let workers = scene.airside.listener("execution");
    let config = authority.client(None, &[], &[&TLS13]);
    let request = Request::get("/execution/health").header("Connection", "close");
    let stream = TcpStream::connect(workers).unwrap();
    let answer = converse(stream, config, &request.bytes(workers)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(Request::get("/execution/health").send(workers).status, 400);
}

/// Puts the files where Kubernetes would: behind a link that is swapped.
fn swap(folder: &Path, name: &str, chain: &str, key: &str) {
    let version = folder.join(name);
    fs::create_dir(&version).unwrap();
    fs::write(version.join("tls.crt"), chain).unwrap();
    fs::write(version.join("tls.key"), key).unwrap();
    let next = folder.join("..data_tmp");
    symlink(&version, &next).unwrap();
    fs::rename(&next, folder.join("..data")).unwrap();
}

#[test]
fn a_renewed_certificate_is_shown_and_a_bad_one_is_not() {
    let (first, second) = (Authority::new(), Authority::new());
    let volume = tempfile::tempdir().unwrap();
    let folder = volume.path();
    let shown = for_localhost(&first);
    swap(folder, "1", &shown.chain_pem(), &shown.key_pem());
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
    }
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    let files = json!({"cert_file": certificate, "key_file": key});
    let scene = Scene::with(|config| config.set("/tls", files.clone()));
    let asked_by =
        |authority: &Authority| ask(scene.airside.proxy, &authority.client(None, &[], &[&TLS13]));
    assert!(served(&asked_by(&first)) && !served(&asked_by(&second)));

    let renewed = for_localhost(&second);
    swap(folder, "2", &renewed.chain_pem(), &shown.key_pem());
    scene.airside.line_with(&["tls.key_file", "the key of the first certificate"]);
    scene.airside.line_with(&["the last one stays"]);
    assert!(served(&asked_by(&first)), "the last one stays");

    swap(folder, "3", &renewed.chain_pem(), &renewed.key_pem());
    let swapped = Instant::now();
    eventually("the new one is shown", || served(&asked_by(&second)).then_some(()));
    // Five seconds are promised; a loaded machine may need some more to look.
    assert!(swapped.elapsed() < Duration::from_secs(10), "{:?}", swapped.elapsed());
    assert!(!served(&asked_by(&first)));

    fs::remove_file(folder.join("..data")).unwrap();
    eventually("it is said that the files are gone", || {
        (scene.airside.log().matches("the last one stays").count() >= 2).then_some(())
    });
    assert!(served(&asked_by(&second)));
}

#[test]
fn files_that_do_not_work_are_listed_with_the_other_problems() {
    let authority = Authority::new();
    let (shown, other) = (for_localhost(&authority), for_localhost(&authority));
    for (certificate, key, clients, places) in [
        ("", shown.key_pem(), None, &["tls.cert_file"][..]),
        ("nonsense", shown.key_pem(), None, &["tls.cert_file"]),
        (&shown.chain_pem(), String::new(), None, &["tls.key_file"]),
        (&shown.chain_pem(), other.key_pem(), None, &["tls.key_file"]),
        (&shown.chain_pem(), shown.key_pem(), Some(""), &["tls.client_ca_file"]),
        (
            &shown.key_pem(),
            shown.chain_pem(),
            Some("x"),
            &["tls.cert_file", "tls.key_file", "tls.client_ca_file"],
        ),
    ] {
        let config = Config::new("http://127.0.0.1:1", "http://127.0.0.1:1").set("/leeway", "1h");
        let mut tls = json!({
            "cert_file": config.file("tls.crt", certificate),
            "key_file": config.file("tls.key", &key),
        });
        if let Some(clients) = clients {
            tls["client_ca_file"] = json!(config.file("clients.pem", clients));
        }
        let ended = Airside::fails(&config.set("/tls", tls));
        assert_eq!(ended.code, Some(78), "{}", ended.log());
        for place in [places, &["leeway"]].concat() {
            assert!(ended.log().contains(place), "{place} in {}", ended.log());
        }
        assert!(!ended.log().contains("PRIVATE KEY"), "{}", ended.log());
    }
    let config = Config::new("http://127.0.0.1:1", "http://127.0.0.1:1");
    let missing = json!({"cert_file": "/nowhere/a", "key_file": "/nowhere/b"});
    let ended = Airside::fails(&config.set("/tls", missing));
    assert!(
        ended.log().contains("/nowhere/a") && ended.log().contains("/nowhere/b"),
        "{}",
        ended.log()
    );
}

#[test]
fn a_stranger_who_does_not_shake_hands_is_given_up() {
    let authority = Authority::new();
    let scene = Scene::of(Issuer::start(), Upstream::start(), |config| {
        showing(config, &for_localhost(&authority)).set("/limits/header_timeout", "500ms")
    });
    for start in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut stream = TcpStream::connect(scene.airside.proxy).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(start).unwrap();
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(ended.is_ok(), "{}: {ended:?}", start.escape_ascii());
    }
    scene.airside.wait_for_ended("late_head", 3);
}
