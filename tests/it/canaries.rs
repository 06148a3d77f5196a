//! Nothing that a caller or an operator keeps secret is ever told: not by an answer, a log line, a
//! metric, a page, a trace, a file or a crash, at any log level, whatever goes wrong.

mod hunt;
mod questions;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use airside::rejection::Reason;
use serde_json::{Value, json};

use crate::support::airflow;
use crate::support::airside::Airside;
use crate::support::claims::Claims;
use crate::support::collector::Collector;
use crate::support::config::{Config, SECRET};
use crate::support::entra::{CALLER, OTHER_TENANT, id_token, now, v2_app, v2_user};
use crate::support::expect::Verdicts;
use crate::support::fab;
use crate::support::http::{Connection, Request, Response};
use crate::support::http2::Http2;
use crate::support::issuer::Issuer;
use crate::support::keys::{SigningKey, parts};
use crate::support::scene::Scene;
use crate::support::upstream::{Answer, Upstream};
use crate::support::wait::eventually;
use hunt::Hunt;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// In a token's header, its claims, a query, a cookie, a password, a body.
const WORDS: [&str; 6] = [
    "CANARYHEADER",
    "CANARYPAYLOAD",
    "CANARYQUERY-9f31",
    "CANARYCOOKIE-27aa",
    "CANARYPASSWORD-c04d",
    "CANARYBODY-51be",
];

/// Reasons that are not provoked here, and why.
const NOT_PROVOKED: [(&str, &str); 0] = [];

