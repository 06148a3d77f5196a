//! Another configuration takes the place of the one in force while airside runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::airflow;
use crate::support::airside::Airside;
use crate::support::config::{Config, SECRET};
use crate::support::entra::v2_app;
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Connection, Request};
use crate::support::issuer::Issuer;
use crate::support::keys::{SigningKey, hs512, try_open_hs512};
use crate::support::oidc;
use crate::support::scene::Scene;
use crate::support::upstream::{Received, Upstream};
use crate::support::wait::{DEADLINE, eventually, within};

const OTHER_SECRET: &str =
    "another secret of the tests only: not random either, but of sixty-four bytes and more";

/// In which whatever has changed is noticed, for what must not change.
const LOOKS: Duration = Duration::from_millis(3500);

#[test]
fn a_role_map_that_a_volume_of_kubernetes_swaps_in_is_in_force_within_five_seconds() {
    let (issuer, upstream, mounted) = (Issuer::start(), Upstream::start(), tempfile::tempdir());
    let mounted = mounted.unwrap();
    let config = Config::new(&issuer.url(), &upstream.url());
    swap_in(mounted.path(), "..1", &[("airside.yaml", &config.yaml())]);
    let airside = serve_from(mounted.path());
    let request = Request::get("/api/v2/dags").bearer(&v2_app().token());
    assert_eq!(airside.ask(&request).status, 200);
    assert_eq!(role_upstream(&upstream), "op");
    let other = config.set("/roles/map", json!({"Airflow.Op": ["Viewer"]}));
    swap_in(mounted.path(), "..2", &[("airside.yaml", &other.yaml())]);
    let taken_up = within(Duration::from_secs(5), || {
        assert_eq!(airside.ask(&request).status, 200);
        (role_upstream(&upstream) == "viewer").then_some(())
    });
    taken_up.expect("in force within five seconds, for a token that was remembered too");
    airside.line_with(&["INFO", "configuration read again and in force", "generation=2"]);
    let other = other.set("/roles/map", json!({"Airflow.Admin": ["Admin"]}));
    swap_in(mounted.path(), "..3", &[("airside.yaml", &other.yaml())]);
    let refused = eventually("the role is gone", || {
        let answer = airside.ask(&request);
        (answer.status != 200).then_some(answer)
    });
    assert_refused(&refused, 403, "role_missing");
}

#[test]
fn a_rotated_secret_signs_and_verifies() {
    let scene = Scene::start();
    let of_airflow =
        |secret: &str| hs512(secret.as_bytes(), &airflow::header(), airflow::claims().value());
    assert_eq!(scene.present(&of_airflow(SECRET)).status, 200);
    scene.airside.changes(|config| {
        config.file("airflow.secret", &format!("{OTHER_SECRET}\n"));
        config
    });
    assert_refused(&scene.present(&of_airflow(SECRET)), 401, "signature_invalid");
    assert_eq!(scene.present(&of_airflow(OTHER_SECRET)).status, 200);
    let received = scene.forwarded(&Request::get("/api/v2/dags").bearer(&v2_app().token()));
    assert!(signed_by(&received, OTHER_SECRET).is_some());
}

