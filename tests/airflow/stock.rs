//! Stock Airflows, each started once for all tests of this process and ended with it.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustls::{ALL_VERSIONS, ClientConfig};
use serde_json::{Map, Value, json};

use crate::flight::post;
use crate::programs::{beside_the_tests, built, command, program, said};
use crate::support::config::SECRET;
use crate::support::http::Request;
use crate::support::tls::{Authority, converse};

/// The users of Airflow's own login; each has the role of its name.
const USERS: [&str; 3] = ["admin", "viewer", "op"];

const FAB: &str = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager";

/// What docs/fab.md tells to write.
const REMOTE_USER: &str = r#"
from flask_appbuilder.const import AUTH_REMOTE_USER

AUTH_TYPE = AUTH_REMOTE_USER
AUTH_REMOTE_USER_ENV_VAR = "HTTP_X_REMOTE_USER"
"#;

/// An Airflow that has not answered by then never will; five seconds are usual.
const BOOT: Duration = Duration::from_mins(3);

/// How an Airflow is set up.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// What it is called: one process runs one of a name.
    name: &'static str,
    /// Its program and prepared home, by the name that tests/airflow/setup.py gives them.
    server: &'static str,
    /// Whether all of Airflow is started, so that tasks run, or the API server alone.
    whole: bool,
    /// The variables that differ from Airflow's defaults; `{home}` stands for its home.
    settings: Vec<(&'static str, String)>,
    /// Files of its home.
    files: Vec<(&'static str, String)>,
    /// How its TLS is spoken to, where it has TLS.
    tls: Option<Arc<ClientConfig>>,
}

impl Recipe {
    /// This server with the known secret, the DAG of the tests and nothing else.
    pub(crate) fn new(name: &'static str, server: &'static str) -> Self {
        let dags = beside_the_tests("dags").display().to_string();
        Self { name, server, whole: false, settings: vec![], files: vec![], tls: None }
            .set("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite:///{home}/airflow.db")
            .set("AIRFLOW__API_AUTH__JWT_SECRET", SECRET)
            .set("AIRFLOW__CORE__DAGS_FOLDER", &dags)
            .set("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    }

    /// Airflow 3 with `SimpleAuthManager` and its own users.
    pub(crate) fn simple(name: &'static str, server: &'static str) -> Self {
        let users = USERS.map(|user| format!("{user}:{user}")).join(",");
        let of_user = |&user: &&str| (user.to_owned(), password(user).into());
        let passwords: Map<String, Value> = USERS.iter().map(of_user).collect();
        let place = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE";
        Self::new(name, server)
            .set("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", &users)
            .set(place, "{home}/passwords.json")
            .file("passwords.json", Value::Object(passwords).to_string())
    }

    /// The one that most tests use.
    pub(crate) fn usual() -> Self {
        Self::simple("usual", "3.3.2")
    }

    /// The last of each minor version before it.
    #[cfg(feature = "airflow-releases")]
    pub(crate) fn earlier() -> [Self; 3] {
        [("simple-3.0.6", "3.0.6"), ("simple-3.1.8", "3.1.8"), ("simple-3.2.2", "3.2.2")]
            .map(|(name, server)| Self::simple(name, server))
    }

    /// Airflow 3 with FAB, which logs in whomever a header names and remembers roles for so many
    /// seconds.
    pub(crate) fn fab(name: &'static str, server: &'static str, cache_ttl: u32) -> Self {
        Self::new(name, server)
            .set("AIRFLOW__CORE__AUTH_MANAGER", FAB)
            .set("AIRFLOW__FAB__CACHE_TTL", &cache_ttl.to_string())
            .file("webserver_config.py", REMOTE_USER.to_owned())
    }

    /// All of Airflow 3 by `airflow standalone`: scheduler, DAG processor and triggerer, too.
    pub(crate) fn standalone(mut self) -> Self {
        self.whole = true;
        self
    }

    /// With TLS of its own, by a certificate of this authority for `localhost`.
    pub(crate) fn behind_tls(self, authority: &Authority) -> Self {
        let shown = authority.issue(&["localhost"], |_| {});
        let mut recipe = self
            .file("tls.crt", shown.chain_pem())
            .file("tls.key", shown.key_pem())
            .set("AIRFLOW__API__SSL_CERT", "{home}/tls.crt")
            .set("AIRFLOW__API__SSL_KEY", "{home}/tls.key");
        recipe.tls = Some(authority.client(None, &[], ALL_VERSIONS));
        recipe
    }

    /// Leaves a variable at Airflow's default.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.settings.retain(|(set, _)| *set != name);
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn set(self, name: &'static str, value: &str) -> Self {
        let mut recipe = self.without(name);
        recipe.settings.push((name, value.to_owned()));
        recipe
    }

    /// Puts a file into its home.
    pub(crate) fn file(mut self, name: &'static str, content: String) -> Self {
        self.files.push((name, content));
        self
    }

    /// A new home with the prepared database and the recipe's files.
    pub(crate) fn home(&self) -> PathBuf {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
        // The prepared database is one sealed file, so a plain copy of it is whole.
        let prepared = built().join("homes").join(self.server).join("airflow.db");
        fs::copy(prepared, home.join("airflow.db")).unwrap();
        for (name, content) in &self.files {
            let file = home.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        home
    }

    /// A program of its release that runs in this home, with the recipe's variables.
    pub(crate) fn command(&self, name: &str, home: &Path) -> Command {
        let here = home.display().to_string();
        let settings = self.settings.iter();
        let mut command = command(&program(&format!("servers/{}", self.server), name), home);
        command.envs(settings.map(|(name, value)| (name, value.replace("{home}", &here))));
        command
    }

    /// What it is called.
    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// The version, which its server's name begins with.
    pub(crate) fn version(&self) -> &'static str {
        self.server.split('-').next().unwrap()
    }

    /// What serves the API at this address.
    fn serving(&self, address: SocketAddr) -> Vec<String> {
        if self.whole {
            return vec!["standalone".into()];
        }
        let command = if self.version().starts_with("2.") { "webserver" } else { "api-server" };
        let (host, port) = match command {
            "webserver" => ("--hostname", "--port"),
            _ => ("--host", "--port"),
        };
        let ip = address.ip().to_string();
        vec![command.into(), host.into(), ip, port.into(), address.port().to_string()]
    }

    /// Something that this version tells everybody, and how it tells its version.
    fn is_spoken_by(&self, address: SocketAddr) -> bool {
        let path =
            if self.version().starts_with("2.") { "/api/v1/version" } else { "/api/v2/version" };
        let answer = match &self.tls {
            None => Request::get(path).try_send(address).map(|answer| answer.text()),
            Some(tls) => TcpStream::connect(address).and_then(|stream| {
                let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n");
                let request = format!("{head}Connection: close\r\n\r\n");
                let answer = converse(stream, Arc::clone(tls), request.as_bytes())?;
                Ok(answer.split_once("\r\n\r\n").unwrap_or_default().1.to_owned())
            }),
        };
        let version = |text: String| {
            let told: Option<Value> = serde_json::from_str(&text).ok();
            told.and_then(|told| Some(told["version"].as_str()? == self.version()))
        };
        answer.ok().and_then(version) == Some(true)
    }
}

/// The running Airflow.
pub(crate) struct Airflow {
    pub(crate) address: SocketAddr,
    recipe: Recipe,
    home: PathBuf,
    /// Ends Airflow when the pipe to its standard input closes, which the end of this process does.
    keeper: Child,
}

impl Airflow {
    /// The one of this recipe's name; starts it when nobody has yet.
    pub(crate) fn of(recipe: &Recipe) -> &'static Self {
        type Running = HashMap<&'static str, &'static OnceLock<Result<Airflow, String>>>;
        static RUNNING: Mutex<Option<Running>> = Mutex::new(None);
        let slot = {
            let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
            let running = running.get_or_insert_default();
            *running.entry(recipe.name).or_insert_with(|| Box::leak(Box::default()))
        };
        match slot.get_or_init(|| start(recipe)) {
            Ok(airflow) => airflow,
            Err(why) => panic!("{}: {why}", recipe.name),
        }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.file("airflow.db")
    }

    /// A file of its home.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// A program of its release.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        program(&format!("servers/{}", self.recipe.server), name)
    }

    /// Runs its own command line beside it; what that printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        said(&self.recipe.command("airflow", &self.home).args(arguments).output().unwrap())
    }

    /// What its database answers.
    pub(crate) fn query(&self, statement: &str) -> Value {
        let mut ask = self.recipe.command("python", &self.home);
        ask.arg(beside_the_tests("sql.py")).arg(self.database()).arg(statement);
        serde_json::from_str(&said(&ask.output().unwrap())).unwrap()
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

/// The password of a user of Airflow's own login.
pub(crate) fn password(user: &str) -> String {
    format!("password of {user}")
}

/// An error that says what to call when tests/airflow/setup.py has not been run.
pub(crate) fn is_built(server: &str) -> Result<(), String> {
    for step in ["clients".to_owned(), format!("servers/{server}"), format!("homes/{server}")] {
        let stamp = built().join(format!("{step}.stamp"));
        if !stamp.is_file() {
            let stamp = stamp.display();
            return Err(format!("{stamp} is missing: `make test-airflow` builds and runs it all"));
        }
    }
    Ok(())
}

fn start(recipe: &Recipe) -> Result<Airflow, String> {
    is_built(recipe.server)?;
    // Airflow binds its port seconds after it was found free, so somebody else may have it then.
    let in_use = |why: &String| why.contains("address already in use");
    let mut tries = free_ports().take(3).map(|address| start_at(recipe, address));
    tries.find(|started| !started.as_ref().is_err_and(in_use)).unwrap()
}

/// A port that nobody has, for somebody who must know it before it is bound.
pub(crate) fn free_port() -> u16 {
    free_ports().next().expect("a free port").port()
}

/// Free ports below those that the system gives to whoever asks for any; each is named once.
fn free_ports() -> impl Iterator<Item = SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Another run of these tests begins its search elsewhere.
    let first = std::process::id() % 10_000;
    (0..10_000)
        .map(move |_| (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], u16::try_from(20_000 + port).unwrap())))
        .filter(|address| TcpListener::bind(address).is_ok())
}

