//! The admin listener: alive, ready, and counted.

use std::io;

use serde_json::{Value, json};

use crate::support::entra::{TENANT, v2_app};
use crate::support::expect::Verdicts;
use crate::support::http::{Connection, Request};
use crate::support::keys::SigningKey;
use crate::support::scene::Scene;
use crate::support::wait::DEADLINE;

#[test]
fn health_answers_on_the_admin_listener_alone() {
    let scene = Scene::start();
    assert_eq!(scene.airside.ask_admin("/livez").status, 200);
    let ready = scene.airside.ask_admin("/readyz");
    assert_eq!(ready.status, 200);
    let text = ready.json().to_string();
    assert!(text.contains("entra") && text.contains("fresh"), "{text}");
    for path in ["/nothing", "/livez/", "/livez/x", "/metrics/x", "/api/v2/version", "/airside/x"] {
        assert_eq!(scene.airside.ask_admin(path).status, 404, "{path}");
    }
    assert!(scene.upstream.requests().is_empty(), "nothing of it is forwarded");
}

#[test]
fn a_probe_gets_in_however_many_connections_are_held_open() {
    let scene = Scene::start();
    let mut held: Vec<_> = (0..200).map(|_| Connection::open(scene.airside.admin)).collect();
    // Half a request is no better than none.
    for connection in &mut held {
        let _closed_already = connection.send(b"GET /livez HTTP/1.1\r\n");
    }
    assert_eq!(scene.airside.ask_admin("/livez").status, 200);
    let oldest = held.first_mut().unwrap();
    oldest.patience(DEADLINE);
    let ended = oldest.rest();
    let open = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    assert!(!ended.as_ref().is_err_and(open), "the oldest has given way: {ended:?}");
    assert_eq!(scene.present(&v2_app().token()).status, 200);
}

#[test]
fn an_issuer_without_keys_shows_in_readiness() {
    let scene = Scene::with(|config| config.set("/issuers/0/authority", "http://127.0.0.1:1"));
    let ready = scene.airside.ask_admin("/readyz");
    assert_eq!(ready.status, 200, "workers and the interface go on");
    let text = ready.json().to_string();
    assert!(text.contains("entra") && text.contains("none"), "{text}");
}

#[test]
fn requests_are_counted_by_outcome_and_reason() {
    let scene = Scene::start();
    let before = metrics(&scene);
    assert_eq!(scene.present(&v2_app().token()).status, 200);
    for _ in 0..3 {
        assert_eq!(scene.present(&v2_app().roles(&[]).token()).status, 403);
    }
    let mut header = SigningKey::shared().header();
    header["kid"] = "canary-kid".into();
    let unknown = SigningKey::shared().sign(&header, v2_app().value());
    assert_eq!(scene.present(&unknown).status, 401);
    let after = metrics(&scene);
    let grown = |word: &str| total(&after, word) - total(&before, word);
    let mut verdicts = Verdicts::default();
    verdicts.check("role_missing", grown("role_missing") >= 3.0, &after);
    verdicts.check("key_unknown", grown("key_unknown") >= 1.0, &after);
    verdicts.check(
        "histograms",
        after.contains("_bucket{") && after.contains("le=\"+Inf\""),
        &after,
    );
    for secret in ["canary-kid", "/api/v2/dags", "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb"] {
        verdicts.check(secret, !after.contains(secret), "a label that a stranger chooses");
    }
}

#[test]
fn metrics_are_open_metrics() {
    let scene = Scene::start();
    assert_eq!(scene.present(&v2_app().token()).status, 200);
    let answer = scene.airside.ask_admin("/metrics");
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(kind.contains("version=1.0.0"), "{kind}");
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(series.starts_with("airside_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    let described = text.lines().filter(|line| line.starts_with("# HELP airside_")).count();
    let typed = text.lines().filter(|line| line.starts_with("# TYPE airside_")).count();
    assert!(described > 0 && described == typed, "{text}");
}

#[test]
fn a_flood_of_strange_input_makes_no_new_series() {
    let scene = Scene::start();
    let stranger = |number: usize| {
        let mut header = SigningKey::shared().header();
        header["kid"] = format!("kid-{number}").into();
        let claims = v2_app().with("sub", format!("sub-{number}"));
        let token = SigningKey::shared().sign(&header, claims.value());
        Request::new(&format!("METHOD{number}"), &format!("/api/v2/path-{number}"))
            .host(&format!("host-{number}"))
            .header("User-Agent", &format!("agent-{number}"))
            .header("X-Forwarded-For", &format!("192.0.2.{number}"))
            .header("X-Request-Id", &format!("id-{number}"))
            .bearer(&token)
    };
    scene.ask(&stranger(0));
    scene.ask(&Request::get("/api/v2/dags"));
    let before = metrics(&scene).lines().count();
    for number in 1..30 {
        scene.ask(&stranger(number));
    }
    assert_eq!(metrics(&scene).lines().count(), before);
}

#[test]
fn the_admin_listener_reveals_no_secret() {
    let scene = Scene::start();
    assert_eq!(scene.present(&v2_app().token()).status, 200);
    for path in ["/readyz", "/metrics", "/livez"] {
        let text = scene.airside.ask_admin(path).text();
        assert!(!text.contains("a secret of the tests"), "{text}");
    }
    let ready: Value = scene.airside.ask_admin("/readyz").json();
    assert!(ready.is_object(), "{ready}");
}

#[test]
fn an_issuer_of_several_tenants_is_one_series() {
    let other = "99998888-7777-6666-5555-444433332222";
    let scene = Scene::with(|config| config.set("/issuers/0/tenant", json!([TENANT, other])));
    let text = metrics(&scene);
    for name in
        ["airside_keys_usable{", "airside_keys_age_seconds{", "airside_keys_autonomy_seconds{"]
    {
        let series = |line: &&str| line.starts_with(name) && line.contains("\"entra\"");
        assert_eq!(text.lines().filter(series).count(), 1, "{name} in\n{text}");
    }
}

#[test]
fn key_sets_show_their_source_and_how_long_they_last() {
    let scene = Scene::start();
    let ready = scene.airside.ask_admin("/readyz").json();
    let (entra, airflow) = (&ready["issuers"]["entra"], &ready["issuers"]["airflow"]);
    assert_eq!(entra["source"], "network", "{ready}");
    let autonomy = entra["autonomy_seconds"].as_u64().unwrap();
    assert!((23 * 3600..=24 * 3600).contains(&autonomy), "{ready}");
    assert_eq!(airflow["source"], "given", "{ready}");
    assert!(airflow["autonomy_seconds"].is_null(), "{ready}");

    scene.issuer.fail();
    let unknown = SigningKey::next().token(v2_app().value());
    assert_eq!(scene.present(&unknown).status, 401);
    let text = metrics(&scene);
    for line in [
        r#"airside_keys_source{issuer="entra",source="network"} 1"#,
        r#"airside_keys_source{issuer="entra",source="disk"} 0"#,
        r#"airside_keys_source{issuer="airflow",source="given"} 1"#,
        r#"airside_keys_refreshes_total{issuer="entra",outcome="ok"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(total(&text, r#"issuer="entra",outcome="failed""#) >= 1.0, "{text}");
    assert!(total(&text, "airside_keys_autonomy_seconds{") > 23.0 * 3600.0, "{text}");
}

fn metrics(scene: &Scene) -> String {
    scene.airside.ask_admin("/metrics").text()
}

/// The sum of all counters whose line has the word in it.
fn total(metrics: &str, word: &str) -> f64 {
    let lines = metrics.lines().filter(|line| !line.starts_with('#') && line.contains(word));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}
