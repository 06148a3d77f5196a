//! docs/reference/log.md is a contract: what it lists is what is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::support::entra::{APP, v2_app};
use crate::support::expect::Verdicts;
use crate::support::http::{Connection, Request};
use crate::support::issuer::Issuer;
use crate::support::scene::Scene;
use crate::support::upstream::{Answer, Upstream};

const REFERENCE: &str = include_str!("../../docs/reference/log.md");

/// The rows of the table that begins with this heading, cells trimmed.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let (_, table) = REFERENCE.split_once(heading).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn unquoted(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

/// A field of access lines.
struct Field {
    is_number: bool,
    always: bool,
}

fn documented() -> BTreeMap<String, Field> {
    let rows = rows("| field | type |");
    let field = |row: &Vec<String>| {
        let field = Field { is_number: row[1] == "number", always: row[3] == "never" };
        (unquoted(&row[0]), field)
    };
    rows.iter().map(field).collect()
}

/// Airflow's answer to some paths never ends; a collector is named, and never there.
fn scene(format: &str) -> Scene {
    let upstream = Upstream::answering(|received| {
        if received.target() == "/api/v2/endless" {
            return Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec());
        }
        Answer::ok(&[])
    });
    Scene::of(Issuer::start(), upstream, |config| {
        let endpoint = "http://127.0.0.1:1";
        let forward_auth = json!({"listen": "127.0.0.1:0", "trusted": ["127.0.0.1"]});
        let config = config.set("/log/format", format).set("/forward_auth", forward_auth);
        config.set("/telemetry/otlp_endpoint", endpoint)
    })
}

/// What leaves a line of each kind.
fn ask_for_all(scene: &mut Scene) {
    let token = v2_app().token();
    let entry = "/api/v2/dags/etl/dagRuns/r1/taskInstances/load/xcomEntries/k";
    for request in [
        Request::get("/api/v2/dags").bearer(&token),
        Request::get("/api/v2/dags"),
        Request::get("/api/v2/version"),
        Request::get("/x/../y"),
        Request::new("DELETE", entry).bearer(&token),
        Request::post("/api/v2/variables").bearer(&v2_app().with("aud", "other").token()),
    ] {
        scene.ask(&request);
    }
    let asked = scene.airside.listener("forward_auth");
    Request::get("/airside/auth/api/v2/dags").send(asked);
    let mut leaving = Connection::open(scene.airside.proxy);
    let request = Request::get("/api/v2/endless").bearer(&token);
    leaving.send(&request.bytes(scene.airside.proxy)).unwrap();
    leaving.head().unwrap();
    drop(leaving);
    let mut broken = Connection::open(scene.airside.proxy);
    broken.send(b"GET / HTTP/1.1\r\nbroken\r\n\r\n").unwrap();
    let _any = broken.rest();
    scene.airside.line_with(&["endless"]);
    scene.airside.line_with(&["400", "request_malformed"]);
}

#[test]
fn access_lines_have_the_documented_fields_and_no_others() {
    let mut scene = scene("json");
    ask_for_all(&mut scene);
    let documented = documented();
    let (mut seen, mut verdicts) = (BTreeSet::new(), Verdicts::default());
    for line in scene.finish().stdout.lines() {
        let line: Map<String, Value> = serde_json::from_str(line).unwrap();
        if line["message"] != "access" {
            continue;
        }
        for (name, field) in &documented {
            match line.get(name).filter(|value| !value.is_null()) {
                Some(value) if field.is_number => verdicts.check(name, value.is_number(), &line),
                Some(value) => verdicts.check(name, value.is_string(), &line),
                None => verdicts.check(name, !field.always, &line),
            }
        }
        seen.extend(line.keys().cloned());
    }
    let documented: BTreeSet<String> = documented.into_keys().collect();
    assert_eq!(seen, documented);
}

#[test]
fn a_line_in_text_has_the_fields_of_the_one_in_json() {
    let mut scene = scene("text");
    ask_for_all(&mut scene);
    let documented = documented();
    let mut seen = BTreeSet::from(["timestamp".to_owned(), "message".to_owned()]);
    for line in scene.finish().stdout.lines().filter(|line| line.contains("Z access ")) {
        let unquoted: String = line.replace("\\\"", "").split('"').step_by(2).collect();
        let names = unquoted.split(' ').skip(2).filter_map(|word| word.split_once('='));
        seen.extend(names.map(|(name, _)| name.to_owned()));
    }
    assert_eq!(seen, documented.into_keys().collect());
}