#[test]
fn a_removed_issuers_tokens_are_refused_at_once_and_an_added_ones_are_taken_at_once() {
    let other = Issuer::start();
    other.publish(&[SigningKey::next().jwk()]);
    let scene = Scene::start();
    let entra = v2_app().token();
    let theirs = SigningKey::next().token(oidc::claims(&other).value());
    assert_eq!(scene.present(&entra).status, 200);
    assert_refused(&scene.present(&theirs), 401, "issuer_unknown");
    let fetches = scene.issuer.fetches();

    scene.airside.changes(|config| with_sso(config, &other));
    assert_eq!(scene.present(&theirs).status, 200);
    assert_eq!(other.fetches(), 2, "metadata and keys, before anybody asked");
    assert_eq!(scene.present(&entra).status, 200);
    assert_eq!(scene.issuer.fetches(), fetches, "what is known of the other goes on");

    scene.airside.changes(|config| config.without("/issuers/0"));
    assert_refused(&scene.present(&entra), 401, "issuer_unknown");
    assert_eq!(scene.present(&theirs).status, 200);
    assert_eq!(other.fetches(), 2);
    let ready = scene.airside.ask_admin("/readyz").json();
    assert!(ready["issuers"].get("entra").is_none(), "{ready}");
    assert_eq!(ready["issuers"]["sso"]["keys"], "fresh", "{ready}");
    let metrics = scene.airside.ask_admin("/metrics").text();
    assert!(!metrics.contains("issuer=\"entra\""), "{metrics}");
}

#[test]
fn an_issuer_that_cannot_be_reached_does_not_hold_up_a_change() {
    let down = Issuer::start();
    down.hang();
    let scene = Scene::start();
    scene.airside.changes(|config| with_sso(config, &down));
    let ready = scene.airside.ask_admin("/readyz");
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert_eq!(scene.present(&v2_app().token()).status, 200);
    let theirs = SigningKey::next().token(oidc::claims(&down).value());
    let answer = scene.present(&theirs);
    assert_refused(&answer, 503, "keys_unavailable");
    assert!(answer.header("retry-after").is_some());
}

#[test]
fn keys_outlive_another_schedule_while_their_issuer_is_down() {
    let mut scene = Scene::start();
    assert_eq!(scene.present(&v2_app().token()).status, 200);
    scene.issuer.stop();
    scene.airside.changes(|config| config.set("/keys/stale_for", "1h"));
    assert_eq!(scene.present(&v2_app().token()).status, 200);
    // Another place is another matter, whoever the issuer is.
    scene.airside.changes(|config| {
        config.set("/issuers/0/authority", "http://127.0.0.1:1").set("/keys/timeout", "500ms")
    });
    assert_refused(&scene.present(&v2_app().token()), 503, "keys_unavailable");
}

