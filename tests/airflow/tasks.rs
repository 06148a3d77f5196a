//! Real tasks: Airflow's scheduler hands them to its executor, and their workers come back to the API
//! server through airside.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::flight::{Flight, post};
use crate::stock::{Recipe, free_port};
use crate::support::config::Config;
use crate::support::entra::v2_app;
use crate::support::http::Request;
use crate::support::wait::within;

/// A worker for each task starts first; on a busy machine that takes its time.
const PATIENCE: Duration = Duration::from_mins(3);

/// Where workers are told that their API server is.
static WORKERS: LazyLock<String> = LazyLock::new(|| format!("127.0.0.1:{}", free_port()));

/// A whole Airflow, its tasks run by `LocalExecutor`.
fn whole_airflow() -> Recipe {
    Recipe::simple("whole", "3.3.2")
        .standalone()
        .set("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
        .set("AIRFLOW__CORE__PARALLELISM", "2")
        .set("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", &format!("http://{}/execution/", *WORKERS))
        .set("AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION", "False")
        .set("AIRFLOW__CORE__DAGS_FOLDER", "{home}/dags")
        .file("dags/crossing.py", include_str!("crossing.py").to_owned())
}

#[test]
fn tasks_run_through_airside_untouched_and_verified_on_a_port_of_their_own() {
    let untouched = |config: Config| config.set("/listen", WORKERS.as_str());
    run(&Flight::with(&whole_airflow(), untouched), "hello");
    let verified = |config: Config| {
        config.set("/access/execution_api", "verify").set("/execution_listen", WORKERS.as_str())
    };
    let log = run(&Flight::with(&whole_airflow(), verified), "again");
    // The log names the tasks: there are two.
    let of_tasks = |line: &&str| line.contains("class=execution") && line.contains("status=20");
    let word =
        |line: &str| line.split(' ').find(|it| it.starts_with("principal=")).map(str::to_owned);
    let mut tasks: Vec<_> = log.lines().filter(of_tasks).filter_map(word).collect();
    tasks.sort();
    tasks.dedup();
    assert_eq!(tasks.len(), 2, "{tasks:?}");
}

/// One run of the DAG, with this in its variable; what airside logged of it.
fn run(flight: &Flight, greeting: &str) -> String {
    let admin = v2_app().roles(&["Airflow.Admin"]).token();
    let ask = |request: Request| flight.ask(&request.bearer(&admin));
    let put = |path: &str, key: &str, body: Value| {
        ask(Request::new("DELETE", &format!("{path}/{key}")));
        let made = ask(post(path, &body));
        assert_eq!(made.status, 201, "{}", made.text());
    };
    put("/api/v2/variables", "greeting", json!({"key": "greeting", "value": greeting}));
    let connection =
        json!({"connection_id": "somewhere", "conn_type": "http", "host": "over there"});
    put("/api/v2/connections", "somewhere", connection);

    let runs = "/api/v2/dags/crossing/dagRuns";
    let wait = |what: &str, ask: &dyn Fn() -> Option<Value>| {
        let found = within(PATIENCE, ask);
        found.unwrap_or_else(|| panic!("waited in vain: {what}\n{}", flight.airside.log()))
    };
    let started = wait("the DAG is known and starts", &|| {
        let answer = ask(post(runs, &json!({"logical_date": null})));
        (answer.status == 200).then(|| answer.json())
    });
    let run = format!("{runs}/{}", started["dag_run_id"].as_str().expect("an id"));
    let state = wait("the run ends", &|| {
        let state = ask(Request::get(&run)).json()["state"].clone();
        (state == "success" || state == "failed").then_some(state)
    });
    let log = flight.airside.log();
    assert_eq!(state, "success", "{log}");
    let result = ask(Request::get(&format!("{run}/taskInstances/tell/xcomEntries/return_value")));
    let told = format!("{greeting}, over there");
    assert_eq!(result.json()["value"], told.to_uppercase(), "{}", result.text());
    assert_eq!(ask(Request::get("/api/v2/variables/told")).json()["value"], told);
    for path in [
        "/run\" status=200",
        "/execution/variables/greeting\" status=200",
        "/execution/variables/told\" status=20",
        "/execution/connections/somewhere\" status=200",
        "/execution/xcoms/crossing/",
        "/state\" status=204",
    ] {
        assert!(log.contains(path), "no worker asked for {path}:\n{log}");
    }
    log
}