#[test]
fn a_line_says_who_did_what_to_which_dag() {
    let scene = Scene::with(|config| config.set("/log/format", "json"));
    let (token, weak) = (v2_app().token(), v2_app().roles(&[]).token());
    let run = "/api/v2/dags/etl%20daily/dagRuns/manual__2026-01-01T00:00:00%2B00:00";
    let browser = Request::post("/api/v2/dags/etl/dagRuns").cookie("session=x");
    for (request, expected) in [
        (
            Request::post("/api/v2/dags/etl/dagRuns").bearer(&token),
            json!({"action": "trigger_dag_run", "dag_id": "etl", "principal": APP, "status": 200}),
        ),
        (
            Request::post("/api/v2/dags/etl/dagRuns").bearer(&weak),
            json!({
                "action": "trigger_dag_run", "dag_id": "etl", "principal": APP, "status": 403,
                "reason": "role_missing",
            }),
        ),
        (
            browser,
            json!({"action": "trigger_dag_run", "dag_id": "etl", "principal": null, "status": 200}),
        ),
        (
            Request::new("PATCH", &format!("{run}/taskInstances/load")).bearer(&token),
            json!({
                "action": "patch_task_instance", "dag_id": "etl daily",
                "run_id": "manual__2026-01-01T00:00:00+00:00", "task_id": "load",
                "principal": APP,
            }),
        ),
        (
            Request::new("DELETE", "/api/v2/variables/a%2Fb%22%0a?x=1").bearer(&token),
            json!({"reason": "path_ambiguous", "action": null, "object": null}),
        ),
        (
            Request::new("DELETE", "/api/v2/variables/a%2Fb%22").bearer(&token),
            json!({"action": "delete_variable", "object": "a/b\"", "dag_id": null}),
        ),
        (
            Request::new("DELETE", &format!("/api/v2/variables/{}", "x".repeat(3000)))
                .bearer(&token),
            json!({"action": "delete_variable", "object": format!("{}…", "x".repeat(1024))}),
        ),
        (
            Request::new("PUT", "/plugin/x").bearer(&token),
            json!({"action": "other", "principal": APP, "path": "/plugin/x"}),
        ),
        (
            Request::get("/api/v2/dags/etl/dagRuns").bearer(&token),
            json!({"action": null, "dag_id": null, "principal": APP}),
        ),
        (
            Request::post("/execution/dags/etl/dagRuns").bearer("task"),
            json!({"action": null, "dag_id": null, "class": "execution"}),
        ),
    ] {
        let answer = scene.ask(&request);
        let id = answer.header("x-request-id").unwrap();
        let line: Value = serde_json::from_str(&scene.airside.line_with(&[id])).unwrap();
        let mut verdicts = Verdicts::default();
        for (name, value) in expected.as_object().unwrap() {
            verdicts.check(name, line[name] == *value, &line);
        }
    }
}

/// A line of the program's text.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    level: String,
    message: String,
    fields: BTreeSet<String>,
}

#[test]
fn every_line_of_level_info_or_above_is_documented() {
    let mut said: Vec<Said> = sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")))
        .iter()
        .flat_map(|file| said_in(&fs::read_to_string(file).unwrap()))
        .collect();
    let rows = rows("| level | message |");
    let mut documented: Vec<Said> = rows
        .iter()
        .filter(|row| row[0] != "any")
        .map(|row| Said {
            level: row[0].clone(),
            message: unquoted(&row[1]),
            fields: row[2].split_whitespace().map(unquoted).collect(),
        })
        .collect();
    said.sort();
    documented.sort();
    assert!(said.len() > 20, "{said:?}");
    assert_eq!(said, documented);
}

/// What `serve` is made of.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() && !entry.ends_with("src/dev") {
            found.extend(sources(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
    found
}

fn said_in(source: &str) -> Vec<Said> {
    let mut said = Vec::new();
    for (level, call) in [("INFO", "info!("), ("WARN", "warn!("), ("ERROR", "error!(")] {
        for (at, _) in source.match_indices(call) {
            let arguments = arguments(&source[at + call.len()..]);
            let (fields, message): (Vec<_>, Vec<_>) =
                arguments.iter().partition(|argument| !argument.starts_with('"'));
            // Words behind a value are left out of the table.
            let message = message[0].trim_matches('"').split(" {").next().unwrap();
            let message = message.split_once(", close to").map_or(message, |(before, _)| before);
            let name = |field: &&String| {
                let name = field.split('=').next().unwrap();
                name.trim().trim_start_matches(['%', '?']).to_owned()
            };
            let fields = fields.iter().map(name).collect();
            said.push(Said { level: level.into(), message: message.to_owned(), fields });
        }
    }
    said
}

/// What stands between the parentheses of a call, split at its commas.
fn arguments(text: &str) -> Vec<String> {
    let (mut all, mut one, mut depth, mut quoted) = (Vec::new(), String::new(), 0, false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if quoted => {
                // A line that goes on, or an escaped letter.
                letters = letters.as_str().trim_start().chars();
                continue;
            }
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => break,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                all.push(std::mem::take(&mut one).trim().to_owned());
                continue;
            }
            _ => {}
        }
        one.push(letter);
    }
    all.push(one.trim().to_owned());
    all.retain(|argument| !argument.is_empty());
    all
}
