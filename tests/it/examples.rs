//! Every configuration that ships below `config/` runs as it is.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

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

/// A host that no rule of the policy matches is not asked about, and hosts are compared exactly, port and all.
#[test]
fn istio_asks_about_every_host() {
    let policies = documents("istio.yaml", "AuthorizationPolicy");
    let [policy] = policies.as_slice() else { panic!("{policies:?}") };
    assert_eq!(policy["spec"]["action"], "CUSTOM");
    assert_eq!(policy["spec"]["rules"], json!([{}]));
}

#[test]
fn the_network_policies_name_who_may_come() {
    let policies = documents("networkpolicy.yaml", "NetworkPolicy");
    let mut ports = Vec::new();
    for policy in &policies {
        let spec = &policy["spec"];
        assert_eq!(spec["policyTypes"], json!(["Ingress"]));
        assert!(spec["podSelector"]["matchLabels"].is_object(), "{spec}");
        for rule in spec["ingress"].as_array().unwrap() {
            ports.extend(rule["ports"].as_array().unwrap().iter().map(|port| port["port"].clone()));
            let from = rule["from"].as_array().unwrap();
            assert!(!from.is_empty(), "everybody may: {rule}");
            for peer in from {
                let labels = peer["podSelector"]["matchLabels"].as_object();
                assert!(labels.is_some_and(|labels| !labels.is_empty()), "{peer}");
            }
        }
    }
    assert_eq!(ports, [8084, 8080]);
}

/// What is handed out at `forward_auth.listen` is in each file, and what it must not pass on.
#[test]
fn every_file_for_a_proxy_copies_what_airside_states() {
    for file in ["nginx.conf", "ingress-nginx.yaml", "traefik.yaml"] {
        let text = shipped(file);
        for name in ["Authorization", "Cookie", "X-Airside-User", "X-Airside-Roles"] {
            assert!(text.contains(name), "{file}: {name}");
        }
        for name in ["X-Airside-Issuer", "X-Airside-Assertion", "X-Remote-User", "Upgrade"] {
            assert!(text.contains(name), "{file}: {name}");
        }
    }
    let routes = documents("traefik.yaml", "IngressRoute");
    let order = json!([{"name": "airflow-clients"}, {"name": "airside"}]);
    assert_eq!(routes[0]["spec"]["routes"][0]["middlewares"], order, "removed before it asks");
    let cleaned = &documents("traefik.yaml", "Middleware")[0]["spec"]["headers"];
    assert_eq!(cleaned["customRequestHeaders"]["Upgrade"], "", "an empty one removes it");
    let question = &documents("ingress-nginx.yaml", "ConfigMap")[0];
    assert_eq!(question["data"]["Upgrade"], "$http_upgrade");
    let ingress = &documents("ingress-nginx.yaml", "Ingress")[0]["metadata"]["annotations"];
    let named = question["metadata"]["name"].as_str().unwrap();
    let asked = &ingress["nginx.ingress.kubernetes.io/auth-proxy-set-headers"];
    assert_eq!(*asked, format!("airflow/{named}"));
}

fn shipped(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/forward-auth");
    std::fs::read_to_string(folder.join(file)).unwrap()
}

/// The documents of this kind in a file for another proxy.
fn documents(file: &str, kind: &str) -> Vec<Value> {
    let text = shipped(file);
    let documents =
        text.split("\n---\n").map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    documents.filter(|document| document["kind"] == kind).collect()
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
