//! The issuer changes its keys.

use super::{REPLICAS, Replicas, draining};
use crate::support::airside::Airside;
use crate::support::entra::v2_app;
use crate::support::http::Request;
use crate::support::issuer::Issuer;
use crate::support::keys::SigningKey;
use crate::support::upstream::Upstream;
use crate::support::wait::eventually;

#[test]
fn a_key_that_nobody_announced_costs_one_fetch_of_each_replica_and_no_request() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let mut replicas = Replicas::start(|_| draining(&issuer, &upstream.url()));
    assert_eq!(issuer.fetches(), REPLICAS);
    let (old, new) = (SigningKey::shared(), SigningKey::next());
    replicas.under_load(old, |replicas, _| {
        issuer.publish(&[old.jwk(), new.jwk()]);
        // Others come with the new key at once, while the first go on with the old one.
        replicas.under_load(new, |_, _| {});
    });
    assert_eq!(issuer.fetches(), 2 * REPLICAS, "each replica has asked once more");
}

/// How often this replica has fetched the issuer's keys.
fn fetched(replica: &Airside) -> usize {
    replica.log().matches("keys fetched").count()
}

#[test]
fn a_key_that_is_published_ahead_is_known_to_every_replica_when_it_signs() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let fetching = |_| {
        let config = draining(&issuer, &upstream.url());
        // So long that a request which asks for an unknown key finds none.
        config.set("/keys/refresh", "1s").set("/keys/unknown_kid_cooldown", "1h")
    };
    let mut replicas = Replicas::start(fetching);
    let (old, new) = (SigningKey::shared(), SigningKey::next());
    // The one fetch that an unknown key is worth in that hour.
    for replica in &replicas.all {
        let unknown = SigningKey::generate("unknown").token(v2_app().value());
        let request = Request::get("/api/v2/dags").bearer(&unknown);
        assert_eq!(replica.ask(&request).status, 401);
    }
    replicas.under_load(old, |replicas, load| {
        issuer.publish(&[old.jwk(), new.jwk()]);
        // The first of two may have begun before.
        for replica in &replicas.all {
            let before = fetched(replica);
            eventually("this replica has looked twice", || {
                (fetched(replica) >= before + 2).then_some(())
            });
        }
        replicas.under_load(new, |_, _| {});
        load.goes_on(super::BETWEEN);
    });
    // And when the old one is withdrawn it is gone everywhere, and the new one serves.
    replicas.under_load(new, |replicas, _| {
        issuer.publish(&[new.jwk()]);
        for replica in &replicas.all {
            eventually("the old key is gone", || {
                (replica.ask(&super::call(old, 99, 0)).status == 401).then_some(())
            });
        }
    });
}
