//! The issuer's keys: fetched, rotated, unknown, broken, and out of reach.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::thread;

use serde_json::{Value, json};

use crate::support::airflow;
use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::entra::{TENANT, now, v2_app};
use crate::support::expect::{Verdicts, assert_refused, refusal};
use crate::support::http::{Request, Response};
use crate::support::issuer::Issuer;
use crate::support::keys::{SigningKey, encode};
use crate::support::listener::Listener;
use crate::support::scene::Scene;
use crate::support::upstream::Upstream;
use crate::support::wait::eventually;

#[test]
fn keys_are_fetched_before_the_first_request() {
    let scene = Scene::start();
    assert_eq!(scene.issuer.fetched(), [format!("/{TENANT}/discovery/v2.0/keys")]);
    for _ in 0..5 {
        assert_eq!(scene.present(&v2_app().token()).status, 200);
    }
    assert_eq!(scene.issuer.fetches(), 1);
}

#[test]
fn a_rotated_key_is_picked_up_without_restart() {
    let scene = Scene::start();
    let (old, new) = (SigningKey::shared(), SigningKey::next());
    scene.issuer.publish(&[old.jwk(), new.jwk()]);
    let answer = scene.present(&new.token(v2_app().value()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(scene.issuer.fetches(), 2, "one fetch at the start, one for the new key");
    assert_eq!(scene.present(&old.token(v2_app().value())).status, 200);
    assert_eq!(scene.issuer.fetches(), 2);
}

#[test]
fn a_flood_of_unknown_keys_costs_one_fetch() {
    let scene = Scene::start();
    let claims = v2_app();
    thread::scope(|scope| {
        for worker in 0..4 {
            let (scene, claims) = (&scene, &claims);
            scope.spawn(move || {
                for number in 0..25 {
                    let mut header = SigningKey::shared().header();
                    header["kid"] = format!("random-{worker}-{number}").into();
                    let token = SigningKey::shared().sign(&header, claims.value());
                    assert_refused(&scene.present(&token), 401, "key_unknown");
                }
            });
        }
    });
    assert_eq!(scene.present(&claims.token()).status, 200);
    assert_eq!(scene.issuer.fetches(), 2, "one at the start, one for all that is unknown");
}

#[test]
fn after_the_cooldown_an_unknown_key_is_looked_for_again() {
    let scene = Scene::with(|config| config.set("/keys/unknown_kid_cooldown", "1s"));
    let new = SigningKey::next().token(v2_app().value());
    assert_refused(&scene.present(&new), 401, "key_unknown");
    scene.issuer.publish(&[SigningKey::shared().jwk(), SigningKey::next().jwk()]);
    eventually("the new key is found", || (scene.present(&new).status == 200).then_some(()));
}

#[test]
fn within_the_cooldown_a_new_key_has_to_wait() {
    let scene = Scene::start();
    let new = SigningKey::next().token(v2_app().value());
    assert_refused(&scene.present(&new), 401, "key_unknown");
    scene.issuer.publish(&[SigningKey::shared().jwk(), SigningKey::next().jwk()]);
    assert_refused(&scene.present(&new), 401, "key_unknown");
    assert_eq!(scene.issuer.fetches(), 2);
}

#[test]
fn a_failed_fetch_takes_no_key_away() {
    let mut verdicts = Verdicts::default();
    let failures: [(&str, Change); 8] = [
        ("500", |issuer| issuer.fail()),
        ("down", Issuer::stop),
        ("no JSON", |issuer| issuer.document("<html>sign in</html>")),
        ("empty", |issuer| issuer.document("")),
        ("no keys member", |issuer| {
            issuer.document(r#"{"error":"invalid_tenant"}"#);
        }),
        ("keys of a wrong type", |issuer| {
            issuer.document(r#"{"keys":{}}"#);
        }),
        ("cut short", |issuer| {
            issuer.answer("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"keys\":[");
        }),
        ("too long", |issuer| issuer.document(too_long())),
    ];
    for (label, fail) in failures {
        let mut scene = Scene::start();
        fail(&mut scene.issuer);
        let unknown = scene.present(&SigningKey::next().token(v2_app().value()));
        verdicts.refused(label, &unknown, 401, &["key_unknown"]);
        let known = scene.present(&v2_app().token());
        verdicts.check(label, known.status == 200, known.text());
    }
}

#[test]
fn a_withdrawn_key_stops_working() {
    let scene = Scene::with(|config| config.set("/keys/refresh", "1s"));
    let old = SigningKey::shared().token(v2_app().value());
    assert_eq!(scene.present(&old).status, 200);
    scene.issuer.publish(&[SigningKey::next().jwk()]);
    eventually("the old key is gone", || {
        let answer = scene.present(&old);
        (answer.status != 200).then(|| assert_refused(&answer, 401, "key_unknown"))
    });
    assert_eq!(scene.present(&SigningKey::next().token(v2_app().value())).status, 200);
}

#[test]
fn an_issuer_that_is_down_at_the_start_is_nobodys_401() {
    let mut issuer = Issuer::down();
    let upstream = Upstream::start();
    let config = Config::new(&issuer.url(), &upstream.url());
    let airside = Airside::start(&config);
    let token = v2_app().token();
    let present = |token: &str| airside.ask(&Request::get("/api/v2/dags").bearer(token));
    let answer = present(&token);
    assert_refused(&answer, 503, "keys_unavailable");
    let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(after > 0);
    assert_eq!(airside.ask_admin("/livez").status, 200);
    assert_eq!(airside.ask_admin("/readyz").status, 200);
    assert!(upstream.requests().is_empty());
    // The others are not to suffer.
    assert_eq!(airside.ask(&Request::get("/api/v2/version")).status, 200);
    assert_eq!(airside.ask(&Request::get("/api/v2/dags").cookie("_token=x")).status, 200);
    assert_eq!(present(&airflow::token()).status, 200);
    assert_refused(&present("not.a.token"), 401, "token_malformed");
    issuer.restart();
    eventually("the keys are there", || (present(&token).status == 200).then_some(()));
}

#[test]
fn an_issuer_that_answers_nonsense_at_the_start_is_no_better() {
    let mut verdicts = Verdicts::default();
    let answers: [(&str, Change); 6] = [
        ("500", |issuer| issuer.fail()),
        ("HTML", |issuer| issuer.document("<html></html>")),
        ("no key", |issuer| issuer.publish(&[])),
        ("no usable key", |issuer| {
            issuer.publish(&[json!({"kty": "oct", "kid": "first-key", "k": "c2VjcmV0"})]);
        }),
        ("more than 1 MiB", |issuer| issuer.document(too_long())),
        ("a list", |issuer| {
            issuer.document(json!([SigningKey::shared().jwk()]).to_string());
        }),
    ];
    for (label, answer) in answers {
        let mut issuer = Issuer::start();
        answer(&mut issuer);
        let scene = Scene::of(issuer, Upstream::start(), |config| config);
        let refused = scene.present(&v2_app().token());
        verdicts.refused(label, &refused, 503, &["keys_unavailable"]);
    }
}

#[test]
fn an_issuer_that_never_answers_is_given_up() {
    let issuer = Issuer::start();
    issuer.hang();
    let upstream = Upstream::start();
    let config = Config::new(&issuer.url(), &upstream.url()).set("/keys/timeout", "1s");
    let airside = Airside::start_unready(&config);
    let answer = airside.ask(&Request::get("/api/v2/dags").bearer(&v2_app().token()));
    assert_refused(&answer, 503, "keys_unavailable");
    assert_eq!(airside.ask_admin("/livez").status, 200);
    airside.wait_until_ready();
}

#[test]
fn keys_serve_through_an_outage_and_then_fail_closed() {
    let mut scene = Scene::with(|config| {
        config.set("/keys/refresh", "1s").set("/keys/stale_for", "4s").set("/keys/timeout", "1s")
    });
    let token = v2_app().token();
    scene.issuer.stop();
    assert_eq!(scene.present(&token).status, 200);
    eventually("the keys are too old", || {
        let answer = scene.present(&token);
        (answer.status != 200).then(|| assert_refused(&answer, 503, "keys_unavailable"))
    });
    scene.issuer.restart();
    eventually("recovery", || (scene.present(&token).status == 200).then_some(()));
}

#[test]
fn readiness_waits_for_keys_when_told_to() {
    let mut issuer = Issuer::down();
    let upstream = Upstream::start();
    let config = Config::new(&issuer.url(), &upstream.url()).set("/admin/ready_needs_keys", true);
    let airside = Airside::start_unready(&config);
    let answer = airside.ask(&Request::get("/api/v2/dags").bearer(&v2_app().token()));
    assert_refused(&answer, 503, "keys_unavailable");
    assert_eq!(airside.ask_admin("/readyz").status, 503);
    assert_eq!(airside.ask_admin("/livez").status, 200);
    issuer.restart();
    airside.wait_until_ready();
}

#[test]
fn a_redirect_of_the_key_address_is_not_followed() {
    let elsewhere = Listener::start(drop);
    let issuer = Issuer::start();
    issuer.answer(&format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{}/keys\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        elsewhere.address()
    ));
    let scene = Scene::of(issuer, Upstream::start(), |config| config);
    assert_refused(&scene.present(&v2_app().token()), 503, "keys_unavailable");
    assert_eq!(elsewhere.accepted(), 0);
}

#[test]
fn one_bad_entry_costs_no_other() {
    let good = SigningKey::shared().jwk();
    let with = |member: &str, value: Value| {
        let mut jwk = SigningKey::next().jwk();
        jwk[member] = value;
        jwk
    };
    let mut verdicts = Verdicts::default();
    for (label, bad) in [
        ("null", json!(null)),
        ("a number", json!(7)),
        ("an empty object", json!({})),
        ("an unknown type", json!({"kty": "AKP", "kid": "x", "pub": "AA"})),
        ("an unknown curve", json!({"kty": "OKP", "crv": "X25519", "kid": "x", "x": "AA"})),
        ("a symmetric key", json!({"kty": "oct", "kid": "x", "k": "c2VjcmV0"})),
        ("for encryption", with("use", json!("enc"))),
        ("a broken modulus", with("n", json!("@@@"))),
        ("a modulus of a wrong type", with("n", json!(7))),
        ("a short modulus", with("n", json!(encode(&[0xc1; 128])))),
        ("an even modulus", with("n", json!(encode(&[0xc2; 256])))),
        ("exponent 1", with("e", json!("AQ"))),
        ("a kid of a wrong type", with("kid", json!(7))),
        ("the same kid, another type", json!({"kty": "oct", "kid": "first-key", "k": "c2VjcmV0"})),
        ("unknown members", with("cloud_instance_name", json!({"a": [1, 2]}))),
    ] {
        let issuer = Issuer::start();
        issuer.publish(&[bad, good.clone()]);
        let scene = Scene::of(issuer, Upstream::start(), |config| config);
        let answer = scene.present(&v2_app().token());
        verdicts.check(label, answer.status == 200, answer.text());
    }
}

#[test]
fn a_key_is_used_only_for_what_it_is_published_for() {
    let key = SigningKey::next();
    let mut verdicts = Verdicts::default();
    for (member, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["encrypt"])),
        ("key_ops", json!(["sign"])),
        ("alg", json!("RS512")),
        ("alg", json!("RSA-OAEP")),
        ("kty", json!("oct")),
    ] {
        let mut jwk = key.jwk();
        jwk[member] = value.clone();
        let issuer = Issuer::start();
        issuer.publish(&[SigningKey::shared().jwk(), jwk]);
        let scene = Scene::of(issuer, Upstream::start(), |config| config);
        let answer = scene.present(&key.token(v2_app().value()));
        let label = format!("{member} {value}");
        verdicts.refused(&label, &answer, 401, &["key_unknown", "algorithm_not_allowed"]);
    }
    for (member, value) in [("alg", json!("RS256")), ("key_ops", json!(["verify"]))] {
        let issuer = Issuer::start();
        issuer.publish(&[key.jwk_with(member, value)]);
        let scene = Scene::of(issuer, Upstream::start(), |config| config);
        let answer = scene.present(&key.token(v2_app().value()));
        verdicts.check(member, answer.status == 200, answer.text());
    }
}

#[test]
fn keys_may_come_from_a_file_or_another_address() {
    let scene = Scene::with(|config| {
        let keys = json!({"keys": [SigningKey::next().jwk()]}).to_string();
        let file = config.file("keys.json", &keys).display().to_string();
        config.without("/issuers/0/authority").set("/issuers/0/keys_file", file)
    });
    assert_eq!(scene.present(&SigningKey::next().token(v2_app().value())).status, 200);
    assert_refused(&scene.present(&v2_app().token()), 401, "key_unknown");
    assert_eq!(scene.issuer.fetches(), 0);

    let issuer = Issuer::start();
    let url = format!("{}/some/where/keys", issuer.url());
    let scene = Scene::of(issuer, Upstream::start(), |config| {
        config.without("/issuers/0/authority").set("/issuers/0/keys_url", url)
    });
    assert_eq!(scene.present(&v2_app().token()).status, 200);
    assert_eq!(scene.issuer.fetched(), ["/some/where/keys"]);
}

#[test]
fn requests_that_wait_for_a_key_are_not_kept_forever() {
    let scene = Scene::with(|config| config.set("/keys/timeout", "1s"));
    scene.issuer.hang();
    let unknown = SigningKey::next().token(v2_app().value());
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| scene.present(&unknown))).collect();
        // Who has a known key need not wait.
        assert_eq!(scene.present(&v2_app().token()).status, 200);
        for answer in waiting {
            refusal(&answer.join().unwrap(), 401, &["key_unknown"]).unwrap();
        }
    });
    assert!(scene.issuer.fetches() <= 3, "{:?}", scene.issuer.fetched());
}

