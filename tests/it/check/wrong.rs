//! Twenty configurations that are wrong on purpose, each in several ways.

use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::expect::Verdicts;

/// What is wrong, as line and key.
type Wrong = &'static [(usize, &'static str)];

#[test]
fn every_problem_of_twenty_wrong_configurations_is_listed_in_one_go_with_place_and_hint() {
    let mut verdicts = Verdicts::default();
    assert_eq!(CASES.len(), 20);
    for (label, text, expected) in CASES {
        let config = Config::new("http://127.0.0.1:1", "http://127.0.0.1:1");
        let secret = config.folder().join("airflow.secret").display().to_string();
        let file = config.file("wrong.yaml", &text.trim_start().replace("SECRET", &secret));
        let ended = Airside::run(&["check", "-c", file.to_str().unwrap()], &[]);
        verdicts.check(label, ended.code == Some(78), (ended.code, ended.log()));
        let mut found = Vec::new();
        for block in ended.stdout.split("\n\n").filter_map(|all| all.strip_prefix("problem: ")) {
            for part in ["    found:    ", "    expected: ", "    hint:     "] {
                let told = block.lines().find_map(|line| line.strip_prefix(part));
                verdicts.check(label, told.is_some_and(|told| !told.is_empty()), (part, block));
            }
            let (place, key) = block.lines().next().unwrap().rsplit_once(": ").unwrap();
            let mut numbers = place.split(':').skip(1).map(|number| number.parse().unwrap());
            found.push((numbers.next().unwrap_or(0), key));
        }
        verdicts.check(label, found.is_sorted_by_key(|(line, _)| *line), (&found, "in order"));
        found.sort_unstable();
        let mut wanted = expected.to_vec();
        wanted.sort_unstable();
        verdicts.check(label, found == wanted, (&found, &wanted, &ended.stdout));
        let noun = if expected.len() == 1 { "problem" } else { "problems" };
        let counted = format!("\n{} {noun}, ", expected.len());
        verdicts.check(label, ended.stdout.contains(&counted), (&counted, &ended.stdout));
    }
}

