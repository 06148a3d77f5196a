//! An issuer that cannot be reached: at the start, for a while, and for longer than keys may serve.

use std::fs;
use std::time::Duration;

use crate::support::airflow;
use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::entra::v2_app;
use crate::support::expect::{assert_refused, refusal};
use crate::support::http::Request;
use crate::support::issuer::Issuer;
use crate::support::scene::Scene;
use crate::support::upstream::Upstream;
use crate::support::wait::eventually;

use super::present;

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

/// Every timer is one second, so that the outage is longer than each of them many times over.
#[test]
fn an_outage_within_stale_for_is_seen_by_nobody_not_even_by_a_restart() {
    const STALE_FOR: Duration = Duration::from_secs(10);
    /// Keys are as old as the beginning of their fetch, which may take a second; and the time of
    /// that is kept on disk in whole seconds.
    const LEAST: Duration = Duration::from_secs(8);
    let (mut issuer, upstream) = (Issuer::start(), Upstream::start());
    let config = Config::new(&issuer.url(), &upstream.url());
    let folder = config.folder().join("keys").display().to_string();
    let config = config
        .set("/keys/cache_dir", folder.as_str())
        .set("/keys/refresh", "1s")
        .set("/keys/timeout", "1s")
        .set("/keys/unknown_kid_cooldown", "1s")
        .set("/keys/stale_for", "10s");
    let airside = Airside::start(&config);
    assert_eq!(present(&airside, &v2_app().token()).status, 200);
    eventually("the keys are on disk", || {
        fs::read_dir(&folder).unwrap().next().map(|file| drop(file.unwrap()))
    });
    issuer.stop();
    let last_good = issuer.fetch_times().last().copied().unwrap();
    // A token that is remembered, and one that has never been seen.
    let known = v2_app().token();
    let mut number = 0;
    let mut both = |airside: &Airside| {
        number += 1;
        [&known, &v2_app().with("uti", number).token()].map(|token| present(airside, token))
    };
    // Half of the time by the first process, half of it by the next.
    while last_good.elapsed() < STALE_FOR / 2 {
        for answer in both(&airside) {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    airside.finish();
    let airside = Airside::start_unready(&config);
    for answer in both(&airside) {
        assert_eq!(answer.status, 200, "at once: {} {}", answer.text(), airside.log());
    }
    assert_eq!(airside.ask_admin("/readyz").status, 200);
    let (refused, age) = eventually("the keys are too old", || {
        let age = last_good.elapsed();
        let refused = both(&airside).into_iter().find(|answer| answer.status != 200);
        refused.map(|answer| (answer, age))
    });
    assert!(age >= LEAST, "refused after {age:?}");
    refusal(&refused, 503, &["keys_unavailable"]).unwrap();
    assert!(refused.header("retry-after").is_some());
    assert_refused(&present(&airside, &v2_app().token()), 503, "keys_unavailable");
    assert_eq!(present(&airside, &airflow::token()).status, 200, "Airflow's own tokens go on");
    issuer.restart();
    eventually("recovery without a restart", || {
        (present(&airside, &v2_app().token()).status == 200).then_some(())
    });
}