#[test]
fn a_restart_without_the_issuer_serves_at_once_from_disk() {
    let mut kept = Kept::by_a_first_run();
    kept.issuer.stop();
    let token = v2_app().token();
    for _ in 0..2 {
        // Unready: nothing is waited for.
        let airside = Airside::start_unready(&kept.config);
        assert_eq!(present(&airside, &token).status, 200, "{}", airside.log());
        let unknown = present(&airside, &SigningKey::next().token(v2_app().value()));
        assert_refused(&unknown, 401, "key_unknown");
        let ready = airside.ask_admin("/readyz");
        assert_eq!(ready.status, 200);
        assert_eq!(ready.json()["issuers"]["entra"]["source"], "disk");
    }
    // The issuer is back with another key, and then gone again.
    kept.issuer.publish(&[SigningKey::next().jwk()]);
    kept.issuer.restart();
    let airside = Airside::start(&kept.config);
    eventually("the old key is gone", || (present(&airside, &token).status == 401).then_some(()));
    eventually("the new key is kept", || {
        let kid = SigningKey::next().jwk()["kid"].as_str().unwrap().to_owned();
        fs::read_to_string(kept.file()).unwrap().contains(&kid).then_some(())
    });
    drop(airside);
    kept.issuer.stop();
    let airside = Airside::start_unready(&kept.config);
    let new = SigningKey::next().token(v2_app().value());
    assert_eq!(present(&airside, &new).status, 200, "{}", airside.log());
}

