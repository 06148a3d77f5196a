//! Paths that two programs might take for two: whatever airside forwards without a token, Airflow's own
//! router takes for a route that asks nobody who he is. So nothing is open here and protected there.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::airflow2;
use crate::programs::{beside_the_tests, said};
use crate::stock::Recipe;
use crate::support::config::Config;
use crate::support::expect::Verdicts;
use crate::support::http::{Connection, Request};
use crate::support::http2::Http2;
use crate::support::scene::Scene;

/// What Airflow 3 gives to everybody below the roots of its APIs.
const OPEN: [&str; 4] =
    ["/api/v2/monitor/health", "/api/v2/version", "/api/v2/auth/login", "/api/v2/auth/logout"];

/// What it gives to whoever is known to it alone.
const KEPT: &str = "/api/v2/dags";

/// What it keeps, and what is neither.
const OTHERS: [&str; 12] = [
    "/api/v2/dags",
    "/api/v2/variables/x",
    "/api/v2/dags/~/dagRuns",
    "/ui/auth/me",
    "/ui/config",
    "/auth/fab/v1/users",
    "/docs",
    "/openapi.json",
    "/dags",
    "/static/pin_32.png",
    "/auth/login",
    "/auth/token",
];

const OPEN_2: [&str; 3] = ["/health", "/api/v1/health", "/api/v1/version"];

const OTHERS_2: [&str; 11] = [
    "/api/v1/dags",
    "/api/v1/variables/x",
    "/api/v1/dags/~/dagRuns",
    "/auth/fab/v1/users",
    "/object/grid_data",
    "/api/v1/openapi.json",
    "/home",
    "/login/",
    "/dags/demo/grid",
    "/static/pin_32.png",
    "/logout/",
];

#[test]
fn what_is_open_here_is_never_protected_in_airflow_3() {
    nothing_protected_passes(&Recipe::usual(), |config| config);
}

#[test]
fn what_is_open_here_is_never_protected_in_airflow_3_below_a_base_path() {
    let below = Recipe::usual().set("AIRFLOW__API__BASE_URL", "http://airflow.example/airflow");
    nothing_protected_passes(&below, |config| config.set("/upstream/base_path", "/airflow"));
}

#[test]
fn what_is_open_here_is_never_protected_in_airflow_3_with_fab() {
    nothing_protected_passes(&Recipe::fab("fab-routes", "3.3.2-fab", 30), |config| config);
}

#[cfg(feature = "airflow-releases")]
#[test]
fn what_is_open_here_was_never_protected_in_earlier_releases() {
    for recipe in Recipe::earlier() {
        nothing_protected_passes(&recipe, |config| config);
    }
}

#[test]
fn what_is_open_here_is_never_protected_in_airflow_2() {
    let passed = passed(&OPEN_2, &OTHERS_2, airflow2::asserting);
    let taken = taken(&airflow2::chained(), "airflow2/matching.py", &passed);
    let mut verdicts = Verdicts::default();
    for ((method, target), route) in passed.iter().zip(&taken) {
        // Pages ask for a session themselves; APIs and what pages fetch are told to nobody.
        let path = route["path"].as_str().unwrap_or_default();
        let told = ["/api/", "/auth/", "/object", "/internal", "/logout"];
        let kept = told.iter().any(|root| path.starts_with(root));
        let open = OPEN_2.contains(&path) && path == without_query(target);
        verdicts.check(&format!("{method} {target}"), !kept || open, route);
    }
    assert_reached(&taken, &OPEN_2);
}

fn nothing_protected_passes(recipe: &Recipe, hook: impl FnOnce(Config) -> Config) {
    let mut passed = passed(&OPEN, &OTHERS, hook);
    // What would be wrong can be told from what is right.
    passed.push(("GET".to_owned(), KEPT.to_owned()));
    let mut taken = taken(recipe, "matching.py", &passed);
    let kept = taken.pop().unwrap();
    assert!(kept["path"] == KEPT && kept["asks"] == true, "{kept}");
    let mut verdicts = Verdicts::default();
    for ((method, target), route) in passed.iter().zip(&taken) {
        let label = format!("{method} {target}");
        let path = route["path"].as_str().unwrap_or_default();
        verdicts.check(&label, route["asks"] != true, route);
        // Below the roots of the APIs it is exactly the one that is open.
        if ["/api", "/ui", "/docs", "/openapi", "/auth/fab/v1"]
            .iter()
            .any(|root| path.starts_with(root))
        {
            let target = without_query(target);
            let same = target == path || target.strip_prefix("/airflow") == Some(path);
            verdicts.check(&label, OPEN.contains(&path) && same, route);
        }
    }
    assert_reached(&taken, &OPEN);
}

/// That the table is about something: each open path was taken for itself.
fn assert_reached(taken: &[Value], open: &[&str]) {
    for path in open {
        assert!(taken.iter().any(|route| route["path"] == **path), "{path} is nowhere");
    }
    assert!(taken.len() > 100, "only {} passed", taken.len());
}

