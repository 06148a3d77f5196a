//! Three replicas before one Airflow, or each before its own, behind a balancer that follows
//! `/readyz`, while clients go on calling: what docs/replicas.md says.

mod keys;
mod restarts;
mod revocation;
mod secrets;

use std::net::SocketAddr;
use std::thread;

use crate::support::airside::Airside;
use crate::support::balancer::Balancer;
use crate::support::config::Config;
use crate::support::entra::v2_app;
use crate::support::http::Request;
use crate::support::issuer::Issuer;
use crate::support::keys::SigningKey;
use crate::support::load::Load;
use crate::support::wait::DEADLINE;

const REPLICAS: usize = 3;
const CLIENTS: usize = 8;
/// Between two steps: enough for every replica to have had many.
const BETWEEN: usize = 150;

/// Replicas and who sends requests to them.
struct Replicas {
    all: Vec<Airside>,
    balancer: Balancer,
}

impl Replicas {
    fn start(config: impl Fn(usize) -> Config) -> Self {
        let all: Vec<_> = (0..REPLICAS).map(|place| Airside::start(&config(place))).collect();
        let balancer = Balancer::before(&all);
        Self { all, balancer }
    }

    /// Does this while clients call with tokens of this key; not one request may fail.
    fn under_load(&mut self, key: &SigningKey, what: impl FnOnce(&mut Self, &Load)) {
        let load = Load::on(self.balancer.address());
        let before = self.balancer.given();
        thread::scope(|scope| {
            let load = &load;
            for client in 0..CLIENTS {
                scope.spawn(move || {
                    load.client(client % 2 == 0, |number| call(key, client, number));
                });
            }
            let end = load.ending();
            load.goes_on(BETWEEN);
            what(self, load);
            load.goes_on(BETWEEN);
            drop(end);
        });
        load.assert_whole();
        let given = self.balancer.given();
        // Each that is there now, whether it was before or not, has had some of this load.
        let had = |now: &(SocketAddr, usize)| now.1 > 0 && !before.contains(now);
        assert!(given.iter().all(had), "{before:?} {given:?}");
    }

    /// Ends the replica as Kubernetes does, and puts another there.
    fn restart(&mut self, place: usize, with: &Config) {
        self.all[place].terminate();
        let former = std::mem::replace(&mut self.all[place], Airside::start(with));
        let ended = former.ended_within(DEADLINE);
        assert_eq!(ended.code, Some(0), "{}", ended.log());
        self.balancer.replace(place, &self.all[place]);
    }
}

/// A request with one of a few tokens of each client, some of which no replica has seen.
fn call(key: &SigningKey, client: usize, number: usize) -> Request {
    let claims = v2_app().with("uti", format!("{client}-{}", number % 40));
    Request::get("/api/v2/dags").bearer(&key.token(claims.value()))
}

/// Each takes a while to leave, longer than the balancer takes to notice.
fn draining(issuer: &Issuer, upstream: &str) -> Config {
    Config::new(&issuer.url(), upstream).set("/drain/delay", "5s")
}
