//! `check --online` before real Airflow: it shows that Airflow takes what airside signs, or explains
//! why not, and leaves everything there as it was.

use serde_json::json;

use crate::airflow2;
use crate::flight::Flight;
use crate::stock::{Airflow, Recipe};
use crate::support::airside::{Airside, Ended};
use crate::support::config::Config;
use crate::support::expect::Verdicts;

/// What `check --online` says of the flight's configuration, bent by the hook.
pub(crate) fn checked(flight: &Flight, hook: impl FnOnce(Config) -> Config) -> Ended {
    let config = flight.airside.config();
    Airside::checks(&hook(config.set("/access/password_login", "closed")), &["--online"])
}

/// Nothing is told that should not be.
pub(crate) fn is_all_well(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    // These Airflows are API servers alone.
    assert!(ended.about("health of ").contains("scheduler is unhealthy"), "{}", ended.stdout);
    let (_, asked) = ended.stdout.split_once("\n\n").unwrap();
    let first = |line: &&str| !line.starts_with(' ') && !line.contains("health of ");
    for line in asked.lines().filter(first) {
        assert!(line.starts_with("ok  "), "{line} of\n{}", ended.stdout);
    }
    assert!(asked.lines().count() > 5, "{asked}");
}

#[test]
fn stock_airflow_takes_what_is_signed_and_its_refusals_are_explained() {
    let flight = Flight::with(&Recipe::usual(), |config| config);
    let ended = checked(&flight, |config| config);
    is_all_well(&ended);
    assert!(ended.about("version of ").contains("Airflow 3.3.2"), "{}", ended.stdout);
    assert!(ended.about("hand-off to ").contains("200"), "{}", ended.stdout);

    let mut verdicts = Verdicts::default();
    let other_secret = |config: Config| {
        let file = config
            .file("other.secret", "another secret, which is long enough to be one: 0123456789");
        config.set("/handoff/secret_file", file.to_str())
    };
    let fab =
        |config: Config| config.set("/handoff/auth_manager", "fab").set("/handoff/fab", json!({}));
    for (label, ended, words) in [
        (
            "another secret",
            checked(&flight, other_secret),
            &["403, \"Invalid JWT token\"", "[api_auth] jwt_secret must be", "other.secret"][..],
        ),
        (
            "another audience",
            checked(&flight, |config| config.set("/handoff/audience", "airflow-of-contoso")),
            &["the key is right", "jwt_audience must be \"airflow-of-contoso\""],
        ),
        ("another auth manager", checked(&flight, fab), &["handoff.auth_manager here to simple"]),
    ] {
        verdicts.check(label, ended.code == Some(78), (ended.code, ended.log()));
        let told = ended.about("hand-off to ");
        verdicts.check(label, told.starts_with("problem  "), &told);
        for word in words {
            verdicts.check(label, told.contains(word), (word, &told));
        }
    }
    let ended = checked(&flight, |config| config.set("/upstream/base_path", "/airflow"));
    assert!(ended.about("version of ").contains("upstream.base_path"), "{}", ended.stdout);
    assert_eq!(ended.code, Some(78), "{}", ended.log());
}

#[test]
fn an_airflow_that_makes_everybody_an_admin_is_found() {
    let recipe = Recipe::simple("all-admins", "3.3.2")
        .set("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True");
    let flight = Flight::with(&recipe, |config| config);
    let ended = checked(&flight, |config| config);
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    let told = ended.about("without a credential of ");
    assert!(told.starts_with("warning  "), "{told}");
    assert!(told.contains("simple_auth_manager_all_admins"), "{told}");
}

#[test]
fn airflow_2_is_asked_nothing_that_would_make_a_user() {
    let flight = Flight::with(&airflow2::chained(), airflow2::asserting);
    let before = users(flight.airflow);
    let ended = checked(&flight, |config| config);
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    assert!(ended.about("version of ").contains("Airflow 2.10.5"), "{}", ended.stdout);
    assert!(ended.about("without a credential of ").starts_with("ok  "), "{}", ended.stdout);
    assert!(ended.about("hand-off to ").starts_with("not shown  "), "{}", ended.stdout);
    assert_eq!(before, users(flight.airflow));
    let third = checked(&flight, |config| config.set("/upstream/airflow", 3));
    let told = third.about("version of ");
    assert!(told.contains("this is Airflow 2.10.5") && third.code == Some(78), "{told}");
}

/// What there is in the database of users, where there is one.
pub(crate) fn users(airflow: &Airflow) -> serde_json::Value {
    let tables = airflow.query("SELECT count(*) FROM sqlite_master WHERE name = 'ab_user'");
    if tables == json!([[0]]) {
        return json!([]);
    }
    airflow
        .query("SELECT id, username, login_count, last_login, changed_on FROM ab_user ORDER BY id")
}
