//! One line per request, in text or JSON, and never a byte of a token.

use serde_json::Value;

use crate::support::airflow;
use crate::support::entra::{APP, id_token, now, v2_app, v2_user};
use crate::support::expect::Verdicts;
use crate::support::http::{Connection, Request};
use crate::support::keys::{SigningKey, parts, unsigned};
use crate::support::scene::Scene;

#[test]
fn each_request_leaves_one_line() {
    for format in ["text", "json"] {
        let scene = Scene::with(|config| config.set("/log/format", format));
        let mut expected = Vec::new();
        for (request, status, words) in [
            (
                Request::get("/api/v2/dags?secret=in-the-query").bearer(&v2_app().token()),
                200,
                &["GET", "/api/v2/dags", "entra", APP, "Op"][..],
            ),
            (Request::get("/api/v2/version"), 200, &["GET", "/api/v2/version"]),
            (Request::get("/api/v2/dags"), 401, &["credential_missing"]),
            (
                Request::new("DELETE", "/api/v2/dags/d").bearer(&v2_app().roles(&[]).token()),
                403,
                &["DELETE", "/api/v2/dags/d", "role_missing"],
            ),
            (Request::get("/x/../y"), 400, &["path_ambiguous"]),
            (Request::get("/airside/x"), 404, &["not_found"]),
            (Request::post("/execution/x").bearer("task"), 200, &["POST", "/execution/x"]),
        ] {
            let answer = scene.ask(&request);
            assert_eq!(answer.status, status);
            expected.push((answer.header("x-request-id").unwrap().to_owned(), status, words));
        }
        let ended = scene.finish();
        let mut verdicts = Verdicts::default();
        for (id, status, words) in expected {
            let log = ended.log();
            let lines: Vec<_> = log.lines().filter(|line| line.contains(&id)).collect();
            verdicts.check(&format!("{format}: one line"), lines.len() == 1, &lines);
            let Some(line) = lines.first() else { continue };
            let status = status.to_string();
            for word in words.iter().copied().chain([status.as_str(), "127.0.0.1"]) {
                verdicts.check(&format!("{format}: {word}"), line.contains(word), line);
            }
            verdicts.check("no query", !line.contains("in-the-query"), line);
        }
    }
}

#[test]
fn in_json_every_line_is_an_object() {
    let scene = Scene::with(|config| config.set("/log/format", "json").set("/log/level", "debug"));
    scene.present(&v2_app().token());
    scene.present("not-a-token");
    let ended = scene.finish();
    for line in ended.stdout.lines().chain(ended.stderr.lines()) {
        let object = serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object());
        assert!(object, "{line}");
    }
    let said = |listener: &str| {
        ended.stdout.lines().any(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["message"] == "listening" && line["listener"] == listener
        })
    };
    assert!(said("proxy") && said("admin"), "{}", ended.stdout);
}

#[test]
fn what_counts_is_printed_at_every_level() {
    for level in ["error", "warn", "info", "debug", "trace"] {
        let scene = Scene::with(|config| config.set("/log/level", level));
        let id = scene.present(&v2_app().token()).header("x-request-id").unwrap().to_owned();
        let ended = scene.finish();
        assert!(ended.log().contains(&id), "no access line at {level}:\n{}", ended.log());
    }
}

#[test]
fn access_lines_can_be_turned_off() {
    let scene = Scene::with(|config| config.set("/log/access", false));
    let id = scene.present(&v2_app().token()).header("x-request-id").unwrap().to_owned();
    let ended = scene.finish();
    assert!(!ended.log().contains(&id), "{}", ended.log());
}

