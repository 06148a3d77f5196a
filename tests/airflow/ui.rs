//! Airflow's interface in a real browser, through airside: `dev -- airflow standalone` and Chromium.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::dev::Dev;
use crate::programs::{beside_the_tests, built, command, said};
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
    let pictures = built().join("browser/pictures");
    fs::create_dir_all(&pictures).unwrap();
    let seen = browse(&dev, &password.expect("the password of Airflow's own admin"), &pictures);
    assert_eq!(seen["failures"], serde_json::json!([]), "pictures are in {}", pictures.display());
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

fn browse(dev: &Dev, password: &str, pictures: &Path) -> Value {
    let home = tempfile::tempdir().unwrap();
    let browser = built().join("browser");
    let output = command(&browser.join("node"), home.path())
        .arg(beside_the_tests("ui.mjs"))
        .args([&browser.join("npm"), Path::new(CHROMIUM)])
        .args([&dev.url(), "admin", password])
        .arg(pictures)
        .output()
        .unwrap();
    serde_json::from_str(said(&output).lines().last().expect("what it saw")).unwrap()
}
