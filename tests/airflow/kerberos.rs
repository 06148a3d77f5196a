//! Kerberos tickets (Negotiate), judged by Airflow's own backend: a realm with its own KDC on
//! loopback, real clients, alone and after our backend in one chain.
//!
//! Built with the feature `kerberos-tests`, for which tests/checks.py looks for the KDC's programs.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::{fs, io::Write as _};

use serde_json::{Value, json};

use crate::airflow2::passwords::basic;
use crate::airflow2::{
    BASIC, KERBEROS, OURS, SESSION, airflow_2, app, asserting, delegating, make_user, owner_of,
    variable,
};
use crate::flight::Flight;
use crate::programs::{beside_the_tests, built, command, program, said};
use crate::stock::{Recipe, free_port};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::Request;
use crate::support::wait::eventually;

const REALM: &str = "AIRSIDE.TEST";
const SERVER: &str = "2.10.5-kerberos";

/// A realm with a service `airflow` on this host and two people in it.
struct Realm {
    folder: PathBuf,
    /// How Airflow calls this host, and so the service's principal.
    host: String,
    /// Ends the KDC with this process.
    _keeper: Child,
}

fn realm() -> &'static Realm {
    static RUNNING: OnceLock<Realm> = OnceLock::new();
    RUNNING.get_or_init(Realm::start)
}

impl Realm {
    fn start() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        fs::write(folder.join("krb5.conf"), client_settings(address)).unwrap();
        fs::write(folder.join("kdc.conf"), kdc_settings(&folder, address)).unwrap();
        let host = host(&folder);
        said(&tool("kdb5_util", &folder).args(["create", "-s", "-P", "master"]).output().unwrap());
        let keytab = folder.join("airflow.keytab");
        for order in [
            format!("addprinc -randkey airflow/{host}"),
            format!("ktadd -k {} airflow/{host}", keytab.display()),
            "addprinc -pw ticket alice".into(),
            "addprinc -pw ticket mallory".into(),
        ] {
            said(&tool("kadmin.local", &folder).args(["-q", &order]).output().unwrap());
        }
        let python = program(&format!("servers/{SERVER}"), "python");
        let mut keeper = Command::new(python);
        let log = built().join("kdc.log");
        keeper.env_clear().envs(environment(&folder)).arg(beside_the_tests("keeper.py"));
        keeper.args([&folder, &log]).args(["krb5kdc", "-n"]).stdin(Stdio::piped());
        let keeper = keeper.spawn().unwrap();
        eventually("the KDC listens", || TcpStream::connect(address).ok());
        let realm = Self { folder, host, _keeper: keeper };
        for person in ["alice", "mallory"] {
            realm.kinit(person);
        }
        realm
    }

    /// Gets this person a ticket, by password.
    fn kinit(&self, person: &str) {
        let mut kinit = tool("kinit", &self.folder);
        kinit.env("KRB5CCNAME", self.tickets_of(person)).arg(person);
        kinit.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut kinit = kinit.spawn().unwrap();
        kinit.stdin.take().unwrap().write_all(b"ticket\n").unwrap();
        said(&kinit.wait_with_output().unwrap());
    }

    fn tickets_of(&self, person: &str) -> PathBuf {
        self.folder.join(format!("{person}.tickets"))
    }

    /// Airflow 2 in this realm, with these backends.
    fn airflow(&self, name: &'static str, backends: &[&str]) -> Recipe {
        let file = |name: &str| self.folder.join(name).display().to_string();
        airflow_2(name, SERVER, backends)
            .set("KRB5_CONFIG", &file("krb5.conf"))
            .set("KRB5_KTNAME", &file("airflow.keytab"))
            .set("KRB5RCACHENAME", "file2:{home}/replays")
    }

    /// What curl gets from airside with this person's ticket: status and body.
    fn curl(&self, flight: &Flight, person: &str, arguments: &[&str], path: &str) -> (u16, String) {
        let there = flight.airside.proxy;
        let mut curl = tool("curl", &self.folder);
        curl.env("KRB5CCNAME", self.tickets_of(person))
            .args(["--silent", "--show-error", "--max-time", "30"])
            .args(["--negotiate", "--user", ":", "--service-name", "airflow"])
            // The ticket is for Airflow's name; airside is reached by its address.
            .args(["--connect-to", &format!("{}:80:{there}", self.host)])
            .args(["--write-out", "\n%{http_code}"])
            .args(arguments)
            .arg(format!("http://{}{path}", self.host));
        let text = said(&curl.output().unwrap());
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// What Airflow's own client for Kerberos gets: the statuses on its way, and the last body.
    fn requests(&self, flight: &Flight, person: &str, path: &str) -> Value {
        let run = command(&program(&format!("servers/{SERVER}"), "python"), &self.folder)
            .envs(environment(&self.folder))
            .env("KRB5CCNAME", self.tickets_of(person))
            .arg(beside_the_tests("airflow2/kerberos_client.py"))
            .args([&format!("{}{path}", flight.url()), &self.host])
            .output()
            .unwrap();
        serde_json::from_str(&said(&run)).unwrap()
    }
}

