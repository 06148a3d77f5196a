//! Several airsides before one FAB, which is all that they tell each other by.

use std::time::Instant;

use serde_json::json;

use super::{dags, id, of, own, usual};
use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::entra::{APP, now};
use crate::support::expect::assert_refused;
use crate::support::fab::{FORGOTTEN, Table, User, for_fab, scene};
use crate::support::scene::Scene;
use crate::support::upstream::Answer;
use crate::support::wait::within;

/// Another airside before the same FAB.
fn another(scene: &Scene, hook: impl FnOnce(Config) -> Config) -> Airside {
    Airside::start(&hook(for_fab(Config::new(&scene.issuer.url(), &scene.upstream.url()))))
}

fn for_long(config: Config) -> Config {
    config.set("/handoff/fab/cache_ttl", "1h")
}

fn issued(role: &str, at: i64) -> String {
    of(APP, &[role]).with("iat", at).token()
}

#[test]
fn the_wait_for_lowered_roles_outlives_a_restart_and_holds_for_every_airside() {
    let table = Table::of(&[]);
    let scene = scene(&table, for_long, |_| None);
    assert_eq!(scene.present(&of(APP, &["Airflow.Op"]).token()).status, 200);
    let lower = of(APP, &["Airflow.Viewer"]).with("iat", now()).token();
    assert_refused(&scene.present(&lower), 502, "handoff_failed");
    let note = table.user(2).last_name;
    assert!(note.starts_with("(airside: roles of 20") && note.contains(", lowered 20"), "{note}");
    let another = another(&scene, for_long);
    let answer = another.ask(&dags().bearer(&lower));
    assert_refused(&answer, 502, "handoff_failed");
    // The former role is more than enough for what Airflow may still grant.
    assert_eq!(another.ask(&dags().bearer(&of("other", &["Airflow.Op"]).token())).status, 200);
}

/// However the tokens of one user are spread: nobody gives back what a later token has taken away.
#[test]
fn an_older_token_at_another_airside_does_not_bring_a_role_back() {
    let table = Table::of(&[]);
    let scene = usual(&table);
    let (old, new) = (issued("Airflow.Op", now() - 600), issued("Airflow.Viewer", now() - 10));
    assert_eq!(id(&scene, &new), "2");
    let another = another(&scene, |config| config);
    let begun = Instant::now();
    while begun.elapsed() < FORGOTTEN {
        for airside in [&another, &scene.airside] {
            for token in [&old, &new] {
                assert_eq!(airside.ask(&dags().bearer(token)).status, 200, "{}", airside.log());
                assert_eq!(table.user(2).roles, ["Viewer"]);
            }
        }
    }
    let changed = own(&scene).into_iter().filter(|one| one.method() == "PATCH");
    assert_eq!(changed.count(), 0, "neither has changed anything");
}

#[test]
fn what_was_signed_on_lower_roles_ends_when_another_airside_has_raised_them() {
    let table = Table::of(&[]);
    let scene = scene(&table, for_long, |_| None);
    let viewer = issued("Airflow.Viewer", now() - 100);
    assert_eq!(id(&scene, &viewer), "2");
    let op = issued("Airflow.Op", now() - 50);
    let another = another(&scene, for_long);
    assert_eq!(another.ask(&dags().bearer(&op)).status, 200, "{}", another.log());
    // Here it is learned by looking, and nothing is left to change.
    assert_eq!(id(&scene, &op), "2");
    assert_refused(&scene.present(&viewer), 502, "handoff_failed");
}

/// A newer token was noted by the former maps; what it carries may mean less by now.
#[test]
fn when_the_maps_mean_less_an_older_token_is_served_with_less() {
    let table = Table::of(&[]);
    let scene = usual(&table);
    assert_eq!(id(&scene, &issued("Airflow.Op", now() - 10)), "2");
    let less = |config: Config| config.set("/roles/map/Airflow.Op", json!(["Viewer"]));
    let another = another(&scene, less);
    let old = dags().bearer(&issued("Airflow.Op", now() - 600));
    within(FORGOTTEN, || (another.ask(&old).status == 200).then_some(()))
        .unwrap_or_else(|| panic!("{}", another.log()));
    assert_eq!(table.user(2).roles, ["Viewer"]);
}

#[test]
fn a_user_that_another_airside_creates_at_the_same_time_is_taken_as_it_is() {
    for status in [409, 500] {
        let table = Table::of(&[]);
        let raced = table.clone();
        let scene = scene(
            &table,
            |config| config,
            move |request| {
                (request.method() == "POST").then(|| {
                    raced.add(User::ours(APP, "Op"));
                    Answer::json(status, &[], r#"{"detail":"Username already exists."}"#)
                })
            },
        );
        assert_eq!(id(&scene, &of(APP, &["Airflow.Op"]).token()), "2", "{status}");
    }
}
