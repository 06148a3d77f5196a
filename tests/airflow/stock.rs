//! Stock Airflow 3.3.2, started once for all tests of this process and ended with it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::{Map, Value, json};

use crate::flight::post;
use crate::programs::{beside_the_tests, built, command, program};
use crate::support::config::SECRET;
use crate::support::http::Request;

/// The users of Airflow's own login; each has the role of its name.
const USERS: [&str; 3] = ["admin", "viewer", "op"];

/// An Airflow that has not answered by then never will; five seconds are usual.
const BOOT: Duration = Duration::from_mins(3);

/// The running Airflow.
pub(crate) struct Airflow {
    pub(crate) address: SocketAddr,
    home: PathBuf,
    /// Ends Airflow when the pipe to its standard input closes, which the end of this process does.
    keeper: Child,
}

impl Airflow {
    pub(crate) fn database(&self) -> PathBuf {
        self.home.join("airflow.db")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A token from Airflow's own login, fetched past airside.
    pub(crate) fn login(&self, user: &str) -> String {
        let body = json!({"username": user, "password": password(user)});
        let answer = post("/auth/token", &body).send(self.address);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["access_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }
}

/// The Airflow of this process; starts it when nobody has yet.
pub(crate) fn airflow() -> &'static Airflow {
    static RUNNING: OnceLock<Result<Airflow, String>> = OnceLock::new();
    match RUNNING.get_or_init(start) {
        Ok(airflow) => airflow,
        Err(why) => panic!("{why}"),
    }
}

/// The password of a user of Airflow's own login.
pub(crate) fn password(user: &str) -> String {
    format!("password of {user}")
}

fn start() -> Result<Airflow, String> {
    for step in ["server", "clients", "home"] {
        let stamp = built().join(step).with_extension("stamp");
        if !stamp.is_file() {
            let stamp = stamp.display();
            return Err(format!(
                "{stamp} is missing: `make test-airflow` builds and runs it all"
            ));
        }
    }
    // Somebody else may take the free port before Airflow binds it, seconds later.
    let in_use = |why: &String| why.contains("address already in use");
    start_once().or_else(|why| if in_use(&why) { start_once() } else { Err(why) })
}

fn start_once() -> Result<Airflow, String> {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap()
        .keep();
    // The prepared database is one sealed file, so a plain copy of it is whole.
    let database = home.join("airflow.db");
    fs::copy(built().join("home/airflow.db"), &database).unwrap();
    let passwords: Map<String, Value> = USERS
        .iter()
        .map(|&user| (user.to_owned(), password(user).into()))
        .collect();
    let passwords_file = home.join("passwords.json");
    fs::write(&passwords_file, Value::Object(passwords).to_string()).unwrap();

    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let log = built().join("airflow.log");
    let mut keeper = command(&program("server", "python"), &home);
    keeper
        .env(
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
            format!("sqlite:///{}", database.display()),
        )
        .env("AIRFLOW__API_AUTH__JWT_SECRET", SECRET)
        .env(
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS",
            USERS.map(|user| format!("{user}:{user}")).join(","),
        )
        .env(
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
            &passwords_file,
        )
        .env("AIRFLOW__CORE__DAGS_FOLDER", beside_the_tests("dags"))
        .env("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        .arg(beside_the_tests("keeper.py"))
        .args([&home, &log])
        .arg(program("server", "airflow"))
        .args([
            "api-server",
            "--host",
            "127.0.0.1",
            "--port",
            &address.port().to_string(),
        ])
        .stdin(Stdio::piped());
    let keeper = keeper.spawn().unwrap();
    let airflow = Airflow {
        address,
        home,
        keeper,
    };
    answering(airflow, &log)
}

/// The same Airflow once it answers; why it never will, otherwise.
fn answering(mut airflow: Airflow, log: &Path) -> Result<Airflow, String> {
    let ready = Request::get("/api/v2/version");
    let started = Instant::now();
    while started.elapsed() < BOOT {
        if let Some(status) = airflow.keeper.try_wait().unwrap() {
            let said = fs::read_to_string(log).unwrap_or_default();
            return Err(format!(
                "Airflow ended at its start ({status}) and said:\n{said}"
            ));
        }
        // Refused until Airflow listens.
        if TcpStream::connect(airflow.address).is_ok()
            && ready
                .try_send(airflow.address)
                .is_ok_and(|answer| answer.status == 200)
        {
            return Ok(airflow);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(format!(
        "Airflow did not answer within {BOOT:?}; its log is {}",
        log.display()
    ))
}
