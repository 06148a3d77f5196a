//! When keys are asked for, how often, and who waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::entra::{TENANT, v2_app};
use crate::support::expect::{assert_refused, refusal};
use crate::support::http::{Connection, Request};
use crate::support::issuer::Issuer;
use crate::support::keys::{SigningKey, encode, parts};
use crate::support::scene::Scene;
use crate::support::upstream::Upstream;
use crate::support::wait::eventually;

#[test]
fn keys_are_fetched_before_the_first_request() {
    let scene = Scene::start();
    assert_eq!(scene.issuer.fetched(), [format!("/{TENANT}/discovery/v2.0/keys")]);
    for _ in 0..5 {
        assert_eq!(scene.present(&v2_app().token()).status, 200);
    }
    assert_eq!(scene.issuer.fetches(), 1);
}

#[test]
fn a_rotated_key_is_picked_up_without_restart() {
    let scene = Scene::start();
    let (old, new) = (SigningKey::shared(), SigningKey::next());
    scene.issuer.publish(&[old.jwk(), new.jwk()]);
    let answer = scene.present(&new.token(v2_app().value()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(scene.issuer.fetches(), 2, "one fetch at the start, one for the new key");
    assert_eq!(scene.present(&old.token(v2_app().value())).status, 200);
    assert_eq!(scene.issuer.fetches(), 2);
}

/// From Coreos' go-oidc on, verifiers have let strangers drive their fetches.
#[test]
fn a_flood_of_whatever_is_refused_costs_one_fetch_per_cooldown() {
    let cooldown = Duration::from_secs(1);
    let scene = Scene::with(|config| config.set("/keys/unknown_kid_cooldown", "1s"));
    let over = AtomicBool::new(false);
    let (good, bad_signature) = (v2_app().token(), SigningKey::stranger().token(v2_app().value()));
    thread::scope(|scope| {
        for worker in 0..3 {
            let (scene, over, bad_signature) = (&scene, &over, &bad_signature);
            scope.spawn(move || {
                for number in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let unknown = unknown_kid(&format!("random-{worker}-{number}"));
                    assert_refused(&scene.present(&unknown), 401, "key_unknown");
                    assert_refused(&scene.present(bad_signature), 401, "signature_invalid");
                    assert_refused(&scene.present("gar.ba.ge"), 401, "token_malformed");
                }
            });
        }
        eventually("four fetches", || {
            assert_eq!(scene.present(&good).status, 200);
            (scene.issuer.fetches() >= 4).then_some(())
        });
        over.store(true, Ordering::Relaxed);
    });
    // The first is that of the start, and the second may follow it at once.
    let times = scene.issuer.fetch_times();
    for pair in times[1..].windows(2) {
        assert!(pair[1] - pair[0] >= cooldown, "{:?} apart", pair[1] - pair[0]);
    }
}

#[test]
fn within_the_cooldown_a_thousand_unknown_keys_cost_one_fetch() {
    let scene = Scene::start();
    let mut connection = Connection::open(scene.airside.proxy);
    for number in 0..1000 {
        let token = unknown_kid(&format!("random-{number}"));
        let answer = connection.ask(&Request::get("/api/v2/dags").bearer(&token));
        assert_refused(&answer, 401, "key_unknown");
    }
    assert_eq!(scene.issuer.fetches(), 2, "one at the start, one for all that is unknown");
}

/// Well formed, and signed by nobody: the key is looked for all the same.
fn unknown_kid(kid: &str) -> String {
    let token = v2_app().token();
    let [_, claims, signature] = parts(&token);
    let header = json!({"alg": "RS256", "kid": kid}).to_string();
    format!("{}.{claims}.{signature}", encode(header.as_bytes()))
}

#[test]
fn after_the_cooldown_an_unknown_key_is_looked_for_again() {
    let scene = Scene::with(|config| config.set("/keys/unknown_kid_cooldown", "1s"));
    let new = SigningKey::next().token(v2_app().value());
    assert_refused(&scene.present(&new), 401, "key_unknown");
    scene.issuer.publish(&[SigningKey::shared().jwk(), SigningKey::next().jwk()]);
    eventually("the new key is found", || (scene.present(&new).status == 200).then_some(()));
}

#[test]
fn within_the_cooldown_a_new_key_has_to_wait() {
    let scene = Scene::start();
    let new = SigningKey::next().token(v2_app().value());
    assert_refused(&scene.present(&new), 401, "key_unknown");
    scene.issuer.publish(&[SigningKey::shared().jwk(), SigningKey::next().jwk()]);
    assert_refused(&scene.present(&new), 401, "key_unknown");
    assert_eq!(scene.issuer.fetches(), 2);
}

#[test]
fn requests_that_wait_for_a_key_are_not_kept_forever() {
    let scene = Scene::with(|config| config.set("/keys/timeout", "1s"));
    scene.issuer.hang();
    let unknown = SigningKey::next().token(v2_app().value());
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| scene.present(&unknown))).collect();
        // Who has a known key need not wait.
        assert_eq!(scene.present(&v2_app().token()).status, 200);
        for answer in waiting {
            refusal(&answer.join().unwrap(), 401, &["key_unknown"]).unwrap();
        }
    });
    assert!(scene.issuer.fetches() <= 3, "{:?}", scene.issuer.fetched());
}

