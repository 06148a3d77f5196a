//! Forward-auth on the wire: what each kind of proxy asks, and what it is told. `http` has the answers
//! over HTTP, `envoy` those over gRPC, `alike` holds both against what is forwarded, `listener` is about
//! who may ask. Against the proxies themselves it is proven in `tests/airflow/proxies.rs`.

mod alike;
mod envoy;
mod http;
mod listener;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::config::{Config, SECRET};
use crate::support::http::{Request, Response};
use crate::support::keys::open_hs512;
use crate::support::scene::Scene;

/// The usual scene with a listener for proxies of this machine.
struct Asking {
    scene: Scene,
    address: SocketAddr,
}

impl Asking {
    fn start() -> Self {
        Self::with(|config| config)
    }

    fn with(hook: impl FnOnce(Config) -> Config) -> Self {
        let mut scene = Scene::with(|config| hook(listening(config)));
        let address = scene.airside.listener("forward_auth");
        Self { scene, address }
    }

    fn ask(&self, request: &Request) -> Response {
        request.send(self.address)
    }
}

fn listening(config: Config) -> Config {
    config.set("/forward_auth", json!({"listen": "127.0.0.1:0", "trusted": ["127.0.0.1"]}))
}

/// The question of nginx about this request.
fn nginx(method: &str, target: &str) -> Request {
    Request::get("/airside/auth")
        .header("X-Original-URL", &format!("https://airflow.example{target}"))
        .header("X-Original-Method", method)
}

/// The question of Traefik about it.
fn traefik(method: &str, target: &str) -> Request {
    Request::get("/airside/auth")
        .header("X-Forwarded-Method", method)
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "airflow.example")
        .header("X-Forwarded-Uri", target)
}

/// The question of Envoy about it.
fn envoy(method: &str, target: &str) -> Request {
    Request::new(method, &format!("/airside/auth{target}")).host("airflow.example")
}

type Ask = fn(&str, &str) -> Request;

/// Each of the three.
const ALL: [(&str, Ask); 3] = [("nginx", nginx), ("traefik", traefik), ("envoy", envoy)];

/// What the token of Airflow's form says, which airside signed.
fn claims(authorization: &str) -> Value {
    let token = authorization.strip_prefix("Bearer ").expect("a bearer token");
    open_hs512(token, SECRET.as_bytes()).1
}

/// The headers that every permission states.
const STATED: [&str; 6] = [
    "authorization",
    "cookie",
    "x-airside-user",
    "x-airside-roles",
    "x-airside-issuer",
    "x-airside-assertion",
];

/// Headers by which a client would speak for a proxy, or change what is asked for.
const FORWARDING: [&str; 14] = [
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-ssl",
    "x-forwarded-user",
    "x-forwarded-uri",
    "x_forwarded_for",
    "x-real-ip",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "x-scheme",
    "proxy-authorization",
];