#[test]
fn no_canary_is_ever_told() {
    let runs: Vec<_> =
        LEVELS.iter().flat_map(|level| [(*level, "text"), (*level, "json")]).collect();
    let (runs, faults) = (Mutex::new(runs), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let Some((level, format)) = runs.lock().unwrap().pop() else { return };
                    let found = told_at(level, format);
                    faults.lock().unwrap().extend(found);
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Everything goes wrong at this level; what was told that should not have been.
fn told_at(level: &str, format: &str) -> Vec<String> {
    let log = |config: Config| config.set("/log/level", level).set("/log/format", format);
    let mut run = Run::default();
    for word in WORDS {
        run.hunt.secret(word);
    }
    run.hunt.secret(SECRET);
    let cache = tempfile::tempdir().unwrap();
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    run.through(Scene::of(Issuer::start(), upstream(), |config| {
        log(bent(config, cache.path())).set("/telemetry/otlp_endpoint", endpoint)
    }));
    assert!(collector.spans().len() > 100, "{} spans", collector.spans().len());
    run.keep("a trace", collector.bytes());
    run.keep("a file of cache_dir", files_in(cache.path()));
    run.hand_off_fails(&Scene::with(|config| log(fab::for_fab(config))));
    run.is_asked(log);
    let provoked: BTreeSet<_> = run.reasons.iter().map(String::as_str).collect();
    let named = NOT_PROVOKED.iter().map(|(reason, _)| *reason);
    let missing: Vec<_> = Reason::ALL
        .into_iter()
        .map(Reason::name)
        .filter(|reason| !provoked.contains(reason) && named.clone().all(|other| other != *reason))
        .collect();
    assert!(missing.is_empty(), "not provoked: {missing:?}");
    run.finds().into_iter().map(|found| format!("{level}, {format}: {found}")).collect()
}

/// The usual configuration with everything that can refuse.
fn bent(config: Config, cache: &Path) -> Config {
    let dead = json!({
        "name": "sso", "type": "oidc", "issuer": "https://dead.example", "audiences": ["airflow"],
        "keys_url": "http://127.0.0.1:1/keys", "username_prefix": "sso:",
        "roles_claim": "/roles", "roles": {"a": ["Op"]},
    });
    let mut issuers = config.get("/issuers");
    issuers[0]["clients"] = json!([CALLER]);
    issuers.as_array_mut().unwrap().push(dead);
    let revoked = config.file("revoked.yaml", "- jti: revoked-here\n").display().to_string();
    config
        .set("/issuers", issuers)
        .set("/revocation/file", revoked)
        .set("/keys/cache_dir", cache.display().to_string())
        .set("/access/password_login", "closed")
        .set("/access/execution_api", "verify")
        .set("/access/delegate", json!({"basic": true}))
        .set("/exchange/enabled", true)
        .set("/forwarded/trusted", json!(["127.0.0.1"]))
        .set(
            "/limits",
            json!({
                "header_bytes": 16384, "token_bytes": 4096, "body_bytes": 1000, "in_flight": 2,
                "failing_per_client": 1,
            }),
        )
        .set("/upstream/response_header_timeout", "1s")
        .set("/upstream/idle_timeout", "500ms")
}

/// An Airflow that goes wrong where the path says so.
fn upstream() -> Upstream {
    Upstream::answering(|received| match received.target().split('?').next().unwrap_or_default() {
        "/api/v2/silence" => Answer::Silence,
        "/api/v2/hangup" => Answer::Hangup,
        "/api/v2/junk" => Answer::LastBytes(b"nonsense\r\n\r\n".to_vec()),
        "/api/v2/half" => {
            Answer::LastBytes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec())
        }
        "/api/v2/untold" => Answer::json(403, &[], r#"{"detail":"Invalid JWT token"}"#),
        _ => Answer::ok(&["Set-Cookie: session=CANARYCOOKIE-27aa"]),
    })
}

/// A token with a canary in each part.
fn canary(claims: &Claims) -> String {
    signed(SigningKey::shared(), claims, |_| {})
}

fn signed(key: &SigningKey, claims: &Claims, bend: impl FnOnce(&mut Value)) -> String {
    let mut header = key.header();
    header["canary"] = "CANARYHEADER".into();
    bend(&mut header);
    key.sign(&header, claims.clone().with("canary", "CANARYPAYLOAD").value())
}

/// A token for every reason that is in a token.
fn tokens() -> Vec<String> {
    let key = SigningKey::shared();
    let header = |member: &str, value: Value| {
        signed(key, &v2_app(), |header| header[member] = value.clone())
    };
    let good = canary(&v2_user());
    let [head, payload, signature] = parts(&good);
    let dead = Claims::new(json!({
        "iss": "https://dead.example", "aud": "airflow", "sub": "x", "exp": now() + 300,
    }));
    vec![
        format!("{head}.{payload}"),
        format!("{head}.{payload}.{signature}="),
        format!("{head}.{signature}.{payload}.{signature}.{signature}"),
        canary(&v2_app().with("filler", "x".repeat(4000))),
        header("crit", json!(["x"])),
        header("alg", json!("HS512")),
        header("nonce", json!("x")),
        header("kid", json!("unknown")),
        canary(&v2_app().with("iss", "https://other.example")),
        signed(SigningKey::stranger(), &v2_app(), |_| {}),
        canary(&id_token()),
        canary(&v2_app().with("cnf", json!({"jkt": "x"}))),
        canary(&v2_app().with("tid", OTHER_TENANT)),
        canary(&v2_app().with("aud", "other")),
        canary(&v2_app().without("nbf")),
        canary(&v2_app().with("exp", "soon")),
        canary(&v2_app().with("exp", now() - 3600)),
        canary(&v2_app().with("nbf", now() + 3600)),
        canary(&v2_app().with("uti", "revoked-here")),
        canary(&v2_app().roles(&[])),
        canary(&v2_app().with("azp", "another-client")),
        canary(&v2_app().with("oid", "two words")),
        canary(&dead),
        airflow::sign(&airflow::claims().with("canary", "CANARYPAYLOAD").with("sub", "two words")),
        airflow::sign(&airflow::task_claims("x").with("canary", "CANARYPAYLOAD")),
    ]
}

/// Good tokens, for what goes wrong elsewhere and for what goes right.
fn good() -> [String; 3] {
    let of_airflow = airflow::claims().with("canary", "CANARYPAYLOAD");
    [canary(&v2_user()), canary(&v2_app()), airflow::sign(&of_airflow)]
}

/// What a request may carry beside, none of it to be told.
fn laden(request: Request, token: &str) -> Request {
    request
        .cookie(&format!("session={}; _token={token}", WORDS[3]))
        .header("Referer", &format!("http://a/?password={}&token={token}", WORDS[2]))
        .header("X-Airside-Assertion", token)
        .header("Proxy-Authorization", &format!("Bearer {token}"))
        .header("traceparent", token)
        .header("tracestate", &format!("a={token}"))
        .header("baggage", &format!("token={token}"))
        .header("User-Agent", token)
}

/// Every way in which a token can come.
fn carrying(token: &str) -> Vec<Request> {
    let target = format!("/api/v2/dags?token={token}&password={}", WORDS[2]);
    let dags = || Request::get(&target);
    let basic = base64_of(&format!("alice:{}", WORDS[4]));
    vec![
        dags().bearer(token),
        dags().bearer(token).bearer(token),
        dags(),
        dags().header("Authorization", &format!("Bearer  {token}")),
        dags().header("Authorization", token),
        dags().header("Authorization", &format!("Token {token}")),
        dags().header("Authorization", &format!("Basic {basic}")),
        dags().cookie(&format!("_token={token}; session={}", WORDS[3])),
        Request::get(&format!("/?next=%2F%3Ftoken%3D{token}")).bearer(token),
        Request::get("/api/v2/version").bearer(token),
        Request::get("/api/v2/../x").bearer(token),
        Request::get(&format!("/api/v2/dags/{token}/dagRuns")).bearer(token),
        Request::new("DELETE", &format!("/api/v2/variables/{token}")).bearer(token),
        Request::new("DELETE", &format!("/api/v2/variables/{}", token.replace('.', "%2E")))
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .header("tracestate", &format!("a={token}")),
        Request::post(&format!("/api/v2/dags/x.{token}/dagRuns/{token}/clear")),
        Request::get("/airside/x").bearer(token),
        Request::new("TRACE", "/").bearer(token),
        Request::new(token.trim_end_matches('='), "/api/v2/dags"),
        Request::post("/auth/token").body(format!(r#"{{"password":"{}"}}"#, WORDS[4])),
        Request::get("/execution/variables/x").bearer(token),
        Request::get("/edge_worker/v1/jobs").header("Authorization", token),
        Request::post("/api/v2/variables").bearer(token).body(format!("{token}{}", WORDS[5])),
        Request::new("PATCH", "/api/v2/variables/x").bearer(token).body("x".repeat(2000)),
        dags().bearer(token).header("X-Filler", &"x".repeat(20_000)),
        Request::post("/api/v2/dags/etl/dagRuns")
            .cookie(&format!("session={}", WORDS[3]))
            .header("Sec-Fetch-Site", "cross-site"),
        Request::new("POST", "/airside/token")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(format!(
                "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={token}\
                 &subject_token_type=urn:ietf:params:oauth:token-type:access_token"
            )),
        Request::post("/api/v2/hangup").bearer(token),
        Request::get("/api/v2/junk").bearer(token),
        Request::get("/api/v2/half").bearer(token),
        Request::get("/api/v2/untold").bearer(token),
    ]
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// What was sent and what was told.
#[derive(Default)]
struct Run {
    hunt: Hunt,
    told: Vec<(&'static str, Vec<u8>)>,
    reasons: BTreeSet<String>,
    clients: Cell<u32>,
}

impl Run {
    fn through(&mut self, scene: Scene) {
        let (bad, good) = (tokens(), good());
        for token in bad.iter().chain(&good) {
            self.hunt.token(token);
        }
        for token in &bad {
            self.ask(&scene, &carrying(token)[0]);
            self.ask(&scene, &laden(Request::get("/api/v2/dags"), token).bearer(token));
        }
        for request in good.iter().chain(&bad[..3]).flat_map(|token| carrying(token)) {
            self.ask(&scene, &request);
        }
        self.broken_heads(&scene, &good[0]);
        self.slow_and_too_many(&scene, &good[0]);
        // A second credential that fails from one address.
        for _ in 0..2 {
            let request = Request::get("/api/v2/dags").bearer(&bad[9]);
            self.heard(
                &request.header("X-Forwarded-For", "10.255.255.1").send(scene.airside.proxy),
            );
        }
        for received in scene.upstream.take() {
            // What airside signed; a caller's own is among those above.
            for token in received.all("authorization") {
                let token = token.rsplit(' ').next().unwrap();
                if token.split('.').count() == 3 && token.len() > 100 {
                    self.hunt.token(token);
                }
            }
        }
        self.pages(&scene);
        self.ends(scene);
    }

    /// By both protocols, each time from another client.
    fn ask(&mut self, scene: &Scene, request: &Request) {
        let one = self.as_another_client(request);
        if let Ok(answer) = one.try_send(scene.airside.proxy) {
            self.heard(&answer);
        }
        if request.suits_http2() {
            let one = self.as_another_client(request);
            if let Ok(answer) = Http2::open(scene.airside.proxy).try_ask(&one) {
                self.heard(&answer);
            }
        }
    }

    fn as_another_client(&self, request: &Request) -> Request {
        let number = self.clients.get();
        self.clients.set(number + 1);
        let address = format!("10.{}.{}.{}", number >> 16, (number >> 8) & 0xff, number & 0xff);
        request.clone().header("X-Forwarded-For", &address)
    }

    /// Answers of airside's own; what is Airflow's is for the caller.
    fn heard(&mut self, answer: &Response) {
        if answer.text().contains("\"reason\"") {
            self.keep("the head of an answer", format!("{:?}", answer.head.fields));
            self.keep("an answer", answer.body.clone());
        } else if let Ok(Value::Object(given)) = serde_json::from_slice(&answer.body)
            && let Some(token) = given.get("access_token").and_then(Value::as_str)
        {
            self.hunt.token(token);
        }
    }

    fn broken_heads(&mut self, scene: &Scene, token: &str) {
        for broken in [
            format!("GET /?{token} HTTP/1.1\r\nHost: a\r\nAuthorization : {token}\r\n\r\n"),
            format!("GET /?{token} HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: {token}\r\nConnection: close\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: a\r\n{token}\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", token.repeat(100)),
        ] {
            let mut connection = Connection::open(scene.airside.proxy);
            let _closed = connection.send(broken.as_bytes());
            let answer = connection.rest().unwrap_or_default();
            if !answer.starts_with(b"HTTP/1.1 200") {
                self.keep("an answer to a broken head", answer);
            }
        }
    }

    fn slow_and_too_many(&mut self, scene: &Scene, token: &str) {
        let silence = Request::get("/api/v2/silence").bearer(token).bytes(scene.airside.proxy);
        let mut held: Vec<_> = (0..2)
            .map(|_| {
                let mut connection = Connection::open(scene.airside.proxy);
                connection.send(&silence).unwrap();
                connection
            })
            .collect();
        eventually("two are being served", || {
            (scene.airside.count("airside_requests_in_flight") == 2).then_some(())
        });
        self.heard(&Request::get("/api/v2/dags").bearer(token).send(scene.airside.proxy));
        for connection in &mut held {
            self.heard(&connection.response_to("GET").unwrap());
        }
        let stopping = format!(
            "POST /api/v2/variables HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: 500\r\n\r\n{}",
            WORDS[5]
        );
        let mut connection = Connection::open(scene.airside.proxy);
        connection.send(stopping.as_bytes()).unwrap();
        self.heard(&connection.response_to("POST").unwrap());
    }

    /// FAB's side answers with nothing that FAB would say.
    fn hand_off_fails(&mut self, scene: &Scene) {
        let token = canary(&v2_user());
        self.hunt.token(&token);
        self.ask(scene, &Request::get("/api/v2/dags").bearer(&token));
        for received in scene.upstream.take() {
            if let Some(token) = received.header("authorization") {
                self.hunt.token(token.rsplit(' ').next().unwrap());
            }
        }
        self.pages(scene);
        self.keep("the log", scene.airside.log());
    }

    fn pages(&mut self, scene: &Scene) {
        for path in ["/metrics", "/readyz", "/livez", "/jwks.json", "/status", "/", "/nothing"] {
            let page = scene.airside.ask_admin(path);
            if path == "/metrics" {
                self.count(&page.text());
            }
            self.keep("a page", page.body);
        }
    }

    fn count(&mut self, metrics: &str) {
        let reasons = metrics.lines().filter(|line| line.starts_with("airside_requests_total{"));
        let reasons = reasons.filter_map(|line| line.split("reason=\"").nth(1)?.split('"').next());
        self.reasons.extend(reasons.filter(|reason| !reason.is_empty()).map(str::to_owned));
    }

    fn ends(&mut self, scene: Scene) {
        let ended = scene.finish();
        assert!(ended.stdout.contains("listening"), "nothing was printed: {ended:?}");
        self.keep("stdout", ended.stdout);
        self.keep("stderr", ended.stderr);
    }

    fn keep(&mut self, place: &'static str, told: impl Into<Vec<u8>>) {
        self.told.push((place, told.into()));
    }

    fn finds(&self) -> Vec<String> {
        let found = self
            .told
            .iter()
            .filter_map(|(place, told)| Some(format!("{place}: {}", self.hunt.finds_in(told)?)));
        found.collect()
    }
}

/// Everything that is in the files below.
fn files_in(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        all.extend(if entry.is_dir() { files_in(&entry) } else { fs::read(&entry).unwrap() });
    }
    assert!(!all.is_empty(), "no files in {}", folder.display());
    all
}

#[test]
fn an_abort_leaves_neither_words_nor_a_core() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(&issuer.url(), &upstream.url()).set("/log/level", "trace");
    let airside = Airside::dumping_into(folder.path(), &config);
    let token = canary(&v2_app());
    assert_eq!(airside.ask(&Request::get("/api/v2/dags").bearer(&token)).status, 200);
    let ended = airside.abort();
    assert_eq!(ended.code, None, "a signal ended it");
    let mut hunt = Hunt::default();
    hunt.token(&token);
    hunt.secret(SECRET);
    assert_eq!(hunt.finds_in(ended.log().as_bytes()), None);
    let left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
    let mut verdicts = Verdicts::default();
    verdicts.check("a core", left.iter().all(|file| !is_core(file)), &left);
}

fn is_core(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("core"))
}
