//! Three replicas before one Airflow with FAB: who comes to all of them at once is one user, and
//! replicas are restarted one after the other while everybody goes on.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use serde_json::{Value, json};

use crate::fab::{self, RELEASES};
use crate::flight::{Flight, post};
use crate::support::airside::Airside;
use crate::support::balancer::Balancer;
use crate::support::config::Config;
use crate::support::http::Request;
use crate::support::issuer::Issuer;
use crate::support::load::Load;
use crate::support::wait::{DEADLINE, eventually};

const REPLICAS: usize = 3;
/// Few, because Airflow on `SQLite` is slow.
const CLIENTS: usize = 3;
const BETWEEN: usize = 15;

/// Replicas beside the one of the flight, before the same Airflow.
fn replicas(flight: &Flight, issuer: &Issuer) -> [(Config, Airside); REPLICAS] {
    std::array::from_fn(|_| {
        let config = Config::new(&issuer.url(), &flight.airflow.url());
        let config = fab::for_fab(config).set("/drain/delay", "5s");
        let airside = Airside::start(&config);
        (config, airside)
    })
}

/// Whom FAB has, asked past airside.
fn all_users(flight: &Flight) -> Value {
    let all = Request::get("/auth/fab/v1/users?limit=100").bearer(&flight.airflow.login("admin"));
    flight.ask_airflow(&all).json()
}

/// This replica learns who everybody is, one after the other: that writes in Airflow's database
/// (a user, the time of a login), and on `SQLite` no two may at once, see `flight`.
fn introduce(replica: &Airside) {
    for client in 0..CLIENTS {
        let answer = replica.ask(&Request::get("/api/v2/dags").bearer(&operator(client)));
        assert_eq!(answer.status, 200, "{}\n{}", answer.text(), replica.log());
    }
}

/// The one client that writes: no two may at once.
#[derive(Default)]
struct Writer {
    /// How many requests it has begun, each after the end of the one before.
    begun: AtomicUsize,
    rests: AtomicBool,
}

impl Writer {
    /// Does this while that client only reads.
    fn resting(&self, what: impl FnOnce()) {
        self.rests.store(true, SeqCst);
        let begun = self.begun.load(SeqCst);
        eventually("its last write has ended", || (self.begun.load(SeqCst) > begun).then_some(()));
        what();
        self.rests.store(false, SeqCst);
    }
}

/// The token of a client, which may write.
fn operator(client: usize) -> String {
    fab::of(&fab::oid(50 + u32::try_from(client).unwrap()), &["Airflow.Op"])
}

#[test]
fn who_comes_to_all_replicas_at_once_is_one_user_of_fab() {
    let (flight, issuer) = (RELEASES[0].flight(), Issuer::start());
    let replicas = replicas(&flight, &issuer);
    for number in 40..45 {
        let oid = fab::oid(number);
        let token = fab::of(&oid, &["Airflow.User", "Airflow.Viewer"]);
        let me = Request::get("/ui/auth/me").bearer(&token);
        let users = all_users(&flight)["total_entries"].as_u64().unwrap();
        let start = Barrier::new(REPLICAS);
        thread::scope(|scope| {
            for (_, replica) in &replicas {
                scope.spawn(|| {
                    start.wait();
                    let answer = replica.ask(&me);
                    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), replica.log());
                    assert_eq!(answer.json()["username"], oid);
                });
            }
        });
        let all = all_users(&flight);
        // FAB's table has each name and each address once, in any letters; nobody else may have
        // been made on the way.
        assert_eq!(all["total_entries"], users + 1, "{all}");
        assert_eq!(fab::roles(&flight, &oid), ["User", "Viewer"]);
    }
}

#[test]
fn a_rolling_restart_before_airflow_fails_no_request() {
    let (flight, issuer) = (RELEASES[0].flight(), Issuer::start());
    let mut replicas = replicas(&flight, &issuer);
    for (_, replica) in &replicas {
        introduce(replica);
    }
    let balancer = Balancer::before(replicas.iter().map(|(_, replica)| replica));
    let load = Load::on(balancer.address());
    let writer = Writer::default();
    let calls = |client: usize, number: usize| {
        let token = operator(client);
        if client == 0 {
            writer.begun.fetch_add(1, SeqCst);
        }
        match (client, number % 5) {
            (0, 0) if !writer.rests.load(SeqCst) => {
                let key = format!("restart-{}", number / 5);
                let body = json!({"key": key, "value": "some value"});
                let request = post("/api/v2/variables", &body).bearer(&token);
                (request, 201)
            }
            _ => (Request::get("/api/v2/dags").bearer(&token), 200),
        }
    };
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let load = &load;
            scope.spawn(move || {
                load.client_expecting(client == 0, |number| calls(client, number));
            });
        }
        let end = load.ending();
        load.goes_on(BETWEEN);
        for (place, (config, replica)) in replicas.iter_mut().enumerate() {
            replica.terminate();
            let former = std::mem::replace(replica, Airside::start(config));
            assert_eq!(former.ended_within(DEADLINE).code, Some(0));
            writer.resting(|| introduce(replica));
            balancer.replace(place, replica);
            load.goes_on(BETWEEN);
        }
        drop(end);
    });
    load.assert_whole();
    println!("{} requests, none failed; connections {:?}", load.answered(), balancer.given());
    assert!(balancer.given().iter().all(|(_, given)| *given > 0));
}
