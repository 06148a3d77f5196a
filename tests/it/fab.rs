//! The hand-off to Airflow with FAB: users found or created, roles kept in step, and what is said
//! when that fails.

mod replicas;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::airflow;
use crate::support::airside::Airside;
use crate::support::claims::Claims;
use crate::support::config::{Config, SECRET};
use crate::support::entra::{APP, now, v2_app};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::fab::{BELOW, FORGOTTEN, HEADER, Table, User, for_fab, providers, scene};
use crate::support::http::Request;
use crate::support::keys::open_hs512;
use crate::support::scene::Scene;
use crate::support::upstream::{Answer, Received};
use crate::support::wait::within;

fn usual(table: &Table) -> Scene {
    scene(table, |config| config, |_| None)
}

fn dags() -> Request {
    Request::get("/api/v2/dags")
}

/// A token of this user, issued now.
fn of(name: &str, roles: &[&str]) -> Claims {
    v2_app().with("oid", name).roles(roles)
}

/// What was asked of Airflow, and not forwarded.
fn own(scene: &Scene) -> Vec<Received> {
    let ours = |request: &Received| request.header("user-agent").is_some_and(is_ours);
    scene.upstream.take().into_iter().filter(ours).collect()
}

fn is_ours(agent: &str) -> bool {
    agent.starts_with("airside/")
}

fn lines(requests: &[Received]) -> Vec<String> {
    requests.iter().map(|one| format!("{} {}", one.method(), one.target())).collect()
}

/// The id under which the request with this token arrives.
fn id(scene: &Scene, token: &str) -> String {
    assert_eq!(scene.present(token).status, 200, "{}", scene.airside.log());
    let claims = open_hs512(scene.upstream.last().bearer(), SECRET.as_bytes()).1;
    claims["sub"].as_str().unwrap().to_owned()
}

#[test]
fn a_first_request_creates_the_user_with_the_roles_of_its_token_and_goes_under_its_id() {
    let table = Table::of(&[User::local("somebody", "Op")]);
    let scene = usual(&table);
    let answer = scene.ask(&dags().bearer(&of(APP, &["Airflow.Op", "Data"]).token()));
    assert_eq!(answer.status, 200, "{}", scene.airside.log());
    let received = scene.upstream.take();
    let asked: Vec<_> = lines(&received);
    let user = format!("/auth/fab/v1/users/{APP}");
    assert_eq!(
        asked,
        [
            "GET /api/v2/version",
            "GET /api/v2/providers?limit=100",
            &format!("GET {user}"),
            "POST /auth/fab/v1/users",
            "GET /auth/login/",
            "GET /api/v2/dags",
        ]
    );
    let created = table.user(3);
    assert_eq!(created.email, format!("{APP}@airside.invalid"));
    assert_eq!(created.roles, ["DataEngineer", "Op"]);
    let body: Value = serde_json::from_slice(&received[3].body).unwrap();
    assert!(body["password"].as_str().unwrap().len() >= 32, "nobody can guess the password");
    assert_eq!(received[4].header(HEADER), Some(APP));
    for request in &received[..4] {
        let (_, claims) = open_hs512(request.bearer(), SECRET.as_bytes());
        assert_eq!(claims["sub"], "1", "{}", request.text());
    }
    let forwarded = &received[5];
    let (_, claims) = open_hs512(forwarded.bearer(), SECRET.as_bytes());
    assert_eq!((&claims["sub"], claims.get("role")), (&json!("3"), None));
    assert_eq!(claims["jti"].as_str().map(str::len), Some(32));
    assert_eq!(forwarded.header("x-airside-user"), Some(APP));
    assert_eq!(forwarded.header("x-airside-roles"), Some("Op,DataEngineer"));
    assert_eq!(forwarded.header(HEADER), None);
}