#[test]
fn kept_keys_are_one_private_file() {
    let kept = Kept::by_a_first_run();
    let metadata = fs::metadata(kept.file()).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(kept.folder()).unwrap().mode() & 0o777, 0o700);
    let content: Value = serde_json::from_slice(&fs::read(kept.file()).unwrap()).unwrap();
    assert_eq!(content["version"], 1);
    assert_eq!(content["issuer"], "entra");
    let url = format!("{}/{TENANT}/discovery/v2.0/keys", kept.issuer.url());
    assert_eq!(content["url"], url);
    assert!(content["fetched_at"].as_i64().unwrap().abs_diff(now()) < 120);
    let published = json!({"keys": [SigningKey::shared().jwk()]}).to_string();
    assert_eq!(content["jwks"], published, "as it was fetched");
}

#[test]
fn a_file_on_disk_that_cannot_be_believed_is_ignored_with_a_warning() {
    let mut kept = Kept::by_a_first_run();
    kept.issuer.stop();
    let file = kept.file();
    let good: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let with = |name: &str, value: Value| {
        let mut content = good.clone();
        content[name] = value;
        content.to_string()
    };
    let mut verdicts = Verdicts::default();
    for (label, text) in [
        ("cut short", good.to_string()[..300].to_owned()),
        ("no JSON", "keys".to_owned()),
        ("another version", with("version", json!(2))),
        ("another entry", with("issuer", json!("other"))),
        ("another address", with("url", json!("https://login.example/keys"))),
        ("too old", with("fetched_at", json!(now() - 24 * 3600 - 1))),
        ("from the future", with("fetched_at", json!(now() + 3600))),
        ("no key", with("jwks", json!(r#"{"keys":[]}"#))),
        ("too large", good.to_string() + &" ".repeat(2 * 1024 * 1024)),
    ] {
        fs::write(&file, text).unwrap();
        kept.is_ignored(label, &mut verdicts);
    }
    fs::write(&file, good.to_string()).unwrap();
    for mode in [0o660, 0o602] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        kept.is_ignored("writable by others", &mut verdicts);
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let elsewhere = kept.config.folder().join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    kept.is_ignored("a link", &mut verdicts);
    fs::remove_file(&file).unwrap();
    fs::rename(&elsewhere, &file).unwrap();
    let airside = Airside::start_unready(&kept.config);
    let answer = present(&airside, &v2_app().token());
    verdicts.check("the file itself was good", answer.status == 200, answer.text());
}

#[test]
fn a_restart_gives_old_keys_no_new_time() {
    let mut kept = Kept::by_a_first_run();
    kept.issuer.stop();
    let mut content: Value = serde_json::from_slice(&fs::read(kept.file()).unwrap()).unwrap();
    content["fetched_at"] = json!(now() - 3600);
    fs::write(kept.file(), content.to_string()).unwrap();
    let config = kept.config.clone().set("/keys/stale_for", "1h 3s");
    let airside = Airside::start_unready(&config);
    let token = v2_app().token();
    eventually("the keys are too old", || {
        let answer = present(&airside, &token);
        (answer.status != 200).then(|| assert_refused(&answer, 503, "keys_unavailable"))
    });
}

#[test]
fn a_disk_that_fails_later_costs_no_request() {
    let kept = Kept::by_a_first_run();
    let airside = Airside::start(&kept.config.clone().set("/keys/refresh", "1s"));
    fs::remove_dir_all(kept.folder()).unwrap();
    airside.line_with(&["WARN", "keys not kept on disk"]);
    assert_eq!(present(&airside, &v2_app().token()).status, 200);
}

/// A configuration with a cache that a first run has filled from this issuer.
struct Kept {
    issuer: Issuer,
    config: Config,
    _upstream: Upstream,
}

impl Kept {
    fn by_a_first_run() -> Self {
        let (issuer, upstream) = (Issuer::start(), Upstream::start());
        let config = Config::new(&issuer.url(), &upstream.url());
        let folder = config.folder().join("cache/keys").display().to_string();
        let config = config.set("/keys/cache_dir", folder);
        let kept = Self { issuer, config, _upstream: upstream };
        let airside = Airside::start(&kept.config);
        assert_eq!(present(&airside, &v2_app().token()).status, 200);
        eventually("the keys are on disk", || kept.files().first().map(drop));
        let ended = airside.finish();
        let names = fs::read_dir(kept.folder()).unwrap().count();
        assert_eq!(names, 1, "nothing is left beside the keys: {}", ended.log());
        kept
    }

    fn folder(&self) -> PathBuf {
        self.config.folder().join("cache/keys")
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
    }

    fn file(&self) -> PathBuf {
        self.files().remove(0)
    }

    fn is_ignored(&self, label: &str, verdicts: &mut Verdicts) {
        let airside = Airside::start_unready(&self.config);
        let answer = present(&airside, &v2_app().token());
        verdicts.refused(label, &answer, 503, &["keys_unavailable"]);
        airside.line_with(&["WARN", "keys on disk ignored"]);
    }
}

fn present(airside: &Airside, token: &str) -> Response {
    airside.ask(&Request::get("/api/v2/dags").bearer(token))
}

type Change = fn(&mut Issuer);

/// A key set of more than 1 MiB that would be good otherwise.
fn too_long() -> String {
    let filler = " ".repeat(1024 * 1024 + 1);
    json!({"keys": [SigningKey::shared().jwk()]}).to_string() + &filler
}
