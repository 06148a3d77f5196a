//! What may be configured and from where; and that all that is wrong is said at once.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::airflow;
use crate::support::airside::{Airside, Ended};
use crate::support::config::{Config, SECRET};
use crate::support::entra::{APP, CALLER, CLIENT_ID, OTHER_TENANT, TENANT, v2_app, v2_issuer};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Reader, Request};
use crate::support::issuer::Issuer;
use crate::support::keys::open_hs512;
use crate::support::listener::Listener;
use crate::support::scene::Scene;
use crate::support::upstream::Upstream;
use crate::support::wait::eventually;

#[test]
fn the_configuration_of_the_tests_is_good() {
    // So that each refusal below has the one reason that it names.
    let airside = Airside::start(&sound());
    assert_eq!(airside.ask_admin("/livez").status, 200);
}

#[test]
fn every_problem_is_said_in_one_list() {
    let config = sound()
        .set("/upstream/respons_header_timeout", "1s")
        .set("/lissten", "127.0.0.1:0")
        .set("/leeway", "a while")
        .set("/keys/refresh", -1)
        .set("/handoff/secret_file", "/nowhere/airflow.secret")
        .set("/issuers/0/cloud", "mars")
        .set("/access/docs", "ajar");
    let ended = refused(&config);
    let mut verdicts = Verdicts::default();
    for word in [
        "respons_header_timeout",
        "response_header_timeout",
        "lissten",
        "listen",
        "leeway",
        "a while",
        "refresh",
        "/nowhere/airflow.secret",
        "mars",
        "us_gov",
        "ajar",
    ] {
        verdicts.check(word, ended.stderr.contains(word), &ended.stderr);
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_its_nearest_neighbour() {
    let mut verdicts = Verdicts::default();
    for (text, key, nearest) in [
        ("lisen: \"127.0.0.1:0\"\n", "lisen", "listen"),
        ("acces:\n  docs: open\n", "acces", "access"),
        ("log: {formt: json}\n", "formt", "format"),
        ("limits:\n  header_byte: 1000\n", "header_byte", "header_bytes"),
        ("keys: {unknown_kid_coldown: 1m}\n", "unknown_kid_coldown", "unknown_kid_cooldown"),
    ] {
        // Comments, so that the line is a number that nothing else says.
        let config = sound();
        let before = config.yaml();
        let padding = "#\n".repeat(7_341 - before.lines().count());
        let in_text = text.lines().position(|line| line.contains(key)).unwrap();
        let line = (7_342 + in_text).to_string();
        let ended = refused_text(&config, &format!("{before}{padding}{text}"));
        verdicts.check(key, ended.stderr.contains(key), &ended.stderr);
        verdicts.check(key, ended.stderr.contains(&line), (&line, &ended.stderr));
        verdicts.check(key, ended.stderr.contains(nearest), &ended.stderr);
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let short = "a-short-secret";
    let mut verdicts = Verdicts::default();
    let cases: Vec<(&str, Config, &[&str])> = vec![
        ("no upstream", sound().without("/upstream"), &["upstream"]),
        ("no upstream url", sound().without("/upstream/url"), &["url"]),
        ("no issuer", sound().set("/issuers", json!([])), &["issuer"]),
        ("no issuers", sound().without("/issuers"), &["issuer"]),
        ("secret missing", sound().set("/issuers/1/secret_file", "/nowhere/x"), &["/nowhere/x"]),
        ("issuer without name", sound().without("/issuers/0/name"), &["name"]),
        ("issuer without type", sound().without("/issuers/0/type"), &["type"]),
        ("unknown type", sound().set("/issuers/0/type", "entraa"), &["entraa", "entra"]),
        ("no tenant", sound().without("/issuers/0/tenant"), &["tenant"]),
        ("no client id", sound().without("/issuers/0/client_id"), &["client_id"]),
        ("airflow without secret", sound().without("/issuers/1/secret_file"), &["secret_file"]),
        (
            "bad duration",
            sound().set("/upstream/connect_timeout", "2 parsecs"),
            &["connect_timeout", "2 parsecs"],
        ),
        ("leeway too large", sound().set("/leeway", "301s"), &["leeway", "300"]),
        ("bad address", sound().set("/listen", "localhost:port"), &["listen", "localhost:port"]),
        ("bad admin address", sound().set("/admin/listen", "9090"), &["listen", "9090"]),
        ("bad upstream", sound().set("/upstream/url", "not a url"), &["not a url"]),
        ("upstream of another scheme", sound().set("/upstream/url", "ftp://127.0.0.1"), &["ftp"]),
        (
            "bad network",
            sound().set("/forwarded/trusted", json!(["10.0.0.0/40"])),
            &["10.0.0.0/40"],
        ),
        ("bad enum", sound().set("/access/execution_api", "open"), &["execution_api", "forward"]),
        ("bad level", sound().set("/log/level", "loud"), &["loud"]),
        ("wrong type", sound().set("/limits/header_bytes", "many"), &["header_bytes", "many"]),
        ("list for a map", sound().set("/roles/map", json!(["Admin"])), &["map"]),
        ("bad airflow", sound().set("/upstream/airflow", 4), &["airflow", "4"]),
        ("bad pointer", sound().set("/issuers/0/roles_claim", "roles"), &["roles_claim"]),
        ("bad public entry", sound().set("/access/public", json!(["/api/v2/x"])), &["public"]),
        ("bad version", sound().set("/issuers/0/versions", json!(["v3"])), &["versions", "v3"]),
        ("no audience at all", sound().set("/handoff/audience", ""), &["audience"]),
        ("no folder for keys", sound().set("/keys/cache_dir", ""), &["cache_dir", "a folder"]),
        (
            "a folder for keys below a file",
            sound().set("/keys/cache_dir", "/dev/null/keys"),
            &["airside.yaml:", "keys.cache_dir", "/dev/null/keys", "a folder to write to", "hint"],
        ),
        (
            "plain http keys",
            sound().set("/issuers/0/keys_url", "http://keys.example/keys"),
            &["keys_url", "https"],
        ),
        (
            "plain http authority",
            sound().set("/issuers/0/authority", "http://login.example"),
            &["authority", "https"],
        ),
    ];
    all_refused(cases);
    let config = sound();
    config.file("empty.secret", "\n");
    let empty = config.folder().join("empty.secret").display().to_string();
    let ended = refused(&config.set("/handoff/secret_file", empty.as_str()));
    verdicts.check("empty secret", ended.stderr.contains(&empty), &ended.stderr);
    let config = sound();
    let file = config.file("short.secret", short).display().to_string();
    let config = config.set("/handoff/secret_file", file.as_str());
    let airside = Airside::start(&config.set("/issuers/1/secret_file", file));
    verdicts.check("a short secret is no problem", !airside.log().contains(short), airside.log());
}

#[test]
fn what_is_wrong_with_keys_and_tokens_of_ours_is_refused_with_its_place() {
    all_refused(vec![
        ("no hand-off secret", sound().without("/handoff/secret_file"), &["secret_file"]),
        (
            "two hand-off keys",
            sound().set("/handoff/private_key_file", "/x"),
            &["private_key_file"],
        ),
        ("no hand-off key", key_of_ours("/nowhere/y"), &["/nowhere/y"]),
        ("a kid of a secret", sound().set("/handoff/kid", "x"), &["handoff.kid"]),
        ("a secret unused", sound().set("/handoff/type", "headers"), &["secret_file"]),
        (
            "an assertion without key",
            sound().set("/handoff/assertion", json!({"kid": "x"})),
            &["assertion", "private_key_file"],
        ),
        (
            "two keys of an issuer",
            sound().set("/issuers/1/public_key_file", "/x"),
            &["public_key_file"],
        ),
        (
            "tasks without an issuer",
            sound().set("/access/execution_api", "verify").without("/issuers/1"),
            &["access.execution_api", "verify", "airflow"],
        ),
        (
            "no audience of tasks",
            sound().set("/issuers/1/task_audiences", json!([])),
            &["issuers[1].task_audiences"],
        ),
        (
            "one audience for both",
            sound().set("/issuers/1/task_audiences", json!(["apache-airflow"])),
            &["issuers[1].task_audiences", "apache-airflow"],
        ),
        (
            "the hand-off for tasks",
            sound()
                .set("/issuers/1/task_audiences", json!(["tasks-of-contoso"]))
                .set("/handoff/audience", "tasks-of-contoso"),
            &["handoff.audience", "tasks-of-contoso"],
        ),
        ("bad worker address", sound().set("/execution_listen", "8082"), &["execution_listen"]),
        (
            "an exchange for headers",
            sound()
                .without("/handoff/secret_file")
                .set("/handoff/type", "headers")
                .set("/exchange/enabled", true),
            &["exchange.enabled", "airflow_token"],
        ),
        ("an exchange for long", sound().set("/exchange/lifetime", "25h"), &["exchange.lifetime"]),
    ]);
}

/// Each is refused with all of its words.
fn all_refused(cases: Vec<(&str, Config, &[&str])>) {
    let mut verdicts = Verdicts::default();
    for (label, config, words) in cases {
        let ended = Airside::fails(&config);
        verdicts.check(label, ended.code == Some(78), (ended.code, ended.log()));
        verdicts.check(label, ended.stdout.is_empty(), &ended.stdout);
        for word in words {
            verdicts.check(label, ended.stderr.contains(word), (word, &ended.stderr));
        }
    }
}

#[test]
fn combinations_that_cannot_work_are_refused() {
    let mut verdicts = Verdicts::default();
    let entra_again = |config: Config| {
        let entry = json!({
            "name": "second", "type": "entra", "tenant": TENANT, "client_id": CALLER,
            "authority": "http://127.0.0.1:1",
        });
        config.set("/issuers", json!([entry, entra_entry()]))
    };
    let airflow_again = |config: Config| {
        let secret = config.file("another.secret", SECRET);
        let entry = |name: &str| json!({"name": name, "type": "airflow", "secret_file": secret});
        config.set("/issuers", json!([entry("one"), entry("two")]))
    };
    let same_name = |config: Config| {
        let mut other = entra_entry();
        other["tenant"] = OTHER_TENANT.into();
        config.set("/issuers", json!([entra_entry(), other]))
    };
    for (label, config, words) in [
        (
            "airflow_token with Airflow 2",
            sound().set("/upstream/airflow", 2),
            &["handoff.type", "headers", "config/airflow2/airside_auth_backend.py"][..],
        ),
        ("another version", sound().set("/upstream/airflow", 1), &["upstream.airflow", "2 to 3"]),
        ("simple with Public", sound().set("/roles/map/X", json!(["Public"])), &["Public"]),
        (
            "simple with a custom role",
            sound().set("/roles/map/X", json!(["DataEngineer"])),
            &["DataEngineer"],
        ),
        ("simple, other case", sound().set("/roles/map/X", json!(["admin"])), &["admin"]),
        (
            "simple, in an entry",
            sound().set("/issuers/0/roles", json!({"X": ["Custom"]})),
            &["Custom"],
        ),
        ("two entries of one tenant", entra_again(sound()), &["second"]),
        ("two of Airflow", airflow_again(sound()), &["one"]),
        ("two of one name", same_name(sound()), &["entra"]),
    ] {
        let ended = Airside::fails(&config);
        verdicts.check(label, ended.code == Some(78), (ended.code, ended.log()));
        verdicts.check(label, ended.stdout.is_empty(), &ended.stdout);
        for word in words {
            verdicts.check(label, ended.stderr.contains(word), (word, &ended.stderr));
        }
    }
}

#[test]
fn what_is_not_yet_there_is_refused_by_name() {
    let ended = refused(&sound().set("/access/ui", "login"));
    assert!(ended.stderr.contains("login"), "{}", ended.stderr);
}

#[test]
fn a_map_of_teams_names_teams() {
    let mut verdicts = Verdicts::default();
    for (teams, words) in [
        (json!({}), &["roles.teams"][..]),
        (json!({"Team.A": []}), &["roles.teams.Team.A"]),
        (json!({"Team.A": ["team_a", "team b"]}), &["roles.teams.Team.A", "team b"]),
        (json!({"Team.A": [""]}), &["roles.teams.Team.A"]),
        (json!({"Team.A": "team_a"}), &["roles.teams.Team.A", "a list"]),
        (json!(["team_a"]), &["roles.teams"]),
    ] {
        let ended = refused(&sound().set("/roles/teams", teams.clone()));
        for word in words {
            let said = ended.stderr.contains(word);
            verdicts.check(&teams.to_string(), said, (word, &ended.stderr));
        }
    }
}

#[test]
fn a_file_that_is_no_yaml_is_refused() {
    let mut verdicts = Verdicts::default();
    for (label, text) in [
        ("a tab", "listen:\n\t- x\n"),
        ("a list", "- listen\n"),
        ("unclosed", "listen: \"127.0.0.1:0\n"),
        ("twice", "leeway: 1s\nleeway: 2s\n"),
        ("nothing", ""),
        ("a scalar", "listen\n"),
    ] {
        let ended = refused_text(&sound(), text);
        verdicts.check(label, !ended.stderr.is_empty(), &ended.stderr);
    }
}

#[test]
fn a_configuration_says_nothing_of_its_secrets() {
    let ended = refused(&sound().set("/lissten", "x"));
    assert!(!ended.log().contains(&SECRET[..16]), "{}", ended.log());
}

#[test]
fn the_environment_fills_in_the_file() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let config = Config::new(&issuer.url(), "${UPSTREAM_SCHEME}://${UPSTREAM_ADDRESS}")
        .set("/handoff/issuer", "$${literally}")
        .env("UPSTREAM_SCHEME", "http")
        .env("UPSTREAM_ADDRESS", &upstream.address().to_string());
    let airside = Airside::start(&config);
    let answer = airside.ask(&Request::get("/api/v2/dags").bearer(&v2_app().token()));
    assert_eq!(answer.status, 200);
    let (_, claims) = open_hs512(upstream.last().bearer(), SECRET.as_bytes());
    assert_eq!(claims["iss"], "${literally}");
    let ended = refused(&sound().set("/upstream/url", "${NOT_SET_ANYWHERE}"));
    assert!(ended.stderr.contains("NOT_SET_ANYWHERE"), "{}", ended.stderr);
}

#[test]
fn flags_alone_are_enough() {
    let upstream = Upstream::start();
    let folder = sound();
    let secret = secret_file(&folder);
    let url = upstream.url();
    let airside = Airside::launch(
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--upstream",
            &url,
            "--airflow-jwt-secret-file",
            &secret,
        ],
        &[],
    );
    airside.wait_until_ready();
    let answer = airside.ask(&Request::get("/api/v2/dags").bearer(&airflow::token()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.last().header("x-airside-user"), Some("admin"));
    let nobody = airside.ask(&Request::get("/api/v2/dags").bearer(&v2_app().token()));
    assert_refused(&nobody, 401, "issuer_unknown");
}

#[test]
fn the_environment_alone_is_enough() {
    let upstream = Upstream::start();
    let folder = sound();
    let env = owned(&[
        ("AIRSIDE_LISTEN", "127.0.0.1:0"),
        ("AIRSIDE_ADMIN_LISTEN", "127.0.0.1:0"),
        ("AIRSIDE_UPSTREAM", &upstream.url()),
        ("AIRSIDE_AIRFLOW_JWT_SECRET_FILE", &secret_file(&folder)),
        ("AIRSIDE_LOG_FORMAT", "json"),
        // What Kubernetes sets for a Service of our name is none of our settings.
        ("AIRSIDE_PORT", "tcp://10.0.0.1:8080"),
        ("AIRSIDE_SERVICE_HOST", "10.0.0.1"),
        ("AIRSIDE_SERVICE_PORT", "8080"),
        ("AIRSIDE_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ]);
    let airside = Airside::launch(&["serve"], &env);
    airside.wait_until_ready();
    let answer = airside.ask(&Request::get("/api/v2/dags").bearer(&airflow::token()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(airside.log().starts_with('{'), "{}", airside.log());
}

#[test]
fn the_file_may_be_named_by_the_environment() {
    let upstream = Upstream::start();
    let config = Config::new("http://127.0.0.1:1", &upstream.url());
    let file = config.file("by-env.yaml", &config.yaml()).display().to_string();
    let airside = Airside::launch(&["serve"], &owned(&[("AIRSIDE_CONFIG", &file)]));
    assert_eq!(airside.ask(&Request::get("/api/v2/version")).status, 200);
}

#[test]
fn a_flag_beats_the_environment_and_that_the_file() {
    let (in_file, in_env, in_flag) = (Upstream::start(), Upstream::start(), Upstream::start());
    let issuer = Issuer::start();
    let version = Request::get("/api/v2/version");
    let base = Config::new(&issuer.url(), &in_file.url());
    let with_env = base.clone().env("AIRSIDE_UPSTREAM", &in_env.url());
    let with_flag = with_env.clone().args(&["--upstream", &in_flag.url()]);
    let empty_env = base.clone().env("AIRSIDE_UPSTREAM", "").env("AIRSIDE_LISTEN", "");
    for (config, expected) in
        [(&base, &in_file), (&empty_env, &in_file), (&with_env, &in_env), (&with_flag, &in_flag)]
    {
        let airside = Airside::start(config);
        assert_eq!(airside.ask(&version).status, 200);
        assert_eq!(expected.take().len(), 1, "{}", config.yaml());
    }
    let all = [in_file.requests(), in_env.requests(), in_flag.requests()];
    assert!(all.iter().all(Vec::is_empty), "each went to one alone");
}

#[test]
fn the_entra_flags_bend_the_entry_of_that_name() {
    let scene = Scene::with(|config| {
        config.args(&[
            "--entra-tenant",
            OTHER_TENANT,
            "--entra-audience",
            "api://one",
            "--entra-audience",
            "api://two",
        ])
    });
    let theirs = v2_app().with("iss", v2_issuer(OTHER_TENANT)).with("tid", OTHER_TENANT);
    for audience in ["api://one", "api://two"] {
        assert_eq!(scene.present(&theirs.clone().with("aud", audience).token()).status, 200);
    }
    assert_refused(&scene.present(&theirs.token()), 401, "audience_mismatch");
    assert_refused(&scene.present(&v2_app().token()), 401, "issuer_unknown");
}

#[test]
fn lists_of_the_environment_are_separated_by_commas() {
    let scene = Scene::with(|config| {
        config
            .env("AIRSIDE_ENTRA_AUDIENCE", "api://one,api://two")
            .env("AIRSIDE_ROLE", "Seen=Viewer,Trusted=Admin")
    });
    for (role, expected) in [("Seen", "Viewer"), ("Trusted", "Admin")] {
        let token = v2_app().with("aud", "api://two").roles(&[role]).token();
        let received = scene.forwarded(&Request::get("/api/v2/dags").bearer(&token));
        assert_eq!(received.header("x-airside-roles"), Some(expected));
    }
    // Lists replace: the map of the file is gone.
    let token = v2_app().with("aud", "api://one").token();
    assert_refused(&scene.present(&token), 403, "role_missing");
}

#[test]
fn roles_may_be_given_as_flags() {
    let scene = Scene::with(|config| config.args(&["--role", "A=Viewer", "--role", "B=Op"]));
    let token = v2_app().roles(&["A", "B"]).token();
    let received = scene.forwarded(&Request::get("/api/v2/dags").bearer(&token));
    assert_eq!(received.header("x-airside-user"), Some(APP));
    assert_eq!(received.header("x-airside-roles"), Some("Op"));
    assert_refused(&scene.present(&v2_app().token()), 403, "role_missing");
}

#[test]
fn the_log_flags_work() {
    let config = sound().set("/log/format", "json").env("AIRSIDE_LOG_FORMAT", "text");
    let airside = Airside::start(&config);
    assert!(airside.log().contains("listening listener=proxy address="), "{}", airside.log());
    let airside = Airside::start(&config.args(&["--log-format", "json", "--log-level", "error"]));
    assert!(airside.log().lines().all(|line| line.starts_with('{')), "{}", airside.log());
}

#[test]
fn the_variables_that_such_deployments_have_name_the_issuer_of_last_resort() {
    // Keys of the real address are asked for by way of a proxy that gives none.
    let asked = Arc::new(Mutex::new(Vec::new()));
    let proxy = Listener::start({
        let asked = Arc::clone(&asked);
        move |stream| {
            if let Ok(head) = Reader::new(stream).head() {
                asked.lock().unwrap().push(head.first);
            }
        }
    });
    let upstream = Upstream::start();
    let through = format!("http://{}", proxy.address());
    let aad = |config: Config| {
        config
            .env("AAD_TENANT_ID", TENANT)
            .env("AAD_CLIENT_ID", CLIENT_ID)
            .env("HTTPS_PROXY", &through)
            .env("https_proxy", &through)
    };
    let config = Config::new("http://127.0.0.1:1", &upstream.url());
    let secret = secret_file(&config);
    let airside = Airside::start(&aad(config.clone().without("/issuers")));
    let answer = airside.ask(&Request::get("/api/v2/dags").bearer(&v2_app().token()));
    assert_refused(&answer, 503, "keys_unavailable");
    let all_asked = asked.lock().unwrap().clone();
    for line in &all_asked {
        assert!(line.starts_with("CONNECT login.microsoftonline.com:443"), "{line}");
    }

    // An issuer of the file or of a flag is enough for them to be left alone.
    let only_airflow = config.set(
        "/issuers",
        json!([
            {"name": "airflow", "type": "airflow", "secret_file": secret},
        ]),
    );
    let airside = Airside::start(&aad(only_airflow));
    let answer = airside.ask(&Request::get("/api/v2/dags").bearer(&v2_app().token()));
    assert_refused(&answer, 401, "issuer_unknown");
}

#[test]
fn no_issuer_or_no_upstream_is_a_wrong_configuration() {
    let folder = sound();
    let secret = secret_file(&folder);
    let listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    for more in [
        &[][..],
        &["--upstream", "http://127.0.0.1:1"],
        &["--airflow-jwt-secret-file", &secret],
        &["--upstream", "http://127.0.0.1:1", "--entra-tenant", TENANT],
        &["--upstream", "http://127.0.0.1:1", "--entra-client-id", CLIENT_ID],
    ] {
        let args = [&["serve"], &listen[..], more].concat();
        let ended = Airside::run(&args, &[]);
        assert_eq!(ended.code, Some(78), "{more:?}: {}", ended.log());
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{}", ended.log());
    }
}

#[test]
fn wrong_usage_is_told_apart() {
    for args in [
        &["serve", "--no-such-flag"][..],
        &["no-such-command"],
        &["serve", "--listen"],
        &["serve", "surplus"],
        &[],
    ] {
        let ended = Airside::run(args, &[]);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.log());
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{}", ended.log());
    }
}

#[test]
fn version_and_help_are_no_failure() {
    let ended = Airside::run(&["--version"], &[]);
    assert_eq!(ended.code, Some(0));
    assert!(ended.stdout.contains(env!("CARGO_PKG_VERSION")), "{}", ended.stdout);
    let ended = Airside::run(&["serve", "--help"], &[]);
    assert_eq!(ended.code, Some(0));
    for flag in [
        "--config",
        "--listen",
        "--admin-listen",
        "--upstream",
        "--entra-tenant",
        "--entra-client-id",
        "--entra-audience",
        "--airflow-jwt-secret-file",
        "--role",
        "--log-format",
        "--log-level",
    ] {
        assert!(ended.stdout.contains(flag), "{flag} in {}", ended.stdout);
    }
}

/// A configuration without a problem, whose issuer and upstream are never asked.
fn sound() -> Config {
    Config::new("http://127.0.0.1:1", "http://127.0.0.1:1")
}

/// Runs `serve` with a configuration that must be refused as such.
fn refused(config: &Config) -> Ended {
    as_configuration(Airside::fails(config))
}

/// The same with a text in the place of the file.
fn refused_text(config: &Config, text: &str) -> Ended {
    let file = config.file("given.yaml", text).display().to_string();
    as_configuration(Airside::run(&["serve", "-c", &file], &[]))
}

fn as_configuration(ended: Ended) -> Ended {
    assert_eq!(ended.code, Some(78), "{}", ended.log());
    assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    ended
}

/// The hand-off signed by a private key in this file.
fn key_of_ours(file: &str) -> Config {
    sound().without("/handoff/secret_file").set("/handoff/private_key_file", file)
}

fn secret_file(config: &Config) -> String {
    config.folder().join("airflow.secret").display().to_string()
}

fn entra_entry() -> Value {
    json!({
        "name": "entra", "type": "entra", "tenant": TENANT, "client_id": CLIENT_ID,
        "authority": "http://127.0.0.1:1",
    })
}

fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn spans_that_cannot_be_meant_are_refused() {
    for (key, value) in [
        ("/drain/delay", "18446744073709551615s"),
        ("/upstream/idle_timeout", "18446744073709551615s"),
        ("/upstream/connect_timeout", "0s"),
        ("/keys/refresh", "0s"),
        ("/limits/header_timeout", "0s"),
    ] {
        let ended = Airside::fails(&sound().set(key, value));
        assert_eq!(ended.code, Some(78), "{key}: {}", ended.log());
        let named = key.trim_start_matches('/').replace('/', ".");
        assert!(ended.stderr.contains(&named), "{key}: {}", ended.stderr);
    }
}

/// What a variable leaves that somebody forgot, or a comma too many: a token could bear it.
#[test]
fn an_empty_text_is_no_name() {
    for (key, value) in [
        ("/issuers/0/audiences", json!(["api://one", ""])),
        ("/issuers/0/clients", json!([""])),
        ("/issuers/0/roles", json!({"": ["Op"]})),
        ("/issuers/1/audiences", json!([""])),
        ("/roles/map", json!({"": ["Viewer"]})),
    ] {
        let ended = refused(&sound().set(key, value));
        let named = key.trim_start_matches('/').replace("/0", "[0]").replace("/1", "[1]");
        assert!(ended.stderr.contains(&named.replace('/', ".")), "{key}: {}", ended.stderr);
    }
    let ended = refused(&sound().env("AIRSIDE_ENTRA_AUDIENCE", "api://one,"));
    assert!(ended.stderr.contains("AIRSIDE_ENTRA_AUDIENCE"), "{}", ended.stderr);
}

#[test]
fn the_folder_for_keys_may_be_a_flag_or_a_variable() {
    for by_flag in [true, false] {
        let (issuer, upstream) = (Issuer::start(), Upstream::start());
        let config = Config::new(&issuer.url(), &upstream.url());
        let folder = config.folder().join("keys").display().to_string();
        let config = if by_flag {
            config.args(&["--keys-cache-dir", &folder])
        } else {
            config.env("AIRSIDE_KEYS_CACHE_DIR", &folder)
        };
        let airside = Airside::start(&config);
        let kept = || std::fs::read_dir(&folder).unwrap().count();
        eventually("keys are kept", || (kept() == 1).then_some(()));
        drop(airside);
    }
}
