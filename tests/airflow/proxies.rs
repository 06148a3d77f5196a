//! Forward-auth: a real nginx and a real Envoy, with the files that ship in config/forward-auth, ask a
//! real airside and forward to a real Airflow. Of a file only the addresses are changed.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::flight::{Flight, assert_airflow_says, is_airflows, post};
use crate::stock::{Recipe, password};
use crate::support::airflow;
use crate::support::config::SECRET;
use crate::support::entra::{APP, USER, v2_app, v2_user};
use crate::support::expect::Verdicts;
use crate::support::http::{Connection, Request, Response};
use crate::support::keys::hs512;
use crate::support::upstream::Upstream;
use crate::support::wait::eventually;

/// A proxy in front of Airflow that asks airside.
struct Front {
    flight: Flight,
    /// Where airside is asked.
    asked: SocketAddr,
    address: SocketAddr,
    _proxy: Proxy,
}

/// What asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nginx,
    EnvoyHttp,
    EnvoyGrpc,
}

const ALL: [Kind; 3] = [Kind::Nginx, Kind::EnvoyHttp, Kind::EnvoyGrpc];

impl Kind {
    const fn protocol(self) -> &'static str {
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
    const fn status(self, status: u16) -> u16 {
        match self {
            Self::Nginx if status != 401 && status != 403 => 500,
            _ => status,
        }
    }
}

impl Front {
    fn start(kind: Kind) -> Self {
        let mut flight = Flight::with(&Recipe::usual(), |config| {
            let section = json!({"listen": "127.0.0.1:0", "trusted": ["127.0.0.1"], "protocol": kind.protocol()});
            // The header that FAB believes is one of those that only airside may write.
            let fab = json!({"remote_user_header": "X-Remote-User"});
            config.set("/forward_auth", section).set("/handoff/fab", fab)
        });
        let asked = flight.airside.listener("forward_auth");
        let proxy = Proxy::start(kind, asked, flight.airflow.address);
        Self { flight, asked, address: proxy.address, _proxy: proxy }
    }

    fn ask(&self, request: &Request) -> Response {
        request.send(self.address)
    }
}

