//! Airflow with FAB, stock: callers with an Entra token are users of FAB with the roles of their
//! token, made and kept in step without anything of ours inside Airflow.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::check;
use crate::compatibility::{self, Subject};
use crate::flight::{Flight, assert_airflow_says, post, with_json};
use crate::programs::{beside_the_tests, command, program, said};
use crate::stock::{Recipe, password};
use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::entra::{now, v2_app, v2_user};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Request, Response};
use crate::support::issuer::Issuer;
use crate::support::wait::{DEADLINE, within};

/// A release of Airflow with a release of FAB.
pub(crate) struct Release {
    name: &'static str,
    server: &'static str,
    /// Whether users are compared with FAB every `cache_ttl`: where that costs no memory.
    compares: bool,
}

pub(crate) const RELEASES: &[Release] = &[
    Release { name: "fab-3.3.2", server: "3.3.2-fab", compares: true },
    #[cfg(feature = "airflow-releases")]
    Release { name: "fab-3.2.2", server: "3.2.2-fab", compares: false },
];

/// In seconds, on both sides.
const CACHE_TTL: u32 = 3;

impl Release {
    fn recipe(&self) -> Recipe {
        Recipe::fab(self.name, self.server, CACHE_TTL)
    }

    /// airside in front of it, with the usual configuration.
    pub(crate) fn flight(&self) -> Flight {
        self.flight_with(for_fab)
    }

    fn flight_with(&self, hook: impl FnOnce(Config) -> Config) -> Flight {
        let flight = Flight::with(&self.recipe(), hook);
        have_local_users(&flight, self.server);
        flight
    }
}

/// Gives FAB the users of its own login, of whom `admin` has the id 1.
fn have_local_users(flight: &Flight, server: &str) {
    let database = flight.airflow.database();
    let python = program(&format!("servers/{server}"), "python");
    let users = ["admin", "viewer", "op"].map(|user| format!("{user}={}", password(user)));
    let mut command = command(&python, database.parent().unwrap());
    command.arg(beside_the_tests("fab_users.py")).arg(&database).args(users);
    said(&command.output().unwrap());
}

pub(crate) fn for_fab(config: Config) -> Config {
    config
        .set("/handoff/auth_manager", "fab")
        .set("/handoff/fab", json!({"cache_ttl": format!("{CACHE_TTL}s")}))
        .set("/roles/map/Airflow.Reader", json!(["Reader"]))
        .set("/roles/map/Airflow.Ghost", json!(["Ghost"]))
}

/// A token of the user with this `oid`, issued so many seconds ago.
fn issued(oid: &str, roles: &[&str], ago: i64) -> String {
    v2_user().with("oid", oid).roles(roles).with("iat", now() - ago).token()
}

/// The same, issued a moment ago.
pub(crate) fn of(oid: &str, roles: &[&str]) -> String {
    issued(oid, roles, 5)
}

/// Each test has users of its own.
pub(crate) fn oid(number: u32) -> String {
    format!("cccccccc-0000-1111-2222-{number:012}")
}

fn variable(key: &str) -> Request {
    post("/api/v2/variables", &json!({"key": key, "value": "some value"}))
}

fn dags(flight: &Flight, token: &str) -> Response {
    flight.ask(&Request::get("/api/v2/dags").bearer(token))
}

/// FAB's own word on a user, asked past airside.
fn user(flight: &Flight, name: &str) -> Option<Value> {
    let path = format!("/auth/fab/v1/users/{name}");
    let answer = flight.ask_airflow(&Request::get(&path).bearer(&flight.airflow.login("admin")));
    (answer.status == 200).then(|| answer.json())
}

