//! Replicas end and begin, one after the other.

use super::{BETWEEN, REPLICAS, Replicas, draining};
use crate::support::issuer::Issuer;
use crate::support::keys::SigningKey;
use crate::support::upstream::Upstream;

#[test]
fn a_rolling_restart_fails_no_request() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let config = |_| draining(&issuer, &upstream.url());
    let mut replicas = Replicas::start(config);
    replicas.under_load(SigningKey::shared(), |replicas, load| {
        for place in 0..REPLICAS {
            replicas.restart(place, &config(place));
            load.goes_on(BETWEEN);
        }
    });
}
