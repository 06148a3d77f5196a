//! The command itself: how a token comes in, what goes out, and how it ends.

use serde_json::Value;

use super::{Bench, explain};
use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::entra::{CLIENT_ID, TENANT, v2_app};

#[test]
fn a_token_comes_by_argument_by_stdin_or_as_a_whole_header() {
    let bench = Bench::start();
    let token = v2_app().token();
    let header = format!("Authorization: Bearer {token}");
    let words: Vec<&str> = header.split(' ').collect();
    for args in [vec![token.as_str()], vec![header.as_str()], words] {
        assert_eq!(bench.explain(&args).code, Some(0), "{args:?}");
    }
    let line = bench.scene.airside.config().command_line();
    for (args, input) in [
        (&["explain", "-c", &line[2], "-"][..], format!("{token}\n")),
        (&["explain", "-c", &line[2]], format!("{header}\r\n")),
    ] {
        let ended = Airside::run_fed(args, &[], &input);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

#[test]
fn the_exit_code_says_what_became_of_it() {
    let bench = Bench::start();
    let token = v2_app().token();
    assert_eq!(bench.explain(&[&token]).code, Some(0));
    assert_eq!(bench.explain(&[&v2_app().roles(&[]).token()]).code, Some(3));
    assert_eq!(bench.explain(&["--request", "dags", &token]).code, Some(2));
    assert_eq!(bench.explain(&["--unheard-of", &token]).code, Some(2));
    let wrong = bench.scene.airside.config().set("/issuers/0/tenant", "common");
    let ended = explain(&wrong, &[&token]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.stderr.contains("issuers[0].tenant"), "{}", ended.stderr);
}

#[test]
fn a_newcomer_is_told_how_to_name_a_configuration() {
    let token = v2_app().token();
    let ended = Airside::run(&["explain", &token], &[]);
    assert_eq!(ended.code, Some(78));
    for words in ["-c FILE", "--entra-tenant", "--entra-client-id"] {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    // An issuer is enough: what concerns Airflow alone is not needed.
    let token = v2_app().roles(&["Op"]).token();
    let args = ["explain", "--offline", "--entra-tenant", TENANT, "--entra-client-id", CLIENT_ID];
    let ended = Airside::run(&[&args[..], &[&token]].concat(), &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let foreign = v2_app().with("aud", "https://management.azure.com").token();
    let ended = Airside::run(&[&args[..], &[&foreign]].concat(), &[]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stdout.contains("Azure Resource Manager"), "{}", ended.stdout);
}

#[test]
fn a_pipe_gets_plain_lines_and_no_colours() {
    let bench = Bench::start();
    let ended = bench.explain(&[&v2_app().with("aud", "api://another\u{1b}[31m").token()]);
    assert!(!ended.stdout.contains('\u{1b}'), "{:?}", ended.stdout);
    for line in ["would be refused: 401 audience_mismatch", "check signature: ok; 256 bytes"] {
        assert!(ended.stdout.lines().any(|found| found == line), "{line}\n{}", ended.stdout);
    }
    let last = ended.stdout.lines().last().unwrap_or_default();
    let whole =
        last.starts_with("more: ") && last.ends_with("troubleshooting.md#audience_mismatch");
    assert!(whole, "{last}");
}

#[test]
fn the_members_of_the_json_are_those_of_its_reference() {
    let bench = Bench::start();
    let (said, _) =
        bench.json(&format!("\"{}\"", v2_app().token()), &["--request", "GET /api/v2/dags"]);
    let mut printed = Vec::new();
    names(&said, "", &mut printed);
    let reference = include_str!("../../../docs/reference/explain.md");
    let rows = reference.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut documented: Vec<String> = rows.map(str::to_owned).collect();
    printed.sort();
    printed.dedup();
    documented.sort();
    assert_eq!(documented, printed);
}

fn names(value: &Value, at: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let place = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                all.push(place.clone());
                names(value, &place, all);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, &format!("{at}[]"), all)),
        _ => {}
    }
}

#[test]
fn keys_on_disk_are_enough_offline() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("keys").display().to_string();
    let bench = Bench::with(|config: Config| config.set("/keys/cache_dir", cache));
    let ended = crate::support::wait::within(crate::support::wait::DEADLINE, || {
        let ended = bench.explain(&["--offline", &v2_app().token()]);
        (ended.code == Some(0)).then_some(ended)
    });
    assert!(ended.is_some_and(|ended| ended.stdout.contains("would be let in")));
}
