//! Tokens that verify and are refused all the same: the list, and its changes while airside runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::support::airflow;
use crate::support::airside::{Airside, Ended};
use crate::support::config::Config;
use crate::support::entra::{APP, CALLER, USER, now, v1_app, v2_app, v2_user};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Request, Response};
use crate::support::issuer::Issuer;
use crate::support::keys::SigningKey;
use crate::support::scene::Scene;
use crate::support::upstream::Upstream;
use crate::support::wait::{eventually, within};

#[test]
fn each_kind_of_entry_refuses_the_tokens_that_it_names_and_no_others() {
    let bystander = v2_user().with("uti", "another").token();
    let header = SigningKey::shared().header();
    let kid = header["kid"].as_str().unwrap();
    let app = v2_app().token();
    let mut verdicts = Verdicts::default();
    for (entry, revoked, spared) in [
        (json!({"jti": "hxSFYGb9nkqj"}), app.clone(), bystander.clone()),
        (json!({"jti": "j-1"}), v2_app().with("jti", "j-1").token(), app.clone()),
        (json!({"subject": APP}), app.clone(), bystander.clone()),
        (json!({"subject": USER}), v2_user().token(), app.clone()),
        (json!({"subject": "pairwise-of-alice"}), v2_user().token(), app.clone()),
        (json!({"client": CALLER}), app.clone(), airflow::token()),
        (json!({"client": CALLER}), v1_app().token(), airflow::token()),
        (json!({"kid": kid}), app.clone(), airflow::token()),
        (json!({"jti": "0123456789abcdef0123456789abcdef"}), airflow::token(), app.clone()),
        (json!({"subject": "admin", "issuer": "airflow"}), airflow::token(), app.clone()),
        (json!({"subject": APP, "until": now() + 600, "reason": "left"}), app.clone(), bystander),
        (json!({"jti": "hxSFYGb9nkqj", "issuer": "entra"}), app.clone(), airflow::token()),
    ] {
        let scene = Scene::with(|config| listing(config, &json!([entry]).to_string()));
        let label = entry.to_string();
        verdicts.refused(&label, &scene.present(&revoked), 401, &["token_revoked"]);
        let answer = scene.present(&spared);
        verdicts.check(&label, answer.status == 200, answer.text());
        verdicts.check(&label, scene.upstream.take().len() == 1, "what is revoked goes nowhere");
    }
}

#[test]
fn an_entry_about_another_issuer_or_another_time_refuses_nothing() {
    let mut verdicts = Verdicts::default();
    for entry in [
        json!({"subject": APP, "issuer": "airflow"}),
        json!({"subject": APP, "until": now() - 1}),
        json!({"subject": APP, "until": "2020-01-01T00:00:00Z"}),
        json!({"subject": APP.to_uppercase()}),
        json!({"jti": APP}),
    ] {
        let scene = Scene::with(|config| listing(config, &json!([entry]).to_string()));
        let answer = scene.present(&v2_app().token());
        verdicts.check(&entry.to_string(), answer.status == 200, answer.text());
    }
}

#[test]
fn an_entry_that_runs_out_lets_its_token_in_again() {
    let (scene, file) = watching("[]");
    let token = v2_app().token();
    // As long as a change may take to be in force, and a little more.
    fs::write(&file, json!([{"subject": APP, "until": now() + 7}]).to_string()).unwrap();
    assert_refused(&soon(|| refused(&scene, &token)), 401, "token_revoked");
    eventually("the entry has run out", || (scene.present(&token).status == 200).then_some(()));
}

#[test]
fn revocation_is_said_after_the_times_and_before_client_and_roles() {
    let scene = Scene::with(|config| {
        listing(config, &json!([{"client": CALLER}]).to_string())
            .set("/issuers/0/clients", json!(["somebody-else"]))
    });
    let expired = v2_app().with("exp", now() - 3600);
    assert_refused(&scene.present(&expired.token()), 401, "token_expired");
    assert_refused(&scene.present(&v2_app().token()), 401, "token_revoked");
    let without_role = v2_app().without("roles");
    assert_refused(&scene.present(&without_role.token()), 401, "token_revoked");
}

#[test]
fn a_caller_in_use_is_refused_within_five_seconds_and_let_in_again_when_lifted() {
    let (scene, file) = watching("[]");
    let (app, user) = (v2_app().token(), v2_user().with("uti", "another").token());
    for _ in 0..3 {
        assert_eq!(scene.present(&app).status, 200);
    }
    assert_eq!(scene.present(&user).status, 200);

    fs::write(&file, "- subject: aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb\n  reason: left\n").unwrap();
    let refused = soon(|| refused(&scene, &app));
    assert_refused(&refused, 401, "token_revoked");
    assert_eq!(scene.present(&user).status, 200, "nobody else");
    let text = refused.text();
    assert!(!text.contains("left"), "the reason is for the log alone: {text}");
    let line = scene.airside.line_with(&["token_revoked", "left"]);
    assert!(line.contains("subject") && line.contains("line 1"), "{line}");

    fs::write(&file, "[]\n").unwrap();
    soon(|| (scene.present(&app).status == 200).then_some(()));
    let metrics = metrics(&scene);
    assert!(metrics.contains("airside_revocation_reloads_total{outcome=\"loaded\"} 2"));
    assert!(metrics.contains("airside_revocation_entries 0"));
    assert!(metrics.contains("reason=\"token_revoked\""));
}

