//! Kubernetes swaps what is mounted while everybody calls: the kubelet's way of doing it, with the
//! configuration and the secrets in volumes of their own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::airside::Airside;
use crate::support::config::{Config, SECRET};
use crate::support::entra::v2_app;
use crate::support::http::{Connection, Request};
use crate::support::http2::Http2;
use crate::support::issuer::Issuer;
use crate::support::keys::{SigningKey, try_open_hs512};
use crate::support::upstream::Upstream;
use crate::support::volume::Volume;
use crate::support::wait::eventually;

/// What SPEC promises of changed files.
const PROMISED: Duration = Duration::from_secs(5);
const SECRETS: [&str; 2] =
    [SECRET, "another secret of the tests only: not random, but of sixty-four bytes and more too"];
const ROLES: [&str; 2] = ["Op", "Viewer"];

/// How many were answered, and what was wrong with those that were not.
#[derive(Default)]
struct Load {
    done: AtomicBool,
    answered: AtomicUsize,
    faults: std::sync::Mutex<Vec<String>>,
}

impl Load {
    /// One client after the other request, until it is done; each a token of its own or a known one.
    fn run(&self, client: usize, mut ask: impl FnMut(&Request) -> Result<u16, String>) {
        for number in 0.. {
            if self.done.load(Relaxed) {
                return;
            }
            let claims = v2_app().with("uti", format!("{client}-{}", number % 24));
            let request = match number % 3 {
                0 => Request::new("PATCH", "/api/v2/dags/etl").body("{}"),
                _ => Request::get("/api/v2/dags"),
            };
            // The key that is in every set.
            match ask(&request.bearer(&SigningKey::shared().token(claims.value()))) {
                Ok(200) => drop(self.answered.fetch_add(1, Relaxed)),
                other => self.faults.lock().unwrap().push(format!("{client}: {other:?}")),
            }
        }
    }

    fn over_http1(&self, client: usize, address: SocketAddr) {
        let mut kept = Connection::open(address);
        self.run(client, |request| {
            kept.send(&request.bytes(address)).map_err(|error| error.to_string())?;
            let answer = kept.response_to(request.method());
            answer.map(|answer| answer.status).map_err(|error| error.to_string())
        });
    }

    fn over_http2(&self, client: usize, address: SocketAddr) {
        let mut kept = Http2::open(address);
        self.run(client, |request| {
            let answer = kept.try_ask(request);
            answer.map(|answer| answer.status).map_err(|error| error.to_string())
        });
    }
}

#[test]
fn roles_secrets_and_keys_change_under_load_and_no_request_fails() {
    let (issuer, upstream, folder) = (Issuer::start(), Upstream::start(), tempfile::tempdir());
    let folder = folder.unwrap();
    let mut settings = Volume::new(folder.path().join("config"));
    let mut secrets = Volume::new(folder.path().join("secrets"));
    let base = Config::new(&issuer.url(), &upstream.url())
        .without("/issuers/0/authority")
        .set("/issuers/0/keys_file", secrets.path("keys.json"))
        .set("/issuers/1/secret_file", secrets.path("airflow.secret"))
        .set("/handoff/secret_file", secrets.path("airflow.secret"));
    let rotated = [SigningKey::generate("even"), SigningKey::generate("odd")];
    let yaml = |turn: usize| {
        base.clone().set("/roles/map", json!({"Airflow.Op": [ROLES[turn % 2]]})).yaml()
    };
    let mut swap = |turn: usize| {
        let keys = json!({"keys": [SigningKey::shared().jwk(), rotated[turn % 2].jwk()]});
        let secret = format!("{}\n", SECRETS[turn % 2]);
        let kept = [("airflow.secret", secret), ("keys.json", keys.to_string())];
        // Two volumes are never changed at once.
        settings.write(&format!("..2026_11_26_09_30_{turn}"), &[("airside.yaml", yaml(turn))]);
        secrets.write(&format!("..2026_11_26_09_31_{turn}"), &kept);
        settings.path("airside.yaml")
    };
    let file = swap(0);
    let airside = Airside::launch(&["serve", "-c", &file], &[]);
    airside.wait_until_ready();
    let (load, mut longest) = (Load::default(), Duration::ZERO);
    thread::scope(|scope| {
        let (load, address) = (&load, airside.proxy);
        for client in 0..8 {
            scope.spawn(move || load.over_http1(client, address));
        }
        for client in 8..14 {
            scope.spawn(move || load.over_http2(client, address));
        }
        for turn in 1..=6 {
            upstream.take();
            swap(turn);
            let swapped = Instant::now();
            // Told of it, or by looking for itself.
            if turn % 2 == 0 {
                airside.hang_up();
            }
            let probe = v2_app().with("uti", format!("probe-{turn}"));
            let fresh = rotated[turn % 2].token(probe.value());
            eventually("the new key and role and secret are in force", || {
                let answer = airside.ask(&Request::get("/api/v2/probe").bearer(&fresh));
                let in_force = |received: &crate::support::upstream::Received| {
                    let secret = SECRETS[turn % 2].as_bytes();
                    let claims =
                        try_open_hs512(received.bearer(), secret).map(|(_, claims)| claims);
                    received.target() == "/api/v2/probe"
                        && claims
                            .is_some_and(|claims| claims["role"] == ROLES[turn % 2].to_lowercase())
                };
                (answer.status == 200 && upstream.requests().iter().any(in_force)).then_some(())
            });
            longest = longest.max(swapped.elapsed());
            let former = rotated[(turn + 1) % 2].token(probe.value());
            let refused = airside.ask(&Request::get("/api/v2/probe").bearer(&former));
            assert_eq!(refused.status, 401, "the key that is gone: {}", refused.text());
        }
        load.done.store(true, Relaxed);
    });
    let faults = load.faults.into_inner().unwrap();
    let answered = load.answered.into_inner();
    assert!(faults.is_empty(), "{} of {answered} failed: {faults:#?}", faults.len());
    assert!(answered > 1000, "{answered} are no load");
    assert!(longest <= PROMISED, "{longest:?} until a change was in force");
    assert_eq!(airside.count("airside_config_reloads_total{result=\"rejected\"}"), 0);
    println!("{answered} requests, none failed; in force after {longest:?} at the latest");
}