const CASES: [(&str, &str, Wrong); 20] = [
    ("nothing at all", "{}", &[(1, "upstream"), (1, "issuers"), (1, "handoff")]),
    (
        "misspelt keys on every level",
        "
lisen: 0.0.0.0:8080
upstream: {url: 'http://127.0.0.1:8081', airflo: 3}
issuers:
  - {name: entra, type: entra, tenent: x, client_id: airflow}
handoff:
  type: airflow_token
  secret_file: SECRET
  asertion: {}
acess: {docs: open}
",
        &[
            (1, "lisen"),
            (2, "upstream.airflo"),
            (4, "issuers[0].tenent"),
            (4, "issuers[0].tenant"),
            (4, "issuers[0].client_id"),
            (8, "handoff.asertion"),
            (9, "acess"),
        ],
    ),
    (
        "values of another type",
        "
listen: [1]
threads: many
upstream: {url: 'http://127.0.0.1:8081'}
issuers: entra
handoff: {type: airflow_token, secret_file: SECRET, audience: 7}
limits: {connections: -1, header_bytes: 10}
log: {access: 'yes'}
",
        &[
            (1, "listen"),
            (2, "threads"),
            (4, "issuers"),
            (5, "handoff.audience"),
            (6, "limits.connections"),
            (6, "limits.header_bytes"),
            (7, "log.access"),
        ],
    ),
    (
        "words that nobody knows",
        "
upstream: {url: 'http://127.0.0.1:8081'}
issuers:
  - {name: entra, type: entraa}
  - {name: airflow, type: airflow, secret_file: SECRET}
handoff: {type: airflow_tokn, auth_manager: keycloak, lifetime: 1s}
access: {ui: shut, execution_api: open, docs: ajar, preflight: yes please}
log: {format: xml, level: loud}
",
        &[
            (3, "issuers[0].type"),
            (5, "handoff.type"),
            (5, "handoff.auth_manager"),
            (5, "handoff.lifetime"),
            (6, "access.ui"),
            (6, "access.execution_api"),
            (6, "access.docs"),
            (6, "access.preflight"),
            (7, "log.format"),
            (7, "log.level"),
        ],
    ),
    (
        "spans that cannot be meant",
        "
upstream: {url: 'http://127.0.0.1:8081', connect_timeout: 0s, idle_timeout: a while}
issuers: [{name: airflow, type: airflow, secret_file: SECRET}]
handoff: {type: airflow_token, secret_file: SECRET, lifetime: 2d}
leeway: 10m
keys: {refresh: 0s, stale_for: '1'}
drain: {delay: 1h, timeout: 1h}
exchange: {lifetime: 1s}
",
        &[
            (1, "upstream.connect_timeout"),
            (1, "upstream.idle_timeout"),
            (3, "handoff.lifetime"),
            (4, "leeway"),
            (5, "keys.refresh"),
            (5, "keys.stale_for"),
            (6, "drain.timeout"),
            (7, "exchange.lifetime"),
        ],
    ),
    (
        "addresses that are none",
        "
listen: localhost
execution_listen: '8082'
admin: {listen: '127.0.0.1'}
upstream: {url: 'ftp://airflow'}
issuers: [{name: airflow, type: airflow, keys_url: 'keys.example/keys'}]
handoff: {type: airflow_token, secret_file: SECRET}
forwarded: {trusted: [10.0.0.0/40, proxy]}
",
        &[
            (1, "listen"),
            (2, "execution_listen"),
            (3, "admin.listen"),
            (4, "upstream.url"),
            (5, "issuers[0].keys_url"),
            (7, "forwarded.trusted[0]"),
            (7, "forwarded.trusted[1]"),
        ],
    ),
    (
        "ids of Entra that are names",
        "
upstream: {url: 'http://127.0.0.1:8081'}
issuers:
  - name: entra
    type: entra
    tenant: [contoso.onmicrosoft.com, 7f1c2a9e-4b1d-4c55-9a52-6f0f3b1f9d10, common]
    client_id: airflow
    versions: []
    audiences: ['']
    clients: ['']
    roles_claim: roles
    keys_file: /nowhere/keys
handoff: {type: airflow_token, secret_file: SECRET}
",
        &[
            (5, "issuers[0].tenant[0]"),
            (5, "issuers[0].tenant[2]"),
            (6, "issuers[0].client_id"),
            (7, "issuers[0].versions"),
            (8, "issuers[0].audiences[0]"),
            (9, "issuers[0].clients[0]"),
            (10, "issuers[0].roles_claim"),
            (11, "issuers[0].keys_file"),
        ],
    ),
    (
        "files that are not there",
        "
upstream: {url: 'https://127.0.0.1:8081', ca_file: /nowhere/ca}
issuers:
  - {name: airflow, type: airflow, secret_file: /nowhere/secret}
  - {name: other, type: airflow, issuer: x, public_key_file: /nowhere/key}
handoff: {type: airflow_token, secret_file: /nowhere/handoff, airflow_keys_file: /nowhere/keys}
tls: {cert_file: /nowhere/crt, key_file: /nowhere/key}
revocation: {file: /nowhere/list}
",
        &[
            (1, "upstream.ca_file"),
            (3, "issuers[0].secret_file"),
            (4, "issuers[1].public_key_file"),
            (5, "handoff.secret_file"),
            (5, "handoff.airflow_keys_file"),
            (6, "tls.cert_file"),
            (6, "tls.key_file"),
            (7, "revocation.file"),
        ],
    ),
    (
        "both or neither of two",
        "
upstream: {url: 'http://127.0.0.1:1', urls: ['http://127.0.0.1:2']}
issuers:
  - {name: airflow, type: airflow, secret_file: SECRET, keys_file: /x}
handoff: {type: airflow_token}
",
        &[(1, "upstream"), (3, "issuers[0].secret_file"), (4, "handoff.secret_file")],
    ),
    (
        "Airflow 2 with tokens",
        "
upstream: {url: 'http://127.0.0.1:8081', airflow: 2, base_path: airflow}
issuers: [{name: airflow, type: airflow, secret_file: SECRET}]
handoff: {type: airflow_token, secret_file: SECRET, kid: k}
access: {public: [/api/v1/x, 'GET api', 'FETCH /x']}
",
        &[
            (1, "upstream.base_path"),
            (3, "handoff.type"),
            (3, "handoff.kid"),
            (4, "access.public[0]"),
            (4, "access.public[1]"),
            (4, "access.public[2]"),
        ],
    ),
    (
        "roles that Airflow has not",
        "
upstream: {url: 'http://127.0.0.1:8081'}
issuers:
  - name: entra
    type: entra
    tenant: 7f1c2a9e-4b1d-4c55-9a52-6f0f3b1f9d10
    client_id: 0b8c6c3e-52cb-4d0c-8d64-3d6a8e6f2a77
roles:
  map:
    A: [admin]
    B: [Public]
    C: []
  teams:
    D: ['team a']
handoff: {type: airflow_token, secret_file: SECRET}
",
        &[(9, "roles.map.A"), (10, "roles.map.B"), (11, "roles.map.C"), (13, "roles.teams.D")],
    ),
    (
        "an OpenID issuer with everything missing",
        "
upstream: {url: 'http://127.0.0.1:8081'}
issuers:
  - {name: github, type: oidc, keys_file: /nowhere/keys, roles_claim: role}
handoff: {type: airflow_token, secret_file: SECRET}
",
        &[
            (3, "issuers[0].issuer"),
            (3, "issuers[0].audiences"),
            (3, "issuers[0].username_prefix"),
            (3, "issuers[0].roles"),
            (3, "issuers[0].keys_file"),
            (3, "issuers[0].roles_claim"),
        ],
    ),
    (
        "an OpenID issuer that serves everybody",
        "
upstream: {url: 'http://127.0.0.1:8081'}
issuers:
  - name: github
    type: oidc
    issuer: https://token.actions.githubusercontent.com
    audiences: []
    algorithms: []
    username_prefix: 'git hub:'
    roles_claim: repository
    roles: {contoso/dags: [Operator]}
handoff: {type: airflow_token, secret_file: SECRET}
",
        &[
            (3, "issuers[0].required_claims"),
            (6, "issuers[0].audiences"),
            (7, "issuers[0].algorithms"),
            (8, "issuers[0].username_prefix"),
            (9, "issuers[0].roles_claim"),
            (10, "issuers[0].roles.contoso/dags"),
        ],
    ),
    (
        "keys over plain http",
        "
upstream: {url: 'http://127.0.0.1:8081'}
issuers:
  - name: entra
    type: entra
    tenant: 7f1c2a9e-4b1d-4c55-9a52-6f0f3b1f9d10
    client_id: 0b8c6c3e-52cb-4d0c-8d64-3d6a8e6f2a77
    authority: http://login.example
  - name: keycloak
    type: oidc
    issuer: http://sso.example/realms/a
    audiences: [airflow]
    username_prefix: 'k:'
    roles: {a: [Op]}
handoff: {type: airflow_token, secret_file: SECRET}
",
        &[(7, "issuers[0].authority"), (10, "issuers[1].issuer")],
    ),
    (
        "names twice and tokens claimed twice",
        "
upstream: {urls: ['http://127.0.0.1:1/a', 'http://127.0.0.1:2/b', 'https://127.0.0.1:3/a']}
issuers:
  - {name: airflow, type: airflow, secret_file: SECRET}
  - {name: airflow, type: airflow, secret_file: SECRET}
handoff:
  type: airflow_token
  secret_file: SECRET
  headers: {user: Authorization, roles: X-A, issuer: x_a, assertion: 'X A'}
",
        &[
            (1, "upstream.urls[1]"),
            (1, "upstream.urls[2]"),
            (4, "issuers[1].name"),
            (4, "issuers[1].issuer"),
            (8, "handoff.headers.user"),
            (8, "handoff.headers.issuer"),
            (8, "handoff.headers.assertion"),
        ],
    ),
    (
        "FAB without what it needs",
        "
upstream: {url: 'http://127.0.0.1:8081'}
issuers:
  - name: o
    type: oidc
    issuer: https://sso.example
    audiences: [airflow]
    username_prefix: ''
    roles: {a: ['Data Engineer']}
handoff:
  type: airflow_token
  auth_manager: fab
  secret_file: SECRET
  fab: {remote_user_header: REMOTE_USER, admin_user_id: admin, cache_ttl: 2h, adopt: ['']}
",
        &[
            (7, "issuers[0].username_prefix"),
            (8, "issuers[0].roles.a"),
            (13, "handoff.fab.remote_user_header"),
            (13, "handoff.fab.admin_user_id"),
            (13, "handoff.fab.cache_ttl"),
            (13, "handoff.fab.adopt[0]"),
        ],
    ),
    (
        "headers with what belongs to tokens",
        "
upstream: {url: 'http://127.0.0.1:8081', client_cert_file: /x}
issuers: [{name: airflow, type: airflow, secret_file: SECRET}]
handoff:
  type: headers
  secret_file: SECRET
  assertion: {private_key_file: SECRET, audience: 'urn:airflow.apache.org:task', lifetime: 10m}
exchange: {enabled: true}
",
        &[
            (1, "upstream.client_cert_file"),
            (5, "handoff.secret_file"),
            (6, "handoff.assertion.private_key_file"),
            (6, "handoff.assertion.audience"),
            (6, "handoff.assertion.lifetime"),
            (7, "exchange.enabled"),
        ],
    ),
    (
        "workers without Airflow's keys",
        "
upstream: {url: 'http://127.0.0.1:8081', base_path: /airside}
issuers:
  - name: entra
    type: entra
    tenant: 7f1c2a9e-4b1d-4c55-9a52-6f0f3b1f9d10
    client_id: 0b8c6c3e-52cb-4d0c-8d64-3d6a8e6f2a77
handoff: {type: airflow_token, secret_file: SECRET, audience: 'urn:airflow.apache.org:task'}
access: {execution_api: verify}
keys: {cache_dir: /dev/null/keys}
",
        &[
            (1, "upstream.base_path"),
            (7, "handoff.audience"),
            (8, "access.execution_api"),
            (9, "keys.cache_dir"),
        ],
    ),
    (
        "variables that are not set, beside other things",
        "
listen: '${NOT_SET_ONE}'
upstream: {url: 'http://${NOT_SET_TWO}:8081'}
issuers: [{name: airflow, type: airflow, secret_file: '${NOT_SET_THREE}'}]
handoff: {type: airflow_token, secret_file: SECRET}
leeway: soon
",
        &[(1, "listen"), (2, "upstream.url"), (3, "issuers[0].secret_file"), (5, "leeway")],
    ),
    (
        "no YAML",
        "
listen: '127.0.0.1:0
upstream: {url: http://127.0.0.1:8081
",
        &[(2, "(the whole)")],
    ),
];
