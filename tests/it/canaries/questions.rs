//! What another proxy asks, and is told, with every token there is.

use serde_json::json;

use super::{Run, WORDS, good, laden, tokens};
use crate::support::config::Config;
use crate::support::envoy::Check;
use crate::support::http::Request;
use crate::support::scene::Scene;

impl Run {
    /// By one that may ask, and by one that may not.
    pub(super) fn is_asked(&mut self, hook: impl Fn(Config) -> Config) {
        for trusted in [json!(["127.0.0.1"]), json!([])] {
            let section = json!({"listen": "127.0.0.1:0", "trusted": trusted});
            let scene = Scene::with(|config| hook(config).set("/forward_auth", section));
            self.questions(scene);
        }
    }

    fn questions(&mut self, mut scene: Scene) {
        let address = scene.airside.listener("forward_auth");
        for token in tokens().iter().chain(&good()) {
            self.hunt.token(token);
            let target = format!("/api/v2/dags?token={token}&password={}", WORDS[2]);
            let url = format!("http://airflow.example{target}");
            let nginx = Request::get(&format!("/airside/auth?token={token}"))
                .header("X-Original-URL", &url)
                .header("X-Original-Method", "GET");
            let envoy = Request::get(&format!("/airside/auth{target}"));
            let wrong = nginx.clone().header("X-Original-URL", &url);
            for request in [nginx, laden(envoy, token), wrong] {
                let answer = request.bearer(token).send(address);
                self.heard(&answer);
                for given in answer.all("authorization").iter().filter(|given| !given.is_empty()) {
                    self.hunt.token(given.trim_start_matches("Bearer "));
                }
            }
            for check in [
                Check::get(&target).bearer(token).header("cookie", format!("_token={token}")),
                Check::get(&target).header("authorization", format!("Bearer {token}\u{e9}")),
                Check::get(&target).header(token, "a name").header("x-empty", ""),
            ] {
                let verdict = check.ask(address);
                if let Some(given) = verdict.header("authorization") {
                    self.hunt.token(given.trim_start_matches("Bearer "));
                }
                self.keep("a denial", verdict.body);
            }
        }
        self.pages(&scene);
        self.ends(scene);
    }
}