#[test]
fn a_user_that_is_known_costs_no_further_question() {
    let table = Table::of(&[]);
    let scene = scene(&table, |config| config.set("/handoff/fab/cache_ttl", "1h"), |_| None);
    let token = of(APP, &["Airflow.Op"]).token();
    assert_eq!(scene.present(&token).status, 200);
    scene.upstream.take();
    for _ in 0..20 {
        assert_eq!(scene.present(&token).status, 200);
    }
    let again = of(APP, &["Airflow.Op"]).with("uti", "another").token();
    assert_eq!(scene.present(&again).status, 200, "another token of the same user");
    assert_eq!(lines(&own(&scene)), Vec::<String>::new());
}

#[test]
fn users_are_compared_with_fab_again_after_cache_ttl() {
    let table = Table::of(&[]);
    let scene = usual(&table);
    let token = of(APP, &["Airflow.Viewer"]).token();
    assert_eq!(id(&scene, &token), "2");
    scene.upstream.take();
    // Somebody takes the role away by hand and gives less.
    table.change(2, |user| user.roles = vec!["Public".into()]);
    within(FORGOTTEN, || {
        assert_eq!(scene.present(&token).status, 200);
        (table.user(2).roles == ["Viewer"]).then_some(())
    })
    .expect("the role is back");
    let asked = lines(&own(&scene));
    let user = format!("/auth/fab/v1/users/{APP}");
    assert!(
        asked.ends_with(&[
            format!("GET {user}"),
            format!("PATCH {user}?update_mask=roles,last_name")
        ]),
        "{asked:?}"
    );
    assert!(!asked.iter().any(|line| line.contains("login")), "the id is known: {asked:?}");
}

#[test]
fn raised_roles_are_served_at_once_and_lowered_ones_when_airflow_has_forgotten() {
    for (before, after, waits) in [
        ("Airflow.Viewer", "Airflow.Op", false),
        ("Airflow.Op", "Airflow.Viewer", true),
        ("Data", "Airflow.Admin", false),
        ("Airflow.Admin", "Data", true),
    ] {
        let table = Table::of(&[]);
        let scene = usual(&table);
        let issued = |role: &str, at: i64| of(APP, &[role]).with("iat", at).token();
        assert_eq!(id(&scene, &issued(before, now() - 60)), "2");
        let token = issued(after, now() - 30);
        let begun = Instant::now();
        let answer = scene.present(&token);
        if !waits {
            assert_eq!(answer.status, 200, "{before} to {after}: {}", scene.airside.log());
            continue;
        }
        assert_refused(&answer, 502, "handoff_failed");
        scene.airside.line_with(&["handoff_failed", "lowered from", "cache_ttl"]);
        within(FORGOTTEN, || (scene.present(&token).status == 200).then_some(()))
            .unwrap_or_else(|| panic!("{}", scene.airside.log()));
        assert!(begun.elapsed() > Duration::from_secs(1), "{before} to {after}");
    }
}

#[test]
fn of_two_tokens_the_one_issued_last_says_which_roles_the_user_has() {
    let table = Table::of(&[]);
    let scene = usual(&table);
    let issued = |role: &str, at: i64| of(APP, &[role]).with("iat", at).token();
    let new = issued("Airflow.Viewer", now() - 10);
    assert_eq!(id(&scene, &new), "2");
    for (role, served) in [("Airflow.Op", true), ("Data", false)] {
        let answer = scene.present(&issued(role, now() - 600));
        if served {
            assert_eq!(answer.status, 200, "{}", scene.airside.log());
        } else {
            assert_refused(&answer, 502, "handoff_failed");
            scene.airside.line_with(&["issued later", "get a new token"]);
        }
        assert_eq!(table.user(2).roles, ["Viewer"], "an older token changes nothing");
    }
    assert_eq!(id(&scene, &new), "2");
}

#[test]
fn what_was_signed_on_lower_roles_ends_when_they_are_raised() {
    let table = Table::of(&[]);
    let scene = scene(&table, |config| config.set("/handoff/fab/cache_ttl", "1h"), |_| None);
    let viewer = of(APP, &["Airflow.Viewer"]).with("iat", now() - 100).token();
    assert_eq!(id(&scene, &viewer), "2");
    let op = of(APP, &["Airflow.Op"]).with("iat", now() - 50).token();
    assert_eq!(id(&scene, &op), "2");
    // Airflow would give the older token the rights of an Op.
    assert_refused(&scene.present(&viewer), 502, "handoff_failed");
}

