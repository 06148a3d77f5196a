//! `airside dev -- airflow standalone`: a whole Airflow behind airside in one command.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::flight::{assert_airflow_says, is_airflows, post, with_json};
use crate::programs::{beside_the_tests, built, program};
use crate::stock::is_built;
use crate::support::airside::Airside;
use crate::support::http::{Request, Response};
use crate::support::wait::{DEADLINE, within};

/// Scheduler, DAG processor and triggerer start beside the API server, and a worker for each task.
const PATIENCE: Duration = Duration::from_mins(3);

pub(crate) struct Dev {
    airside: Airside,
    home: TempDir,
}

impl Dev {
    pub(crate) fn start() -> Self {
        is_built("3.3.2").unwrap();
        let home = tempfile::tempdir().unwrap();
        std::fs::copy(built().join("homes/3.3.2/airflow.db"), home.path().join("airflow.db"))
            .unwrap();
        let any = "127.0.0.1:0";
        let listen = ["--listen", any, "--issuer-listen", any, "--child-listen", any];
        let state = state(&home);
        let args = [&["dev", "--state", &state], &listen[..], &["--", "airflow", "standalone"]];
        let dev = Self { airside: Airside::launch(&args.concat(), &environment(&home)), home };
        dev.until("Airflow answers", |dev| {
            let answer = dev.airside.ask(&Request::get("/api/v2/version"));
            (answer.status == 200).then_some(())
        });
        dev
    }

    /// Airflow's home.
    #[cfg(feature = "browser-tests")]
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where people reach it.
    #[cfg(feature = "browser-tests")]
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.airside.proxy)
    }

    /// A token from `airside token` with these further arguments.
    fn token(&self, more: &[&str]) -> String {
        let state = state(&self.home);
        let ended = Airside::run(&[&["token", "--state", &state], more].concat(), &[]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout.trim_end().to_owned()
    }

    /// Asks it to end and waits; whether it has ended.
    fn end(&mut self) -> bool {
        if !self.airside.has_ended() {
            self.airside.terminate();
        }
        within(DEADLINE, || self.airside.has_ended().then_some(())).is_some()
    }

    fn until<T>(&self, what: &str, ask: impl Fn(&Self) -> Option<T>) -> T {
        within(PATIENCE, || ask(self))
            .unwrap_or_else(|| panic!("waited in vain: {what}\n{}", self.airside.log()))
    }
}

/// Airflow is a child of the child: it has to be ended, not orphaned, however the test ends.
impl Drop for Dev {
    fn drop(&mut self) {
        self.end();
    }
}

fn state(home: &TempDir) -> String {
    home.path().join("airside.state").display().to_string()
}

/// What somebody's shell says of Airflow; airside adds what Airflow needs to sit behind it.
fn environment(home: &TempDir) -> Vec<(String, String)> {
    let text = |path: &Path| path.display().to_string();
    let bin = program("servers/3.3.2", "airflow").parent().map(text).unwrap();
    let database = home.path().join("airflow.db");
    [
        ("PATH", format!("{bin}:/usr/local/bin:/usr/bin:/bin")),
        ("HOME", text(home.path())),
        ("AIRFLOW_HOME", text(home.path())),
        ("LANG", "C.UTF-8".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", format!("sqlite:///{}", text(&database))),
        ("AIRFLOW__CORE__DAGS_FOLDER", text(&beside_the_tests("dags"))),
        ("AIRFLOW__CORE__LOAD_EXAMPLES", "False".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[test]
fn one_command_gives_an_airflow_that_runs_dags_for_its_callers() {
    let mut dev = Dev::start();
    let admin = dev.token(&["--role", "Admin", "--user", "alice"]);
    let ask =
        |dev: &Dev, request: Request| -> Response { dev.airside.ask(&request.bearer(&admin)) };

    let greeting = post("/api/v2/variables", &json!({"key": "greeting", "value": "hello"}));
    let viewer = dev.token(&["--role", "Viewer", "--user", "victor"]);
    let refused = dev.airside.ask(&greeting.clone().bearer(&viewer));
    assert_airflow_says(&refused, 403, &json!("Forbidden"));
    assert_eq!(ask(&dev, greeting).status, 201);

    let unpause = with_json("PATCH", "/api/v2/dags/demo", &json!({"is_paused": false}));
    assert_eq!(ask(&dev, unpause).status, 200);
    let run = json!({"dag_run_id": "greeted", "logical_date": null});
    let run = ask(&dev, post("/api/v2/dags/demo/dagRuns", &run));
    let me = ask(&dev, Request::get("/ui/auth/me")).json()["id"].clone();
    assert_eq!(run.json()["triggering_user_name"], me, "{}", run.text());

    // A worker of that Airflow reads the variable, so it knows where its API server is.
    let run = "/api/v2/dags/demo/dagRuns/greeted";
    let state = dev.until("the run ends", |dev| {
        // While a worker starts, a small machine may have no answer in time.
        let answer = Request::get(run).bearer(&admin).try_send(dev.airside.proxy).ok()?;
        let state = answer.json()["state"].clone();
        (state == "success" || state == "failed").then_some(state)
    });
    assert_eq!(state, "success", "{}", dev.airside.log());
    let result = format!("{run}/taskInstances/x/xcomEntries/return_value");
    let result = ask(&dev, Request::get(&result));
    assert!(is_airflows(&result) && result.json()["value"] == "hello", "{}", result.text());

    // What it started ends with it.
    let upstream = dev.airside.line_with(&["upstream", "airflow standalone"]);
    let upstream = upstream.split_whitespace().find_map(|word| word.strip_prefix("http://"));
    let upstream = upstream.unwrap().to_owned();
    assert!(TcpStream::connect(&upstream).is_ok(), "Airflow listens at {upstream}");
    assert!(dev.end(), "{}", dev.airside.log());
    assert!(TcpStream::connect(&upstream).is_err(), "Airflow still listens at {upstream}");
}
