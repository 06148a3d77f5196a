//! `airside explain`: for each broken token the reason with which `serve` refuses it, its cause, and
//! what to change. One configuration for both, and the real program.

mod claims;
mod command;
mod form;
mod requests;
mod signatures;

use serde_json::Value;

use crate::support::airside::{Airside, Ended};
use crate::support::config::Config;
use crate::support::expect::Verdicts;
use crate::support::http::Request;
use crate::support::issuer::Issuer;
use crate::support::scene::Scene;
use crate::support::upstream::Upstream;

/// A running proxy, and `explain` with its configuration, for a table of tokens.
struct Bench {
    scene: Scene,
    verdicts: Option<Verdicts>,
}

impl Bench {
    fn start() -> Self {
        Self::with(|config| config)
    }

    fn with(hook: impl FnOnce(Config) -> Config) -> Self {
        Self::of(Issuer::start(), hook)
    }

    fn of(issuer: Issuer, hook: impl FnOnce(Config) -> Config) -> Self {
        Self { scene: Scene::of(issuer, Upstream::start(), hook), verdicts: None }
    }

    /// For those of the table; a bench may be used without one.
    fn verdicts(&mut self) -> &mut Verdicts {
        self.verdicts.get_or_insert_default()
    }

    fn explain(&self, more: &[&str]) -> Ended {
        explain(&self.scene.airside.config(), more)
    }

    /// The document that `explain` prints about this token.
    fn json(&self, pasted: &str, more: &[&str]) -> (Value, Ended) {
        let ended = self.explain(&[&["--json"], more, &["--", pasted]].concat());
        let document = serde_json::from_str(&ended.stdout);
        let document = document.map_err(|error| format!("{error}: {ended:?}"));
        (document.unwrap(), ended)
    }

    /// `serve` and `explain` refuse it for the same reason, and this is the cause; what to change has
    /// these words.
    fn refused(&mut self, pasted: &str, reason: &str, cause: &str, fix: &str) {
        self.refused_at(pasted, &[], reason, cause, fix);
    }

    fn refused_at(&mut self, pasted: &str, more: &[&str], reason: &str, cause: &str, fix: &str) {
        let (said, ended) = self.json(pasted, more);
        let served = self.serve(pasted, more.get(1).copied().unwrap_or("GET /api/v2/dags"));
        let verdict = &said["verdict"];
        let label = format!("{reason}, {cause}");
        let decisive = &said["causes"][0];
        let fixes = decisive["fixes"].to_string();
        let exit = if reason == "keys_unavailable" { 1 } else { 3 };
        for (holds, found) in [
            (served["reason"] == reason, format!("served {served}")),
            (verdict["reason"] == reason, format!("explained {said:#}")),
            (verdict["status"] == served["status"], verdict.to_string()),
            (verdict["detail"] == served["detail"], verdict.to_string()),
            (verdict["help"] == served["help"], verdict.to_string()),
            (verdict["let_in"] == false, verdict.to_string()),
            (ended.code == Some(exit), format!("exit code {:?}", ended.code)),
            (decisive["name"] == cause, said["causes"].to_string()),
            (fixes.contains(fix), fixes.clone()),
            (is_silent(pasted, &ended), "bytes of the signature".to_owned()),
        ] {
            self.verdicts().check(&label, holds, found);
        }
    }

    /// Both let it in.
    fn let_in(&mut self, label: &str, pasted: &str) -> Value {
        let (said, ended) = self.json(pasted, &[]);
        self.verdicts().check(label, ended.code == Some(0), &said);
        self.verdicts().check(label, said["causes"] == serde_json::json!([]), &said["causes"]);
        let served = self.serve(pasted, "GET /api/v2/dags");
        self.verdicts().check(label, served.is_null(), served);
        self.verdicts().check(label, is_silent(pasted, &ended), "bytes of the signature");
        said
    }

    /// The problem with which `serve` answers what was pasted; `null` where it forwards it.
    fn serve(&self, pasted: &str, request: &str) -> Value {
        let (method, path) = request.split_once(' ').unwrap();
        let mut request = Request::new(method, path);
        if let Some(value) = header(pasted) {
            request = request.header("Authorization", &value);
        }
        let answer = self.scene.ask(&request);
        if answer.status == 200 { Value::Null } else { answer.json() }
    }
}

/// The header that a client would send; a line break cannot be sent, and counts as a blank.
fn header(pasted: &str) -> Option<String> {
    let line = pasted.trim().replace('\n', " ");
    let value = match line.strip_prefix("Authorization:") {
        Some(value) => value.trim().to_owned(),
        None if line.starts_with("Bearer") || line.starts_with("Basic ") => line,
        None => format!("Bearer {line}"),
    };
    (!value.is_empty() && value != "Bearer ").then_some(value)
}

fn explain(config: &Config, more: &[&str]) -> Ended {
    let line = config.command_line();
    let args = [&["explain", "-c", &line[2]], more].concat();
    Airside::run(&args, config.environment())
}

/// Whether no piece of the signature stands in what was printed.
fn is_silent(pasted: &str, ended: &Ended) -> bool {
    let signature = pasted.split('.').nth(2).unwrap_or_default();
    let printed = ended.log();
    let pieces = signature.as_bytes().chunks(12).filter(|piece| piece.len() == 12);
    pieces.map(String::from_utf8_lossy).all(|piece| !printed.contains(piece.as_ref()))
}