#[test]
fn a_user_that_was_deleted_comes_back_with_what_the_latest_token_says() {
    let table = Table::of(&[]);
    let scene = usual(&table);
    let issued = |role: &str, at: i64| of(APP, &[role]).with("iat", at).token();
    let (old, new) = (issued("Airflow.Op", now() - 600), issued("Airflow.Viewer", now() - 10));
    assert_eq!(id(&scene, &new), "2");
    scene.upstream.take();
    table.change(2, |user| user.gone = true);
    within(FORGOTTEN, || {
        assert_eq!(scene.present(&old).status, 200, "{}", scene.airside.log());
        (table.users().len() == 3).then_some(())
    })
    .expect("it is made anew");
    assert_eq!(table.user(3).roles, ["Viewer"]);
    let asked = own(&scene);
    let made = asked.iter().find(|one| one.method() == "POST").unwrap();
    let body: Value = serde_json::from_slice(&made.body).unwrap();
    assert_eq!(body["roles"], json!([{"name": "Viewer"}]), "not even for a moment");
}

#[test]
fn many_first_requests_at_once_ask_once() {
    let table = Table::of(&[]);
    let scene = usual(&table);
    let token = of(APP, &["Airflow.Op"]).token();
    let start = Barrier::new(12);
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                start.wait();
                assert_eq!(scene.present(&token).status, 200);
            });
        }
    });
    assert_eq!(table.users().len(), 2);
    let logins = own(&scene).into_iter().filter(|one| one.target() == "/auth/login/");
    assert_eq!(logins.count(), 1);
}

#[test]
fn only_users_that_airside_created_or_that_are_adopted_are_changed() {
    let others = [
        User::local("stranger", "Viewer"),
        User::local("adopted", "Viewer"),
        User::ours("ours", "Viewer"),
        User { email: "stolen@airside.invalid".into(), ..User::local("marked", "Viewer") },
    ];
    let table = Table::of(&others);
    let adopt = |config: Config| config.set("/handoff/fab/adopt", json!(["adopted", "admin"]));
    let scene = scene(&table, adopt, |_| None);
    let ask = |name: &str| scene.present(&of(name, &["Airflow.Op"]).token());
    for (name, words) in [
        ("stranger", "did not create"),
        ("marked", "did not create"),
        ("OURS", "for the same"),
        ("admin", "admin_user_id"),
    ] {
        assert_refused(&ask(name), 502, "handoff_failed");
        scene.airside.line_with(&["handoff_failed", words]);
    }
    for name in ["adopted", "ours"] {
        assert_eq!(ask(name).status, 200, "{}", scene.airside.log());
    }
    let roles: Vec<_> = table.users().into_iter().map(|user| user.roles.concat()).collect();
    assert_eq!(roles, ["Admin", "Viewer", "Op", "Op", "Viewer"]);
    // A user that was adopted keeps its own name, also when its role is lowered.
    let lower = of("adopted", &["Airflow.Viewer"]).with("iat", now()).token();
    assert_refused(&scene.present(&lower), 502, "handoff_failed");
    assert_eq!(table.user(3).last_name, "Local");
}

#[test]
fn a_user_switched_off_deleted_or_made_anew_in_fab_is_noticed() {
    let table = Table::of(&[]);
    let scene = usual(&table);
    let token = of(APP, &["Airflow.Viewer"]).token();
    assert_eq!(id(&scene, &token), "2");
    table.change(2, |user| user.active = false);
    within(FORGOTTEN, || (scene.present(&token).status == 502).then_some(())).expect("refused");
    scene.airside.line_with(&["handoff_failed", "deactivated in FAB"]);
    table.change(2, |user| user.gone = true);
    within(FORGOTTEN, || (scene.present(&token).status == 200).then_some(())).expect("served");
    assert_eq!(id(&scene, &token), "3", "the user that was made anew");
}

