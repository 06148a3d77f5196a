//! `airside dev` and `airside token`: what is printed works as printed.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::http::Request;
use crate::support::upstream::Upstream;
use crate::support::wait::eventually;

struct Dev {
    airside: Airside,
    state: String,
    folder: tempfile::TempDir,
}

impl Dev {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.json").to_str().unwrap().to_owned();
        let args = [
            "dev",
            "--listen",
            "127.0.0.1:0",
            "--issuer-listen",
            "127.0.0.1:0",
            "--child-listen",
            "127.0.0.1:0",
            "--state",
            &state,
        ];
        let airside = Airside::launch(&[&args, more].concat(), &[]);
        eventually("the state is published", || Path::new(&state).exists().then_some(()));
        airside.wait_until_ready();
        Self { airside, state, folder }
    }

    fn token(&self, more: &[&str]) -> String {
        let ended = Airside::run(&[&["token", "--state", &self.state], more].concat(), &[]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout.trim_end().to_owned()
    }

    fn status(&self, request: Request, token: &str) -> u16 {
        self.airside.ask(&request.bearer(token)).status
    }
}

#[test]
fn the_printed_commands_answer_as_printed() {
    let dev = Dev::start(&[]);
    let printed = eventually("the commands are printed", || {
        let log = dev.airside.log();
        log.contains("# nobody").then(|| log.lines().map(str::to_owned).collect::<Vec<_>>())
    });
    let commands: Vec<&String> =
        printed.iter().filter(|line| line.trim_start().starts_with("curl")).collect();
    assert_eq!(commands.len(), 4, "{printed:?}");
    for (command, expected) in commands.iter().zip(["200", "403", "403", "401"]) {
        let ran = Command::new("sh").args(["-c", command]).output().unwrap();
        let answer = String::from_utf8_lossy(&ran.stdout).into_owned();
        let first = answer.lines().next().unwrap_or_default();
        assert!(first.contains(expected), "{command}\n{answer}");
    }
}

#[test]
fn the_run_explains_its_tokens_by_the_printed_command() {
    let dev = Dev::start(&["--role", "readers=Viewer"]);
    let line = eventually("the command is printed", || {
        dev.airside.log().lines().find(|line| line.contains(" explain -c ")).map(str::to_owned)
    });
    let explain = |line: &str| {
        let ran = Command::new("sh").args(["-c", line]).output().unwrap();
        (ran.status.code(), String::from_utf8_lossy(&ran.stdout).into_owned())
    };
    let (code, said) = explain(&line);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("user_without_role"), "{said}");
    let (code, said) = explain(&line.replace("--user mallory", "--role readers --user victor"));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("as Viewer"), "{said}");
    let written = std::fs::read_to_string(format!("{}.yaml", dev.state)).unwrap();
    let handoff = std::fs::read_to_string(format!("{}.secret", dev.state)).unwrap();
    let state: Value = serde_json::from_slice(&std::fs::read(&dev.state).unwrap()).unwrap();
    for secret in [&*handoff, state["mint_secret"].as_str().unwrap()] {
        assert!(!written.contains(secret), "a secret is in the configuration");
    }
}

#[test]
fn a_token_has_the_roles_the_caller_and_the_claims_asked_for() {
    let dev = Dev::start(&[]);
    let post = || {
        let body = br#"{"key": "k", "value": "v"}"#;
        Request::post("/api/v2/variables").header("Content-Type", "application/json").body(body)
    };
    for (args, expected) in [
        (&["--role", "Op", "--app"][..], 201),
        (&["--role", "Op", "--user", "alice"], 201),
        (&["--role", "Viewer", "--role", "Admin"], 201),
        (&["--role", "User"], 403),
        (&["--role", "Op", "--set", r#"aud="api://somebody-else""#], 401),
        (&["--role", "Op", "--set", "exp=1"], 401),
        (&["--role", "Op", "--set", "roles=null"], 403),
    ] {
        assert_eq!(dev.status(post(), &dev.token(args)), expected, "{args:?}");
    }
}

#[test]
fn airside_fetches_the_keys_over_tls_where_the_authority_is_trusted() {
    let dev = Dev::start(&[]);
    let state: Value = serde_json::from_slice(&std::fs::read(&dev.state).unwrap()).unwrap();
    let upstream = Upstream::start();
    let config = Config::new(state["issuer_tls"].as_str().unwrap(), &upstream.url())
        .set("/roles/map", json!({"Op": ["Op"]}));
    let token = dev.token(&["--role", "Op"]);
    let status = |airside: &Airside| airside.ask(&Request::get("/api/v2/dags").bearer(&token));

    let trusting = config.clone().set("/issuers/0/ca_file", state["ca_file"].clone());
    assert_eq!(status(&Airside::start(&trusting)).status, 200);

    let airside = Airside::start_unready(&config);
    airside.line_with(&["invalid peer certificate"]);
    assert_eq!(status(&airside).json()["reason"], "keys_unavailable");
}

#[test]
fn without_a_running_dev_there_is_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("none.json");
    let ended = Airside::run(&["token", "--state", state.to_str().unwrap()], &[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.is_empty() && ended.stderr.contains("airside dev"), "{}", ended.stderr);
}

#[test]
fn dev_serves_this_machine_only() {
    for args in [
        &["dev", "--listen", "0.0.0.0:0"][..],
        &["dev", "--issuer-listen", "0.0.0.0:0"],
        &["dev", "--issuer-tls-listen", "0.0.0.0:0"],
        &["dev", "--upstream", "http://airflow.example:8080"],
    ] {
        let ended = Airside::run(args, &[]);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn the_end_leaves_no_secret_behind() {
    let dev = Dev::start(&[]);
    let (airside, folder) = (dev.airside, dev.folder);
    assert_eq!(airside.finish().code, Some(0));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_command_gets_what_it_needs_to_sit_behind_and_ends_with_dev() {
    let script = "echo child:$AIRFLOW__API__HOST:${#AIRFLOW__API_AUTH__JWT_SECRET}; exec sleep 600";
    let dev = Dev::start(&["--", "/bin/sh", "-c", script]);
    dev.airside.line_with(&["child:127.0.0.1:86"]);
    assert_eq!(dev.airside.finish().code, Some(0));
}
