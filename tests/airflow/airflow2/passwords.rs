//! Passwords (Basic), judged by Airflow's own backend: alone, and after ours in one chain.

use super::{
    BASIC, SESSION, airflow_2, app, asserting, chained, delegating, make_user, owner_of, variable,
};
use crate::flight::Flight;
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::Request;

pub(crate) fn basic(request: Request, user: &str, password: &str) -> Request {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    request.header("Authorization", &format!("Basic {pair}"))
}

#[test]
fn in_a_chain_passwords_and_tokens_get_in_side_by_side() {
    let flight = Flight::with(&chained(), delegating);
    let mut verdicts = Verdicts::default();
    make_user(&flight, "oda", "a pass word", "Op");
    let dags = || Request::get("/api/v1/dags");
    let answer = flight.ask(&basic(variable("of-oda"), "oda", "a pass word"));
    verdicts.check("a password", answer.status == 200, answer.text());
    verdicts.check("it is oda's", owner_of(&flight, "api.variable.create", "of-oda") == "oda", ());
    let answer = flight.ask(&dags().bearer(&app("with-a-token", &["Viewer"])));
    verdicts.check("a token", answer.status == 200, answer.text());

    for (user, password) in [("oda", "another"), ("oda", ""), ("nobody", "a pass word")] {
        let answer = flight.ask(&basic(dags(), user, password));
        let airflows = answer.status == 401 && !answer.text().contains("urn:airside:");
        verdicts.check(&format!("{user} {password:?}"), airflows, answer.text());
    }
    // Who was made for a token has no password, and none of these is it.
    for password in ["!", "", "with-a-token"] {
        let answer = flight.ask(&basic(dags(), "with-a-token", password));
        verdicts.check(
            &format!("no password is {password:?}"),
            answer.status == 401,
            answer.text(),
        );
    }
    let roles = basic(Request::get("/auth/fab/v1/roles"), "oda", "a pass word");
    let answer = flight.ask(&roles);
    verdicts.check("an Op lists no roles", answer.status == 403, answer.text());
    verdicts.check("and gets no session", answer.header("set-cookie").is_none(), &answer.head);
    let elsewhere = basic(variable("of-evil"), "oda", "a pass word");
    let elsewhere = elsewhere.header("Origin", "https://evil.example");
    verdicts.refused("another site", &flight.ask(&elsewhere), 403, &["cross_site"]);
}

#[test]
fn without_leave_a_password_goes_no_further() {
    let flight = Flight::with(&chained(), asserting);
    let answer = flight.ask(&basic(Request::get("/api/v1/dags"), "oda", "a pass word"));
    assert_refused(&answer, 401, "scheme_unsupported");
}

#[test]
fn airflows_own_backend_alone_judges_them_too() {
    let recipe = airflow_2("discussion", "2.10.5", &["azure_ad_auth_backend", BASIC, SESSION]);
    let flight = Flight::with(&recipe, delegating);
    let made = flight.airflow.run(&[
        "users",
        "create",
        "--username",
        "stock",
        "--password",
        "stock",
        "--role",
        "Viewer",
        "--email",
        "stock@contoso.example",
        "--firstname",
        "A",
        "--lastname",
        "User",
    ]);
    assert!(made.contains("created"), "{made}");
    assert_eq!(flight.ask(&basic(Request::get("/api/v1/dags"), "stock", "stock")).status, 200);
    assert_eq!(flight.ask(&basic(variable("x"), "stock", "stock")).status, 403);
    assert_eq!(flight.ask(&basic(Request::get("/api/v1/dags"), "stock", "else")).status, 401);
}