#[test]
fn a_broken_file_keeps_the_list_and_says_what_is_wrong_once() {
    let (scene, file) = watching("[{client: nobody}]");
    let token = v2_app().token();
    assert_eq!(scene.present(&token).status, 200);
    fs::write(&file, format!("- subject: {APP}\n- subjct: {USER}\n")).unwrap();
    let line = scene.airside.line_with(&["WARN", "revocation", "line 2, column 11"]);
    assert!(line.contains("subjct") && line.contains("revoked.yaml"), "{line}");
    assert_eq!(scene.present(&token).status, 200, "no part of a broken file counts");
    let counted = metrics(&scene);
    assert!(counted.contains("airside_revocation_entries 1"), "{counted}");
    assert!(counted.contains("airside_revocation_reloads_total{outcome=\"rejected\"} 1"));

    fs::remove_file(&file).unwrap();
    scene.airside.line_with(&["WARN", "revocation", "cannot be read"]);
    fs::write(&file, format!("- subject: {APP}\n")).unwrap();
    soon(|| refused(&scene, &token));
    let log = scene.finish().log();
    assert_eq!(log.matches("revocation list is wrong").count(), 1, "{log}");
    assert_eq!(log.matches("revocation list cannot be read").count(), 1, "{log}");
}

#[test]
fn a_file_that_vanishes_keeps_its_list() {
    let (scene, file) = watching(&json!([{"subject": APP}]).to_string());
    fs::remove_file(&file).unwrap();
    scene.airside.line_with(&["WARN", "revocation", "cannot be read"]);
    assert_refused(&scene.present(&v2_app().token()), 401, "token_revoked");
    assert!(metrics(&scene).contains("airside_revocation_reloads_total{outcome=\"unreadable\"} 1"));
}

#[test]
fn a_volume_of_kubernetes_that_swaps_its_link_is_followed() {
    let mounted = tempfile::tempdir().unwrap();
    let (folder, token) = (mounted.path(), v2_app().token());
    swap_in(folder, "..2026_01", "[]");
    symlink("..data/revoked.yaml", folder.join("revoked.yaml")).unwrap();
    let file = folder.join("revoked.yaml").display().to_string();
    let scene = Scene::with(|config| config.set("/revocation/file", file));
    assert_eq!(scene.present(&token).status, 200);
    swap_in(folder, "..2026_02", &json!([{"client": CALLER}]).to_string());
    assert_refused(&soon(|| refused(&scene, &token)), 401, "token_revoked");
}

#[test]
fn a_revoked_token_of_airflow_is_taken_off_open_paths_too() {
    let list = json!([{"issuer": "airflow", "subject": "admin"}]).to_string();
    let scene = Scene::with(|config| listing(config, &list));
    let request = Request::get("/api/v2/version").bearer(&airflow::token());
    assert_eq!(scene.forwarded(&request).head.header("authorization"), None);
}

#[test]
fn a_wrong_file_at_the_start_is_a_problem_with_its_place() {
    let mut verdicts = Verdicts::default();
    for (text, words) in [
        ("- jti: a\n- jit: b\n", &["line 2, column 8", "jit"][..]),
        ("- issuer: entraa\n  jti: b\n", &["line 1, column 11", "entraa"]),
        ("- jti: a\n  until: soon\n", &["line 2, column 10", "soon"]),
        ("- jti: a\n  kid: b\n- reason: c\n", &["line 1, column 3", "line 3, column 3"]),
        ("jti: a\n", &["line 1"]),
        ("", &["[]"]),
    ] {
        let ended = fails(|config| listing(config, text));
        verdicts.check(text, ended.code == Some(78), (ended.code, ended.log()));
        for word in ["airside.yaml:", "revocation.file", "revoked.yaml"].iter().chain(words) {
            verdicts.check(text, ended.stderr.contains(word), (word, &ended.stderr));
        }
    }
    let missing = fails(|config| config.set("/revocation/file", "/nowhere/revoked.yaml"));
    verdicts.check("missing", missing.code == Some(78), (missing.code, missing.log()));
    verdicts.check("missing", missing.stderr.contains("/nowhere/revoked.yaml"), &missing.stderr);
}

/// A scene with a list in a file, and that file.
fn watching(list: &str) -> (Scene, PathBuf) {
    let mut file = PathBuf::new();
    let scene = Scene::with(|config| {
        file = config.folder().join("revoked.yaml");
        listing(config, list)
    });
    (scene, file)
}

fn listing(config: Config, list: &str) -> Config {
    let file = config.file("revoked.yaml", list).display().to_string();
    config.set("/revocation/file", file)
}

fn fails(hook: impl FnOnce(Config) -> Config) -> Ended {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    Airside::fails(&hook(Config::new(&issuer.url(), &upstream.url())))
}

/// As the kubelet does it: another folder, and `..data` renamed over to point there.
fn swap_in(folder: &Path, name: &str, list: &str) {
    fs::create_dir(folder.join(name)).unwrap();
    fs::write(folder.join(name).join("revoked.yaml"), list).unwrap();
    symlink(name, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

fn refused(scene: &Scene, token: &str) -> Option<Response> {
    let answer = scene.present(token);
    (answer.status != 200).then_some(answer)
}

/// Within the five seconds that are promised.
fn soon<T>(ask: impl FnMut() -> Option<T>) -> T {
    within(Duration::from_secs(5), ask).expect("a change is in force within five seconds")
}

fn metrics(scene: &Scene) -> String {
    scene.airside.ask_admin("/metrics").text()
}
