//! The usual scene: the issuer's keys, an Airflow, and airside between it and the test.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::stock::{Airflow, Recipe};
use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::http::{Request, Response};
use crate::support::issuer::Issuer;

pub(crate) struct Flight {
    pub(crate) airside: Airside,
    pub(crate) airflow: &'static Airflow,
    _issuer: Issuer,
    _alone: MutexGuard<'static, ()>,
}

/// One test at a time: on `SQLite`, two requests that write at once can block Airflow's event loop
/// for five seconds, and one of them is then answered with 500 (`Database error`).
static ALONE: Mutex<()> = Mutex::new(());

/// Waits until no other test uses the Airflow of this process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flight {
    /// airside as it is usually configured, before the usual Airflow.
    pub(crate) fn start() -> Self {
        Self::with(&Recipe::usual(), |config| config)
    }

    /// airside with a configuration bent by the hook, before an Airflow of this recipe.
    pub(crate) fn with(recipe: &Recipe, hook: impl FnOnce(Config) -> Config) -> Self {
        let alone = alone();
        let airflow = Airflow::of(recipe);
        let issuer = Issuer::start();
        let config = hook(Config::new(&issuer.url(), &airflow.url()));
        Self { airside: Airside::start(&config), airflow, _issuer: issuer, _alone: alone }
    }

    /// Asks Airflow through airside.
    pub(crate) fn ask(&self, request: &Request) -> Response {
        self.airside.ask(request)
    }

    /// Asks Airflow itself, with nobody in between.
    pub(crate) fn ask_airflow(&self, request: &Request) -> Response {
        request.send(self.airflow.address)
    }

    /// The URL that a client is given in the place of Airflow's.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.airside.proxy)
    }

    /// Whom Airflow takes the sender of this credential for.
    pub(crate) fn whoami(&self, credential: impl Fn(Request) -> Request) -> String {
        let answer = self.ask(&credential(Request::get("/ui/auth/me")));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }
}

/// A POST with a JSON body.
pub(crate) fn post(target: &str, body: &Value) -> Request {
    with_json("POST", target, body)
}

/// A request of another method with a JSON body.
pub(crate) fn with_json(method: &str, target: &str, body: &Value) -> Request {
    Request::new(method, target).header("Content-Type", "application/json").body(body.to_string())
}

/// Whether Airflow wrote this JSON answer; ours are problem+json.
pub(crate) fn is_airflows(answer: &Response) -> bool {
    answer.header("content-type") == Some("application/json")
}

/// Fails unless Airflow itself answered with this status and this `detail`.
pub(crate) fn assert_airflow_says(answer: &Response, status: u16, detail: &Value) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(is_airflows(answer), "not Airflow's: {:?} {}", answer.head, answer.text());
    assert_eq!(&answer.json()["detail"], detail);
}
