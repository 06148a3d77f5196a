//! Airflow's interface in a real browser, through airside: Chromium before
//! `dev -- airflow standalone`, before Airflow with FAB, and over TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::dev::Dev;
use crate::fab;
use crate::flight::Flight;
use crate::programs::{beside_the_tests, built, command, said};
use crate::stock::{Recipe, password};
use crate::support::tls::Authority;
use crate::support::wait::within;

/// Debian's, which `make test-packages` installs.
const CHROMIUM: &str = "/usr/bin/chromium";

#[test]
fn a_person_logs_in_opens_a_dag_triggers_it_reads_its_log_and_logs_out() {
    let dev = Dev::start();
    let passwords = dev.home().join("simple_auth_manager_passwords.json.generated");
    let password = within(crate::support::wait::DEADLINE, || {
        let text = fs::read_to_string(&passwords).ok()?;
        let passwords: Value = serde_json::from_str(&text).ok()?;
        passwords["admin"].as_str().map(str::to_owned)
    });
    let pictures = pictures();
    let password = password.expect("the password of Airflow's own admin");
    let seen = browse("ui.mjs", &[&dev.url(), "admin", &password], &pictures);
    assert_eq!(seen["failures"], json!([]), "pictures are in {}", pictures.display());
    for (what, expected) in [
        ("asked_for_login_at", "/auth/login"),
        ("opened", "/dags/demo"),
        ("triggered_by", "admin"),
        ("logged_out_at", "/auth/login"),
    ] {
        assert_eq!(seen[what], expected, "{what}: {seen}");
    }
    let log = seen["read"].as_str().unwrap_or_default();
    assert!(log.contains("this is the log of the demo"), "{seen}");
}

#[test]
fn over_tls_a_browser_speaks_http2_all_along() {
    let authority = Authority::new();
    let shown = authority.issue(&["localhost"], |_| {});
    let flight = Flight::with(&Recipe::usual(), |config| {
        let certificate = config.file("tls.crt", &shown.chain_pem());
        let key = config.file("tls.key", &shown.key_pem());
        config.set("/tls", json!({"cert_file": certificate.to_str(), "key_file": key.to_str()}))
    });
    let url = format!("https://localhost:{}", flight.airside.proxy.port());
    let pictures = pictures();
    let seen = browse("h2_ui.mjs", &[&url, "admin", &password("admin")], &pictures);
    assert_eq!(seen["failures"], json!([]), "pictures are in {}", pictures.display());
    let protocols = seen["protocols"].as_object().unwrap();
    assert_eq!(protocols.keys().collect::<Vec<_>>(), ["h2"], "{seen}");
    assert!(protocols["h2"].as_u64().unwrap() > 20, "{seen}");
}

/// What a script saw in Chromium.
fn browse(script: &str, arguments: &[&str], pictures: &Path) -> Value {
    let home = tempfile::tempdir().unwrap();
    let browser = built().join("browser");
    let output = command(&browser.join("node"), home.path())
        .arg(beside_the_tests(script))
        .args([&browser.join("npm"), Path::new(CHROMIUM)])
        .args(arguments)
        .arg(pictures)
        // Pictures that could not be taken, for whoever looks for them.
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    serde_json::from_str(said(&output).lines().last().expect("what it saw")).unwrap()
}

fn pictures() -> PathBuf {
    let pictures = built().join("browser/pictures");
    fs::create_dir_all(&pictures).unwrap();
    pictures
}

#[test]
fn with_fab_a_token_on_every_request_is_all_that_the_interface_needs() {
    let flight = fab::RELEASES[0].flight();
    let person = fab::oid(20);
    let token = fab::of(&person, &["Airflow.User"]);
    let pictures = pictures();
    let seen = browse("fab_ui.mjs", &[&flight.url(), &token], &pictures);
    assert_eq!(seen["failures"], json!([]), "pictures are in {}", pictures.display());
    for (what, expected) in [
        ("triggered_by", json!(person)),
        ("led_back_to", json!("/dags")),
        ("cookies", json!([])),
        // What docs/fab.md says that does not work.
        ("page_of_fab", json!("ERR_TOO_MANY_REDIRECTS")),
        // Alone, a person is told that a token is needed, once.
        ("alone", json!("credential_missing")),
    ] {
        assert_eq!(seen[what], expected, "{what}: {seen}");
    }
    assert_eq!(seen["me"]["username"], person);
    assert!(seen["navigations_alone"].as_u64().unwrap() <= 4, "{seen}");
}
