//! A token is denied at all replicas: a `ConfigMap` that each has mounted for itself.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{REPLICAS, Replicas, draining};
use crate::support::entra::v2_user;
use crate::support::expect::assert_refused;
use crate::support::http::Request;
use crate::support::issuer::Issuer;
use crate::support::keys::SigningKey;
use crate::support::upstream::Upstream;
use crate::support::volume::Volume;
use crate::support::wait::within;

/// What is promised of a change, once the volume has it.
const PROMISED: Duration = Duration::from_secs(5);

#[test]
fn a_denied_token_is_refused_by_every_replica_in_time_and_nobody_else_is() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let folder = tempfile::tempdir().unwrap();
    let mut volumes: Vec<_> =
        (0..REPLICAS).map(|place| Volume::new(folder.path().join(place.to_string()))).collect();
    for volume in &mut volumes {
        volume.write("..one", &[("revoked.yaml", "[]\n".to_owned())]);
    }
    let listing = |place: usize| {
        let file = volumes[place].path("revoked.yaml");
        draining(&issuer, &upstream.url()).set("/revocation/file", file)
    };
    let mut replicas = Replicas::start(listing);
    let victim = v2_user().with("uti", "pasted-into-a-ticket").token();
    let ask = Request::get("/api/v2/dags").bearer(&victim);
    let list = json!([{"jti": "pasted-into-a-ticket"}]).to_string();
    replicas.under_load(SigningKey::shared(), |replicas, load| {
        for replica in &replicas.all {
            assert_eq!(replica.ask(&ask).status, 200);
        }
        for volume in &mut volumes {
            volume.write("..two", &[("revoked.yaml", list.clone())]);
        }
        let swapped = Instant::now();
        for replica in &replicas.all {
            let left = PROMISED.saturating_sub(swapped.elapsed());
            let refused = within(left, || {
                let answer = replica.ask(&ask);
                (answer.status != 200).then_some(answer)
            });
            assert_refused(&refused.expect("refused in time"), 401, "token_revoked");
        }
        println!("denied everywhere after {:?}", swapped.elapsed());
        load.goes_on(super::BETWEEN);
        for _ in 0..4 * REPLICAS {
            assert_refused(&ask.send(replicas.balancer.address()), 401, "token_revoked");
        }
    });
}
