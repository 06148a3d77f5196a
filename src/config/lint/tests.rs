//! What fits the schema, and how what does not is told.

use super::*;

const GOOD: &str = "
upstream: {url: 'http://127.0.0.1:8081'}
issuers:
  - {name: entra, type: entra, tenant: t, client_id: c}
  - {name: airflow, type: airflow, secret_file: /s}
handoff: {type: airflow_token, secret_file: /s}
";

fn problems(text: &str) -> Vec<(String, String, Option<String>)> {
    let tree = Tree::parse("a.yaml", text).unwrap();
    let mut findings = Findings::about(&tree);
    let written = read(&tree, &mut findings);
    let problems = findings.conclude(written).map(|_| ()).unwrap_err();
    problems.all().iter().map(|p| (p.key.clone(), p.found.clone(), p.hint.clone())).collect()
}

#[test]
fn a_good_file_has_no_problems() {
    let tree = Tree::parse("a.yaml", GOOD).unwrap();
    let mut findings = Findings::about(&tree);
    let written = read(&tree, &mut findings);
    assert!(findings.conclude(written).is_ok());
}

#[test]
fn every_key_is_documented() {
    let documented = include_str!("../../../docs/configuration.md");
    let mut left: Vec<&Json> = vec![&SCHEMA];
    while let Some(schema) = left.pop() {
        let properties = schema.get("properties").and_then(Json::as_object);
        for (key, inner) in properties.into_iter().flatten() {
            let written = documented.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            assert!(written.into_iter().any(|word| word == key), "{key}");
            left.push(inner);
        }
        left.extend(schema.get("items"));
        left.extend(alternatives(schema).into_iter().flatten());
    }
}

#[test]
fn every_problem_is_found_at_once() {
    let text = format!(
        "{GOOD}
listn: '0.0.0.0:8080'
leeway: soon
threads: 0
admin: {{listen: localhost}}
limits: {{connections: many}}
forwarded: {{trusted: [10.0.0.0/40]}}
access: {{ui: opne, public: nothing}}
log: {{access: 'yes'}}
"
    );
    let keys: Vec<String> = problems(&text).into_iter().map(|(key, ..)| key).collect();
    assert_eq!(
        keys,
        [
            "listn",
            "leeway",
            "threads",
            "admin.listen",
            "limits.connections",
            "forwarded.trusted[0]",
            "access.ui",
            "access.public",
            "log.access",
        ]
    );
}

#[test]
fn an_unknown_key_names_the_nearest() {
    let (_, found, hint) = problems(&format!("{GOOD}\nlistn: x\n")).remove(0);
    assert_eq!(found, "an unknown key");
    assert_eq!(hint.as_deref(), Some("did you mean `listen`?"));
}

#[test]
fn what_is_missing_is_named_with_a_way_to_give_it() {
    let keys: Vec<String> = problems("{}").into_iter().map(|(key, ..)| key).collect();
    assert_eq!(keys, ["upstream", "issuers", "handoff"]);
}

#[test]
fn what_is_missing_is_told_once() {
    let text = GOOD.replace("tenant: t, ", "");
    let tree = Tree::parse("a.yaml", &text).unwrap();
    let mut findings = Findings::about(&tree);
    let written = read(&tree, &mut findings);
    let problems = findings.conclude(written).unwrap_err();
    let missing = problems.all().first().unwrap();
    assert_eq!(missing.expected, "text or a list");
    assert!(missing.hint.as_deref().unwrap().starts_with("tenant: "), "{missing}");
}

#[test]
fn what_a_later_version_has_is_refused_by_name() {
    let found = problems(&format!("{GOOD}\naccess: {{ui: login}}\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].2.as_deref(), Some(NOT_YET));
}

#[test]
fn what_asks_for_nothing_is_accepted() {
    let text = format!(
        "{GOOD}
tls: null
forward_auth: {{listen: null, trusted: []}}
execution_listen: null
revocation: {{file: null}}
access: {{delegate: {{basic: false, negotiate: false}}}}
admin: {{status: open}}
"
    );
    let tree = Tree::parse("a.yaml", &text).unwrap();
    let mut findings = Findings::about(&tree);
    let written = read(&tree, &mut findings);
    assert!(findings.conclude(written).is_ok());
}

#[test]
fn a_secret_in_an_address_is_not_shown() {
    let wrong = |url: &str| GOOD.replace("http://127.0.0.1:8081", url);
    let flat = "upstream: 'http://airside:s3cret@airflow:8080'";
    let collector = "telemetry: {otlp_endpoint: 'https://airside:s3cret@collector.example'}";
    let credential = "an address with a credential in it";
    for (text, expected) in [
        (wrong("http://airside:s3cret@airflow:8080"), credential),
        (wrong("http://s3cret@airflow:8080"), credential),
        (wrong("http://airside:s3cret/?#@airflow:8080"), credential),
        (wrong("http://airside:s3cret@air flow"), credential),
        (wrong("airside:s3cret@airflow:8080"), credential),
        (GOOD.replace("upstream: {url: 'http://127.0.0.1:8081'}", flat), credential),
        (format!("{GOOD}{collector}"), credential),
        (wrong("ftp://airflow/?sig=s3cret"), r#""ftp://airflow/?…""#),
        (wrong("airflow:8080"), r#""airflow:8080""#),
    ] {
        let found: Vec<String> = problems(&text).into_iter().map(|(_, f, _)| f).collect();
        assert_eq!(found, [expected], "{text}");
    }
}

#[test]
fn a_number_in_place_of_text_asks_for_quotes() {
    let text = GOOD.replace("tenant: t", "tenant: 17");
    let (key, _, hint) = problems(&text).remove(0);
    assert_eq!((key.as_str(), hint.as_deref()), ("issuers[0].tenant", Some("put it in quotes")));
}
