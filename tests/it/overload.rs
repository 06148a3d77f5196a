//! More than airside may take: it refuses, says when to come again, and goes on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

use serde_json::json;

use crate::support::airside::Airside;
use crate::support::entra::v2_app;
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Connection, Request, Response};
use crate::support::keys::SigningKey;
use crate::support::scene::Scene;
use crate::support::wait::eventually;

fn dags(token: &str) -> Request {
    Request::get("/api/v2/dags").bearer(token)
}

/// A token whose signature does not hold, another for each number.
fn guess(number: usize) -> String {
    SigningKey::stranger().token(v2_app().with("uti", number).value())
}

fn retry_after(answer: &Response) -> u64 {
    answer.header("retry-after").expect("Retry-After").parse().unwrap()
}

#[test]
fn whoever_guesses_is_told_to_wait_and_whoever_knows_is_let_in() {
    let scene = Scene::with(|config| config.set("/limits/failing_per_client", 3));
    for number in 0..3 {
        assert_refused(&scene.present(&guess(number)), 401, "signature_invalid");
    }
    for number in 3..6 {
        let answer = scene.present(&guess(number));
        assert_refused(&answer, 429, "too_many_failures");
        assert!((1..=60).contains(&retry_after(&answer)));
        assert!(!answer.text().contains("signature"), "{}", answer.text());
    }
    // From the same address, remembered or not, and with other things that are no guesses.
    for _ in 0..3 {
        assert_eq!(scene.present(&v2_app().token()).status, 200);
        assert_eq!(scene.present(&v2_app().with("uti", "new").token()).status, 200);
        assert_refused(&scene.ask(&Request::get("/api/v2/dags")), 401, "credential_missing");
        assert_refused(&scene.present(&v2_app().roles(&[]).token()), 403, "role_missing");
    }
    scene.airside.line_with(&["access", "too_many_failures", "signature_invalid"]);
    let metric = "reason=\"too_many_failures\"} 3";
    assert!(scene.airside.ask_admin("/metrics").text().contains(metric));
}

#[test]
fn guesses_count_by_the_client_that_trusted_peers_name() {
    let scene = Scene::with(|config| {
        config.set("/limits/failing_per_client", 1).set("/forwarded/trusted", json!(["127.0.0.1"]))
    });
    let guessing = |client: &str| scene.ask(&dags(&guess(0)).header("X-Forwarded-For", client));
    let mut verdicts = Verdicts::default();
    for (client, status, reason) in [
        ("192.0.2.1", 401, "signature_invalid"),
        ("192.0.2.1", 429, "too_many_failures"),
        ("192.0.2.2", 401, "signature_invalid"),
        ("2001:db8::1", 401, "signature_invalid"),
        ("2001:db8::2", 429, "too_many_failures"),
        // What a client says of itself is not believed: the last proxy's word counts.
        ("198.51.100.7, 192.0.2.1", 429, "too_many_failures"),
    ] {
        verdicts.refused(client, &guessing(client), status, &[reason]);
    }
}

#[test]
fn guesses_at_the_exchange_count_as_well() {
    let scene = Scene::with(|config| {
        config.set("/limits/failing_per_client", 1).set("/exchange/enabled", true)
    });
    let exchange = |token: &str| {
        let body = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={token}\
             &subject_token_type=urn:ietf:params:oauth:token-type:jwt"
        );
        let request = Request::post("/airside/token").body(body);
        scene.ask(&request.header("Content-Type", "application/x-www-form-urlencoded"))
    };
    assert_eq!(exchange(&guess(0)).json()["reason"], "signature_invalid");
    let answer = exchange(&guess(1));
    assert_eq!((answer.status, answer.json()["reason"].as_str()), (429, Some("too_many_failures")));
    assert!(retry_after(&answer) <= 60);
    assert_eq!(exchange(&v2_app().token()).status, 200);
}

#[test]
fn a_connection_too_many_is_told_so_and_ends() {
    let scene = Scene::with(|config| config.set("/limits/connections", 4));
    let token = v2_app().token();
    let mut kept: Vec<_> = (0..4).map(|_| Connection::open(scene.airside.proxy)).collect();
    for connection in &mut kept {
        assert_eq!(connection.ask(&dags(&token)).status, 200);
    }
    let mut surplus = Connection::open(scene.airside.proxy);
    let answer = surplus.ask(&dags(&token));
    assert_refused(&answer, 503, "overloaded");
    assert!(retry_after(&answer) > 0);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(surplus.rest().unwrap().is_empty());
    assert_eq!(kept[0].ask(&dags(&token)).status, 200, "who was there goes on");
    assert_eq!(scene.airside.count("airside_shed_connections_total"), 1);
    kept.pop();
    eventually("there is room again", || (scene.present(&token).status == 200).then_some(()));
}

/// Thirty-two connections that guess, as fast as they are answered, and more of them than may be in
/// flight: nothing is kept of them.
#[test]
fn a_flood_costs_no_memory_and_valid_traffic_goes_on() {
    let scene = Scene::with(|config| {
        config.set("/limits/failing_per_client", 100).set("/limits/in_flight", 16)
    });
    let (token, done, shown) = (v2_app().token(), AtomicBool::new(false), AtomicUsize::new(0));
    let guesses: Vec<String> = (0..64).map(guess).collect();
    thread::scope(|scope| {
        for flooder in 0..32 {
            let (scene, done, shown, guesses) = (&scene, &done, &shown, &guesses);
            scope.spawn(move || {
                let mut connection = Connection::open(scene.airside.proxy);
                for number in flooder.. {
                    if done.load(Relaxed) {
                        return;
                    }
                    // A path and an address of its own for each: whatever is kept by them grows.
                    let path = format!("/api/v2/dags/{number}/{flooder}");
                    let request = Request::get(&path).bearer(&guesses[number % guesses.len()]);
                    let answer = connection.ask(&request);
                    assert!(matches!(answer.status, 401 | 429 | 503), "{}", answer.status);
                    assert!(answer.status == 401 || retry_after(&answer) > 0);
                    shown.fetch_add(1, Relaxed);
                }
            });
        }
        let flooded = |least: usize| {
            let until = shown.load(Relaxed) + least;
            eventually("the flood goes on", || (shown.load(Relaxed) >= until).then_some(()));
        };
        flooded(2000);
        let before = scene.airside.memory();
        for _ in 0..20 {
            flooded(200);
            assert_eq!(valid(&scene.airside, &token).status, 200);
        }
        let grown = scene.airside.memory().saturating_sub(before);
        done.store(true, Relaxed);
        assert!(grown < 8 * 1024, "{grown} KiB for {} guesses", shown.load(Relaxed));
    });
    let metrics = scene.airside.ask_admin("/metrics").text();
    assert!(metrics.contains("reason=\"too_many_failures\""), "{metrics}");
}

/// Whoever is told to come again does so.
fn valid(airside: &Airside, token: &str) -> Response {
    eventually("somebody with a token is let in", || {
        let answer = airside.ask(&dags(token));
        (answer.status != 503).then_some(answer)
    })
}