#[test]
fn a_withdrawn_key_stops_working() {
    let scene = Scene::with(|config| config.set("/keys/refresh", "1s"));
    let old = SigningKey::shared().token(v2_app().value());
    assert_eq!(scene.present(&old).status, 200);
    scene.issuer.publish(&[SigningKey::next().jwk()]);
    eventually("the old key is gone", || {
        let answer = scene.present(&old);
        (answer.status != 200).then(|| assert_refused(&answer, 401, "key_unknown"))
    });
    assert_eq!(scene.present(&SigningKey::next().token(v2_app().value())).status, 200);
}

#[test]
fn keys_may_come_from_a_file_or_another_address() {
    let scene = Scene::with(|config| {
        let keys = json!({"keys": [SigningKey::next().jwk()]}).to_string();
        let file = config.file("keys.json", &keys).display().to_string();
        config.without("/issuers/0/authority").set("/issuers/0/keys_file", file)
    });
    assert_eq!(scene.present(&SigningKey::next().token(v2_app().value())).status, 200);
    assert_refused(&scene.present(&v2_app().token()), 401, "key_unknown");
    assert_eq!(scene.issuer.fetches(), 0);

    let issuer = Issuer::start();
    let url = format!("{}/some/where/keys", issuer.url());
    let scene = Scene::of(issuer, Upstream::start(), |config| {
        config.without("/issuers/0/authority").set("/issuers/0/keys_url", url)
    });
    assert_eq!(scene.present(&v2_app().token()).status, 200);
    assert_eq!(scene.issuer.fetched(), ["/some/where/keys"]);
}

#[test]
fn callers_who_come_with_a_new_key_together_share_one_fetch() {
    let scene = Scene::start();
    scene.issuer.publish(&[SigningKey::next().jwk()]);
    thread::scope(|scope| {
        for number in 0..16 {
            let token = SigningKey::next().token(v2_app().with("uti", number).value());
            let scene = &scene;
            scope.spawn(move || assert_eq!(scene.present(&token).status, 200));
        }
    });
    assert_eq!(scene.issuer.fetches(), 2, "one at the start, one for all of them");
}

#[test]
fn a_key_without_a_name_does_not_keep_new_keys_out() {
    let scene = Scene::start();
    let mut nameless = SigningKey::stranger().jwk();
    nameless.as_object_mut().unwrap().remove("kid");
    scene.issuer.publish(&[SigningKey::shared().jwk(), nameless.clone()]);
    let by_nameless = |kid: &str| {
        let header = json!({"alg": "RS256", "kid": kid});
        SigningKey::stranger().sign(&header, v2_app().value())
    };
    assert_eq!(scene.present(&by_nameless("any")).status, 200);
    assert_eq!(scene.issuer.fetches(), 2);
    // Its name is that of another key: whoever is named has to have signed.
    assert_refused(&scene.present(&by_nameless("first-key")), 401, "signature_invalid");

    let scene = Scene::of(scene.issuer, Upstream::start(), |config| config);
    let new = SigningKey::next().token(v2_app().value());
    scene.issuer.publish(&[SigningKey::next().jwk(), nameless]);
    assert_eq!(scene.present(&new).status, 200);
    let unheard_of = SigningKey::generate("unheard-of").token(v2_app().value());
    assert_refused(&scene.present(&unheard_of), 401, "key_unknown");
    assert_eq!(scene.present(&by_nameless("another")).status, 200);
}
