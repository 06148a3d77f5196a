//! Every file that ships below `config/` runs as it is.

use std::path::Path;

use crate::support::airside::Airside;
use crate::support::keys::CurveKey;

#[test]
fn every_shipped_configuration_runs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let secrets = tempfile::tempdir().unwrap();
    let secret = secrets.path().join("jwt-secret");
    std::fs::write(&secret, "x".repeat(64)).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let mut environment: Vec<(String, String)> = [
        ("AIRSIDE_LISTEN", "127.0.0.1:0".into()),
        ("AIRSIDE_ADMIN_LISTEN", "127.0.0.1:0".into()),
        ("AIRSIDE_AIRFLOW_JWT_SECRET_FILE", text(&secret)),
        // Nothing leaves this machine: keys are asked for at a port where nobody listens.
        ("HTTPS_PROXY", "http://127.0.0.1:1".into()),
    ]
    .map(|(name, value): (&str, String)| (name.to_owned(), value))
    .to_vec();

    every_one_runs(&folder, &environment);
    // Airflow 2 takes no tokens: airside has a key of its own there, and no secret of Airflow's.
    let key = secrets.path().join("assertion.pem");
    std::fs::write(&key, CurveKey::ed25519().private_pem()).unwrap();
    environment.retain(|(name, _)| name != "AIRSIDE_AIRFLOW_JWT_SECRET_FILE");
    environment.push(("ASSERTION_KEY_FILE".into(), text(&key)));
    every_one_runs(&folder.join("airflow2"), &environment);
}

fn every_one_runs(folder: &Path, environment: &[(String, String)]) {
    let mut ran = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let line = ["serve", "-c", path.to_str().unwrap()];
            let airside = Airside::launch(&line, environment);
            assert_eq!(airside.ask_admin("/livez").status, 200, "{}", path.display());
            ran += 1;
        }
    }
    assert!(ran > 0, "there is at least one example in {}", folder.display());
}