/// A running nginx or Envoy; dropping it ends it.
struct Proxy {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Proxy {
    fn start(kind: Kind, airside: SocketAddr, airflow: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Where nginx keeps bodies it becomes somebody else, who may look there.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let address = free();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/forward-auth");
        let shipped = fs::read_to_string(shipped.join(kind.file())).unwrap();
        let mut command = match kind {
            Kind::Nginx => nginx(folder.path(), &shipped, address, airside, airflow),
            Kind::EnvoyHttp | Kind::EnvoyGrpc => {
                envoy(folder.path(), &shipped, address, airside, airflow)
            }
        };
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let proxy = Self { child, address, _folder: folder };
        eventually("the proxy answers", || Request::get("/").try_send(address).ok());
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A port that is free now.
fn free() -> SocketAddr {
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
    let temporary: String =
        temporary.iter().map(|name| format!("{name}_temp_path {here}/{name};")).collect();
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

/// Whom Airflow takes the sender of this request for.
fn whoami(front: &Front, request: Request) -> String {
    let answer = front.ask(&request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

fn me() -> Request {
    Request::get("/ui/auth/me")
}

#[test]
fn a_caller_of_entra_reaches_airflow_as_the_right_user() {
    for kind in ALL {
        let front = Front::start(kind);
        assert_eq!(whoami(&front, me().bearer(&v2_app().token())), APP, "{kind:?}");
        assert_eq!(whoami(&front, me().bearer(&v2_user().token())), USER, "{kind:?}");
        let viewer = v2_app().roles(&["Airflow.Viewer"]).token();
        let dags = front.ask(&Request::get("/api/v2/dags?limit=1").bearer(&viewer));
        assert_eq!(dags.json()["dags"][0]["dag_id"], "demo", "{kind:?}");
        let variable = post("/api/v2/variables", &json!({"key": "of-a-viewer", "value": "x"}));
        assert_airflow_says(&front.ask(&variable.bearer(&viewer)), 403, &json!("Forbidden"));
        let key = format!("through-{}", kind.protocol());
        let variable =
            post("/api/v2/variables", &json!({"key": key, "value": "x".repeat(100_000)}));
        let written = front.ask(&variable.bearer(&v2_app().token()));
        assert_eq!(written.status, 201, "{kind:?}: {}", written.text());
    }
}

#[test]
fn a_refusal_reaches_the_client_and_nothing_reaches_airflow() {
    let mut verdicts = Verdicts::default();
    for kind in ALL {
        let front = Front::start(kind);
        let expired = v2_app().with("exp", 1_000_000_000).token();
        let nobody = v2_app().without("roles").token();
        for (label, request, status, challenge) in [
            ("nothing", me(), 401, "Bearer realm=\"airflow\""),
            ("expired", me().bearer(&expired), 401, "error=\"invalid_token\""),
            ("no role", me().bearer(&nobody), 403, "error=\"insufficient_scope\""),
            ("ours", Request::post("/airside/token"), 404, ""),
            ("dots", Request::get("/api/v2/monitor/health/../../dags"), 400, ""),
            ("a fragment", Request::get("/api/v2/dags#/../monitor/health"), 400, ""),
            ("the query", Request::get("/api/v2/dags?/api/v2/version"), 401, "Bearer"),
        ] {
            let label = format!("{kind:?}, {label}");
            let answer = front.ask(&request);
            // Its own paths nginx answers itself.
            let expected = if status == 404 { 404 } else { kind.status(status) };
            verdicts.check(&label, answer.status == expected, (answer.status, answer.text()));
            verdicts.check(&label, !is_airflows(&answer), answer.text());
            let told = answer.header("www-authenticate").unwrap_or_default();
            // nginx passes it on with 401 alone.
            if kind != Kind::Nginx || status == 401 {
                verdicts.check(&label, told.contains(challenge), told);
            }
            if kind != Kind::Nginx && !label.contains("fragment") {
                let body = answer.header("content-type");
                verdicts.check(&label, body == Some("application/problem+json"), answer.text());
            }
        }
    }
}

#[test]
fn the_interface_and_its_sessions_go_on_as_before() {
    for kind in ALL {
        let front = Front::start(kind);
        let page = front.ask(&Request::get("/"));
        assert_eq!(page.status, 200, "{kind:?}: {}", page.text());
        assert!(page.text().contains("<html"), "{kind:?}");
        for open in ["/api/v2/version", "/api/v2/monitor/health"] {
            assert_eq!(front.ask(&Request::get(open)).status, 200, "{kind:?} {open}");
        }
        let login = json!({"username": "admin", "password": password("admin")});
        let token = front.ask(&post("/auth/token", &login));
        assert_eq!(token.status, 201, "{kind:?}: {}", token.text());
        let token = token.json()["access_token"].as_str().unwrap().to_owned();
        let session = format!("_token={token}");
        assert_eq!(whoami(&front, me().cookie(&session)), "admin", "{kind:?}");
        assert_eq!(whoami(&front, me().bearer(&token)), "admin", "{kind:?}");
        // A bearer counts alone, whatever cookie stands beside it.
        let both = me().cookie(&session).bearer(&v2_app().token());
        assert_eq!(whoami(&front, both), APP, "{kind:?}");
        let variable = post("/api/v2/variables", &json!({"key": "x", "value": "x"}));
        let elsewhere = variable.cookie(&session).header("Sec-Fetch-Site", "cross-site");
        let answer = front.ask(&elsewhere);
        assert_eq!(answer.status, 403, "{kind:?}: {}", answer.text());
        assert!(!is_airflows(&answer), "{kind:?}: {}", answer.text());
        let variable = post("/api/v2/variables", &json!({"key": "x", "value": "x"}));
        let elsewhere = variable.cookie(&session).header("Origin", "https://evil.example");
        assert_eq!(front.ask(&elsewhere).status, 403, "{kind:?}");
    }
}

/// Headers that only airside may write, in every spelling; none reaches what is behind the proxy.
#[test]
fn what_a_client_writes_in_the_name_of_airside_reaches_nobody() {
    let mut verdicts = Verdicts::default();
    for kind in ALL {
        let front = Front::start(kind);
        let echo = Upstream::start();
        let proxy = Proxy::start(kind, front.asked, echo.address());
        let token = v2_app().token();
        for name in [
            "X-Airside-User",
            "X-Airside-Roles",
            "X-Airside-Issuer",
            "X-Airside-Assertion",
            "X-Remote-User",
            "x-AIRSIDE-user",
            "X_Airside_User",
            "X-Airside_User",
            "X.Airside.User",
            "X_Remote_User",
        ] {
            let requests = [
                ("open", Request::get("/api/v2/version"), None),
                ("shell", Request::get("/"), None),
                ("session", me().cookie("_token=x"), None),
                ("granted", me().bearer(&token), Some(APP)),
            ];
            for (label, request, user) in requests {
                echo.take();
                let forged = request.header(name, "mallory").header("Connection", name);
                let answer = forged.send(proxy.address);
                let label = format!("{kind:?}, {label}: {name}");
                let seen = echo.take();
                let reached = seen.iter().any(|seen| seen.text().contains("mallory"));
                // Dots are no letters of a name to WSGI, nor anything to Airflow; Envoy lets them be.
                let harmless = name.contains('.') && kind == Kind::EnvoyHttp;
                verdicts.check(&label, !reached || harmless, (answer.status, &seen));
                for seen in seen {
                    let told = seen.all("x-airside-user");
                    let expected: Vec<&str> = user.into_iter().collect();
                    verdicts.check(&label, told == expected, &seen);
                }
            }
        }
        // And to Airflow itself a forged header is nothing.
        let forged = me().header("X-Airside-User", "admin").header("X-Remote-User", "admin");
        assert_eq!(front.ask(&forged).status, 401, "{kind:?}");
        assert_eq!(whoami(&front, forged.bearer(&token)), APP, "{kind:?}");
    }
}

/// What clients may write to say that another request is judged than the one that goes on.
#[test]
fn a_client_cannot_say_that_another_request_is_judged() {
    let mut verdicts = Verdicts::default();
    for kind in ALL {
        let front = Front::start(kind);
        let open = "/api/v2/version";
        let words = [
            ("X-Original-URL", "http://a.example/api/v2/version"),
            ("X-Original-URI", open),
            ("X-Original-Method", "GET"),
            ("X-Forwarded-Uri", open),
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-Host", "a.example"),
            ("X-Rewrite-URL", open),
            ("X-Envoy-Original-Path", open),
            ("X_Original_URL", "http://a.example/api/v2/version"),
        ];
        let all = words.iter().fold(me(), |request, (name, value)| request.header(name, value));
        let each = words.iter().map(|(name, value)| (*name, me().header(name, value)));
        let nominated = me().header("Connection", "X-Original-URL, X-Original-Method, close");
        let hosts = ["a?x=", "a#", "a@b", "a\\"].map(|host| ("Host", me().host(host)));
        for (label, request) in each.chain([("all", all), ("Connection", nominated)]).chain(hosts) {
            let mut connection = Connection::open(front.address);
            connection.send(&request.bytes(front.address)).unwrap();
            let answer = connection.response_to("GET").unwrap();
            let label = format!("{kind:?}, {label}");
            let refused = matches!(answer.status, 400 | 401 | 500);
            verdicts.check(
                &label,
                refused && !is_airflows(&answer),
                (answer.status, answer.text()),
            );
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_not_skipped() {
    let forged = |header: &[u8], authorization: &str| {
        let head = format!("GET /ui/auth/me HTTP/1.1\r\nHost: a.example\r\n{authorization}");
        [head.as_bytes(), header, b"\r\nConnection: close\r\n\r\n"].concat()
    };
    let good = format!("Authorization: Bearer {}\r\n", v2_app().token());
    for kind in ALL {
        let front = Front::start(kind);
        let ask = |bytes: &[u8]| {
            let mut connection = Connection::open(front.address);
            connection.send(bytes).unwrap();
            connection.response_to("GET").unwrap()
        };
        let answer = ask(&forged(b"Authorization: Bearer a.b.c\xff", ""));
        assert_eq!(answer.status, 401, "{kind:?}: {}", answer.text());
        let answer = ask(&forged(b"X-Note: \xff\xfe", &good));
        let expected = if kind == Kind::EnvoyGrpc { 400 } else { 200 };
        assert_eq!(answer.status, expected, "{kind:?}: {}", answer.text());
    }
}

#[test]
fn without_airside_nobody_gets_through() {
    for kind in ALL {
        let front = Front::start(kind);
        let proxy = Proxy::start(kind, free(), front.flight.airflow.address);
        for request in [me().bearer(&v2_app().token()), Request::get("/api/v2/version")] {
            let answer = request.send(proxy.address);
            let expected = if kind == Kind::Nginx { 500 } else { 503 };
            assert_eq!(answer.status, expected, "{kind:?}: {}", answer.text());
        }
        // Nor where another proxy is meant, or nobody.
        front.flight.airside.changes(|config| config.set("/forward_auth/trusted", json!([])));
        assert_eq!(front.ask(&me().bearer(&v2_app().token())).status, 403, "{kind:?}");
    }
}

#[test]
fn a_token_as_large_as_entra_makes_them_gets_through() {
    let groups: Vec<String> = (0..600).map(|number| format!("group-{number:030}")).collect();
    let token = v2_app().with("groups", json!(groups)).token();
    assert!(token.len() > 30_000 && token.len() < 32_768, "{}", token.len());
    let claims = airflow::claims().with("padding", "x".repeat(5000));
    let large = hs512(SECRET.as_bytes(), &airflow::header(), claims.value());
    for kind in ALL {
        let front = Front::start(kind);
        assert_eq!(whoami(&front, me().bearer(&token)), APP, "{kind:?}");
        // One that goes on as it came stands in the answer's head, too.
        let answer = front.ask(&me().bearer(&large));
        assert_eq!(answer.status, 200, "{kind:?}: {}", answer.text());
        let answer = front.ask(&me().cookie(&format!("_token={large}")));
        assert_eq!(answer.status, 200, "{kind:?}: {}", answer.text());
    }
}

/// Traefik sends what is stated empty as an empty header, which stands for none to Airflow.
#[test]
fn to_airflow_an_empty_header_is_none() {
    let flight = Flight::start();
    let empty = |request: Request| {
        ["X-Airside-User", "X-Airside-Roles", "X-Airside-Assertion", "X-Remote-User"]
            .iter()
            .fold(request, |request, name| request.header(name, ""))
    };
    let token = json!({"username": "admin", "password": password("admin")});
    let token = flight.ask(&post("/auth/token", &token)).json()["access_token"].clone();
    let token = token.as_str().unwrap();
    let session = empty(me()).header("Authorization", "").cookie(&format!("_token={token}"));
    assert_eq!(flight.ask_airflow(&session).json()["id"], "admin");
    let bearer = empty(me()).cookie("").bearer(token);
    assert_eq!(flight.ask_airflow(&bearer).json()["id"], "admin");
    assert_eq!(flight.ask_airflow(&empty(me()).header("Authorization", "").cookie("")).status, 401);
}