fn environment(folder: &Path) -> [(&'static str, String); 4] {
    let file = |name: &str| folder.join(name).display().to_string();
    [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
        ("KRB5_CONFIG", file("krb5.conf")),
        ("KRB5_KDC_PROFILE", file("kdc.conf")),
        ("KRB5CCNAME", file("none.tickets")),
    ]
}

/// A program of the system in this realm.
fn tool(name: &str, folder: &Path) -> Command {
    let mut tool = Command::new(name);
    tool.env_clear().envs(environment(folder)).current_dir(folder).stdin(Stdio::null());
    tool
}

/// Nothing is looked up in a name service: there is one realm, and its KDC is here.
fn client_settings(kdc: SocketAddr) -> String {
    let mut text = format!("[libdefaults]\n default_realm = {REALM}\n udp_preference_limit = 1\n");
    for name in ["dns_lookup_kdc", "dns_lookup_realm", "dns_canonicalize_hostname", "rdns"] {
        writeln!(text, " {name} = false").unwrap();
    }
    text + &format!(" qualify_shortname = \"\"\n[realms]\n {REALM} = {{\n  kdc = {kdc}\n }}\n")
}

fn kdc_settings(folder: &Path, address: SocketAddr) -> String {
    let file = |name: &str| folder.join(name).display().to_string();
    format!(
        "[kdcdefaults]\n kdc_listen = \"\"\n kdc_tcp_listen = {address}\n[realms]\n {REALM} = {{\n  \
         database_name = {}\n  key_stash_file = {}\n  acl_file = {}\n }}\n",
        file("principals"),
        file("stash"),
        file("acl")
    )
}

fn host(home: &Path) -> String {
    let ask = "from airflow.utils.net import getfqdn; print(getfqdn())";
    let python = program(&format!("servers/{SERVER}"), "python");
    let told = said(&command(&python, home).args(["-c", ask]).output().unwrap());
    told.lines().last().unwrap().to_lowercase()
}

const POST: [&str; 6] = [
    "--request",
    "POST",
    "--header",
    "Content-Type: application/json",
    "--data",
    r#"{"key": "of-a-ticket", "value": "x"}"#,
];

#[test]
fn airflows_own_backend_alone_takes_a_ticket_through_airside() {
    let realm = realm();
    let flight = Flight::with(&realm.airflow("kerberos", &[KERBEROS]), delegating);
    let alice = format!("alice@{REALM}");
    let made = flight.airflow.run(&[
        "users",
        "create",
        "--username",
        &alice,
        "--use-random-password",
        "--role",
        "Op",
        "--email",
        "alice@contoso.example",
        "--firstname",
        "A",
        "--lastname",
        "Person",
    ]);
    assert!(made.contains("created"), "{made}");
    let dags = "/api/v1/dags";
    let (status, body) = realm.curl(&flight, "alice", &[], dags);
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"demo\""), "{body}");
    assert_eq!(realm.curl(&flight, "alice", &POST, "/api/v1/variables").0, 200);
    // Who has a ticket and no user is Airflow's own 403, who has no ticket its own 401 or 403.
    assert_eq!(realm.curl(&flight, "mallory", &[], dags).0, 403);
    let forged = flight.ask(&Request::get(dags).header("Authorization", "Negotiate YIIC"));
    assert!([401, 403].contains(&forged.status), "{}", forged.text());
    assert!(!forged.text().contains("urn:airside:"), "{}", forged.text());
    // A client that waits to be asked learns from airside that a ticket will do.
    let told = realm.requests(&flight, "alice", dags);
    assert_eq!(told["statuses"], json!([401, 200]), "{told}");
    assert_eq!(told["offered"], "Bearer realm=\"airflow\", Negotiate, Basic realm=\"airflow\"");
}

#[test]
fn in_a_chain_tickets_passwords_and_tokens_get_in_side_by_side() {
    let realm = realm();
    let recipe = realm.airflow("kerberos-chain", &[OURS, KERBEROS, BASIC, SESSION]);
    let flight = Flight::with(&recipe, delegating);
    let mut verdicts = Verdicts::default();
    let alice = format!("alice@{REALM}");
    make_user(&flight, &alice, "a pass word", "Op");
    let (status, body) = realm.curl(&flight, "alice", &POST, "/api/v1/variables");
    verdicts.check("a ticket", status == 200, &body);
    let owner = owner_of(&flight, "api.variable.create", "of-a-ticket");
    verdicts.check("it is alice's", owner == alice, &owner);
    let answer = flight.ask(&basic(variable("of-a-password"), &alice, "a pass word"));
    verdicts.check("a password", answer.status == 200, answer.text());
    let answer = flight.ask(&variable("of-a-token").bearer(&app("with-a-token", &["Op"])));
    verdicts.check("a token", answer.status == 200, answer.text());
    let told = realm.requests(&flight, "alice", "/api/v1/dags");
    verdicts.check("offered and taken", told["statuses"] == json!([401, 200]), &told);
    let (status, body) = realm.curl(&flight, "mallory", &[], "/api/v1/dags");
    verdicts.check("nobody's ticket", status == 403, &body);
    let cross: Vec<_> =
        ["--header", "Origin: https://evil.example"].iter().chain(&POST).copied().collect();
    let (status, body) = realm.curl(&flight, "alice", &cross, "/api/v1/variables");
    verdicts.check("another site", status == 403 && body.contains("cross_site"), &body);
}

#[test]
fn without_leave_a_ticket_goes_no_further() {
    let realm = realm();
    let recipe = realm.airflow("kerberos-chain", &[OURS, KERBEROS, BASIC, SESSION]);
    let flight = Flight::with(&recipe, asserting);
    let (status, body) = realm.curl(&flight, "alice", &[], "/api/v1/dags");
    assert_eq!(status, 401, "{body}");
    assert!(body.contains("scheme_unsupported"), "{body}");
    let told = realm.requests(&flight, "alice", "/api/v1/dags");
    assert_eq!(
        (&told["statuses"], &told["offered"]),
        (&json!([401]), &json!("Bearer realm=\"airflow\""))
    );
    assert_refused(&flight.ask(&Request::get("/api/v1/dags")), 401, "credential_missing");
}