fn without_query(target: &str) -> &str {
    target.split('?').next().unwrap_or(target)
}

/// What of all confusing requests reaches Airflow without a token, by either protocol: method and
/// target as Airflow gets them.
fn passed(
    open: &[&str],
    others: &[&str],
    hook: impl FnOnce(Config) -> Config,
) -> Vec<(String, String)> {
    let scene = Scene::with(hook);
    let mut http2 = Http2::open(scene.airside.proxy);
    let mut connection = Connection::open(scene.airside.proxy);
    let mut verdicts = Verdicts::default();
    for target in confusing(open, others) {
        for method in ["GET", "POST", "OPTIONS"] {
            let request = Request::new(method, &target);
            // What the HTTP library refuses ends the connection.
            let sent = connection.send(&request.bytes(scene.airside.proxy));
            let answer = sent.and_then(|()| connection.response_to(method));
            let over = answer.as_ref().map_or(true, |answer| {
                answer.header("connection") == Some("close") || answer.status == 400
            });
            if over {
                connection = Connection::open(scene.airside.proxy);
            }
            if request.suits_http2() {
                let again = http2.ask(&request);
                let first = answer.as_ref().map_or(0, |answer| answer.status);
                verdicts.check(&target, again.status == first, (first, again.status));
            }
        }
    }
    let received = scene.upstream.take();
    let mut all: Vec<_> = received
        .iter()
        .map(|request| (request.method().to_owned(), request.target().to_owned()))
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Asks Airflow's own code, in one run of it.
fn taken(recipe: &Recipe, script: &str, asked: &[(String, String)]) -> Vec<Value> {
    let home = recipe.home();
    let mut running = recipe
        .command("python", &home)
        .arg(beside_the_tests(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = serde_json::to_string(asked).unwrap();
    running.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let told = running.wait_with_output().unwrap();
    fs::remove_dir_all(home).unwrap();
    let taken: Vec<Value> = serde_json::from_str(said(&told).lines().last().unwrap()).unwrap();
    assert_eq!(taken.len(), asked.len());
    taken
}

/// What has been put behind a path, before it, between two of them, and in the place of its letters to
/// confuse a proxy.
const ENDS: &str = r"/ // /. /.. /./ . .. .json .html X /x ; ;a=b ;/ /; %20 %09 %00 %2f %2F %252f %5c %23
    %3f %3b %2e %2ejson ? ?x=1 # #x %e2%80%8b %c0%af %ef%bc%8f \ %u002f %";
const STARTS: &str = r"/ // /. /x/.. /./. /%2e /%2e%2e /%2f /%2F /%5c \ /; /;a=b /x; /..; /static/..
    /static/%2e%2e /static/..%2f.. /execution/.. /auth/..%2f /airflow /airflow/ /airflow/airflow
    /airflow/.. /airflow%2f /%61irflow /airflow//x/.. /%c0%ae%c0%ae http://airflow.example
    http://airflow.example/ http: @x";
const BETWEEN: &str = r"/.. /../.. /../../.. /%2e%2e/%2e%2e %2f..%2f..%2f.. /..;/..; /..%5c.. \.. ; // %00
    %0a %0d%0a ? ?x= # %23 %3f /%252e%252e %252f.. , @ %20";
const INSTEAD: &str = r"/ // / %2f / %2F / %252f / %5c / \ / /./ / /x/../ / /%2e/ / ;a=b/ / %c0%af / %ef%bc%8f
    / %e2%81%84 e %65 e %45 e E s %c5%bf s %ef%bd%93 i %c4%b1 v %56 a %61 a %2561 . %2e";

/// Every such way of writing these paths.
fn confusing(open: &[&str], others: &[&str]) -> Vec<String> {
    let all = || open.iter().chain(others).copied();
    let mut targets: Vec<String> = all().flat_map(spellings).collect();
    for (one, other) in open.iter().flat_map(|one| all().map(move |other| (one, other))) {
        targets.push(format!("{one}{other}"));
        targets.extend(BETWEEN.split_whitespace().map(|between| format!("{one}{between}{other}")));
    }
    targets
}

fn spellings(path: &str) -> Vec<String> {
    let mut spellings = vec![path.to_owned(), path.to_uppercase()];
    spellings.extend(ENDS.split_whitespace().map(|end| format!("{path}{end}")));
    spellings.extend(STARTS.split_whitespace().map(|start| format!("{start}{path}")));
    let inner = path.strip_prefix('/').unwrap_or(path);
    let mut instead = INSTEAD.split_whitespace();
    while let Some((from, to)) = instead.next().zip(instead.next()) {
        spellings.push(format!("/{}", inner.replace(from, to)));
        spellings.push(format!("/{}", inner.replacen(from, to, 1)));
    }
    spellings.push(path.split('/').map(capitalised).collect::<Vec<_>>().join("/"));
    spellings
}

fn capitalised(segment: &str) -> String {
    let mut letters = segment.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