#[test]
fn an_emptied_key_set_lets_nobody_in() {
    let scene = Scene::with(|config| {
        let keys = json!({"keys": [SigningKey::shared().jwk()]}).to_string();
        let file = config.file("keys.json", &keys).display().to_string();
        config.without("/issuers/0/authority").set("/issuers/0/keys_file", file)
    });
    let token = v2_app().token();
    assert_eq!(scene.present(&token).status, 200);
    scene.airside.changes(|config| {
        config.file("keys.json", r#"{"keys": []}"#);
        config
    });
    let answer = scene.present(&token);
    assert_refused(&answer, 503, "keys_unavailable");
    assert!(answer.header("retry-after").is_some());
    assert_refused(&scene.present(&v2_app().with("uti", "x").token()), 503, "keys_unavailable");
    assert_eq!(scene.airside.ask_admin("/readyz").json()["issuers"]["entra"]["keys"], "none");
    // A file that is no key set is a mistake, and changes nothing.
    scene.airside.refuses(|config| {
        config.file("keys.json", "");
        config
    });
    assert_refused(&scene.present(&token), 503, "keys_unavailable");
}

#[test]
fn a_bad_file_keeps_what_is_in_force_and_all_its_problems_are_said_once() {
    let scene = Scene::start();
    let token = v2_app().token();
    scene.airside.refuses(|config| {
        config.set("/leeway", "1h").set("/issuers/0/tenant", "contoso").set("/nonsense", 1)
    });
    assert_eq!(scene.present(&token).status, 200);
    for key in ["leeway", "issuers[0].tenant", "nonsense"] {
        scene.airside.line_with(&["ERROR", "problem of the configuration", key]);
    }
    // Several looks later nothing more has been said.
    thread::sleep(LOOKS);
    let log = scene.airside.log();
    assert_eq!(log.matches("configuration is wrong").count(), 1, "{log}");
    assert_eq!(log.matches("problem of the configuration").count(), 3, "{log}");
    assert!(log.contains("problems=3"), "{log}");
    let metrics = scene.airside.ask_admin("/metrics").text();
    for line in [
        "airside_config_reloads_total{result=\"rejected\"} 1",
        "airside_config_reloads_total{result=\"applied\"} 0",
        "airside_config_generation 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    // Neither YAML nor there at all.
    let file = scene.airside.config().folder().join("airside.yaml");
    let rejected = || scene.airside.count("airside_config_reloads_total{result=\"rejected\"}");
    fs::write(&file, "listen: [").unwrap();
    eventually("the second is refused", || (rejected() == 2).then_some(()));
    fs::remove_file(&file).unwrap();
    eventually("the third is refused", || (rejected() == 3).then_some(()));
    assert_eq!(scene.present(&token).status, 200);
    assert_eq!(scene.airside.ask_admin("/readyz").status, 200);
    scene.airside.changes(|config| config.set("/roles/map", json!({"Airflow.Op": ["Viewer"]})));
    scene.present(&token);
    assert_eq!(role_upstream(&scene.upstream), "viewer");
}

#[test]
fn a_problem_in_a_file_that_is_named_is_mended_there() {
    let scene = Scene::start();
    scene.airside.refuses(|config| {
        config.file("airflow.secret", "");
        config
    });
    scene.airside.line_with(&["ERROR", "handoff.secret_file", "is empty"]);
    assert_eq!(scene.present(&v2_app().token()).status, 200, "the old secret signs on");
    scene.airside.changes(|config| {
        config.file("airflow.secret", OTHER_SECRET);
        config
    });
    let received = scene.forwarded(&Request::get("/api/v2/dags").bearer(&v2_app().token()));
    assert!(signed_by(&received, OTHER_SECRET).is_some());
}

#[test]
fn sighup_reads_everything_again() {
    let scene = Scene::start();
    for number in 2..4 {
        scene.airside.hang_up();
        let taken = format!("generation={number}");
        scene.airside.line_with(&["INFO", "configuration read again and in force", &taken]);
        assert_eq!(scene.present(&v2_app().token()).status, 200);
    }
    assert_eq!(scene.issuer.fetches(), 1);
}

#[test]
fn many_changes_cost_no_memory() {
    let scene = Scene::start();
    let tokens: Vec<_> = (0..200).map(|number| v2_app().with("uti", number).token()).collect();
    let mut change_to = |number: u64| {
        scene.airside.hang_up();
        eventually("taken up", || (generation(&scene.airside) >= number).then_some(()));
        for token in &tokens {
            assert_eq!(scene.present(token).status, 200);
        }
    };
    (2..22).for_each(&mut change_to);
    let before = scene.airside.memory();
    (22..102).for_each(&mut change_to);
    let grown = scene.airside.memory().saturating_sub(before);
    // The allocator takes two MiB at a time, and three times in a thousand changes.
    assert!(grown < 8 * 1024, "{grown} KiB for eighty changes");
}

#[test]
fn what_cannot_change_is_named_and_nothing_of_such_a_file_is_taken_up() {
    let scene = Scene::start();
    let mut verdicts = Verdicts::default();
    for (pointer, value, key) in [
        ("/listen", json!("127.0.0.1:1"), "listen"),
        ("/admin/listen", json!("127.0.0.1:1"), "admin.listen"),
        ("/execution_listen", json!("127.0.0.1:0"), "execution_listen"),
        ("/threads", json!(7), "threads"),
        ("/log/format", json!("json"), "log.format"),
    ] {
        scene.airside.refuses(|config| {
            config.set(pointer, value).set("/roles/map", json!({"Airflow.Op": ["Viewer"]}))
        });
        let key = format!("key=\"{key}\"");
        let line = scene.airside.line_with(&["ERROR", &key, "restart airside"]);
        verdicts.check(pointer, line.contains("as at the start"), &line);
        verdicts.check(pointer, line.contains("airside.yaml:"), line);
        scene.present(&v2_app().token());
        verdicts.check(pointer, role_upstream(&scene.upstream) == "op", "taken up in part");
    }
}

#[test]
fn log_level_and_access_lines_change_with_the_file() {
    let scene = Scene::start();
    scene.present(&v2_app().token());
    scene.airside.line_with(&["access", "/api/v2/dags"]);
    scene.airside.changes(|config| config.set("/log/access", false).set("/log/level", "warn"));
    scene.ask(&Request::get("/api/v2/quiet").bearer(&v2_app().token()));
    scene.airside.changes(|config| config.set("/log/access", true));
    scene.ask(&Request::get("/api/v2/loud").bearer(&v2_app().token()));
    scene.airside.line_with(&["access", "/api/v2/loud"]);
    let log = scene.finish().log();
    assert!(!log.contains("/api/v2/quiet"), "{log}");
    assert!(!log.contains("read again and in force"), "two of level info: {log}");
}

#[test]
fn a_connection_that_is_kept_is_judged_by_whom_is_trusted_now() {
    let scene = Scene::with(|config| config.set("/forwarded/trusted", json!(["127.0.0.1"])));
    let request = Request::get("/api/v2/dags")
        .bearer(&v2_app().token())
        .header("X-Forwarded-For", "192.0.2.1");
    let mut kept = Connection::open(scene.airside.proxy);
    assert_eq!(kept.ask(&request).status, 200);
    assert_eq!(scene.upstream.last().header("x-forwarded-for"), Some("192.0.2.1, 127.0.0.1"));
    scene.airside.changes(|config| config.set("/forwarded/trusted", json!([])));
    assert_eq!(kept.ask(&request).status, 200);
    assert_eq!(scene.upstream.last().header("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn a_long_answer_lives_through_a_change_of_upstream() {
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let first = Upstream::scripted(move |mut reader| {
        use std::io::Write as _;
        let Ok(_) = reader.head() else { return };
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        reader.stream.write_all(head).unwrap();
        gate.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        reader.stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").unwrap();
    });
    let scene = Scene::of(Issuer::start(), first, |config| config);
    let second = Upstream::start();
    let request = Request::get("/api/v2/dags").bearer(&v2_app().token());
    let mut long = Connection::open(scene.airside.proxy);
    long.send(&request.bytes(scene.airside.proxy)).unwrap();
    long.head().unwrap();
    assert_eq!(long.chunk().unwrap(), b"first");
    scene.airside.changes(|config| config.set("/upstream/url", second.url()));
    assert_eq!(scene.ask(&request).status, 200);
    assert_eq!(second.requests().len(), 1);
    go_on.send(()).unwrap();
    assert_eq!(long.chunk().unwrap(), b"last");
    assert!(long.chunk().unwrap().is_empty());
    assert_eq!(long.ask(&request).status, 200, "the connection goes on, to the other");
    assert_eq!(second.requests().len(), 2);
}

#[test]
fn a_list_of_revoked_tokens_is_followed_after_a_change_as_well() {
    let mut list = None;
    let scene = Scene::with(|config| {
        let file = config.file("revoked.yaml", "[]");
        list = Some(file.clone());
        config.set("/revocation/file", file.display().to_string())
    });
    let token = v2_app().token();
    scene.airside.changes(|config| config.set("/leeway", "10s"));
    assert_eq!(scene.present(&token).status, 200);
    fs::write(list.unwrap(), "- jti: hxSFYGb9nkqj\n").unwrap();
    let refused = eventually("the list is in force", || {
        let answer = scene.present(&token);
        (answer.status != 200).then_some(answer)
    });
    assert_refused(&refused, 401, "token_revoked");
    thread::sleep(LOOKS);
    assert_eq!(generation(&scene.airside), 2, "a list of its own is no configuration");
}

/// Two configurations that differ in the secret, the role and the name of a header: whatever
/// reaches Airflow is of one of them in all three.
#[test]
fn no_request_sees_half_of_each() {
    let (issuer, upstream, mounted) = (Issuer::start(), Upstream::start(), tempfile::tempdir());
    let mounted = mounted.unwrap();
    let base = Config::new(&issuer.url(), &upstream.url());
    let secret_file = mounted.path().join("..data/secret").display().to_string();
    let side = |role: &str, header: &str| {
        let map = json!({"Airflow.Op": [role]});
        let config = base.clone().set("/handoff/secret_file", secret_file.as_str());
        let config = config.set("/issuers/1/secret_file", secret_file.as_str());
        config.set("/roles/map", map).set("/handoff/headers", json!({"user": header})).yaml()
    };
    let sides = [
        (side("Op", "X-First"), SECRET, "op", "x-first"),
        (side("Admin", "X-Second"), OTHER_SECRET, "admin", "x-second"),
    ];
    let swap = |turn: usize| {
        let (yaml, secret, ..) = &sides[turn % 2];
        let files = [("airside.yaml", yaml.as_str()), ("secret", *secret)];
        swap_in(mounted.path(), &format!("..{turn}"), &files);
    };
    swap(0);
    let airside = serve_from(mounted.path());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for client in 0..8 {
            let (airside, done) = (&airside, &done);
            scope.spawn(move || {
                let mut kept = Connection::open(airside.proxy);
                for number in 0.. {
                    // Remembered tokens and new ones.
                    let uti = format!("{client}-{}", number % 16);
                    let token = v2_app().with("uti", uti).token();
                    let request = Request::get("/api/v2/dags").bearer(&token);
                    assert_eq!(kept.ask(&request).status, 200);
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        for turn in 1..6 {
            swap(turn);
            airside.hang_up();
            let number = turn as u64 + 1;
            eventually("taken up", || (generation(&airside) >= number).then_some(()));
        }
        done.store(true, Ordering::Relaxed);
    });
    let mut seen = [0, 0];
    for received in upstream.requests() {
        let fits = |(_, secret, role, header): &(String, &str, &str, &str)| {
            signed_by(&received, secret).is_some_and(|claims| claims["role"] == *role)
                && received.header(header).is_some()
        };
        let side = sides.iter().position(fits);
        let side = side.unwrap_or_else(|| panic!("of neither:\n{}", received.text()));
        seen[side] += 1;
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

/// `serve` with the file in this folder.
fn serve_from(folder: &Path) -> Airside {
    let file = folder.join("..data/airside.yaml").display().to_string();
    let airside = Airside::launch(&["serve", "-c", &file], &[]);
    airside.wait_until_ready();
    airside
}

/// As the kubelet does it: another folder, and `..data` renamed over to point there.
fn swap_in(folder: &Path, name: &str, files: &[(&str, &str)]) {
    fs::create_dir(folder.join(name)).unwrap();
    for (file, content) in files {
        fs::write(folder.join(name).join(file), content).unwrap();
    }
    symlink(name, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

/// The role in the token that reached Airflow last.
fn role_upstream(upstream: &Upstream) -> String {
    signed_by(&upstream.last(), SECRET).expect("signed by us")["role"].as_str().unwrap().to_owned()
}

fn signed_by(received: &Received, secret: &str) -> Option<Value> {
    try_open_hs512(received.bearer(), secret.as_bytes()).map(|(_, claims)| claims)
}

fn generation(airside: &Airside) -> u64 {
    airside.count("airside_config_generation")
}

fn with_sso(config: Config, issuer: &Issuer) -> Config {
    let mut issuers = config.get("/issuers");
    issuers.as_array_mut().unwrap().push(oidc::entry(issuer));
    config.set("/issuers", issuers)
}
