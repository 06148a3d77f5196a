//! `check`: all that is wrong at once, all that is risky, and what those outside say to it.

mod online;
mod wrong;

use serde_json::json;

use crate::support::airside::Airside;
use crate::support::config::{Config, SECRET};
use crate::support::expect::Verdicts;
use crate::support::http::Request;

/// A configuration without a problem or a risk, whose issuer and upstream are never asked.
fn clean() -> Config {
    Config::new("http://127.0.0.1:1", "http://127.0.0.1:1").set("/access/password_login", "closed")
}

#[test]
fn a_clean_configuration_has_neither_problem_nor_warning() {
    let config = clean();
    let ended = Airside::checks(&config, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    assert!(ended.stdout.ends_with("no problems, no warnings\n"), "{}", ended.stdout);
    let checked = ended.stdout.lines().find(|line| line.starts_with("checked: ")).unwrap();
    for word in ["flags", "environment", "airside.yaml", "airflow.secret"] {
        assert!(checked.contains(word), "{checked}");
    }
}

#[test]
fn a_warning_is_no_problem_and_says_place_reason_and_way_out() {
    let config = clean()
        .set("/access/password_login", "open")
        .set("/admin/listen", "0.0.0.0:0")
        .set("/handoff/secret_file", clean_secret("changeme"));
    let ended = Airside::checks(&config, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    assert!(ended.stdout.ends_with("no problems, 5 warnings\n"), "{}", ended.stdout);
    let mut verdicts = Verdicts::default();
    for key in ["access.password_login", "admin.listen", "handoff.secret_file"] {
        let blocks = ended.stdout.split("\n\n").filter(|block| block.starts_with("warning: "));
        let block = blocks.into_iter().find(|block| block.lines().next().unwrap().ends_with(key));
        let block = block.unwrap_or_default();
        for word in ["airside.yaml:", "found:", "why:", "hint:"] {
            verdicts.check(key, block.contains(word), (word, block));
        }
    }
    assert!(!ended.stdout.contains(&SECRET[..16]), "{}", ended.stdout);
}

/// A file outside of the configuration's folder, which lasts as long as the tests.
fn clean_secret(content: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file.keep().unwrap().1.display().to_string()
}

#[test]
fn serve_says_the_same_warnings_at_the_start_and_when_it_reads_again() {
    let airside = Airside::start(&clean().set("/log/format", "json"));
    assert!(!airside.log().contains("a risk of the configuration"), "{}", airside.log());
    airside.changes(|config| config.set("/access/password_login", "open"));
    let line = airside.line_with(&["a risk of the configuration"]);
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(told["level"], "WARN", "{line}");
    let text = told.to_string();
    for word in ["access.password_login", "past Entra", "airside.yaml:", "closed"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    let airside = Airside::start(&clean().set("/access/password_login", json!("open")));
    airside.line_with(&["a risk of the configuration", "access.password_login"]);
}

/// A variable holds it, and the key wants the name of a file.
#[test]
fn a_secret_in_place_of_its_files_name_is_not_printed() {
    let secret = "s3cret-that-is-no-file";
    let mut verdicts = Verdicts::default();
    for (key, pointer) in [
        ("handoff.secret_file", "/handoff/secret_file"),
        ("issuers[1].secret_file", "/issuers/1/secret_file"),
        ("issuers[0].keys_file", "/issuers/0/keys_file"),
        ("issuers[0].ca_file", "/issuers/0/ca_file"),
        ("tls.key_file", "/tls"),
        ("revocation.file", "/revocation/file"),
    ] {
        let text = json!("${MOUNTED}");
        let value =
            if pointer == "/tls" { json!({"cert_file": "/", "key_file": text}) } else { text };
        let config = clean().set(pointer, value).env("MOUNTED", secret);
        for (command, ended) in
            [("check", Airside::checks(&config, &[])), ("serve", Airside::fails(&config))]
        {
            verdicts.check(key, ended.code == Some(78), (command, ended.log()));
            let named = ended.log().contains(key) && ended.log().contains("${MOUNTED}");
            verdicts.check(key, named, (command, ended.log()));
            verdicts.check(key, !ended.log().contains("s3cret"), (command, ended.log()));
        }
    }
    let config = clean().env("AIRSIDE_AIRFLOW_JWT_SECRET_FILE", secret);
    let ended = Airside::checks(&config, &[]);
    assert!(ended.log().contains("${AIRSIDE_AIRFLOW_JWT_SECRET_FILE}: No such"), "{}", ended.log());
    assert!(!ended.log().contains("s3cret"), "{}", ended.log());
    let empty = clean_secret("");
    let ended = Airside::checks(&clean().env("AIRSIDE_AIRFLOW_JWT_SECRET_FILE", &empty), &[]);
    assert!(ended.log().contains(&format!("{empty} is empty")), "{}", ended.log());
}

#[test]
fn a_file_that_is_no_yaml_is_not_quoted() {
    let text = "upstream: {url: 'http://airside:s3cret@airflow'}\nissuers: [\nlisten: a\n";
    let config = clean();
    let file = config.file("broken.yaml", text).display().to_string();
    let ended = Airside::run(&["check", "-c", &file], &[]);
    assert_eq!(ended.code, Some(78), "{}", ended.log());
    assert!(ended.log().contains(&format!("{file}:2:10: ")), "{}", ended.log());
    assert!(!ended.log().contains("s3cret"), "{}", ended.log());
}

/// An API management has its key there, a blob store its signature.
#[test]
fn what_an_address_has_in_its_query_is_not_printed() {
    let config = Config::new("http://127.0.0.1:1", "http://127.0.0.1:1")
        .set("/issuers/0/keys_url", "http://127.0.0.1:1/keys?code=s3cret")
        .set("/telemetry", json!({"otlp_endpoint": "http://127.0.0.1:1/otlp?code=s3cret"}));
    let ended = Airside::checks(&config, &["--online"]);
    assert!(ended.log().contains("GET http://127.0.0.1:1/keys: "), "{}", ended.log());
    assert!(!ended.log().contains("s3cret"), "{}", ended.log());
    let config = config.set("/log/level", "debug");
    let airside = Airside::start_unready(&config);
    airside.line_with(&["keys not fetched", "http://127.0.0.1:1/keys"]);
    assert_eq!(airside.ask(&Request::get("/api/v2/dags")).status, 401);
    airside.line_with(&["collector does not take traces", "http://127.0.0.1:1/otlp"]);
    assert!(!airside.ask_admin("/status").text().contains("s3cret"));
    let ended = airside.finish();
    assert!(!ended.log().contains("s3cret"), "{}", ended.log());
    let plain = config.set("/issuers/0/keys_url", "http://idp.example/keys?code=s3cret");
    let ended = Airside::checks(&plain, &[]);
    assert!(ended.log().contains("http://idp.example/keys"), "{}", ended.log());
    assert!(!ended.log().contains("s3cret"), "{}", ended.log());
}

#[test]
fn what_is_wrong_is_told_although_nothing_outside_is_asked_then() {
    let ended = Airside::checks(&clean().set("/leeway", "1h"), &["--online"]);
    assert_eq!(ended.code, Some(78), "{}", ended.log());
    assert!(
        ended.stdout.contains("leeway") && ended.stdout.contains("not asked"),
        "{}",
        ended.log()
    );
}
