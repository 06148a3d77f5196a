//! What is warned of, and that a clean configuration has none of it.

use super::super::lint;
use super::super::problem::{Findings, Warning};
use super::super::tree::Tree;
use super::look;

const CLEAN: &str = "
listen: 0.0.0.0:8080
admin: {listen: '127.0.0.1:9090'}
upstream: {url: 'http://127.0.0.1:8081'}
issuers:
  - {name: entra, type: entra, tenant: t, client_id: c, username_claim: oid}
  - {name: airflow, type: airflow, secret_file: SECRET}
  - {name: o, type: oidc, issuer: 'https://o', audiences: [a], username_prefix: 'o:', roles: {a: [Op]}}
handoff: {type: airflow_token, secret_file: SECRET}
access: {password_login: closed, execution_api: forward}
proxy_protocol: false
forwarded: {trusted: [10.0.0.0/8]}
";

/// What is warned of after each of these texts was replaced, with files of these names.
fn warned(replaced: &[(&str, &str)]) -> Vec<Warning> {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let good = file("good", &"0123456789abcdef".repeat(4));
    let mut text = CLEAN.to_owned();
    for (from, to) in replaced {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let text = text.replace("SECRET", &good).replace("SHORT", &file("short", "abcdefgh12"));
    let tree = Tree::parse("a.yaml", &text).unwrap();
    let mut findings = Findings::about(&tree);
    let written = lint::read(&tree, &mut findings).unwrap();
    look(&written, &mut findings);
    let warnings = findings.take_warnings();
    assert_eq!(findings.conclude(Some(())), Ok(()), "{text}");
    warnings
}

#[test]
fn a_clean_configuration_has_no_warning() {
    assert_eq!(warned(&[]), []);
}

#[test]
fn every_risk_is_told_with_its_place_and_what_to_do() {
    for (replaced, expected) in CASES {
        let found = warned(replaced);
        let keys: Vec<&str> = found.iter().map(|warning| warning.key.as_str()).collect();
        let wanted: Vec<&str> = expected.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, wanted, "{replaced:?}: {found:#?}");
        for (warning, (_, word)) in found.iter().zip(*expected) {
            assert!(warning.to_string().contains(word), "{word}: {warning}");
            assert!(warning.place.starts_with("a.yaml"), "{warning}");
        }
    }
}

#[test]
fn a_default_is_told_to_be_one() {
    let found = warned(&[("password_login: closed, ", "")]).remove(0);
    assert_eq!(found.found, "open, by default");
    let found = warned(&[("password_login: closed", "password_login: open")]).remove(0);
    assert_eq!(found.found, "open");
}

/// A text and what takes its place.
type Replaced = (&'static str, &'static str);
/// A key, and something that is said of it.
type Told = (&'static str, &'static str);

const FAR: Replaced = ("http://127.0.0.1:8081", "http://airflow:8080");
const TOKEN: &str = "{type: airflow_token, secret_file: SECRET}";
const SIGNED: Replaced = (TOKEN, "{type: headers, assertion: {private_key_file: k}}");
const UNSIGNED: Replaced = (TOKEN, "{type: headers}");
const FAB: Replaced =
    (TOKEN, "{type: airflow_token, auth_manager: fab, secret_file: SECRET, fab: {}}");
const ADOPTING: Replaced = (
    TOKEN,
    "{type: airflow_token, auth_manager: fab, secret_file: SECRET, fab: {adopt: [a, '*']}}",
);
const OWN_KEY: Replaced = (TOKEN, "{type: airflow_token, private_key_file: k}");
const NO_WORKER: Replaced = ("execution_api: forward", "execution_api: closed");
const AIRFLOW: &str = "  - {name: airflow, type: airflow, secret_file: SECRET}\n";
const ENTRA: &str =
    "  - {name: entra, type: entra, tenant: t, client_id: c, username_claim: oid}\n";

const CASES: &[(&[Replaced], &[Told])] = &[
    (&[("'127.0.0.1:9090'", "'0.0.0.0:9090'")], &[("admin.listen", "kubelet")]),
    (&[("'127.0.0.1:9090'", "'[::]:9090'")], &[("admin.listen", "kubelet")]),
    (
        &[("'127.0.0.1:9090'", "'127.0.0.1:9090', status: open")],
        &[("admin.status", "who was refused")],
    ),
    (
        &[("proxy_protocol: false", "proxy_protocol: true"), ("[10.0.0.0/8]", "[]")],
        &[("proxy_protocol", "nobody's header")],
    ),
    (&[("proxy_protocol: false", "proxy_protocol: true")], &[]),
    (&[("10.0.0.0/8", "10.1.2.3, 0.0.0.0/0")], &[("forwarded.trusted[1]", "every client")]),
    (&[FAR, NO_WORKER], &[("upstream.url", "Airflow alone judges")]),
    (&[FAR, NO_WORKER, FAB], &[("upstream.url", "remote_user_header")]),
    (&[FAR, NO_WORKER, SIGNED], &[("upstream.url", "Airflow alone judges")]),
    (
        &[FAR, NO_WORKER, UNSIGNED],
        &[("upstream.url", "identity headers"), ("handoff.assertion", "config/airflow2")],
    ),
    (
        &[("url: 'http://127.0.0.1:8081'", "urls: ['unix:/a.sock', 'https://b']"), NO_WORKER],
        &[("upstream.urls[1]", "NetworkPolicy")],
    ),
    (
        &[
            ("'http://127.0.0.1:8081'", "'https://b', client_cert_file: c, client_key_file: k"),
            NO_WORKER,
        ],
        &[],
    ),
    (&[("'http://127.0.0.1:8081'", "'http://[::1]:8081'")], &[]),
    (&[FAR], &[("upstream.url", "Airflow alone"), ("access.execution_api", "execution_listen")]),
    (&[FAR, ("listen: 0.0.0.0:8080", "listen: 127.0.0.1:8080")], &[("upstream.url", "")]),
    (
        &[FAR, ("proxy_protocol", "execution_listen: 0.0.0.0:8082\nproxy_protocol")],
        &[("upstream.url", "")],
    ),
    (&[("'o:'", "''")], &[("issuers[2].username_prefix", "same user")]),
    (&[("claim: oid", "claim: upn")], &[("issuers[0].username_claim", "oid")]),
    (&[UNSIGNED], &[("handoff.assertion", "nothing signed")]),
    (&[SIGNED], &[]),
    (&[(AIRFLOW, "")], &[("issuers", "airflowctl")]),
    (&[(AIRFLOW, ""), SIGNED], &[]),
    (&[OWN_KEY], &[("handoff.airflow_keys_file", "tasks cannot run")]),
    (&[ADOPTING], &[("handoff.fab.adopt[1]", "administrators")]),
    (
        &[("password_login: closed", "password_login: open")],
        &[("access.password_login", "past Entra")],
    ),
    (&[("password_login: closed, ", "")], &[("access.password_login", "past Entra")]),
    (&[("password_login: closed", "ui: closed")], &[]),
    (&[("password_login: closed, ", ""), (ENTRA, "")], &[]),
    (&[("secret_file: SECRET", "secret_file: SHORT")], &[("handoff.secret_file", "HS512")]),
    (
        &[(AIRFLOW, "  - {name: airflow, type: airflow, secret_file: SHORT}\n")],
        &[("issuers[1].secret_file", "another secret"), ("issuers[1].secret_file", "HS512")],
    ),
];