#[test]
fn a_token_that_airflow_refuses_has_the_user_looked_up_again() {
    let refuses = Arc::new(AtomicBool::new(false));
    let table = Table::of(&[]);
    let scene = scene(&table, |config| config.set("/handoff/fab/cache_ttl", "1h"), {
        let refuses = Arc::clone(&refuses);
        move |request| {
            let refused = refuses.load(Ordering::SeqCst) && request.target() == "/api/v2/dags";
            refused.then(|| Answer::json(403, &[], r#"{"detail":"Invalid JWT token"}"#))
        }
    });
    let token = of(APP, &["Airflow.Viewer"]).token();
    assert_eq!(id(&scene, &token), "2");
    refuses.store(true, Ordering::SeqCst);
    table.change(2, |user| user.gone = true);
    assert_eq!(scene.present(&token).text(), r#"{"detail":"Invalid JWT token"}"#);
    refuses.store(false, Ordering::SeqCst);
    assert_eq!(id(&scene, &token), "3");
}

/// What goes wrong: where, with which answer, and what the log then says.
#[test]
fn each_trouble_is_a_handoff_that_failed_and_the_log_says_what_to_set() {
    let page = |status: &str| {
        let head = format!("HTTP/1.1 {status} OK\r\nContent-Type: text/html\r\nContent-Length: 6");
        Answer::Bytes(format!("{head}\r\n\r\n<html>").into())
    };
    let says =
        |status, detail: &str| Answer::json(status, &[], &json!({ "detail": detail }).to_string());
    let (version, packages) = ("/api/v2/version", "/api/v2/providers");
    let (users, login) = ("/auth/fab/v1/users", "/auth/login/");
    let remote_user =
        "AUTH_TYPE = AUTH_REMOTE_USER and AUTH_REMOTE_USER_ENV_VAR = \\\"HTTP_X_REMOTE_USER\\\"";
    let cases = [
        ("too old", version, Answer::json(200, &[], r#"{"version":"3.1.8"}"#), "needs Airflow 3.2"),
        ("Airflow 2", version, says(404, "Not found"), "Airflow 3.2 or later"),
        ("other secret", packages, says(403, "Invalid JWT token"), "[api_auth]"),
        ("no admin", packages, says(403, "Forbidden"), "the role Admin"),
        ("no rights", users, says(403, "Forbidden"), "admin_user_id"),
        ("Simple", users, page("200"), "[core] auth_manager"),
        ("no API", users, page("404"), "[core] auth_manager"),
        ("broken", users, says(500, "Database error"), "Database error"),
        ("not JSON", users, Answer::json(200, &[], "{"), "[core] auth_manager"),
        ("by password", login, page("200"), remote_user),
        ("other header", login, Answer::json(302, &[], ""), remote_user),
        ("by OAuth", login, Answer::json(302, &["Set-Cookie: session=x"], ""), remote_user),
        ("no number", login, Answer::json(302, &["Set-Cookie: _token=a.b.c"], ""), remote_user),
        ("mail taken", "POST", says(409, "The e-mail is already taken."), "already taken"),
    ];
    let mut verdicts = Verdicts::default();
    for (label, place, answer, words) in cases {
        let scene = scene(
            &Table::of(&[]),
            |config| config,
            move |request| {
                let here = request.method() == place || request.target().starts_with(place);
                here.then(|| answer.clone())
            },
        );
        let answer = scene.present(&of(APP, &["Airflow.Op"]).token());
        verdicts.refused(label, &answer, 502, &["handoff_failed"]);
        let logged = |line: &&str| line.contains("access") && line.contains(words);
        let log = within(Duration::from_secs(5), || {
            scene.airside.log().lines().find(logged).map(str::to_owned)
        });
        verdicts.check(label, log.is_some(), scene.airside.log());
        let forwarded = scene.upstream.take().iter().any(|one| one.target() == "/api/v2/dags");
        verdicts.check(label, !forwarded, "forwarded");
    }
}

#[test]
fn what_is_answered_to_airside_itself_may_not_be_read_in_two_ways_either() {
    let version = r#"{"version":"3.2.2"}"#;
    let twice = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n\
         {length:x}\r\n{version}\r\n0\r\n\r\n",
        length = version.len()
    );
    let scene = scene(
        &Table::of(&[]),
        |config| config,
        move |request| {
            let here = request.target().starts_with("/api/v2/version");
            here.then(|| Answer::Bytes(twice.clone().into()))
        },
    );
    let answer = scene.present(&of(APP, &["Airflow.Op"]).token());
    assert_refused(&answer, 502, "upstream_invalid");
    scene.airside.line_with(&["access", "both Transfer-Encoding and Content-Length"]);
}

#[test]
fn a_name_or_role_that_fab_cannot_have_is_said() {
    let table = Table::of(&[]);
    let scene = usual(&table);
    let long = "a".repeat(257);
    for (token, words) in [
        (of("repo:contoso/dags", &["Airflow.Op"]), "slash"),
        (of(&long, &["Airflow.Op"]), "256 characters"),
        (of(APP, &["Odd"]), "Unknown roles: 'Unheard.Of'"),
    ] {
        assert_refused(&scene.present(&token.token()), 502, "handoff_failed");
        scene.airside.line_with(&["handoff_failed", words]);
    }
    assert_eq!(table.users().len(), 1, "nobody was made");
    let odd = of("sso:a@b?c#d%2F", &["Airflow.Op"]).token();
    assert_eq!(id(&scene, &odd), "2");
    assert_eq!(table.user(2).username, "sso:a@b?c#d%2F");
}

#[test]
fn an_airflow_that_is_down_is_said_to_be_and_asked_again_once_it_is_back() {
    let mut scene = usual(&Table::of(&[]));
    scene.upstream.stop();
    let token = of(APP, &["Airflow.Op"]).token();
    assert_refused(&scene.present(&token), 502, "upstream_unavailable");
    scene.upstream.restart();
    within(FORGOTTEN, || (scene.present(&token).status == 200).then_some(())).expect("served");
}

#[test]
fn failures_are_not_repeated_for_every_request() {
    let asked = Arc::new(AtomicUsize::new(0));
    let scene = scene(&Table::of(&[]), |config| config, {
        let asked = Arc::clone(&asked);
        move |request| {
            (request.target() == "/auth/login/").then(|| {
                asked.fetch_add(1, Ordering::SeqCst);
                Answer::json(302, &[], "")
            })
        }
    });
    let token = of(APP, &["Airflow.Op"]).token();
    let begun = Instant::now();
    let mut requests = 0;
    while begun.elapsed() < Duration::from_secs(1) {
        assert_refused(&scene.present(&token), 502, "handoff_failed");
        requests += 1;
    }
    assert!(requests > 10, "{requests}");
    assert!(asked.load(Ordering::SeqCst) <= 2, "{asked:?}");
}

#[test]
fn a_fab_whose_calls_leak_is_asked_seldom() {
    let table = Table::of(&[]);
    let leaking = |request: &Received| {
        request.target().starts_with("/api/v2/providers").then(|| providers("3.6.4"))
    };
    let scene = scene(&table, |config| config, leaking);
    let token = of(APP, &["Airflow.Viewer"]).token();
    assert_eq!(id(&scene, &token), "2");
    scene.airside.line_with(&["WARN", "3.10 or later"]);
    scene.upstream.take();
    // Three times as long as users are compared otherwise.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert_eq!(scene.present(&token).status, 200);
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(lines(&own(&scene)), Vec::<String>::new());
    // A token with other roles is another matter.
    let op = of(APP, &["Airflow.Op"]).with("iat", now()).token();
    assert_eq!(scene.present(&op).status, 200);
    assert_eq!(table.user(2).roles, ["Op"]);
}

#[test]
fn nobody_but_airside_can_send_the_header_that_fab_trusts() {
    let header = "X-Proxied-User";
    let table = Table::of(&[]);
    let custom = |config: Config| config.set("/handoff/fab/remote_user_header", header);
    let scene = scene(&table, custom, |request| {
        // This FAB reads its own header, as WSGI spells it.
        let name = request.all(header).join(",");
        (request.target() == "/auth/login/" && !name.is_empty()).then(|| {
            let claims = crate::support::keys::encode(br#"{"sub":"2"}"#);
            Answer::json(302, &[&format!("Set-Cookie: _token=e30.{claims}.c2ln")], "")
        })
    });
    let mut verdicts = Verdicts::default();
    let token = of(APP, &["Airflow.Op"]).token();
    for name in [header, "x_proxied_user", "X.Proxied.User", "X-PROXIED_user"] {
        for (what, request) in [
            ("shell", Request::get("/")),
            ("page of FAB", Request::get("/auth/users/list/")),
            ("open", Request::get("/api/v2/version")),
            ("password", Request::post("/auth/token")),
            ("worker", Request::get("/execution/health")),
            ("session", dags().cookie("_token=airflow-judges-this")),
            ("caller", dags().bearer(&token)),
            ("login", Request::get("/auth/login/").bearer(&token)),
        ] {
            scene.upstream.take();
            let label = format!("{name}, {what}");
            let status = scene.ask(&request.header(name, "mallory")).status;
            verdicts.check(&label, status == 200 || status == 302, status);
            let received = scene.upstream.take();
            let sent = received.iter().any(|one| one.text().contains("mallory"));
            verdicts.check(&label, !received.is_empty() && !sent, lines(&received));
        }
    }
}

#[test]
fn the_login_page_needs_a_token_and_gives_no_session() {
    let scene = usual(&Table::of(&[]));
    for request in [
        Request::get("/auth/login/"),
        Request::get("/auth/login"),
        Request::new("HEAD", "/auth/login/"),
        Request::get("/auth/login/?next=%2Fdags"),
        Request::get("/auth/login/").cookie("session=anonymous"),
        Request::get("/auth/%6Cogin/"),
        Request::get("/auth//login/"),
    ] {
        let answer = scene.ask(&request);
        assert_eq!((answer.status, answer.header("location")), (401, None), "{request:?}");
    }
    assert_eq!(scene.upstream.requests().len(), 0);
    let token = of(APP, &["Airflow.Op"]).token();
    let request = Request::get("/auth/login/?next=%2Fdags").bearer(&token);
    let answer = scene.ask(&request.cookie("session=anonymous"));
    assert_eq!(answer.status, 302);
    assert_eq!(answer.all("set-cookie"), Vec::<&str>::new());
    let received = scene.upstream.last();
    assert_eq!((received.header(HEADER), received.header("cookie")), (None, None));
}

#[test]
fn what_airflow_issued_itself_goes_through_without_a_question() {
    let scene = usual(&Table::of(&[]));
    let own_token = airflow::sign(&airflow::claims().without("role").with("sub", "1"));
    let received = scene.forwarded(&dags().bearer(&own_token));
    assert_eq!(received.bearer(), own_token);
    let by_cookie = scene.forwarded(&dags().cookie("_token=airflow-judges-this"));
    assert_eq!(by_cookie.header("cookie"), Some("_token=airflow-judges-this"));
}

#[test]
fn a_token_that_is_given_out_is_for_the_user_that_fab_has() {
    let table = Table::of(&[User::local("stranger", "Admin")]);
    let enabled = |config: Config| config.set("/exchange", json!({"enabled": true}));
    let mut scene = scene(&table, enabled, |_| None);
    let ask = |scene: &Scene, name: &str, role: &str, at: i64| {
        let subject = of(name, &[role]).with("iat", at).token();
        let grant = "urn:ietf:params:oauth:grant-type:token-exchange";
        let kind = "urn:ietf:params:oauth:token-type:jwt";
        let form = format!("grant_type={grant}&subject_token={subject}&subject_token_type={kind}");
        let kind = "application/x-www-form-urlencoded";
        scene.ask(&Request::new("POST", "/airside/token").header("Content-Type", kind).body(form))
    };
    let answer = ask(&scene, APP, "Airflow.Op", now() - 60);
    assert_eq!(answer.status, 200, "{}", scene.airside.log());
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let (_, claims) = open_hs512(&token, SECRET.as_bytes());
    assert_eq!((&claims["sub"], claims.get("role")), (&json!("3"), None));
    assert_eq!(scene.forwarded(&dags().bearer(&token)).bearer(), token);
    for (name, role, words) in
        [("stranger", "Airflow.Op", "did not create"), (APP, "Airflow.Viewer", "lowered from Op")]
    {
        let answer = ask(&scene, name, role, now());
        assert_eq!(answer.json()["error"], "server_error", "{name}: {}", answer.text());
        scene.airside.line_with(&["/airside/token", "handoff_failed", words]);
    }
    scene.upstream.stop();
    let answer = ask(&scene, "another", "Airflow.Op", now());
    assert_eq!(answer.json()["error"], "temporarily_unavailable", "{}", answer.text());
}

#[test]
fn settings_that_do_not_fit_are_refused_with_what_to_write() {
    let usual = || for_fab(Config::new("http://127.0.0.1:1", "http://127.0.0.1:2"));
    let fab = |key: &str, value: Value| usual().set(&format!("/handoff/fab/{key}"), value);
    let oidc = json!({
        "name": "sso", "type": "oidc", "issuer": "https://idp.example", "audiences": ["a"],
        "username_prefix": "", "roles": {"x": ["Op"]},
    });
    let mut verdicts = Verdicts::default();
    for (label, config, words) in [
        (
            "no fab",
            usual().without("/handoff/fab"),
            &["handoff.fab", "`fab: {}`", "docs/fab.md"][..],
        ),
        (
            "no prefix",
            usual().set("/issuers/1", oidc),
            &["username_prefix", "with auth_manager fab"],
        ),
        ("a name", fab("admin_user_id", json!("admin")), &["admin_user_id", "a number"]),
        ("no id", fab("admin_user_id", json!("")), &["admin_user_id"]),
        ("no header", fab("remote_user_header", json!("")), &["remote_user_header", "dashes"]),
        ("underscores", fab("remote_user_header", json!("X_Remote_User")), &["remote_user_header"]),
        ("taken", fab("remote_user_header", json!("Authorization")), &["remote_user_header"]),
        (
            "forwarding",
            fab("remote_user_header", json!("X-Forwarded-User")),
            &["remote_user_header"],
        ),
        ("ours", fab("remote_user_header", json!("X-Airside-User")), &["remote_user_header"]),
        ("at once", fab("cache_ttl", json!("0s")), &["cache_ttl", "from 1s to 1h"]),
        ("never", fab("cache_ttl", json!("2h")), &["cache_ttl", "from 1s to 1h"]),
        ("adopting", fab("adopt", json!(["alice", "b ob"])), &["handoff.fab.adopt[1]"]),
        ("misspelt", fab("remote_user_heder", json!("X")), &["remote_user_header"]),
    ] {
        let ended = Airside::fails(&config);
        verdicts.check(label, ended.code == Some(78), (ended.code, ended.log()));
        for word in words {
            verdicts.check(label, ended.stderr.contains(word), (word, &ended.stderr));
        }
    }
}

#[test]
fn below_a_base_path_fab_is_asked_there() {
    let below = |config: Config| {
        let url = format!("{}/below", config.get("/upstream/url").as_str().unwrap());
        config.set("/upstream/url", url).set("/upstream/base_path", "/af")
    };
    let scene = scene(&Table::of(&[]), below, |_| None);
    assert_eq!(scene.present(&of(APP, &["Airflow.Op"]).token()).status, 200);
    let asked = own(&scene);
    assert_eq!(asked.len(), 5);
    for request in asked {
        assert!(request.target().starts_with(BELOW), "{}", request.target());
    }
}