#[test]
fn no_byte_of_a_token_is_ever_printed() {
    let tokens = [
        v2_app().token(),
        v2_user().token(),
        v2_app().with("exp", now() - 3600).token(),
        v2_app().roles(&[]).token(),
        v2_app().with("aud", "other").token(),
        v2_app().with("iss", "https://other.example").token(),
        v2_user().with("oid", "two words").token(),
        id_token().token(),
        SigningKey::stranger().token(v2_app().value()),
        SigningKey::generate("unknown").token(v2_app().value()),
        unsigned(&SigningKey::shared().header(), v2_app().value()),
        airflow::token(),
        airflow::sign(&airflow::claims().with("scope", "execution")),
    ];
    for format in ["text", "json"] {
        let scene =
            Scene::with(|config| config.set("/log/level", "trace").set("/log/format", format));
        let mut answers = String::new();
        for token in &tokens {
            let bearer = format!("Bearer {token}");
            for request in [
                Request::get("/api/v2/dags").bearer(token),
                Request::get(&format!("/api/v2/dags?token={token}")),
                Request::get(&format!("/?next=%2F%3Ftoken%3D{token}")),
                Request::get("/api/v2/dags").cookie(&format!("_token={token}")),
                Request::get("/api/v2/version").bearer(token),
                Request::get("/execution/x").bearer(token),
                Request::get("/api/v2/dags").bearer(&format!("{token}x")),
                Request::get("/api/v2/dags").bearer(&format!("{token} {token}")),
                Request::get("/api/v2/dags").bearer(token).bearer(token),
                Request::get("/api/v2/dags").header("Authorization", &format!("Basic {token}")),
                Request::get("/api/v2/dags").header("Authorization", &format!("Token {token}")),
                Request::get("/api/v2/dags").header("Authorization", token),
                Request::get("/api/v2/dags").header("Proxy-Authorization", &bearer),
                Request::get("/api/v2/dags").header("X-Airside-Assertion", token),
                Request::get("/api/v2/dags").header("Referer", &format!("http://a/?token={token}")),
            ] {
                let answer = scene.ask(&request);
                answers += &String::from_utf8_lossy(&answer.head.raw);
                if answer.status != 200 {
                    answers += &answer.text();
                }
            }
            // Not even when the head cannot be read at all.
            let mut connection = Connection::open(scene.airside.proxy);
            let broken = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization : {bearer}\r\n\r\n");
            connection.send(broken.as_bytes()).unwrap();
            let _any = connection.response_to("GET");
        }
        let minted: Vec<String> = scene
            .upstream
            .take()
            .iter()
            .filter(|request| request.header("x-airside-issuer").is_some())
            .map(|request| request.bearer().to_owned())
            .collect();
        let metrics = scene.airside.ask_admin("/metrics").text();
        let printed = scene.finish().log();
        let mut verdicts = Verdicts::default();
        for token in tokens.iter().chain(&minted) {
            let [_, payload, signature] = parts(token);
            for part in [payload, signature].into_iter().filter(|part| part.len() > 32) {
                // A part of a part would be as bad.
                for piece in [&part[..24], &part[part.len() - 24..]] {
                    verdicts.check(
                        "in the log",
                        !printed.contains(piece),
                        line_of(&printed, piece),
                    );
                    verdicts.check("in the metrics", !metrics.contains(piece), piece);
                    verdicts.check(
                        "in an answer",
                        !answers.contains(piece),
                        line_of(&answers, piece),
                    );
                }
            }
        }
        let secret = crate::support::config::SECRET;
        verdicts.check("the secret", !printed.contains(&secret[..20]), line_of(&printed, secret));
    }
}

#[test]
fn a_caller_cannot_write_lines_of_its_own() {
    for format in ["text", "json"] {
        let scene =
            Scene::with(|config| config.set("/log/level", "debug").set("/log/format", format));
        let injected = "x\r\ninjected line\u{1b}[31m";
        scene.present(&v2_user().with("oid", injected).token());
        scene.present(&v2_app().with("aud", injected).token());
        scene.present(&v2_app().with("iss", injected).token());
        scene.present(&v2_app().roles(&[injected]).token());
        let mut header = SigningKey::shared().header();
        header["kid"] = injected.into();
        scene.present(&SigningKey::shared().sign(&header, v2_app().value()));
        scene.ask(&Request::get("/api/v2/%0d%0ainjected%20line%1b"));
        scene.ask(&Request::get("/dags/%0d%0ainjected%20line%1b"));
        let ended = scene.finish();
        for line in ended.log().lines() {
            assert!(!line.starts_with("injected"), "{line}");
            assert!(!line.contains('\u{1b}'), "{line:?}");
        }
    }
}

/// The line in which the piece stands, for the report, which need not repeat all of it.
fn line_of(text: &str, piece: &str) -> String {
    let line = text.lines().find(|line| line.contains(piece));
    line.unwrap_or_default().chars().take(350).collect()
}
