//! People with a browser: the pages, Airflow's own login and session, and the end of a session.

use serde_json::json;

use crate::flight::{Flight, assert_airflow_says, is_airflows, post};
use crate::stock::{Recipe, password};
use crate::support::config::Config;
use crate::support::entra::{USER, v2_user};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Request, Response};

/// Where people type or keep an address: the start page, pages of a DAG, of a run, of a task.
const PAGES: [&str; 8] = [
    "/",
    "/dags",
    "/dags/demo",
    "/dags/demo/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00/tasks/x",
    "/dags?search=demo&tags=a%2Fb",
    "/variables",
    "/auth/login",
    "/auth/login?next=http%3A%2F%2Flocalhost%2Fdags%2Fdemo",
];

fn log_in(flight: &Flight, user: &str, password: &str) -> Response {
    flight.ask(&post("/auth/token", &json!({"username": user, "password": password})))
}

/// The session cookie that Airflow's login page sets, gained through airside.
fn session(flight: &Flight, user: &str) -> String {
    let answer = log_in(flight, user, &password(user));
    assert_eq!(answer.status, 201, "{}", answer.text());
    format!("_token={}", answer.json()["access_token"].as_str().unwrap())
}

fn is_page(answer: &Response) -> bool {
    answer.status == 200
        && answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html"))
}

#[test]
fn pages_and_deep_links_load_without_a_token() {
    let flight = Flight::start();
    let mut verdicts = Verdicts::default();
    for page in PAGES {
        let answer = flight.ask(&Request::get(page));
        verdicts.check(page, is_page(&answer), answer.text());
        let original = flight.ask_airflow(&Request::get(page));
        verdicts.check(page, answer.body == original.body, "another page than Airflow's own");
    }
}

