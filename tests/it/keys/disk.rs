//! The last good keys on disk, and what of them is believed.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::entra::{TENANT, now, v2_app};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::issuer::Issuer;
use crate::support::keys::SigningKey;
use crate::support::upstream::Upstream;
use crate::support::wait::eventually;

use super::present;

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
