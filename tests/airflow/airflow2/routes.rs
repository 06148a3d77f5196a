//! The route table of Airflow 2 against 2.10.5 itself.

use std::fs;

use super::{asserting, chained};
use crate::flight::Flight;
use crate::programs::{beside_the_tests, said};
use crate::routes::Expected::{self, Closed, Refused, Through};
use crate::routes::Rules;
use crate::support::expect::Verdicts;
use crate::support::http::{Request, Response};

/// What Airflow 2 tells everybody.
const OPEN: [&str; 3] = ["/health", "/api/v1/health", "/api/v1/version"];

/// A method and path of every kind that the route table tells apart.
const TABLE: &[(&str, &str, Expected)] = &[
    // Open, exactly as written.
    ("GET", "/health", Through),
    ("HEAD", "/health", Through),
    ("GET", "/api/v1/health", Through),
    ("GET", "/api/v1/version", Through),
    ("GET", "/api/v1/version?x=1", Through),
    ("GET", "/api/v1/version/", Closed),
    ("GET", "/api/v1/%76ersion", Closed),
    ("POST", "/api/v1/version", Closed),
    ("GET", "/health/", Closed),
    ("GET", "/api/v2/version", Closed),
    // The way to the login and its files.
    ("GET", "/", Through),
    ("HEAD", "/", Through),
    ("GET", "/login/", Through),
    ("GET", "/login", Through),
    ("POST", "/login/", Through),
    ("GET", "/login/azure", Through),
    ("GET", "/oauth-authorized/azure", Through),
    ("GET", "/robots.txt", Through),
    ("GET", "/static/pin_32.png", Through),
    ("HEAD", "/static/pin_32.png", Through),
    ("GET", "/static/missing", Through),
    ("GET", "/static/appbuilder/js/ab.js", Through),
    // Pages, each of which asks for a session.
    ("GET", "/home", Through),
    ("GET", "/home?status=all", Through),
    ("GET", "/dags/demo/grid", Through),
    ("GET", "/dags/a%2Fb/grid", Through),
    ("GET", "/dags/demo/graph", Through),
    ("GET", "/datasets", Through),
    ("GET", "/cluster_activity", Through),
    ("GET", "/dag-dependencies", Through),
    ("GET", "/configuration", Through),
    ("GET", "/plugin", Through),
    ("GET", "/provider", Through),
    ("GET", "/users/userinfo/", Through),
    ("GET", "/users/list/", Through),
    ("GET", "/roles/list/", Through),
    ("GET", "/actions/list/", Through),
    ("GET", "/resources/list/", Through),
    ("GET", "/permissions/list/", Through),
    ("GET", "/userstatschartview/chart/", Through),
    ("GET", "/variable/list/", Through),
    ("GET", "/connection/list/", Through),
    ("GET", "/pool/list/", Through),
    ("GET", "/xcom/list/", Through),
    ("GET", "/dagrun/list/", Through),
    ("GET", "/taskinstance/list/", Through),
    ("GET", "/taskreschedule/list/", Through),
    ("GET", "/triggerview/list/", Through),
    ("GET", "/job/list/", Through),
    ("GET", "/log/list/", Through),
    ("GET", "/slamiss/list/", Through),
    // What e-mails and old bookmarks lead to.
    ("GET", "/log?dag_id=demo&task_id=x&execution_date=2026-01-01", Through),
    ("GET", "/task?dag_id=demo&task_id=x&execution_date=2026-01-01", Through),
    ("GET", "/confirm?dag_id=demo&task_id=x&dag_run_id=x&state=success", Through),
    ("GET", "/rendered-templates?dag_id=demo&task_id=x&execution_date=2026-01-01", Through),
    ("GET", "/rendered-k8s?dag_id=demo&task_id=x&execution_date=2026-01-01", Through),
    ("GET", "/xcom?dag_id=demo&task_id=x&execution_date=2026-01-01", Through),
    ("GET", "/dagrun_details?dag_id=demo&run_id=x", Through),
    ("GET", "/graph?dag_id=demo", Through),
    ("GET", "/tree?dag_id=demo", Through),
    ("GET", "/gantt?dag_id=demo", Through),
    ("GET", "/calendar?dag_id=demo", Through),
    ("GET", "/duration?dag_id=demo", Through),
    ("GET", "/tries?dag_id=demo", Through),
    ("GET", "/landing_times?dag_id=demo", Through),
    ("GET", "/code?dag_id=demo", Through),
    ("GET", "/dag_details?dag_id=demo", Through),
    ("GET", "/audit_log?dag_id=demo", Through),
    // Workers of the edge provider, which this Airflow has not.
    ("POST", "/edge_worker/v1/rpcapi", Through),
    ("GET", "/edge_worker", Closed),
    // Pages are read and not written, and spelled as they are.
    ("POST", "/", Closed),
    ("POST", "/dags/demo/trigger", Closed),
    ("POST", "/logout/", Closed),
    ("POST", "/login", Closed),
    ("DELETE", "/static/pin_32.png", Closed),
    ("OPTIONS", "/home", Closed),
    ("GET", "/%68ome", Closed),
    ("GET", "/dags%2Fdemo%2Fgrid", Closed),
    ("GET", "/HOME", Closed),
    ("GET", "/homes", Closed),
    // What pages fetch.
    ("GET", "/object/grid_data?dag_id=demo", Closed),
    ("GET", "/object/historical_metrics_data", Closed),
    ("GET", "/get_logs_with_metadata", Closed),
    ("GET", "/extra_links", Closed),
    ("GET", "/dagmodel/autocomplete", Closed),
    ("GET", "/redirect_to_external_log", Closed),
    ("POST", "/task_stats", Closed),
    // Documentation.
    ("GET", "/api/v1/ui/", Closed),
    ("GET", "/api/v1/openapi.json", Closed),
    ("GET", "/api/v1/openapi.yaml", Closed),
    ("GET", "/auth/fab/v1/ui/", Closed),
    ("GET", "/auth/fab/v1/openapi.json", Closed),
    ("GET", "/auth/fab/v1/openapi.yaml", Closed),
    ("GET", "/redoc", Closed),
    ("GET", "/docs/", Closed),
    // The APIs, and what is nowhere.
    ("GET", "/api", Closed),
    ("GET", "/api/v1/dags", Closed),
    ("GET", "/api/v1/missing", Closed),
    ("OPTIONS", "/api/v1/dags", Closed),
    ("GET", "/auth/fab/v1/roles", Closed),
    ("POST", "/auth/token", Closed),
    ("GET", "/internal_api/v1/rpcapi", Closed),
    ("GET", "/execution/health", Closed),
    ("GET", "/plugin-of-somebody/", Closed),
    ("GET", "/favicon.ico", Closed),
    // Other spellings of what is protected; Airflow takes them for the same.
    ("GET", "/%61pi/v1/dags", Closed),
    ("GET", "/api/v1/%64ags", Closed),
    ("GET", "/home//../api/v1/dags", Refused(400, "path_ambiguous")),
    ("GET", "/static/..%2f..%2fapi/v1/dags", Refused(400, "path_ambiguous")),
    ("GET", "//api/v1/dags", Refused(400, "path_ambiguous")),
    ("GET", "/airside/missing", Refused(404, "not_found")),
];

