//! People with a browser: the way to Airflow's own login, its session, and what is not a page.

use super::{app, asserting, chained, make_user, variable};
use crate::flight::Flight;
use crate::support::expect::assert_refused;
use crate::support::http::{Request, Response};

/// The session cookie that an answer sets.
fn session(answer: &Response) -> String {
    let cookies = answer.all("set-cookie");
    let session = cookies.iter().find(|cookie| cookie.starts_with("session="));
    session.expect("a session").split(';').next().unwrap().to_owned()
}

/// Logs in as a browser does: reads the form, sends it back with its token.
fn log_in(flight: &Flight, user: &str, password: &str) -> Response {
    let form = flight.ask(&Request::get("/login/"));
    assert_eq!(form.status, 200, "{}", form.text());
    let text = form.text();
    let (_, rest) =
        text.split_once("name=\"csrf_token\" type=\"hidden\" value=\"").expect("a form");
    let token = rest.split('"').next().unwrap();
    let body = format!("csrf_token={token}&username={user}&password={password}");
    let request = Request::new("POST", "/login/")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .cookie(&session(&form))
        .body(body);
    flight.ask(&request)
}

#[test]
fn a_browser_without_a_session_is_sent_to_the_login() {
    let flight = Flight::with(&chained(), asserting);
    for page in ["/home", "/dags/demo/grid?tab=graph", "/variable/list/", "/log/list/"] {
        let answer = flight.ask(&Request::get(page));
        assert_eq!(answer.status, 302, "{page}: {}", answer.text());
        let location = answer.header("location").unwrap();
        assert!(location.starts_with("/login/?next="), "{page}: {location}");
    }
    let answer = flight.ask(&Request::get("/static/pin_32.png"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/png")));
}

#[test]
fn airflows_login_opens_a_session_and_the_session_everything_that_it_may() {
    let flight = Flight::with(&chained(), asserting);
    make_user(&flight, "una", "secret", "Op");
    let entered = log_in(&flight, "una", "secret");
    assert_eq!(
        (entered.status, entered.header("location")),
        (302, Some("/home")),
        "{}",
        entered.text()
    );
    let cookie = session(&entered);
    let page = flight.ask(&Request::get("/home").cookie(&cookie));
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("Sign Out") || page.text().contains("Log Out"), "a page of una's");
    // What pages fetch, and the API with the session.
    for path in [
        "/object/historical_metrics_data?start_date=2026-01-01&end_date=2026-01-02",
        "/api/v1/dags",
    ] {
        assert_eq!(flight.ask(&Request::get(path).cookie(&cookie)).status, 200, "{path}");
    }
    assert_eq!(flight.ask(&variable("of-una").cookie(&cookie)).status, 200);
    let elsewhere = variable("of-evil").cookie(&cookie).header("Sec-Fetch-Site", "cross-site");
    assert_refused(&flight.ask(&elsewhere), 403, "cross_site");
    // A token beside it counts alone.
    let viewer = app("viewer-with-a-cookie", &["Viewer"]);
    let answer = flight.ask(&variable("of-both").cookie(&cookie).bearer(&viewer));
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(!answer.text().contains("urn:airside:"), "{}", answer.text());

    let failed = log_in(&flight, "una", "wrong");
    let back = failed.header("location").is_some_and(|to| to.starts_with("/login/"));
    assert!(failed.status == 302 && back, "{}", failed.text());
}

#[test]
fn a_closed_ui_lets_no_session_in_and_nobody_log_in() {
    let flight = Flight::with(&chained(), |config| asserting(config).set("/access/ui", "closed"));
    make_user(&flight, "ulf", "secret", "Op");
    for path in ["/", "/home", "/login/", "/static/pin_32.png", "/api/v1/dags"] {
        let answer = flight.ask(&Request::get(path).cookie("session=any"));
        assert_refused(&answer, 401, "credential_missing");
    }
    assert_refused(&flight.ask(&Request::post("/login/")), 403, "access_closed");
    assert_eq!(flight.ask(&Request::get("/api/v1/version")).status, 200);
}
