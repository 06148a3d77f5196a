//! The route table against Airflow itself: what airside lets through without a token is what
//! Airflow gives to anybody, and nothing that needs a login is among it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::flight::Flight;
use crate::programs::{beside_the_tests, command, program, said};
use crate::stock::Recipe;
use crate::support::expect::Verdicts;
use crate::support::http::{Request, Response};

/// What Airflow tells everybody, data though it is.
const OPEN: [&str; 2] = ["/api/v2/monitor/health", "/api/v2/version"];

/// A route table and how the answers of that Airflow are judged.
pub(crate) struct Rules {
    pub(crate) table: &'static [(&'static str, &'static str, Expected)],
    /// Whether Airflow tells everybody what is at this path, data though it is.
    pub(crate) tells: fn(&str) -> bool,
    /// Whether the answer holds what Airflow keeps.
    pub(crate) is_data: fn(&Response) -> bool,
    /// Whether two answers are the same one.
    pub(crate) same: fn(&Response, &Response) -> bool,
}

/// What is expected of airside for a request without a credential.
pub(crate) enum Expected {
    /// Airflow's own answer.
    Through,
    /// 401: it needs a token.
    Closed,
    /// An answer of airside's own.
    Refused(u16, &'static str),
}

use Expected::{Closed, Refused, Through};

/// A method and path of every kind that the route table tells apart.
const TABLE: &[(&str, &str, Expected)] = &[
    // Open, exactly as written.
    ("GET", "/api/v2/monitor/health", Through),
    ("GET", "/api/v2/version", Through),
    ("HEAD", "/api/v2/version", Through),
    ("GET", "/api/v2/version?x=1", Through),
    ("GET", "/api/v2/version/", Closed),
    ("GET", "/api/v2/%76ersion", Closed),
    ("POST", "/api/v2/version", Closed),
    // The shell: pages, their files, the way to the login and out.
    ("GET", "/", Through),
    ("HEAD", "/", Through),
    ("GET", "/dags", Through),
    ("GET", "/dags/demo/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00/tasks/x", Through),
    ("GET", "/dags/a%2Fb", Through),
    ("GET", "/login", Through),
    ("GET", "/favicon.ico", Through),
    ("GET", "/robots.txt", Through),
    ("GET", "/metrics", Through),
    ("GET", "/health", Through),
    ("GET", "/plugins", Through),
    ("GET", "/pluginsv2/x", Through),
    ("GET", "/static/pin_32.png", Through),
    ("HEAD", "/static/pin_32.png", Through),
    ("GET", "/static/missing", Through),
    ("GET", "/auth", Through),
    ("GET", "/auth/", Through),
    ("GET", "/auth/login", Through),
    ("GET", "/auth/logout", Through),
    ("GET", "/auth/static/pin_32.png", Through),
    ("GET", "/auth/oauth-authorized/azure", Through),
    ("GET", "/auth/tokens", Through),
    ("GET", "/api/v2/auth/login", Through),
    ("GET", "/api/v2/auth/logout", Through),
    // Names that only look like closed ones: a page to Airflow, and no more.
    ("GET", "/apis", Through),
    ("GET", "/uix", Through),
    ("GET", "/API/v2/dags", Through),
    ("GET", "/x;/api/v2/dags", Through),
    ("GET", "/api;x/v2/dags", Through),
    // Workers: forwarded, and Airflow refuses.
    ("GET", "/execution/health", Through),
    ("GET", "/execution/variables/x", Through),
    ("GET", "/execution/missing", Through),
    ("GET", "/edge_worker/v1/health", Through),
    // The doors for a password.
    ("POST", "/auth/token", Through),
    ("POST", "/auth/token/cli", Through),
    ("POST", "/auth/login/", Through),
    ("GET", "/auth/token", Closed),
    ("GET", "/auth/token/login", Closed),
    // Documentation.
    ("GET", "/docs", Closed),
    ("GET", "/redoc", Closed),
    ("GET", "/openapi.json", Closed),
    ("GET", "/auth/docs", Closed),
    ("GET", "/auth/redoc", Closed),
    ("GET", "/auth/openapi.json", Closed),
    ("GET", "/execution", Closed),
    ("GET", "/edge_worker", Closed),
    ("GET", "/execution/docs", Closed),
    ("GET", "/execution/redoc", Closed),
    ("GET", "/execution/openapi.json", Closed),
    ("GET", "/execution/changelog", Closed),
    // Protected: the API, the UI's own API, everything that is not a page being read.
    ("GET", "/api", Closed),
    ("GET", "/api/v2/dags", Closed),
    ("GET", "/api/v2/missing", Closed),
    ("GET", "/api/v1/dags", Closed),
    ("GET", "/ui", Closed),
    ("GET", "/ui/auth/me", Closed),
    ("GET", "/ui/missing", Closed),
    ("GET", "/auth/fab/v1/users", Closed),
    ("POST", "/", Closed),
    ("PUT", "/dags", Closed),
    ("DELETE", "/static/pin_32.png", Closed),
    ("POST", "/api/v2/auth/logout", Closed),
    ("OPTIONS", "/", Closed),
    ("OPTIONS", "/api/v2/dags", Closed),
    // Other spellings of what is protected; Airflow takes them for the same.
    ("GET", "/%61pi/v2/dags", Closed),
    ("GET", "/api%2Fv2%2Fdags", Closed),
    ("GET", "/api/v2/%64ags", Closed),
    ("GET", "/ui/%61uth/me", Closed),
    ("GET", "/ui%2Fauth%2Fme", Closed),
    ("GET", "/%64ocs", Closed),
    ("GET", "/openapi%2Ejson", Closed),
    ("GET", "/execution%2Fvariables%2Fx", Closed),
    // Paths that two readers read as two paths.
    ("GET", "/dags/../api/v2/dags", Refused(400, "path_ambiguous")),
    ("GET", "/dags/%2e%2e/api/v2/dags", Refused(400, "path_ambiguous")),
    ("GET", "/static/..%2f..%2fapi/v2/dags", Refused(400, "path_ambiguous")),
    ("GET", "//api/v2/dags", Refused(400, "path_ambiguous")),
    ("GET", "/airside/missing", Refused(404, "not_found")),
];

/// Whether the answer holds what Airflow keeps: anything but a refusal, a redirect, a page or a
/// file that belongs to a page.
fn is_data(answer: &Response) -> bool {
    let kind = answer.header("content-type").unwrap_or_default();
    let of_pages = ["text/html", "text/javascript", "text/css", "image/"];
    answer.status < 300 && !of_pages.iter().any(|of_page| kind.starts_with(of_page))
}

impl Rules {
    /// Asks both for every row, without a credential.
    pub(crate) fn hold(&self, flight: &Flight) {
        let mut verdicts = Verdicts::default();
        for (method, path, expected) in self.table {
            let label = &format!("{method} {path}");
            // Where Airflow redirects to, it says the host that it was asked for.
            let request = Request::new(method, path).host("airflow.example");
            let original = flight.ask_airflow(&request);
            let answer = flight.ask(&request);
            match expected {
                Through => {
                    let told = format!("{}, not Airflow's {}", answer.text(), original.text());
                    // The health of two moments differs in their times.
                    let same = (self.same)(&answer, &original) || path.ends_with("health");
                    verdicts.check(label, same, told);
                    let kept = (self.is_data)(&original) && !(self.tells)(path);
                    verdicts.check(label, !kept, original.text());
                }
                Closed => verdicts.refused(label, &answer, 401, &["credential_missing"]),
                Refused(status, reason) => verdicts.refused(label, &answer, *status, &[reason]),
            }
        }
    }
}

#[test]
fn what_airside_lets_through_without_a_token_airflow_gives_to_anybody() {
    let rules = Rules {
        table: TABLE,
        tells: |path| {
            OPEN.iter().any(|open| path.starts_with(open)) || path.starts_with("/execution/health")
        },
        is_data,
        same: |one, other| (one.status, &one.body) == (other.status, &other.body),
    };
    rules.hold(&Flight::start());
}

#[test]
fn no_route_of_airflow_gives_data_without_a_login() {
    let flight = Flight::start();
    let mut verdicts = Verdicts::default();
    let routes = routes();
    assert!(routes.len() > 150, "Airflow has more routes than {}", routes.len());
    for (method, path) in routes {
        let answer = flight.ask(&Request::new(&method, &path));
        let open = OPEN.contains(&path.as_str());
        verdicts.check(&format!("{method} {path}"), open || !is_data(&answer), answer.text());
        if path.starts_with("/ui/") || path.starts_with("/api/v2/") {
            let known = open || path.starts_with("/api/v2/auth/");
            let closed = answer.header("content-type") == Some("application/problem+json");
            verdicts.check(&format!("{method} {path} is closed"), known || closed, answer.text());
        }
    }
}

#[test]
fn whatever_airflow_can_change_has_a_name_in_the_audit() {
    let flight = Flight::with(&Recipe::usual(), |config| config.set("/log/format", "json"));
    let mut verdicts = Verdicts::default();
    let (mut changing, mut actions) = (0, BTreeSet::new());
    for (method, path) in routes() {
        let api = ["/api/v2/", "/ui/"].iter().any(|root| path.starts_with(root));
        if !api || !["POST", "PUT", "PATCH", "DELETE"].contains(&method.as_str()) {
            continue;
        }
        changing += 1;
        let answer = flight.ask(&Request::new(&method, &path));
        let id = answer.header("x-request-id").unwrap();
        let line: Value = serde_json::from_str(&flight.airside.line_with(&[id])).unwrap();
        let label = format!("{method} {path}");
        let action = line["action"].as_str().unwrap_or_default().to_owned();
        verdicts.check(&label, !action.is_empty() && action != "other", &line);
        let of_a_dag = path.contains("/dags/");
        verdicts.check(&label, (line["dag_id"] == "x") == of_a_dag, &line);
        actions.insert(action);
    }
    assert!(changing > 50 && actions.len() > 45, "{changing} routes, {actions:?}");
}

/// Every route that this Airflow has, as its own code lists them.
fn routes() -> Vec<(String, String)> {
    let home = tempfile::tempdir().unwrap();
    let listed = command(&program("servers/3.3.2", "python"), home.path())
        .arg(beside_the_tests("routes.py"))
        .output()
        .unwrap();
    serde_json::from_str(said(&listed).lines().last().unwrap()).unwrap()
}
