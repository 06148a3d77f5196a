//! Real tasks: Airflow's scheduler hands them to its executor, and their workers come back to the API
//! server through airside.

use std::sync::LazyLock;
use std::thread;
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

/// The DAG of these tests alone.
fn crossing(recipe: Recipe) -> Recipe {
    recipe
        .set("AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION", "False")
        .set("AIRFLOW__CORE__DAGS_FOLDER", "{home}/dags")
        .file("dags/crossing.py", include_str!("crossing.py").to_owned())
}

/// A whole Airflow, its tasks run by `LocalExecutor`.
fn whole_airflow() -> Recipe {
    let server = format!("http://{}/execution/", *WORKERS);
    crossing(Recipe::simple("whole", "3.3.2"))
        .standalone()
        .set("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
        .set("AIRFLOW__CORE__PARALLELISM", "2")
        .set("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", &server)
}

#[test]
fn tasks_run_through_airside_untouched_and_verified_on_a_port_of_their_own() {
    let untouched = |config: Config| config.set("/listen", WORKERS.as_str());
    run(&Flight::with(&whole_airflow(), untouched), "hello");
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

fn verified(config: Config) -> Config {
    config.set("/access/execution_api", "verify").set("/execution_listen", WORKERS.as_str())
}

#[cfg(feature = "airflow-releases")]
mod edge {
    use std::path::Path;
    use std::process::{Child, Stdio};

    use super::*;
    use crate::programs::{beside_the_tests, built, program};

    const EXECUTOR: &str = "airflow.providers.edge3.executors.EdgeExecutor";

    fn edge(recipe: Recipe) -> Recipe {
        let api = format!("http://{}/edge_worker/v1/rpcapi", *WORKERS);
        crossing(recipe)
            .set("AIRFLOW__CORE__EXECUTOR", EXECUTOR)
            .set("AIRFLOW__EDGE__API_URL", &api)
            .set("AIRFLOW__EDGE__JOB_POLL_INTERVAL", "1")
    }

    /// A further program of Airflow; its keeper ends it when it is dropped.
    struct Program(Child);

    impl Program {
        /// In a home that somebody else removes.
        fn beside(recipe: &Recipe, home: &Path, args: &[&str]) -> Self {
            let kept = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
            Self::start(recipe, home, &kept, args)
        }

        /// In this home; what is `kept` is removed at the end.
        fn start(recipe: &Recipe, home: &Path, kept: &Path, args: &[&str]) -> Self {
            let log = built().join(format!("edge-{}.log", args[0]));
            let mut keeper = recipe.command("python", home);
            keeper
                .arg(beside_the_tests("keeper.py"))
                .args([kept, &log])
                .arg(program("servers/3.3.2-edge", "airflow"))
                .args(args)
                .stdin(Stdio::piped());
            Self(keeper.spawn().unwrap())
        }
    }

    impl Drop for Program {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            let _status = self.0.wait();
        }
    }

    #[test]
    fn an_edge_worker_and_its_tasks_work_where_their_tokens_are_verified() {
        let recipe = edge(Recipe::simple("edge", "3.3.2-edge"));
        let recipe = recipe.set("AIRFLOW__EDGE__API_ENABLED", "True");
        let flight = Flight::with(&recipe, verified);
        let home = flight.airflow.file("");
        let _beside =
            ["scheduler", "dag-processor"].map(|it| Program::beside(&recipe, &home, &[it]));
        // The worker has a home of its own: it knows an address and the secret, and no database.
        let remote = edge(Recipe::new("edge-worker", "3.3.2-edge"));
        let args = ["edge", "worker", "--edge-hostname", "worker-1", "--concurrency", "2"];
        let own = remote.home();
        let _worker = Program::start(&remote, &own, &own, &args);
        let log = run(&flight, "from the edge");
        for path in ["/worker/worker-1\" status=200", "/jobs/fetch/worker-1\" status=200"] {
            let path = format!("/edge_worker/v1{path}");
            assert!(log.contains(&path), "no Edge worker asked for {path}:\n{log}");
        }
    }
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
        // Not so often that the log has nothing else.
        thread::sleep(Duration::from_millis(500));
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
