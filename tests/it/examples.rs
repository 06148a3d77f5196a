//! Every configuration that ships below `config/` runs as it is.

use std::path::{Path, PathBuf};

use crate::support::airside::Airside;
use crate::support::keys::CurveKey;

#[test]
fn every_shipped_configuration_runs() {
    let secrets = tempfile::tempdir().unwrap();
    let secret = |name: &str, content: &str| {
        let path = secrets.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    secret("airflow/jwt-secret", &"x".repeat(64));
    secret("airside/assertion.pem", &CurveKey::ed25519().private_pem());
    let key = secrets.path().join("airside/assertion.pem").display().to_string();
    let environment: Vec<(String, String)> = [
        ("ASSERTION_KEY_FILE", key.as_str()),
        ("AIRSIDE_LISTEN", "127.0.0.1:0"),
        ("AIRSIDE_ADMIN_LISTEN", "127.0.0.1:0"),
        // Nothing leaves this machine: keys are asked for at a port where nobody listens.
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();

    let examples = examples();
    assert!(examples.len() > 5, "{examples:?}");
    for path in examples {
        let text = std::fs::read_to_string(&path).unwrap();
        let here = text.replace("/run/secrets", secrets.path().to_str().unwrap());
        let here = here.replace("0.0.0.0:8084", "127.0.0.1:0");
        let copy = secrets.path().join("airside.yaml");
        std::fs::write(&copy, here).unwrap();
        let copy = copy.to_str().unwrap();
        let checked = Airside::run(&["check", "-c", copy], &environment);
        assert_eq!(checked.code, Some(0), "{}: {}", path.display(), checked.log());
        let effective = Airside::run(&["config", "-c", copy], &environment);
        assert_eq!(effective.code, Some(0), "{}: {}", path.display(), effective.log());
        let again = secrets.path().join("effective.yaml");
        std::fs::write(&again, &effective.stdout).unwrap();
        let twice = Airside::run(&["config", "-c", again.to_str().unwrap()], &environment);
        assert_eq!(settings(&effective.stdout), settings(&twice.stdout), "{}", path.display());
        let airside = Airside::launch(&["serve", "-c", copy], &environment);
        assert_eq!(airside.ask_admin("/livez").status, 200, "{}", path.display());
    }
}

/// What `config` prints, without where it comes from.
fn settings(page: &str) -> Vec<&str> {
    page.lines().map(|line| line.rsplit_once("  # ").unwrap().0.trim_end()).collect()
}

#[test]
fn every_shipped_configuration_names_its_schema_for_editors() {
    for path in examples() {
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap_or_default();
        let schema = first.strip_prefix("# yaml-language-server: $schema=");
        let schema = schema.unwrap_or_else(|| panic!("{}: {first}", path.display()));
        let schema = path.parent().unwrap().join(schema);
        assert!(
            schema.ends_with("airside.schema.json") && schema.is_file(),
            "{}",
            schema.display()
        );
    }
}

/// Those of airside itself, and those beside what ships for Airflow's side.
fn examples() -> Vec<PathBuf> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut found = Vec::new();
    // The others in that folder are those of the proxies that ask.
    found.push(config.join("forward-auth/airside.yaml"));
    for folder in [config.clone(), config.join("airflow2"), config.join("airflow3")] {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        found.extend(entries.filter(|path| path.extension().is_some_and(|kind| kind == "yaml")));
    }
    found
}
