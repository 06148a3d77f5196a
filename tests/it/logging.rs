//! One line per request, in text or JSON, and never a byte of a token.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::airflow;
use crate::support::entra::{APP, id_token, now, v2_app, v2_user};
use crate::support::expect::Verdicts;
use crate::support::http::{Connection, Request};
use crate::support::http2::Http2;
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
                Request::get(&format!("/api/v2/dags/{token}")),
                Request::get(&format!("/dags/a%3D{token}/b")),
                Request::get(&format!("/dags/{}", token.replace('.', "%2e"))),
                Request::new(token, "/api/v2/dags"),
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
        // Line ends of other scripts and of terminals, and what would be another field.
        for odd in ["\u{85}injected line", "\u{2028}injected line", "\u{9b}31minjected line"] {
            scene.present(&v2_user().with("oid", odd).token());
            scene.ask(&Request::get("/dags/x").header("User-Agent", odd));
            scene.ask(&Request::get("/dags/x").header("X-Forwarded-For", odd));
            scene.ask(&Request::get(&format!("/dags/{odd}").replace(' ', "")));
        }
        let forged = "x status=200 reason=none principal=admin";
        scene.present(&v2_user().with("aud", forged).token());
        scene.present(&v2_user().with("iss", forged).token());
        let ended = scene.finish();
        for line in ended.log().lines() {
            assert!(!line.starts_with("injected"), "{line}");
            assert!(!line.contains(|letter: char| letter.is_control()), "{line:?}");
            assert!(!line.contains('\u{2028}'), "{line:?}");
            // What a caller says stands in quotes, and is no field of the line.
            let unquoted: String = line.replace("\\\"", "").split('"').step_by(2).collect();
            assert!(!unquoted.contains("principal=admin"), "{line}");
        }
    }
}

/// Every way in which a token can come to us and be refused, or pass.
fn carrying(token: &str) -> Vec<Request> {
    let dags = || Request::get("/api/v2/dags");
    vec![
        dags().bearer(token),
        dags().bearer(&format!("{token}x")),
        dags().bearer(&format!("x{token}")),
        dags().bearer(&format!("{token} {token}")),
        dags().bearer(token).bearer(token),
        dags().bearer(&format!("{token}.{token}")),
        dags().header("Authorization", &format!("Basic {token}")),
        dags().header("Authorization", token),
        dags().cookie(&format!("_token={token}")),
        dags().cookie(&format!("theme={token}")),
        Request::post("/api/v2/dags")
            .cookie(&format!("_token={token}"))
            .header("Sec-Fetch-Site", "x"),
        Request::get(&format!("/api/v2/dags?token={token}")),
        Request::get(&format!("/?next=%2F%3Ftoken%3D{token}")),
        Request::get(&format!("/api/v2/dags/{token}/dagRuns")),
        Request::get(&format!("/api/v2/../{token}")),
        Request::new(token, "/api/v2/dags"),
        dags().header("Referer", &format!("http://a/?token={token}")),
        dags().header("X-Airside-Assertion", token),
        dags().header("X-Forwarded-For", token),
        dags().header("X-Request-Id", token),
        dags().header("traceparent", token),
        Request::get("/api/v2/version").bearer(token),
        Request::get("/api/v2/../x").bearer(token),
        Request::get("/airside/x").bearer(token),
        Request::get("/execution/x").bearer(token),
        Request::new("TRACE", "/").bearer(token),
        Request::post("/airside/token").body(format!("subject_token={token}&grant_type={token}")),
        Request::new("POST", "/api/v2/variables").body(token),
        dags().bearer(token).header("X-Filler", &"x".repeat(70_000)),
    ]
}

#[test]
fn three_tokens_are_told_to_nobody_at_any_level_by_either_protocol() {
    let canaries = [
        v2_user().with("canary", "CANARYgood").token(),
        v2_app().with("canary", "CANARYlate").with("exp", now() - 3600).token(),
        SigningKey::stranger().token(v2_app().with("canary", "CANARYfalse").value()),
    ];
    for level in ["error", "warn", "info", "debug", "trace"] {
        let scene = Scene::with(|config| {
            config
                .set("/log/level", level)
                .set("/exchange/enabled", true)
                .set("/access/execution_api", "verify")
        });
        let mut told = String::new();
        for token in &canaries {
            for request in carrying(token) {
                let mut http2 = Http2::open(scene.airside.proxy);
                for answer in
                    [request.try_send(scene.airside.proxy).ok(), http2.try_ask(&request).ok()]
                {
                    let Some(answer) = answer else { continue };
                    write!(told, "{:?} {}", answer.head.fields, answer.text()).unwrap();
                }
            }
            for broken in [
                format!("GET /?{token} HTTP/1.1\r\nHost: a\r\nAuthorization : {token}\r\n\r\n"),
                format!("GET / HTTP/1.1\r\nHost: {token}\r\nConnection: close\r\n\r\n"),
                format!("GET / HTTP/1.1\r\nHost: a\r\n{token}\r\n\r\n"),
            ] {
                let mut connection = Connection::open(scene.airside.proxy);
                connection.send(broken.as_bytes()).unwrap();
                told += &String::from_utf8_lossy(&connection.rest().unwrap_or_default());
            }
        }
        for path in ["/metrics", "/readyz", "/livez", "/jwks.json", "/status", "/"] {
            told += &scene.airside.ask_admin(path).text();
        }
        told += &scene.finish().log();
        let mut verdicts = Verdicts::default();
        for token in &canaries {
            let [_, payload, signature] = parts(token);
            for part in [payload, signature] {
                for piece in [&part[..24], &part[part.len() - 24..]] {
                    verdicts.check(level, !told.contains(piece), line_of(&told, piece));
                }
            }
        }
        // Nor is what is in it, beyond what a line needs.
        for word in ["CANARY", "alice@contoso", "Alice"] {
            verdicts.check(level, !told.contains(word), line_of(&told, word));
        }
    }
}

#[test]
fn a_refusal_says_nothing_of_who_was_asked_for() {
    let scene = Scene::start();
    // One of them is known here by then.
    assert_eq!(scene.present(&v2_user().token()).status, 200);
    let mut verdicts = Verdicts::default();
    for (label, forge) in [
        ("forged", (|claims| SigningKey::stranger().token(claims)) as fn(&Value) -> String),
        ("unsigned", |claims| unsigned(&SigningKey::shared().header(), claims)),
    ] {
        let told = |name: &str, role: &str| {
            let claims = v2_user().with("oid", name).roles(&[role]);
            let answer = scene.present(&forge(claims.value()));
            let mut body = answer.json();
            body["request_id"].take();
            let challenge = answer.header("www-authenticate").map(str::to_owned);
            (answer.status, challenge, body, answer.header("content-length").map(str::to_owned))
        };
        let known = told(crate::support::entra::USER, "Airflow.Admin");
        verdicts.check(label, known.0 == 401, &known);
        for (name, role) in [("nobody", "Airflow.Admin"), ("admin", "nothing"), ("", "")] {
            let unknown = told(name, role);
            verdicts.check(label, unknown == known, (unknown, &known));
        }
    }
}

/// The line in which the piece stands, for the report, which need not repeat all of it.
fn line_of(text: &str, piece: &str) -> String {
    let line = text.lines().find(|line| line.contains(piece));
    line.unwrap_or_default().chars().take(350).collect()
}