fn start_at(recipe: &Recipe, address: SocketAddr) -> Result<Airflow, String> {
    let home = recipe.home();
    let log = built().join(format!("{}.log", recipe.name));
    let airflow = program(&format!("servers/{}", recipe.server), "airflow");
    let mut keeper = recipe.command("python", &home);
    keeper
        // How `standalone` finds itself, and what it takes in the place of arguments.
        .env("PATH", format!("{}:/usr/bin:/bin", airflow.parent().unwrap().display()))
        .env("AIRFLOW__API__HOST", address.ip().to_string())
        .env("AIRFLOW__API__PORT", address.port().to_string())
        .arg(beside_the_tests("keeper.py"))
        .args([&home, &log])
        .arg(airflow)
        .args(recipe.serving(address))
        .stdin(Stdio::piped());
    let keeper = keeper.spawn().unwrap();
    answering(Airflow { address, recipe: recipe.clone(), home, keeper }, &log)
}

/// The same Airflow once it answers; why it never will, otherwise.
fn answering(mut airflow: Airflow, log: &Path) -> Result<Airflow, String> {
    let started = Instant::now();
    while started.elapsed() < BOOT {
        if let Some(status) = airflow.keeper.try_wait().unwrap() {
            let said = fs::read_to_string(log).unwrap_or_default();
            return Err(format!("Airflow ended at its start ({status}) and said:\n{said}"));
        }
        // Connecting is refused until it listens; somebody else may have taken the port meanwhile.
        if TcpStream::connect(airflow.address).is_ok()
            && airflow.recipe.is_spoken_by(airflow.address)
        {
            return Ok(airflow);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(format!("Airflow did not answer within {BOOT:?}; its log is {}", log.display()))
}
