//! The commands around `serve`: `config`, `schema`, `completions`, `healthcheck`, `drain`.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::airside::{Airside, Ended};
use crate::support::config::{Config, SECRET};
use crate::support::entra::{CLIENT_ID, TENANT};
use crate::support::expect::Verdicts;
use crate::support::issuer::Issuer;
use crate::support::scene::Scene;
use crate::support::wait::eventually;

#[test]
fn the_help_lists_commands_in_the_order_in_which_they_are_met() {
    let ended = Airside::run(&["--help"], &[]);
    let listed = ended.stdout.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let listed: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    let expected = [
        "serve",
        "dev",
        "token",
        "check",
        "config",
        "explain",
        "schema",
        "completions",
        "healthcheck",
        "drain",
        "help",
    ];
    assert_eq!(listed, expected, "{}", ended.stdout);
}

fn healthcheck(args: &[&str], env: &[(&str, &str)]) -> Ended {
    let env: Vec<_> =
        env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Airside::run(&[&["healthcheck"], args].concat(), &env)
}

#[test]
fn a_ready_airside_is_healthy_however_it_is_named() {
    let scene = Scene::start();
    let address = scene.airside.admin.to_string();
    let url = format!("http://{address}");
    let config = Config::new("http://127.0.0.1:1", "http://127.0.0.1:1");
    // Secrets that the healthcheck may not read are none of its business.
    let config = config.set("/handoff/secret_file", "/nowhere").set("/admin/listen", &*address);
    let file = config.file("airside.yaml", &config.yaml()).display().to_string();
    let mut verdicts = Verdicts::default();
    for (args, env) in [
        (vec!["--url", &*url], vec![]),
        (vec!["--admin-listen", &address], vec![]),
        (vec![], vec![("AIRSIDE_ADMIN_LISTEN", &*address)]),
        (vec![], vec![("AIRSIDE_ADMIN_LISTEN", &address.replace("127.0.0.1", "0.0.0.0"))]),
        (vec!["-c", &file], vec![]),
        (vec![], vec![("AIRSIDE_CONFIG", &*file)]),
        (
            vec!["--url", &url],
            vec![("HTTP_PROXY", "http://127.0.0.1:1"), ("http_proxy", "http://127.0.0.1:1")],
        ),
    ] {
        let ended = healthcheck(&args, &env);
        let label = format!("{args:?} {env:?}");
        verdicts.check(&label, ended.code == Some(0), (ended.code, ended.log()));
        verdicts.check(&label, ended.log().is_empty(), ended.log());
    }
}

#[test]
fn who_is_not_ready_or_not_there_is_not_healthy() {
    let config = Config::new(&Issuer::down().url(), "http://127.0.0.1:1");
    let airside = Airside::start_unready(&config.set("/admin/ready_needs_keys", true));
    let not_ready = format!("http://{}", airside.admin);
    let mut verdicts = Verdicts::default();
    for (args, code, word) in [
        (&["--url", &*not_ready][..], 1, "503"),
        (&["--url", "http://127.0.0.1:1"], 1, "refused"),
        (&["--url", &format!("{not_ready}/nothing")], 1, "404"),
        (&["-c", "/nowhere.yaml"], 78, "/nowhere.yaml"),
        (&["--admin-listen", "nonsense"], 78, "nonsense"),
        (&["--admin-listen", "127.0.0.1:0"], 78, "--url"),
    ] {
        let ended = healthcheck(args, &[]);
        verdicts.check(word, ended.code == Some(code), (ended.code, ended.log()));
        verdicts.check(word, ended.stderr.contains(word), &ended.stderr);
    }
    let ended = healthcheck(&["--url", "ftp://x"], &[]);
    verdicts.check("usage", ended.code == Some(2), (ended.code, ended.log()));
}

#[test]
fn only_an_airside_is_asked_to_drain() {
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    let number = stranger.id().to_string();
    let mut verdicts = Verdicts::default();
    for (args, code, word) in [
        (vec!["drain", "--pid", &number], 1, "expected airside: say with --pid"),
        (vec!["drain"], 1, "--pid"),
        (vec!["drain", "--pid", "4194305"], 1, "cannot be looked at"),
        (vec!["drain", "--pid", "0"], 2, "expected the number of a process"),
        (vec!["drain", "--pid", "airside"], 2, "expected the number of a process"),
    ] {
        let ended = Airside::run(&args, &[]);
        let label = args.join(" ");
        verdicts.check(&label, ended.code == Some(code), (ended.code, ended.log()));
        verdicts.check(&label, ended.stderr.contains(word), &ended.stderr);
    }
    let alive = stranger.try_wait().unwrap().is_none();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(alive, "whoever is no airside is left alone");
}