/// The names of this user's roles, sorted; none where there is no such user.
pub(crate) fn roles(flight: &Flight, name: &str) -> Vec<String> {
    let user = user(flight, name).unwrap_or_default();
    let roles = user["roles"].as_array().into_iter().flatten();
    let mut names: Vec<_> = roles.map(|role| role["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// What an administrator of FAB does by hand.
fn by_hand(flight: &Flight, request: &Request) -> Response {
    let answer = flight.ask_airflow(&request.clone().bearer(&flight.airflow.login("admin")));
    assert!(answer.status < 300, "{} {}", answer.status, answer.text());
    answer
}

fn give(flight: &Flight, name: &str, role: &str) {
    let path = format!("/auth/fab/v1/users/{name}?update_mask=roles");
    by_hand(flight, &with_json("PATCH", &path, &json!({"roles": [{"name": role}]})));
}

#[test]
fn every_kind_of_caller_reads_writes_and_is_refused_by_its_role() {
    for release in RELEASES {
        let flight = release.flight();
        let airflow = release.recipe().version();
        let (manager, handoff) = ("FabAuthManager", "`airflow_token`, users of FAB");
        compatibility::prove(&flight, &Subject { airflow, manager, handoff });
    }
}

#[test]
fn check_shows_that_the_managing_user_may_manage_and_changes_nobody() {
    for release in RELEASES {
        let flight = release.flight();
        let before = check::users(flight.airflow);
        let ended = check::checked(&flight, |config| config);
        assert_eq!(ended.code, Some(0), "{}", ended.log());
        let roles = ended.about("roles of ");
        assert!(roles.starts_with("warning  ") && roles.contains("Ghost"), "{roles}");
        let known = |config: Config| config.set("/roles/map", json!({"a": ["Op", "Public"]}));
        let ended = check::checked(&flight, known);
        check::is_all_well(&ended);
        assert!(ended.about("hand-off to ").contains("may manage the others"), "{}", ended.stdout);
        let mut verdicts = Verdicts::default();
        let viewer = |config: Config| config.set("/handoff/fab/admin_user_id", "2");
        let nobody = |config: Config| config.set("/handoff/fab/admin_user_id", "777");
        let simple = |config: Config| {
            config
                .set("/handoff/auth_manager", "simple")
                .without("/roles/map/Airflow.Reader")
                .without("/roles/map/Airflow.Ghost")
        };
        for (label, ended, words) in [
            (
                "a viewer",
                check::checked(&flight, viewer),
                &["\"2\" may not manage users", "Admin"][..],
            ),
            ("nobody", check::checked(&flight, nobody), &["the key is right", "id \"777\""]),
            (
                "as simple",
                check::checked(&flight, simple),
                &["the key is right", "handoff.auth_manager here fab"],
            ),
        ] {
            verdicts.check(label, ended.code == Some(78), (ended.code, ended.log()));
            let told = ended.about("hand-off to ");
            for word in words {
                verdicts.check(label, told.contains(word), (word, &told));
            }
        }
        assert_eq!(before, check::users(flight.airflow));
    }
}

#[test]
fn a_caller_is_a_user_of_fab_under_its_own_name() {
    for release in RELEASES {
        let flight = release.flight();
        let token = of(&oid(1), &["Airflow.User", "Airflow.Viewer"]);
        let me = flight.ask(&Request::get("/ui/auth/me").bearer(&token));
        assert_eq!(me.status, 200, "{}", flight.airside.log());
        assert_eq!(me.json()["username"], oid(1));
        let run = json!({"dag_run_id": format!("fab-{}", release.name), "logical_date": null});
        let run = flight.ask(&post("/api/v2/dags/demo/dagRuns", &run).bearer(&token));
        assert_eq!(run.json()["triggering_user_name"], oid(1), "{}", run.text());
        let created = user(&flight, &oid(1)).expect("a user");
        assert_eq!(created["email"], format!("{}@airside.invalid", oid(1)));
        assert_eq!(roles(&flight, &oid(1)), ["User", "Viewer"]);
    }
}

#[test]
fn a_raised_role_is_served_at_once_and_airflow_follows_within_cache_ttl() {
    for release in RELEASES {
        let flight = release.flight();
        let viewer = issued(&oid(2), &["Airflow.Viewer"], 60);
        let refused = flight.ask(&variable("raised").bearer(&viewer));
        assert_airflow_says(&refused, 403, &json!("Forbidden"));
        let op = of(&oid(2), &["Airflow.Op"]);
        assert_eq!(dags(&flight, &op).status, 200, "{}", flight.airside.log());
        let written = within(DEADLINE, || {
            let answer = flight.ask(&variable("raised").bearer(&op));
            // Airflow may not know yet; airside never stands in the way.
            assert_ne!(answer.status, 502, "{}", flight.airside.log());
            (answer.status == 201).then_some(())
        });
        written.expect("an Op writes");
    }
}

#[test]
fn a_lowered_role_never_writes_again_and_waits_until_airflow_has_forgotten() {
    for release in RELEASES {
        let flight = release.flight();
        let op = issued(&oid(3), &["Airflow.Op"], 60);
        let written = flight.ask(&variable("before-it-was-lowered").bearer(&op));
        assert_eq!(written.status, 201, "{}", written.text());
        let viewer = of(&oid(3), &["Airflow.Viewer"]);
        let write = variable("after-it-was-lowered").bearer(&viewer);
        let begun = Instant::now();
        assert_refused(&flight.ask(&write), 502, "handoff_failed");
        flight.airside.line_with(&["handoff_failed", "lowered from Op to Viewer", "cache_ttl"]);
        // Somebody else's airside, started now, knows as well that it has to wait.
        let issuer = Issuer::start();
        let another = Config::new(&issuer.url(), &flight.airflow.url());
        let another = Airside::start(&for_fab(another));
        assert_refused(&another.ask(&write), 502, "handoff_failed");
        let answer = within(DEADLINE, || Some(flight.ask(&write)).filter(|one| one.status != 502));
        assert!(begun.elapsed() >= Duration::from_secs(CACHE_TTL.into()), "{:?}", begun.elapsed());
        assert_airflow_says(&answer.expect("an answer"), 403, &json!("Forbidden"));
        assert_eq!(dags(&flight, &viewer).status, 200);
        assert_airflow_says(&another.ask(&write), 403, &json!("Forbidden"));
    }
}

#[test]
fn a_role_of_the_operators_own_gives_what_it_says_and_no_more() {
    for release in RELEASES {
        let flight = release.flight();
        let reads = json!({"action": {"name": "can_read"}, "resource": {"name": "Variables"}});
        let role = json!({"name": "Reader", "actions": [reads]});
        by_hand(&flight, &post("/auth/fab/v1/roles", &role));
        let reader = of(&oid(4), &["Airflow.Reader"]);
        let ask = |request: Request| flight.ask(&request.bearer(&reader)).status;
        assert_eq!(ask(Request::get("/api/v2/variables")), 200, "{}", flight.airside.log());
        assert_eq!(ask(Request::get("/api/v2/dags")), 403);
        assert_eq!(ask(variable("not-for-readers")), 403);
    }
}

#[test]
fn a_role_that_fab_has_not_is_said_and_nobody_is_made_for_it() {
    for release in RELEASES {
        let flight = release.flight();
        let answer = dags(&flight, &of(&oid(5), &["Airflow.Ghost", "Airflow.Viewer"]));
        assert_refused(&answer, 502, "handoff_failed");
        flight.airside.line_with(&["handoff_failed", "Unknown roles: 'Ghost'", "role map"]);
        assert_eq!(user(&flight, &oid(5)), None);
    }
}

#[test]
fn users_of_fab_are_only_touched_when_they_are_adopted() {
    for release in RELEASES {
        let adopt = json!({"cache_ttl": "3s", "adopt": [oid(6), "admin"]});
        let flight = release.flight_with(|config| for_fab(config).set("/handoff/fab", adopt));
        for (name, role) in [(oid(6), "Viewer"), (oid(7), "Viewer")] {
            let body = json!({
                "username": name, "email": format!("{name}@contoso.example"), "first_name": "Alice",
                "last_name": "Example", "password": "of her own", "roles": [{"name": role}],
            });
            by_hand(&flight, &post("/auth/fab/v1/users", &body));
        }
        let answer = dags(&flight, &of(&oid(6), &["Airflow.Op"]));
        assert_eq!(answer.status, 200, "{}", flight.airside.log());
        assert_eq!(roles(&flight, &oid(6)), ["Op"]);
        let adopted = user(&flight, &oid(6)).expect("a user");
        assert_eq!(adopted["last_name"], "Example", "nothing but the roles is airside's");

        for (name, words) in [
            (oid(7), "did not create"),
            (oid(7).to_uppercase(), "for the same"),
            ("viewer".to_owned(), "did not create"),
            ("admin".to_owned(), "admin_user_id"),
        ] {
            let answer = dags(&flight, &of(&name, &["Airflow.Admin"]));
            assert_refused(&answer, 502, "handoff_failed");
            flight.airside.line_with(&["handoff_failed", words]);
        }
        assert_eq!(roles(&flight, &oid(7)), ["Viewer"]);
        assert_eq!(roles(&flight, "admin"), ["Admin"]);
    }
}

#[test]
fn twelve_first_requests_at_once_through_two_airsides_make_one_user() {
    for release in RELEASES {
        let flight = release.flight();
        let issuer = Issuer::start();
        let another = Config::new(&issuer.url(), &flight.airflow.url());
        let another = Airside::start(&for_fab(another));
        let request = Request::get("/api/v2/dags").bearer(&of(&oid(8), &["Airflow.User"]));
        let airsides = [&flight.airside, &another];
        let statuses: Vec<u16> = thread::scope(|scope| {
            let ask = |number: usize| airsides[number % 2].ask(&request).status;
            let asked: Vec<_> = (0..12).map(|number| scope.spawn(move || ask(number))).collect();
            asked.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(statuses, [200; 12], "{}{}", flight.airside.log(), another.log());
        let everybody = by_hand(&flight, &Request::get("/auth/fab/v1/users?limit=100")).json();
        let users = everybody["users"].as_array().unwrap().iter();
        assert_eq!(users.filter(|user| user["username"] == oid(8)).count(), 1);
    }
}

#[test]
fn roles_changed_by_hand_are_put_right_and_a_user_switched_off_is_turned_away() {
    for release in RELEASES.iter().filter(|release| release.compares) {
        let flight = release.flight();
        let token = of(&oid(9), &["Airflow.User"]);
        assert_eq!(dags(&flight, &token).status, 200, "{}", flight.airside.log());
        for role in ["Viewer", "Admin"] {
            give(&flight, &oid(9), role);
            let back = within(DEADLINE, || {
                dags(&flight, &token);
                (roles(&flight, &oid(9)) == ["User"]).then_some(())
            });
            back.unwrap_or_else(|| panic!("{role} stays: {}", flight.airside.log()));
            // From then on nobody is served with what was given by hand.
            let write = variable(&format!("by-hand-as-{role}")).bearer(&token);
            let write = || Some(flight.ask(&write)).filter(|answer| answer.status != 502);
            let answer = within(DEADLINE, write).expect("an answer");
            assert_airflow_says(&answer, 403, &json!("Forbidden"));
        }
        let served = within(DEADLINE, || (dags(&flight, &token).status == 200).then_some(()));
        served.expect("served again");
        switch_off(&flight, release.server, &oid(9));
        let refused = within(DEADLINE, || (dags(&flight, &token).status == 502).then_some(()));
        refused.expect("refused");
        flight.airside.line_with(&["handoff_failed", "deactivated in FAB"]);
    }
}

/// FAB's pages do this; its API does not.
fn switch_off(flight: &Flight, server: &str, name: &str) {
    const PROGRAM: &str = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=30); \
        c.execute('UPDATE ab_user SET active = 0 WHERE username = ?', sys.argv[2:]); c.commit()";
    let database = flight.airflow.database();
    let python = program(&format!("servers/{server}"), "python");
    let mut command = command(&python, database.parent().unwrap());
    said(&command.args(["-c", PROGRAM]).arg(&database).arg(name).output().unwrap());
}

#[test]
fn a_user_deleted_in_fab_is_made_anew() {
    for release in RELEASES {
        let flight = release.flight();
        let token = of(&oid(10), &["Airflow.Viewer"]);
        assert_eq!(dags(&flight, &token).status, 200, "{}", flight.airside.log());
        by_hand(&flight, &Request::new("DELETE", &format!("/auth/fab/v1/users/{}", oid(10))));
        // Airflow says at the latest then that it does not know the user any more.
        let anew = within(DEADLINE, || {
            let status = dags(&flight, &token).status;
            assert!([200, 403, 502].contains(&status), "{status}");
            (status == 200 && user(&flight, &oid(10)).is_some()).then_some(())
        });
        anew.unwrap_or_else(|| panic!("{}", flight.airside.log()));
    }
}

#[test]
fn airflows_own_logins_and_tokens_work_as_before() {
    for release in RELEASES {
        let flight = release.flight();
        let login = json!({"username": "op", "password": "password of op"});
        let answer = flight.ask(&post("/auth/token", &login));
        assert_eq!(answer.status, 201, "{}", answer.text());
        let own = answer.json()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(flight.ask(&variable("by-own-login").bearer(&own)).status, 201);
        let cookie = format!("_token={own}");
        let me = flight.ask(&Request::get("/ui/auth/me").cookie(&cookie));
        assert_eq!(me.json()["username"], "op", "{}", me.text());
        assert_eq!(roles(&flight, "op"), ["Op"]);
    }
}

#[test]
fn nobody_logs_in_by_the_header_that_fab_trusts() {
    for release in RELEASES {
        let flight = release.flight();
        let login = |name: &str| Request::get("/auth/login/").header(name, "admin");
        let past = flight.ask_airflow(&login("X-Remote-User"));
        assert!(past.all("set-cookie").iter().any(|one| one.starts_with("_token=ey")), "FAB does");
        let mut verdicts = Verdicts::default();
        let token = of(&oid(11), &["Airflow.Viewer"]);
        for name in ["X-Remote-User", "x_remote_user", "X.Remote.User", "X-REMOTE_user"] {
            let nobody = flight.ask(&login(name));
            verdicts.refused(name, &nobody, 401, &["credential_missing"]);
            let caller = flight.ask(&login(name).bearer(&token));
            let cookies = caller.all("set-cookie");
            verdicts.check(
                name,
                caller.status == 302 && cookies.is_empty(),
                (&caller.head, cookies),
            );
            for path in ["/auth/users/list/", "/auth/logout", "/", "/api/v2/auth/login"] {
                let answer = flight.ask(&Request::get(path).header(name, "admin"));
                let cookies = answer.all("set-cookie");
                let none = !cookies.iter().any(|cookie| cookie.starts_with("_token=ey"));
                verdicts.check(&format!("{name} {path}"), none, cookies);
            }
        }
    }
}

#[test]
fn who_comes_with_a_token_is_led_from_the_login_page_to_where_it_was() {
    for release in RELEASES {
        let flight = release.flight();
        let token = of(&oid(12), &["Airflow.Viewer"]);
        let start = flight.ask(&Request::get("/api/v2/auth/login?next=%2Fdags").bearer(&token));
        let page = start.header("location").unwrap().to_owned();
        assert!(page.starts_with("/auth/login/?next="), "{page}");
        let answer = flight.ask(&Request::get(&page).bearer(&token));
        assert_eq!(answer.status, 302, "{}", answer.text());
        assert!(
            answer.header("location").is_some_and(|to| to.ends_with("/dags")),
            "{:?}",
            answer.head
        );
        assert_refused(&flight.ask(&Request::get(&page)), 401, "credential_missing");
    }
}

#[test]
fn what_airflow_has_to_be_told_is_in_the_log() {
    let flight = Flight::with(&Recipe::usual(), for_fab);
    assert_refused(&dags(&flight, &v2_app().token()), 502, "handoff_failed");
    flight.airside.line_with(&["handoff_failed", "[core] auth_manager", "FabAuthManager"]);
    drop(flight);
    let by_password = Recipe::fab("fab-by-password", "3.3.2-fab", CACHE_TTL)
        .file("webserver_config.py", String::new());
    let flight = Flight::with(&by_password, for_fab);
    let unknown = dags(&flight, &v2_app().token());
    assert_refused(&unknown, 502, "handoff_failed");
    flight.airside.line_with(&["handoff_failed", "id 1", "handoff.fab.admin_user_id"]);
    have_local_users(&flight, "3.3.2-fab");
    let settled = within(DEADLINE, || {
        let answer = dags(&flight, &v2_app().token());
        assert_refused(&answer, 502, "handoff_failed");
        flight.airside.log().contains("AUTH_REMOTE_USER_ENV_VAR").then_some(())
    });
    settled.unwrap_or_else(|| panic!("{}", flight.airside.log()));
    drop(flight);
    let not_admin = |config| for_fab(config).set("/handoff/fab/admin_user_id", "2");
    let flight = Flight::with(&by_password, not_admin);
    assert_refused(&dags(&flight, &v2_app().token()), 502, "handoff_failed");
    flight.airside.line_with(&["handoff_failed", "id 2", "the role Admin"]);
}

#[cfg(feature = "airflow-releases")]
#[test]
fn below_a_base_path_users_are_found_and_led_back_there() {
    let recipe = Recipe::fab("fab-below", "3.3.2-fab", CACHE_TTL)
        .set("AIRFLOW__API__BASE_URL", "http://127.0.0.1/af");
    let below = |config| for_fab(config).set("/upstream/base_path", "/af");
    let flight = Flight::with(&recipe, below);
    have_local_users(&flight, "3.3.2-fab");
    let token = of(&oid(13), &["Airflow.Viewer"]);
    let answer = flight.ask(&Request::get("/af/api/v2/dags").bearer(&token));
    assert_eq!(answer.status, 200, "{}", flight.airside.log());
    let login = flight.ask(&Request::get("/af/auth/login/").bearer(&token));
    assert_eq!(login.header("location"), Some("/af/auth/"));
    assert_refused(&flight.ask(&Request::get("/af/auth/login/")), 401, "credential_missing");
}
