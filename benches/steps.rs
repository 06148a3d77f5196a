//! What each step of a request costs, apart from the network: `make bench`.
//!
//! Configuration, head and token are real ones, and the steps are called as `proxy` calls them; what
//! a step needs of the one before is made outside of the time that is taken.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on ends here")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::future::{Future, pending};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use airside::clock;
use airside::config::{self, Environment, Overrides};
use airside::credential::{self, BearerToken};
use airside::downstream::acceptor::Entrance;
use airside::handoff::{Airflow, UpstreamRequest};
use airside::policy;
use airside::proxy::Gate;
use airside::rejection::{Reason, Rejection};
use airside::route::{ProtectedRoute, Route};
use airside::sanitize::Peer;
use airside::token::jws::Parts;
use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Request, Response};
use serde_json::json;

use support::config::Config;
use support::entra::v2_user;
use support::keys::SigningKey;

const PATH: &str =
    "/api/v2/dags/etl%2Fdaily/dagRuns/manual__2026-01-01T00:00:00+00:00/taskInstances";

criterion_group!(steps, sanitize, route, verify, hand_off);
criterion_main!(steps);

fn sanitize(criterion: &mut Criterion) {
    let (gate, peer) = (gate(), peer());
    let id = HeaderValue::from_static("0123456789abcdef0123456789abcdef");
    let token = v2_user().token();
    criterion.bench_function("sanitize", |bencher| {
        let sanitize = |request| gate.sanitizer.sanitize(request, &peer, &id).unwrap();
        bencher.iter_batched(|| request(&token), sanitize, BatchSize::SmallInput);
    });
}

fn route(criterion: &mut Criterion) {
    let gate = gate();
    for (name, path) in [("route/short", "/api/v2/dags"), ("route/encoded", PATH)] {
        criterion.bench_function(name, |bencher| {
            let judge = |path| gate.access.route(Entrance::Callers, &Method::GET, path, false);
            bencher.iter(|| judge(black_box(path)).unwrap());
        });
    }
}

fn verify(criterion: &mut Criterion) {
    let gate = gate();
    let now = clock::now();
    let known = bearer(&v2_user().token());
    now_or_never(gate.callers.recognise(&known, now)).unwrap();
    criterion.bench_function("verify/cached", |bencher| {
        bencher.iter(|| now_or_never(gate.callers.recognise(black_box(&known), now)).unwrap());
    });
    criterion.bench_function("verify/cold", |bencher| {
        let verifier = gate.callers.verifier();
        bencher.iter(|| {
            let parts = Parts::split(black_box(known.expose())).unwrap();
            let verified = now_or_never(verifier.verify(&known, &parts, now)).unwrap();
            black_box(verified.validity())
        });
    });
    let forged = bearer(&SigningKey::stranger().token(v2_user().value()));
    criterion.bench_function("verify/forged", |bencher| {
        let judge = || now_or_never(gate.callers.recognise(black_box(&forged), now));
        bencher.iter(|| assert_eq!(judge().unwrap_err().reason(), Reason::SignatureInvalid));
    });
}

fn hand_off(criterion: &mut Criterion) {
    let (gate, peer) = (gate(), peer());
    let now = clock::now();
    let token = v2_user().token();
    let caller = now_or_never(gate.callers.recognise(&bearer(&token), now)).unwrap();
    let granted = || {
        let request =
            gate.sanitizer.sanitize(request(&token), &peer, &HeaderValue::from_static("1"));
        policy::grant(request.unwrap(), &protected(&gate), caller.clone()).unwrap()
    };
    criterion.bench_function("hand_off/cached", |bencher| {
        let hand_off =
            |granted| now_or_never(gate.handoff.as_caller(granted, now, &Nowhere)).unwrap();
        bencher.iter_batched(granted, hand_off, BatchSize::SmallInput);
    });
    criterion.bench_function("hand_off/signed", |bencher| {
        let hand_off = |granted| {
            caller.principal().disown_statement();
            now_or_never(gate.handoff.as_caller(granted, now, &Nowhere)).unwrap()
        };
        bencher.iter_batched(granted, hand_off, BatchSize::SmallInput);
    });
}

/// The usual configuration of the tests, with its keys in a file.
fn gate() -> Gate {
    let config = Config::new("https://login.example", "http://127.0.0.1:8081");
    let keys = config.file("keys.json", &json!({"keys": [SigningKey::shared().jwk()]}).to_string());
    let config = config.without("/issuers/0/authority");
    let config = config.set("/issuers/0/keys_file", keys.to_str().unwrap());
    let file = config.file("airside.yaml", &config.yaml());
    let overrides = Overrides { config: Some(file), ..Overrides::default() };
    config::read(&overrides, &Environment::of(&[]), &[]).config.unwrap().gate
}

fn peer() -> Peer {
    Peer::new([192, 0, 2, 7].into(), Entrance::Callers, &[])
}

/// What a Python client sends, and what a stranger adds.
fn request(token: &str) -> Request<()> {
    Request::get(PATH)
        .header("Host", "airflow.example")
        .header("User-Agent", "python-requests/2.32.5")
        .header("Accept-Encoding", "gzip, deflate")
        .header("Accept", "application/json")
        .header("Connection", "keep-alive")
        .header("X-Forwarded-For", "198.51.100.1")
        .header("X-Airside-User", "mallory")
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(())
        .unwrap()
}

fn bearer(token: &str) -> BearerToken {
    credential::read_subject(token, usize::MAX).unwrap()
}

fn protected(gate: &Gate) -> ProtectedRoute {
    match gate.access.route(Entrance::Callers, &Method::GET, PATH, false).unwrap() {
        Route::Protected(route) => route,
        route => unreachable!("{route:?} is not protected"),
    }
}

/// Nothing is asked of Airflow where tokens are signed for `SimpleAuthManager`.
struct Nowhere;

impl Airflow for Nowhere {
    async fn ask(&self, _: UpstreamRequest<Bytes>) -> Result<Response<Bytes>, Rejection> {
        pending().await
    }
}

/// With keys at hand no step waits.
fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a step waits for something"),
    }
}