/// Whether everybody may see it: what is told to everybody, the login and files of pages.
fn tells(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or(path);
    OPEN.contains(&path)
        || matches!(path, "/login/" | "/robots.txt")
        || path.starts_with("/static/")
}

/// Pages hold data here: whatever is neither refusal nor redirect.
fn is_data(answer: &Response) -> bool {
    answer.status < 300
}

#[test]
fn what_airside_lets_through_without_a_token_airflow_gives_to_anybody() {
    let rules = Rules {
        table: TABLE,
        tells,
        is_data,
        // Each page has a token of its own in its forms.
        same: |one, other| {
            let seen = |answer: &Response| {
                let header = |name| answer.header(name).map(str::to_owned);
                (answer.status, header("location"), header("content-type"))
            };
            seen(one) == seen(other)
        },
    };
    rules.hold(&Flight::with(&chained(), asserting));
}

#[test]
fn no_route_of_airflow_gives_data_without_a_login() {
    let flight = Flight::with(&chained(), asserting);
    let mut verdicts = Verdicts::default();
    let routes = routes();
    assert!(routes.len() > 400, "Airflow has more routes than {}", routes.len());
    for (method, path) in routes {
        let label = format!("{method} {path}");
        let answer = flight.ask(&Request::new(&method, &path));
        verdicts.check(&label, tells(&path) || !is_data(&answer), answer.text());
        if ["/api/", "/auth/", "/object/"].iter().any(|root| path.starts_with(root)) {
            let open = OPEN.contains(&path.as_str()) && matches!(method.as_str(), "GET" | "HEAD");
            let closed = answer.header("content-type") == Some("application/problem+json")
                && answer.status == 401;
            verdicts.check(&format!("{label} is closed"), open || closed, answer.text());
        }
    }
}

/// Every route that this Airflow has, as its own code lists them.
fn routes() -> Vec<(String, String)> {
    let recipe = chained();
    let home = recipe.home();
    let script = beside_the_tests("airflow2/routes.py");
    let listed = recipe.command("python", &home).arg(script).output().unwrap();
    fs::remove_dir_all(home).unwrap();
    serde_json::from_str(said(&listed).lines().last().unwrap()).unwrap()
}
