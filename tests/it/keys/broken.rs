//! Answers that bring no keys: they take none away either, whatever they are made of.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rcgen::{
    BasicConstraints, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, NameConstraints, date_time_ymd,
};
use rustix::net::sockopt::set_socket_linger;
use serde_json::json;

use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::entra::v2_app;
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::Request;
use crate::support::issuer::Issuer;
use crate::support::keys::SigningKey;
use crate::support::listener::Listener;
use crate::support::oidc;
use crate::support::scene::Scene;
use crate::support::tls::{Authority, Front};
use crate::support::upstream::Upstream;

#[test]
fn a_failed_fetch_takes_no_key_away() {
    let mut verdicts = Verdicts::default();
    let failures: &[(&str, Change)] = &[
        ("500", |issuer| issuer.fail()),
        ("500 with keys", |issuer| issuer.answer(answer("500 Oops", "", &other_keys()))),
        ("203 with keys", |issuer| issuer.answer(answer("203 Changed", "", &other_keys()))),
        ("204", |issuer| issuer.answer("HTTP/1.1 204 No Content\r\n\r\n")),
        ("redirect", |issuer| {
            let here = format!("Location: {}/tenant/keys\r\n", issuer.url());
            issuer.answer(answer("302 Found", &here, &other_keys()));
        }),
        ("down", Issuer::stop),
        ("hangs up", |issuer| issuer.script(|_| {})),
        ("no HTTP", |issuer| issuer.answer("SSH-2.0-OpenSSH_9.6\r\n\r\n")),
        ("a head without end", |issuer| {
            issuer.script(|stream| endless(stream, "HTTP/1.1 200 OK\r\n", b"X-Filler: filler\r\n"));
        }),
        ("no JSON", |issuer| issuer.document("<html>sign in</html>")),
        ("empty", |issuer| issuer.document("")),
        ("no keys member", |issuer| {
            issuer.document(r#"{"error":"invalid_tenant"}"#);
        }),
        ("keys of a wrong type", |issuer| {
            issuer.document(r#"{"keys":{}}"#);
        }),
        ("another set cut short", |issuer| {
            let whole = answer("200 OK", "", &other_keys());
            issuer.answer(&whole[..whole.len() - 1]);
        }),
        ("reset in the middle", |issuer| {
            issuer.script(|stream| {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"keys\":[";
                let _gone = stream.write_all(head.as_bytes());
                set_socket_linger(&*stream, Some(Duration::ZERO)).unwrap();
            });
        }),
        ("a drop at a time", |issuer| {
            issuer.script(|stream| {
                let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n");
                while stream.write_all(b" ").is_ok() {
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }),
        ("silent in the middle", |issuer| {
            issuer.script(|stream| {
                let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{");
                let _until_it_gives_up = std::io::Read::read(stream, &mut [0]);
            });
        }),
        ("too long", |issuer| issuer.document(too_long())),
        ("without end", |issuer| {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            issuer.script(move |stream| endless(stream, head, b"4\r\n    \r\n"));
        }),
        ("100 MB", |issuer| {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
            issuer.script(move |stream| endless(stream, head, b" "));
        }),
        ("100 MB in 650 KB", |issuer| {
            let bomb = gzipped_blanks(100_000_000);
            issuer.answer(answer("200 OK", "Content-Encoding: gzip\r\n", &bomb));
        }),
        ("10,000 keys", |issuer| {
            issuer.publish(&vec![json!({"kty": "RSA", "kid": "k"}); 10_000]);
        }),
        ("201 keys", |issuer| issuer.publish(&vec![SigningKey::next().jwk(); 201])),
        ("nothing but bad keys", |issuer| {
            issuer.publish(&[SigningKey::next().jwk_with("use", "enc")]);
        }),
        ("nested beyond all measure", |issuer| {
            issuer.document("[".repeat(1_000_000));
        }),
    ];
    for (label, fail) in failures {
        let mut scene = Scene::with(|config| config.set("/keys/timeout", "1s"));
        let memory = scene.airside.memory();
        fail(&mut scene.issuer);
        let unknown = scene.present(&SigningKey::next().token(v2_app().value()));
        verdicts.refused(label, &unknown, 401, &["key_unknown"]);
        let known = scene.present(&v2_app().token());
        verdicts.check(label, known.status == 200, known.text());
        let grown = scene.airside.memory().saturating_sub(memory);
        verdicts.check(label, grown < 16 * 1024, format!("{grown} KiB more"));
        let log = scene.airside.line_with(&["WARN", "keys not fetched", "keys=Fresh"]);
        verdicts.check(label, log.contains("error="), log);
    }
}

/// CVE-2022-31105 was a client that did not ask; the bugs in name constraints are of 2026.
#[test]
fn an_issuer_that_cannot_prove_who_it_is_brings_no_keys_and_takes_none_away() {
    let authority = Authority::new();
    let localhost = &["localhost"][..];
    let good = authority.issue(localhost, |_| {});
    let is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let below = authority.below(|params| params.is_ca = is_ca);
    let no_authority = authority.below(|params| params.is_ca = IsCa::ExplicitNoCa);
    let of_another_domain = authority.below(|params| {
        params.is_ca = is_ca;
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("login.example".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    });
    let mut verdicts = Verdicts::default();
    for (label, shown, expected) in [
        ("good", good.clone(), true),
        ("good, by way of another", below.issue(localhost, |_| {}), true),
        (
            "expired",
            authority.issue(localhost, |params| {
                params.not_after = date_time_ymd(2020, 1, 1);
            }),
            false,
        ),
        (
            "not yet valid",
            authority.issue(localhost, |params| {
                params.not_before = date_time_ymd(4000, 1, 1);
            }),
            false,
        ),
        ("another name", authority.issue(&["login.example"], |_| {}), false),
        ("a longer name", authority.issue(&["localhost.example"], |_| {}), false),
        ("an address alone", authority.issue(&["127.0.0.1"], |_| {}), false),
        ("no name", authority.issue(&[], |_| {}), false),
        (
            "for clients",
            authority.issue(localhost, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
            false,
        ),
        ("an unknown authority", Authority::new().issue(localhost, |_| {}), false),
        ("its own authority", Authority::with(localhost, |_| {}).itself(), false),
        ("by one that is no authority", no_authority.issue(localhost, |_| {}), false),
        ("by one for other names", of_another_domain.issue(localhost, |_| {}), false),
    ] {
        let issuer = Issuer::start();
        let front = Front::before(issuer.address(), &good);
        let scene = Scene::of(issuer, Upstream::start(), |config| {
            let ca_file = config.file("ca.pem", &authority.pem()).display().to_string();
            config.set("/issuers/0/authority", front.url()).set("/issuers/0/ca_file", ca_file)
        });
        let answer = scene.present(&v2_app().token());
        verdicts.check(label, answer.status == 200, (answer.text(), scene.airside.log()));
        scene.issuer.publish(&[SigningKey::shared().jwk(), SigningKey::next().jwk()]);
        front.show(&shown);
        let new = scene.present(&SigningKey::next().token(v2_app().value()));
        if expected {
            verdicts.check(label, new.status == 200, (new.text(), scene.airside.log()));
        } else {
            verdicts.refused(label, &new, 401, &["key_unknown"]);
            scene.airside.line_with(&["WARN", "keys not fetched", "invalid peer certificate"]);
        }
        verdicts.check(label, front.connections() == 2, "it was asked");
        verdicts.check(label, scene.issuer.fetches() == 1 + usize::from(expected), "and not told");
        let known = scene.present(&v2_app().with("uti", 2).token());
        verdicts.check(label, known.status == 200, known.text());
    }
}

/// Keys that must not come into use.
fn other_keys() -> Vec<u8> {
    json!({"keys": [SigningKey::next().jwk()]}).to_string().into_bytes()
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// The head, and then the same again and again until the other side has had enough.
fn endless(stream: &mut TcpStream, head: &str, piece: &[u8]) {
    let many = piece.repeat(64 * 1024 / piece.len());
    let mut written = stream.write_all(head.as_bytes());
    for _ in 0..2000 {
        if written.is_err() {
            return;
        }
        written = stream.write_all(&many);
    }
}

/// So many blanks as a gzip file (RFC 1952): one deflate block of fixed codes (RFC 1951, section
/// 3.2.6), a blank and then 258 times the byte before, over and over.
fn gzipped_blanks(length: usize) -> Vec<u8> {
    let mut bits = vec![true, true, false];
    let literal = |byte: u8| (0..8).rev().map(move |bit| (byte + 0x30) >> bit & 1 == 1);
    bits.extend(literal(b' '));
    // Length 258 is code 285, of 8 bits; distance 1 is code 0, of 5.
    let again = [true, true, false, false, false, true, false, true];
    for _ in 0..length / 258 {
        bits.extend(again);
        bits.extend([false; 5]);
    }
    bits.extend([false; 7]);
    let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
    let deflated = bits.chunks(8).map(byte);
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    header.into_iter().chain(deflated).chain([0; 8]).collect()
}

#[test]
fn an_issuer_that_answers_nonsense_at_the_start_is_no_better() {
    let mut verdicts = Verdicts::default();
    let answers: [(&str, Change); 6] = [
        ("500", |issuer| issuer.fail()),
        ("HTML", |issuer| issuer.document("<html></html>")),
        ("no key", |issuer| issuer.publish(&[])),
        ("no usable key", |issuer| {
            issuer.publish(&[json!({"kty": "oct", "kid": "first-key", "k": "c2VjcmV0"})]);
        }),
        ("more than 1 MiB", |issuer| issuer.document(too_long())),
        ("a list", |issuer| {
            issuer.document(json!([SigningKey::shared().jwk()]).to_string());
        }),
    ];
    for (label, answer) in answers {
        let mut issuer = Issuer::start();
        answer(&mut issuer);
        let scene = Scene::of(issuer, Upstream::start(), |config| config);
        let refused = scene.present(&v2_app().token());
        verdicts.refused(label, &refused, 503, &["keys_unavailable"]);
    }
}

#[test]
fn an_issuer_that_never_answers_is_given_up() {
    let issuer = Issuer::start();
    issuer.hang();
    let upstream = Upstream::start();
    let config = Config::new(&issuer.url(), &upstream.url()).set("/keys/timeout", "1s");
    let airside = Airside::start_unready(&config);
    let answer = airside.ask(&Request::get("/api/v2/dags").bearer(&v2_app().token()));
    assert_refused(&answer, 503, "keys_unavailable");
    assert_eq!(airside.ask_admin("/livez").status, 200);
    airside.wait_until_ready();
}

#[test]
fn a_redirect_of_keys_or_metadata_is_not_followed() {
    let elsewhere = Listener::start(drop);
    let redirect = format!("Location: http://{}/keys\r\n", elsewhere.address());
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let issuer = Issuer::start();
        issuer.answer(answer(status, &redirect, b""));
        let entry = oidc::entry(&issuer);
        let scene = Scene::of(issuer, Upstream::start(), |config| config.set("/issuers/1", entry));
        assert_refused(&scene.present(&v2_app().token()), 503, "keys_unavailable");
        let open = oidc::claims(&scene.issuer).token();
        assert_refused(&scene.present(&open), 503, "keys_unavailable");
        assert!(scene.issuer.fetches() >= 2, "keys and metadata were asked for");
    }
    assert_eq!(elsewhere.accepted(), 0);
}

type Change = fn(&mut Issuer);

/// A key set of more than 1 MiB that would be good otherwise.
fn too_long() -> String {
    let filler = " ".repeat(1024 * 1024 + 1);
    json!({"keys": [SigningKey::shared().jwk()]}).to_string() + &filler
}
