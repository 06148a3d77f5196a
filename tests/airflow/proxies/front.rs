//! An nginx or an Envoy with the file that ships for it, of which only the addresses are changed.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::flight::Flight;
use crate::stock::Recipe;
use crate::support::config::Config;
use crate::support::http::{Request, Response};
use crate::support::wait::eventually;

/// A proxy in front of Airflow that asks airside.
pub(crate) struct Front {
    pub(crate) flight: Flight,
    /// Where airside is asked.
    pub(crate) asked: SocketAddr,
    pub(crate) address: SocketAddr,
    _proxy: Proxy,
}

/// What asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    EnvoyHttp,
    EnvoyGrpc,
}

pub(crate) const ALL: [Kind; 3] = [Kind::Nginx, Kind::EnvoyHttp, Kind::EnvoyGrpc];

impl Kind {
    pub(crate) const fn protocol(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::EnvoyHttp => "envoy",
            Self::EnvoyGrpc => "envoy_grpc",
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::EnvoyHttp => "envoy-http.yaml",
            Self::EnvoyGrpc => "envoy-grpc.yaml",
        }
    }

    /// What its client gets for a refusal with this status: `auth_request` knows two.
    pub(crate) const fn status(self, status: u16) -> u16 {
        match self {
            Self::Nginx if status != 401 && status != 403 => 500,
            _ => status,
        }
    }
}

impl Front {
    /// In front of the usual Airflow.
    pub(crate) fn start(kind: Kind) -> Self {
        Self::with(kind, &Recipe::usual(), |config| config)
    }

    /// In front of an Airflow of this recipe, asking an airside bent by the hook.
    pub(crate) fn with(kind: Kind, recipe: &Recipe, hook: impl FnOnce(Config) -> Config) -> Self {
        let protocol = kind.protocol();
        let mut flight = Flight::with(recipe, |config| {
            hook(config)
                .set("/forward_auth/listen", "127.0.0.1:0")
                .set("/forward_auth/trusted", ["127.0.0.1"].as_slice())
                .set("/forward_auth/protocol", protocol)
                // What FAB believes is one of the headers that only airside may write.
                .set("/handoff/fab", json!({"remote_user_header": "X-Remote-User"}))
        });
        let asked = flight.airside.listener("forward_auth");
        let proxy = Proxy::start(kind, asked, flight.airflow.address);
        Self { flight, asked, address: proxy.address, _proxy: proxy }
    }

    pub(crate) fn ask(&self, request: &Request) -> Response {
        request.send(self.address)
    }
}

/// A running nginx or Envoy; dropping it ends it.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Proxy {
    /// The port is found free before it is bound, so somebody else may have it then.
    pub(crate) fn start(kind: Kind, airside: SocketAddr, airflow: SocketAddr) -> Self {
        let in_use = |log: &String| log.to_lowercase().contains("address already in use");
        let mut tries = (0..3).map(|_| Self::start_at(free(), kind, airside, airflow));
        let started = tries.find(|started| !started.as_ref().is_err_and(in_use));
        started.expect("a free port").unwrap_or_else(|log| panic!("{kind:?} has ended: {log}"))
    }

    /// What it logged, where it ends instead of answering.
    fn start_at(
        address: SocketAddr,
        kind: Kind,
        airside: SocketAddr,
        airflow: SocketAddr,
    ) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        // Where nginx keeps bodies it becomes somebody else, who may look there.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/forward-auth");
        let shipped = fs::read_to_string(shipped.join(kind.file())).unwrap();
        let mut command = match kind {
            Kind::Nginx => nginx(folder.path(), &shipped, address, airside, airflow),
            Kind::EnvoyHttp | Kind::EnvoyGrpc => {
                envoy(folder.path(), &shipped, address, airside, airflow)
            }
        };
        let path = folder.path().join("log");
        let log = fs::File::create(&path).unwrap();
        let child = command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut proxy = Self { child, address, _folder: folder };
        let ended = eventually("the proxy answers", || {
            let answers = Request::get("/").try_send(address).is_ok();
            // Asked afterwards: what answers for a proxy that has ended is somebody else.
            let ended = proxy.child.try_wait().unwrap();
            (answers || ended.is_some()).then_some(ended)
        });
        match ended {
            Some(status) => Err(format!("{status}\n{}", fs::read_to_string(path).unwrap())),
            None => Ok(proxy),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A port that is free now.
pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What tests/airflow/proxies.py has put there.
fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/proxies").join(name)
}

/// The file's text with this in the place of that, which has to be there.
fn with(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "no {from} in the file that ships");
        text.replace(from, to)
    })
}

fn nginx(
    folder: &Path,
    shipped: &str,
    address: SocketAddr,
    airside: SocketAddr,
    airflow: SocketAddr,
) -> Command {
    let site = with(
        shipped,
        &[
            ("server airflow-api-server:8080;", &format!("server {airflow};")),
            ("server airside:8084;", &format!("server {airside};")),
            ("listen 8443;", &format!("listen {address};")),
        ],
    );
    fs::write(folder.join("site.conf"), site).unwrap();
    let here = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {here}/{name};")).concat();
    let around = format!(
        "daemon off; master_process off; pid {here}/pid; error_log stderr warn;\n\
         events {{}}\nhttp {{ access_log off; {temporary} include {here}/site.conf; }}\n"
    );
    fs::write(folder.join("nginx.conf"), around).unwrap();
    let mut command = Command::new(program("nginx/usr/sbin/nginx"));
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    command
}

fn envoy(
    folder: &Path,
    shipped: &str,
    address: SocketAddr,
    airside: SocketAddr,
    airflow: SocketAddr,
) -> Command {
    let at = |host: &str, address: SocketAddr| {
        let from = host.to_owned();
        let (ip, port) = (address.ip(), address.port());
        (from, format!("address: {ip}, port_value: {port}"))
    };
    let changes = [
        at("address: airflow-api-server, port_value: 8080", airflow),
        at("address: airside, port_value: 8084", airside),
        at("address: 0.0.0.0, port_value: 8443", address),
    ];
    let changes: Vec<_> = changes.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    fs::write(folder.join("envoy.yaml"), with(shipped, &changes)).unwrap();
    let mut command = Command::new(program("envoy"));
    command.arg("-c").arg(folder.join("envoy.yaml"));
    command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "error"]);
    command
}
