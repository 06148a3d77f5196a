//! What the module needs to start with, and says when it does not have it.

use std::process::Output;

use serde_json::{Value, json};

use super::{key, module_folder};
use crate::programs::{beside_the_tests, command, program, said};
use crate::stock::is_built;
use crate::support::expect::Verdicts;

/// Runs Python of that server with the module on its path.
fn python(server: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    is_built(server).unwrap();
    let home = tempfile::tempdir().unwrap();
    let database = format!("sqlite:///{}/airflow.db", home.path().display());
    command(&program(&format!("servers/{server}"), "python"), home.path())
        .env("PYTHONPATH", module_folder())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", database)
        .envs(environment.iter().copied())
        .args(arguments)
        .output()
        .unwrap()
}

/// What Python said before it failed.
fn failed(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    said
}

/// What the API server does at its start.
const SERVE: &str = "from airflow.api_fastapi.app import create_app; create_app(apps='core')";
const MANAGER: (&str, &str) =
    ("AIRFLOW__CORE__AUTH_MANAGER", "airside_auth_manager.AirsideAuthManager");

#[test]
fn without_fab_there_is_still_the_other_auth_manager() {
    let import = |class: &str| {
        python("3.3.2", &["-c", &format!("from airside_auth_manager import {class}")], &[])
    };
    said(&import("AirsideAuthManager"));
    let said = failed(&import("AirsideFabAuthManager"));
    assert!(said.contains("needs apache-airflow-providers-fab"), "{said}");
    let said = failed(&import("AirsideAuthMangler"));
    assert!(said.contains("cannot import name 'AirsideAuthMangler'"), "{said}");
}

#[test]
fn an_airflow_that_could_verify_nobody_does_not_start() {
    let said = failed(&python("3.3.2", &["-c", SERVE], &[MANAGER]));
    let last = said.lines().last().unwrap();
    assert!(last.contains("AIRSIDE_ASSERTION_PUBLIC_KEY is not set"), "{said}");
}

#[test]
fn what_is_wrong_with_the_settings_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = file("good.pem", &key().public_pem());
    let both = file("both.pem", &format!("{}{}", key().public_pem(), key().private_pem()));
    let small = file("small.pem", RSA_1024);
    let nowhere = "/nowhere/there";
    let all_admins = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS";
    let passwords = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE";
    let variable = "AIRSIDE_ASSERTION_PUBLIC_KEY";
    let cases = [
        ("all as it should be", json!({variable: good}), None),
        ("an address", json!({variable: "http://127.0.0.1:1/jwks.json"}), None),
        ("no key", json!({}), Some("AIRSIDE_ASSERTION_PUBLIC_KEY is not set")),
        ("no file", json!({variable: nowhere}), Some(nowhere)),
        ("no PEM", json!({variable: file("text", "text")}), Some("one or more public keys")),
        ("a private key too", json!({variable: both}), Some("one or more public keys")),
        ("a short key", json!({variable: small}), Some("RSA of 2048 bits or more")),
        (
            "everybody is Admin",
            json!({variable: good, all_admins: "True"}),
            Some("does not start with it"),
        ),
        (
            "no passwords",
            json!({variable: good, passwords: nowhere}),
            Some("/nowhere/there must exist"),
        ),
    ];
    let environments: Value = cases.iter().map(|(_, environment, _)| environment.clone()).collect();
    let starts = beside_the_tests("starts.py").display().to_string();
    let output = said(&python("3.3.2", &[&starts, &environments.to_string()], &[]));
    let found: Vec<Option<String>> = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    let mut verdicts = Verdicts::default();
    for ((label, _, words), why) in cases.iter().zip(&found) {
        let as_said = match (words, why) {
            (None, None) => true,
            (Some(words), Some(why)) => why.contains(words),
            _ => false,
        };
        verdicts.check(label, as_said, why);
    }
    assert_eq!(found.len(), cases.len());
}

#[test]
fn when_airside_does_not_answer_its_keys_serve_on_for_a_day_and_then_nobody_is_believed() {
    let script = beside_the_tests("key_address.py").display().to_string();
    let nobody = "http://127.0.0.1:1/jwks.json";
    let output = said(&python("3.3.2", &[&script, nobody, &key().public_pem()], &[]));
    let found: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    assert_eq!(found, json!({"without keys": 503, "kept": 1, "a day later": 0}));
}

#[cfg(feature = "airflow-releases")]
#[test]
fn an_airflow_before_3_2_is_told_so() {
    for code in ["import airside_auth_manager", SERVE] {
        let said = failed(&python("3.1.8", &["-c", code], &[MANAGER]));
        let expected = "airside_auth_manager needs Airflow 3.2 or later, and this is 3.1.8";
        assert!(said.lines().last().unwrap().contains(expected), "{said}");
    }
}

/// Made for this test and thrown away.
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----\n\
    MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC+cyN4rdTxyvxN1OjKrHFUj0op\n\
    Y6ZACr702uPU598BBazwE4ea2noM+37SNsX+nlEa31RaYxaoloOzyklgnAarMcXg\n\
    r2o2mCc4okfK/B45h2OnRXMEhUsMVAayWFa8CwZh/kMeJYTrGh4omjfRIu7RQUvq\n\
    EJBSrqOGrtZAs1hTQQIDAQAB\n\
    -----END PUBLIC KEY-----\n";
