//! `check`: all that is wrong at once, all that is risky, and what those outside say to it.

mod online;
mod wrong;

use serde_json::json;

use crate::support::airside::Airside;
use crate::support::config::{Config, SECRET};
use crate::support::expect::Verdicts;

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