#[test]
fn an_airside_that_does_not_wait_for_the_signal_is_not_ended_by_it() {
    // It reads a token to explain, and knows no SIGUSR1.
    let mut other = Command::new(env!("CARGO_BIN_EXE_airside"))
        .args(["explain", "--entra-tenant", TENANT, "--entra-client-id", CLIENT_ID])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // Until it runs its own program it has the name of this one.
    let number = other.id().to_string();
    let name = || std::fs::read_to_string(format!("/proc/{number}/comm")).unwrap();
    eventually("it has begun", || (name() == "airside\n").then_some(()));
    let ended = Airside::run(&["drain", "--pid", &number], &[]);
    let alive = other.try_wait().unwrap().is_none();
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(ended.code, Some(1), "{}", ended.log());
    assert!(ended.stderr.contains("does not wait for SIGUSR1"), "{}", ended.stderr);
    assert!(alive, "it is left alone");
}

#[test]
fn each_shell_gets_completions() {
    for (shell, word) in
        [("bash", "_airside"), ("zsh", "#compdef airside"), ("fish", "complete -c airside")]
    {
        let ended = Airside::run(&["completions", shell], &[]);
        assert_eq!(ended.code, Some(0), "{}", ended.log());
        assert!(ended.stdout.contains(word) && ended.stdout.contains("healthcheck"), "{shell}");
    }
    assert_eq!(Airside::run(&["completions", "cmd"], &[]).code, Some(2));
}

#[test]
fn the_schema_is_the_one_beside_the_examples() {
    let ended = Airside::run(&["schema"], &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/airside.schema.json");
    assert!(ended.stdout == fs::read_to_string(shipped).unwrap(), "write it anew: airside schema");
    let schema: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
}

#[test]
fn the_settings_in_effect_are_a_configuration_that_gives_the_same() {
    let config = Config::new("http://127.0.0.1:1", "http://127.0.0.1:1")
        .set("/listen", "127.0.0.1:8080")
        .set("/handoff/issuer", "$${literally} ${NAME}")
        .env("NAME", "contoso")
        .env("AIRSIDE_ENTRA_AUDIENCE", "api://one,api://two")
        .env("AIRSIDE_UPSTREAM", "http://127.0.0.1:2")
        .args(&["--role", "X=Op", "--role", "X=Viewer", "--log-format", "json"]);
    let mut line = config.command_line();
    line[0] = "config".to_owned();
    let args: Vec<&str> = line.iter().map(String::as_str).collect();
    let once = Airside::run(&args, config.environment());
    assert_eq!(once.code, Some(0), "{}", once.log());
    for (setting, origin) in [
        ("listen: \"127.0.0.1:8080\"", "airside.yaml:1"),
        ("  url: \"http://127.0.0.1:2\"", "AIRSIDE_UPSTREAM"),
        ("    audiences: [\"api://one\", \"api://two\"]", "AIRSIDE_ENTRA_AUDIENCE"),
        ("    X: [Op, Viewer]", "--role"),
        ("  issuer: \"$${literally} contoso\"", "airside.yaml:"),
        ("leeway: \"60s\"", "default"),
        ("  format: json", "--log-format"),
    ] {
        let said = |line: &str| {
            let rest = line.strip_prefix(setting);
            rest.and_then(|rest| rest.split_once("  # "))
                .is_some_and(|(_, told)| told.contains(origin))
        };
        assert!(once.stdout.lines().any(said), "{setting} of {origin} in\n{}", once.stdout);
    }
    let again = config.file("effective.yaml", &once.stdout).display().to_string();
    let twice = Airside::run(&["config", "-c", &again], &[]);
    assert_eq!(twice.code, Some(0), "{}", twice.log());
    let settings = |ended: &Ended| -> Vec<String> {
        let setting = |line: &str| line.rsplit_once("  # ").unwrap().0.trim_end().to_owned();
        ended.stdout.lines().map(setting).collect()
    };
    assert_eq!(settings(&once), settings(&twice));
    assert!(!once.log().contains(&SECRET[..16]), "no secret is shown: {}", once.log());
}

#[test]
fn the_settings_of_a_wrong_configuration_are_its_problems() {
    let config = Config::new("http://127.0.0.1:1", "http://127.0.0.1:1").set("/leeway", "soon");
    let file = config.file("airside.yaml", &config.yaml()).display().to_string();
    let ended = Airside::run(&["config", "-c", &file], &[]);
    assert_eq!(ended.code, Some(78), "{}", ended.log());
    assert!(ended.stdout.is_empty() && ended.stderr.contains("leeway"), "{}", ended.log());
}
