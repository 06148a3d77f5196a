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
        answer.json()["access_token"].as_str().expect("a token").to_owned()
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

/// An error that says what to call when tests/airflow/setup.py has not been run.
pub(crate) fn airflow_is_built() -> Result<(), String> {
    for step in ["server", "clients", "home"] {
        let stamp = built().join(step).with_extension("stamp");
        if !stamp.is_file() {
            let stamp = stamp.display();
            return Err(format!("{stamp} is missing: `make test-airflow` builds and runs it all"));
        }
    }
    Ok(())
}

fn start() -> Result<Airflow, String> {
    airflow_is_built()?;
    // Airflow binds its port seconds after it was found free, so somebody else may have it then.
    let in_use = |why: &String| why.contains("address already in use");
    free_ports().take(3).map(start_at).find(|started| !started.as_ref().is_err_and(in_use)).unwrap()
}

/// Free ports below those that the system gives to whoever asks for any.
fn free_ports() -> impl Iterator<Item = SocketAddr> {
    // Another run of these tests begins its search elsewhere.
    let first = std::process::id() % 10_000;
    (0..10_000)
        .map(move |next| u16::try_from(20_000 + (first + next) % 10_000).unwrap())
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .filter(|address| TcpListener::bind(address).is_ok())
}

fn start_at(address: SocketAddr) -> Result<Airflow, String> {
    let home = home();
    let log = built().join("airflow.log");
    let mut keeper = command(&program("server", "python"), &home);
    keeper
        .envs(settings(&home))
        .arg(beside_the_tests("keeper.py"))
        .args([&home, &log])
        .arg(program("server", "airflow"))
        .args(["api-server", "--host", "127.0.0.1", "--port", &address.port().to_string()])
        .stdin(Stdio::piped());
    let keeper = keeper.spawn().unwrap();
    answering(Airflow { address, home, keeper }, &log)
}

/// A new home with the prepared database and the passwords of the users.
fn home() -> PathBuf {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
    // The prepared database is one sealed file, so a plain copy of it is whole.
    fs::copy(built().join("home/airflow.db"), home.join("airflow.db")).unwrap();
    let of_user = |&user: &&str| (user.to_owned(), password(user).into());
    let passwords: Map<String, Value> = USERS.iter().map(of_user).collect();
    fs::write(home.join("passwords.json"), Value::Object(passwords).to_string()).unwrap();
    home
}

/// What differs from Airflow's defaults: where things are, who there is, the known secret.
fn settings(home: &Path) -> [(&'static str, String); 6] {
    let database = home.join("airflow.db");
    let passwords = home.join("passwords.json");
    let dags = beside_the_tests("dags");
    let users = USERS.map(|user| format!("{user}:{user}")).join(",");
    [
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", format!("sqlite:///{}", database.display())),
        ("AIRFLOW__API_AUTH__JWT_SECRET", SECRET.to_owned()),
        ("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", users),
        ("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", passwords.display().to_string()),
        ("AIRFLOW__CORE__DAGS_FOLDER", dags.display().to_string()),
        ("AIRFLOW__CORE__LOAD_EXAMPLES", "False".to_owned()),
    ]
}

/// The same Airflow once it answers; why it never will, otherwise.
fn answering(mut airflow: Airflow, log: &Path) -> Result<Airflow, String> {
    let started = Instant::now();
    while started.elapsed() < BOOT {
        if let Some(status) = airflow.keeper.try_wait().unwrap() {
            let said = fs::read_to_string(log).unwrap_or_default();
            return Err(format!("Airflow ended at its start ({status}) and said:\n{said}"));
        }
        if is_airflow(airflow.address) {
            return Ok(airflow);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(format!("Airflow did not answer within {BOOT:?}; its log is {}", log.display()))
}

/// Whether Airflow answers there, and not somebody else who took the port in the meantime.
fn is_airflow(address: SocketAddr) -> bool {
    // Connecting is refused until it listens.
    TcpStream::connect(address).is_ok()
        && Request::get("/api/v2/version")
            .try_send(address)
            .is_ok_and(|answer| answer.text().contains(r#""version":"3.3.2""#))
}