#[test]
fn the_files_that_the_pages_name_load() {
    let flight = Flight::start();
    let mut verdicts = Verdicts::default();
    for page in ["/", "/auth/login"] {
        let html = flight.ask(&Request::get(page)).text();
        // Both pages say <base href="/">, so what they name is relative to the root.
        assert!(html.contains(r#"<base href="/" />"#), "{html}");
        let named: Vec<&str> = html
            .split('"')
            .filter_map(|word| word.strip_prefix("./").filter(|file| file.contains("static/")))
            .collect();
        assert!(named.len() >= 2, "{page} names {named:?}");
        for file in named {
            let answer = flight.ask(&Request::get(&format!("/{file}")));
            let kind = answer.header("content-type").unwrap_or_default();
            // Airflow answers a path that it does not know with the page.
            let fits = answer.status == 200 && !kind.starts_with("text/html");
            verdicts.check(file, fits, (answer.status, kind));
        }
    }
}

#[test]
fn compression_and_caching_are_between_the_browser_and_airflow() {
    let flight = Flight::start();
    let page = Request::get("/").header("Accept-Encoding", "gzip, deflate, br, zstd");
    let file = Request::get("/static/pin_32.png");
    let tag = flight.ask_airflow(&file).header("etag").expect("an ETag").to_owned();
    for request in [
        page,
        Request::get("/openapi.json").header("Accept-Encoding", "gzip"),
        file.clone().header("If-None-Match", &tag),
        file.header("Range", "bytes=0-99"),
    ] {
        let request = request.cookie(&session(&flight, "viewer"));
        let (answer, original) = (flight.ask(&request), flight.ask_airflow(&request));
        assert_eq!(answer.status, original.status, "{request:?}");
        // The ten bytes at the head of a gzip file hold the time of its making.
        assert_eq!(answer.body.get(10..), original.body.get(10..), "{request:?}");
        for name in ["content-encoding", "content-range", "etag", "last-modified", "vary"] {
            assert_eq!(answer.header(name), original.header(name), "{request:?}");
        }
    }
}

#[test]
fn a_browser_is_led_to_the_login_and_back_to_where_it_was() {
    let flight = Flight::start();
    let start = flight.ask(&Request::get("/api/v2/auth/login"));
    assert_eq!((start.status, start.header("location")), (307, Some("/auth/login")));
    assert!(is_page(&flight.ask(&Request::get("/auth/login"))));
    // Airflow compares `next` with the Host it sees, which has to be the one the browser asked.
    let next = format!("{}/dags/demo", flight.url());
    let back = flight.ask(&Request::get(&format!("/api/v2/auth/login?next={next}")));
    assert_eq!(back.status, 307, "{}", back.text());
    let location = back.header("location").unwrap();
    assert!(location.starts_with("/auth/login?next=") && location.ends_with("%2Fdags%2Fdemo"));
    let elsewhere = Request::get("/api/v2/auth/login?next=http://elsewhere.example/");
    assert_eq!(flight.ask(&elsewhere).status, 400);
}

#[test]
fn airflows_own_login_works_through_airside() {
    let flight = Flight::start();
    let answer = log_in(&flight, "admin", &password("admin"));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let dags = flight.ask(&Request::get("/api/v2/dags").bearer(&token));
    assert_eq!(dags.status, 200, "{}", dags.text());
    assert_eq!(flight.whoami(|request| request.bearer(&token)), "admin");

    let wrong = log_in(&flight, "admin", "not the password");
    assert_airflow_says(&wrong, 401, &json!("Invalid credentials"));
}

#[test]
fn a_user_of_airflows_login_has_airflows_own_role() {
    let flight = Flight::start();
    let variable = post("/api/v2/variables", &json!({"key": "by-login", "value": "some value"}));
    let viewer = flight.airflow.login("viewer");
    let refused = flight.ask(&variable.clone().bearer(&viewer));
    assert_airflow_says(&refused, 403, &json!("Forbidden"));
    let op = flight.airflow.login("op");
    assert_eq!(flight.ask(&variable.bearer(&op)).status, 201);
}

#[test]
fn the_session_cookie_opens_the_ui_and_the_api() {
    let flight = Flight::start();
    let cookie = session(&flight, "admin");
    assert_eq!(flight.whoami(|request| request.cookie(&cookie)), "admin");
    for path in ["/api/v2/dags", "/ui/config", "/ui/auth/menus"] {
        let answer = flight.ask(&Request::get(path).cookie(&cookie));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    // Browsers of HTTP/2 days send several Cookie fields.
    let several = |request: Request| request.cookie("theme=dark").cookie(&cookie);
    assert_eq!(flight.whoami(several), "admin");
}

#[test]
fn a_session_may_write_from_its_own_site_alone() {
    let flight = Flight::start();
    let cookie = session(&flight, "op");
    let own = flight.url();
    let write = |key: &str| {
        post("/api/v2/variables", &json!({"key": key, "value": "some value"})).cookie(&cookie)
    };
    for (key, name, value) in
        [("same-origin", "Sec-Fetch-Site", "same-origin"), ("own-origin", "Origin", own.as_str())]
    {
        let answer = flight.ask(&write(key).header(name, value));
        assert_eq!(answer.status, 201, "{key}: {}", answer.text());
    }
    for (key, name, value) in [
        ("cross-site", "Sec-Fetch-Site", "cross-site"),
        ("same-site", "Sec-Fetch-Site", "same-site"),
        ("other-origin", "Origin", "http://elsewhere.example"),
    ] {
        let answer = flight.ask(&write(key).header(name, value));
        assert_refused(&answer, 403, "cross_site");
        let made = Request::get(&format!("/api/v2/variables/{key}")).cookie(&cookie);
        assert_eq!(flight.ask(&made).status, 404, "{key} has reached Airflow");
    }
}

#[test]
fn airflow_judges_a_session_that_is_none() {
    let flight = Flight::start();
    let worthless = Request::get("/ui/auth/me").cookie("_token=worthless");
    let answer = flight.ask(&worthless);
    assert_airflow_says(&answer, 403, &json!("Invalid JWT token"));
    // Airflow tells the browser to forget that cookie, which has to arrive.
    let original = flight.ask_airflow(&worthless);
    assert!(original.header("set-cookie").is_some_and(|cookie| cookie.starts_with("_token=")));
    assert_eq!(answer.header("set-cookie"), original.header("set-cookie"));
}

#[test]
fn logging_out_with_a_bearer_revokes_it() {
    let flight = Flight::start();
    let token = flight.airflow.login("admin");
    let me = Request::get("/ui/auth/me").bearer(&token);
    assert_eq!(flight.ask(&me).status, 200);
    let out = flight.ask(&Request::get("/api/v2/auth/logout").bearer(&token));
    assert_eq!((out.status, out.header("location")), (307, Some("/auth/login")));
    assert_airflow_says(&flight.ask(&me), 403, &json!("Invalid JWT token"));
}

#[test]
fn logging_out_of_a_session_ends_it() {
    let flight = Flight::start();
    let cookie = session(&flight, "viewer");
    let me = Request::get("/ui/auth/me").cookie(&cookie);
    assert_eq!(flight.ask(&me).status, 200);
    let out = flight.ask(&Request::get("/api/v2/auth/logout").cookie(&cookie));
    assert_eq!((out.status, out.header("location")), (307, Some("/auth/login")));
    let forgotten = out.header("set-cookie").unwrap_or_default();
    assert!(forgotten.starts_with("_token=\"\"") && forgotten.contains("Max-Age=0"), "{forgotten}");
    assert_airflow_says(&flight.ask(&me), 403, &json!("Invalid JWT token"));
}

#[test]
fn logging_out_leaves_an_entra_caller_as_it_was() {
    let flight = Flight::start();
    let token = v2_user().token();
    assert_eq!(flight.ask(&Request::get("/api/v2/auth/logout").bearer(&token)).status, 307);
    assert_eq!(flight.whoami(|request| request.bearer(&token)), USER);
}

#[test]
fn the_documentation_is_closed_until_somebody_has_come_in() {
    let flight = Flight::start();
    let cookie = session(&flight, "viewer");
    let mut verdicts = Verdicts::default();
    for path in
        ["/docs", "/redoc", "/openapi.json", "/auth/docs", "/auth/redoc", "/auth/openapi.json"]
    {
        let nobody = flight.ask(&Request::get(path));
        verdicts.refused(path, &nobody, 401, &["credential_missing"]);
        for (who, request) in [
            ("with a session", Request::get(path).cookie(&cookie)),
            ("with a token", Request::get(path).bearer(&v2_user().token())),
        ] {
            let answer = flight.ask(&request);
            verdicts.check(&format!("{path} {who}"), answer.status == 200, answer.text());
        }
    }
    for path in ["/execution/docs", "/execution/redoc", "/execution/changelog"] {
        let nobody = flight.ask(&Request::get(path));
        verdicts.refused(path, &nobody, 401, &["credential_missing"]);
    }
}

#[test]
fn where_the_interface_is_closed_a_session_opens_nothing_and_a_token_does() {
    let closed = |config: Config| config.set("/access/ui", "closed");
    let flight = Flight::with(&Recipe::usual(), closed);
    let token = flight.airflow.login("admin");
    let cookie = format!("_token={token}");
    for path in ["/", "/dags", "/ui/auth/me", "/api/v2/dags", "/docs"] {
        let answer = flight.ask(&Request::get(path).cookie(&cookie));
        assert_refused(&answer, 401, "credential_missing");
    }
    let refused = log_in(&flight, "admin", &password("admin"));
    assert_refused(&refused, 403, "access_closed");
    assert_eq!(flight.whoami(|request| request.bearer(&token)), "admin");
    assert_eq!(flight.whoami(|request| request.bearer(&v2_user().token())), USER);
    // Airflow clears a cookie that it does not know; it has not seen this one.
    let open = flight.ask(&Request::get("/api/v2/version").cookie("_token=worthless"));
    assert_eq!((open.status, open.header("set-cookie")), (200, None));
}

#[test]
fn a_method_that_a_page_does_not_know_is_refused_by_airflow_or_needs_a_token() {
    let flight = Flight::start();
    let head = flight.ask(&Request::new("HEAD", "/static/pin_32.png"));
    assert_eq!(head.status, 200);
    assert_refused(&flight.ask(&Request::post("/dags")), 401, "credential_missing");
    let answer = flight.ask(&Request::post("/dags").bearer(&v2_user().token()));
    assert!(answer.status == 405 && is_airflows(&answer), "{}", answer.text());
}
