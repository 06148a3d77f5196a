//! Airflow: whether it is there, which it is, and whom it lets in.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use super::rehearsal::{self, Facts};
use super::{Finding, Verdict, roles};
use crate::clock;
use crate::config::Config;
use crate::config::written::{AuthManager, HandoffType, Written};
use crate::handoff::answers::{cut, json, numbers, told};
use crate::handoff::rehearsal::{Form, Rehearsal};
use crate::jwks::fetch::clock_ahead;
use crate::rejection::Rejection;
use crate::upstream::{Settings, Upstream};

/// Asks each of Airflow's addresses.
pub(super) async fn ask(written: &Written, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for address in config.upstream.addresses.iter() {
        let settings =
            Settings { addresses: [Arc::clone(address)].into(), ..config.upstream.clone() };
        let upstream = Upstream::new(settings);
        let base_path = config.gate.access.base_path.as_str();
        let name = address.name();
        let rehearsal = Rehearsal::new(&config.gate.handoff, &upstream, base_path);
        let mut airflow = Airflow { name, written, rehearsal, findings: &mut findings };
        airflow.ask().await;
    }
    findings
}

struct Airflow<'a, 'f> {
    name: &'a str,
    written: &'a Written,
    rehearsal: Rehearsal<'a, Upstream>,
    findings: &'f mut Vec<Finding>,
}

impl Airflow<'_, '_> {
    async fn ask(&mut self) {
        let Some(version) = self.version().await else { return };
        self.fits(version);
        self.health().await;
        self.lets_nobody_in().await;
        let handoff = self.written.handoff.as_ref();
        let Some(handoff) = handoff else { return };
        let facts = Facts { name: self.name, handoff, airflow: self.major() };
        let rehearsed = rehearsal::rehearse(&self.rehearsal, &facts).await;
        let taken = rehearsed.verdict == Verdict::Good;
        self.findings.push(rehearsed);
        if taken && self.rehearsal.form() == Form::Fab {
            self.findings.push(roles::ask(&self.rehearsal, self.written, self.name).await);
        }
    }

    const fn major(&self) -> u8 {
        match &self.written.upstream {
            Some(upstream) => upstream.airflow,
            None => 3,
        }
    }

    /// Major and minor version; nothing where there is no use in asking further.
    async fn version(&mut self) -> Option<(u32, u32)> {
        let (about, path) = (self.about("version"), version_path(self.major()));
        let answer = match within(self.rehearsal.as_nobody(path)).await {
            Ok(answer) => answer,
            Err(found) => {
                let hint = "see that Airflow runs and that upstream.url names its host and port";
                let silent = Finding::new(Verdict::Silent, about, get(path), found);
                self.findings.push(silent.expected("an Airflow that answers").hint(hint));
                return None;
            }
        };
        self.clock(&answer);
        let version = version_of(&answer);
        let numbers = version.as_deref().and_then(numbers);
        if let (Some(version), Some(numbers)) =
            (version, numbers.filter(|it| it.0 == u32::from(self.major())))
        {
            let found = format!("Airflow {version}");
            self.findings.push(Finding::new(Verdict::Good, about, get(path), found));
            return Some(numbers);
        }
        let finding = self.another(about, path, &answer).await;
        self.findings.push(finding);
        None
    }

    /// What is there in place of the Airflow that was meant.
    async fn another(&self, about: String, path: &str, answer: &Response<Bytes>) -> Finding {
        let (major, other) = (self.major(), 5 - self.major());
        let expected = format!("the version of an Airflow {major}");
        let finding = |found: String| {
            let verdict =
                if answer.status().is_server_error() { Verdict::Silent } else { Verdict::Wrong };
            Finding::new(verdict, about.clone(), get(path), found).expected(expected.clone())
        };
        let asked_other = within(self.rehearsal.as_nobody(version_path(other))).await;
        let version = version_of(answer).or_else(|| version_of(asked_other.as_ref().ok()?));
        if let Some(version) = version {
            return finding(format!("this is Airflow {version}"))
                .hint(format!("upstream.airflow: {other}, with a handoff that it can be told by"));
        }
        finding(told(answer)).hint("see that upstream.url leads to Airflow's API server, and upstream.base_path is the path of its [api] base_url")
    }

    fn clock(&mut self, answer: &Response<Bytes>) {
        // The header has whole seconds.
        let here = UNIX_EPOCH + Duration::from_secs(clock::now().unix());
        let Some(ahead) = clock_ahead(answer.headers(), here) else { return };
        let apart = ahead.unsigned_abs();
        if apart <= MOST_APART {
            return;
        }
        let about = self.about("clock");
        let side = if ahead < 0 { "behind" } else { "ahead of" };
        let found = format!("{apart} s {side} the one here");
        self.findings.push(
            Finding::new(Verdict::Risky, about, "Date of its answer", found)
                .expected("clocks that agree")
                .hint("Airflow allows 10 s ([api_auth] jwt_leeway) and refuses what airside signs beyond that: synchronise both"),
        );
    }

    /// Combinations that only the version shows not to work.
    fn fits(&mut self, (major, minor): (u32, u32)) {
        let Some(handoff) = &self.written.handoff else { return };
        let early = (major, minor) < (3, 2);
        let about = self.about("hand-off");
        let found = format!("Airflow {major}.{minor}");
        let finding = match (handoff.form, handoff.auth_manager) {
            (HandoffType::AirflowToken, AuthManager::Fab) if early => {
                Finding::new(Verdict::Wrong, about, "auth_manager: fab", found)
                    .expected("Airflow 3.2 or later: before, FAB's API of users takes no token")
            }
            (HandoffType::AirflowToken, _) if early && handoff.private_key_file.is_some() => {
                Finding::new(Verdict::Risky, about, "handoff.private_key_file", found)
                    .hint("before 3.2 Airflow does not start with trusted_jwks_url alone: set [api_auth] jwt_algorithm as well, for example RS256,EdDSA, the first being that of its own key")
            }
            (HandoffType::Headers, _) if early && major == 3 && handoff.assertion.is_some() => {
                Finding::new(Verdict::Risky, about, "handoff.type: headers", found)
                    .hint("the auth managers of config/airflow3 need Airflow 3.2 or later; earlier ones take handoff.type: airflow_token")
            }
            _ => return,
        };
        self.findings.push(finding);
    }

    async fn health(&mut self) {
        let (about, path) = (self.about("health"), health_path(self.major()));
        let finding = match within(self.rehearsal.as_nobody(path)).await {
            Err(found) => Finding::new(Verdict::Silent, about, get(path), found),
            Ok(answer) => match ailing(&answer) {
                Some(parts) if parts.is_empty() => {
                    Finding::new(Verdict::Good, about, get(path), "healthy")
                }
                Some(parts) => Finding::new(Verdict::Risky, about, get(path), parts.join(", "))
                    .expected("every part that runs to be healthy"),
                None => Finding::new(Verdict::Risky, about, get(path), told(&answer))
                    .expected("Airflow's report on its parts"),
            },
        };
        self.findings.push(finding);
    }

    /// Whoever comes without a credential must be refused, or all that airside does is in vain.
    async fn lets_nobody_in(&mut self) {
        let (about, path) = (self.about("without a credential"), dags_path(self.major()));
        let finding = match within(self.rehearsal.as_nobody(path)).await {
            Err(found) => Finding::new(Verdict::Silent, about, get(path), found),
            Ok(answer) => match answer.status() {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    Finding::new(Verdict::Good, about, get(path), told(&answer))
                }
                StatusCode::OK => Finding::new(Verdict::Risky, about, get(path), EVERYBODY)
                    .expected("401")
                    .hint("whoever gets to Airflow past airside, or by an open path, is let in: unset [core] simple_auth_manager_all_admins, or with FAB AUTH_ROLE_PUBLIC ([fab] auth_role_public)"),
                _ => Finding::new(Verdict::Risky, about, get(path), told(&answer)).expected("401"),
            },
        };
        self.findings.push(finding);
    }

    fn about(&self, what: &str) -> String {
        format!("{what} of {}", self.name)
    }
}

/// What came, or why nothing did.
pub(super) async fn within(
    answer: impl Future<Output = Result<Response<Bytes>, Rejection>>,
) -> Result<Response<Bytes>, String> {
    match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(rejection)) => {
            Err(rejection.found().unwrap_or_else(|| rejection.reason().name()).to_owned())
        }
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

pub(super) fn get(path: &str) -> String {
    format!("GET {path}")
}

/// A list that everybody who may look may see.
pub(super) const fn dags_path(major: u8) -> &'static str {
    if major == 2 { "/api/v1/dags?limit=1" } else { "/api/v2/dags?limit=1" }
}

const fn version_path(major: u8) -> &'static str {
    if major == 2 { "/api/v1/version" } else { "/api/v2/version" }
}

const fn health_path(major: u8) -> &'static str {
    if major == 2 { "/api/v1/health" } else { "/api/v2/monitor/health" }
}

fn version_of(answer: &Response<Bytes>) -> Option<String> {
    let body = json(answer).filter(|_| answer.status() == StatusCode::OK)?;
    let version = body.get("version")?.as_str()?;
    numbers(version).map(|_| cut(version))
}

/// The parts that say they are not healthy; a part that is not deployed says nothing.
fn ailing(answer: &Response<Bytes>) -> Option<Vec<String>> {
    let body = json(answer).filter(|_| answer.status() == StatusCode::OK)?;
    let status = |part: &Value| Some(part.get("status")?.as_str()?.to_owned());
    let told = body.as_object()?.iter().filter_map(|(name, part)| Some((name, status(part)?)));
    let ailing = told.filter(|(_, status)| status != "healthy");
    Some(ailing.map(|(name, status)| format!("{name} is {}", cut(&status))).collect())
}

const EVERYBODY: &str = "200: Airflow lets everybody in";
/// Half of what Airflow allows; a second or two are the network's and the header's own.
const MOST_APART: u64 = 5;
/// An Airflow that has not answered by then serves nobody.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Response<Bytes> {
        Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap()
    }

    #[test]
    fn only_a_part_that_says_so_is_not_healthy() {
        for (body, expected) in [
            (r#"{"metadatabase": {"status": "healthy"}, "triggerer": {"status": null}}"#, Some(0)),
            (
                r#"{"metadatabase": {"status": "healthy"}, "scheduler": {"status": "unhealthy"}}"#,
                Some(1),
            ),
            ("<html>", None),
        ] {
            assert_eq!(ailing(&answer(200, body)).map(|parts| parts.len()), expected, "{body}");
        }
        assert_eq!(ailing(&answer(500, "{}")), None);
    }

    #[test]
    fn a_version_is_one_only_with_numbers() {
        for (body, expected) in [
            (r#"{"version": "3.3.2"}"#, Some("3.3.2")),
            (r#"{"version": "2.10.5", "git_version": null}"#, Some("2.10.5")),
            (r#"{"version": "latest"}"#, None),
            (r#"{"detail": "Not Found"}"#, None),
        ] {
            assert_eq!(version_of(&answer(200, body)).as_deref(), expected, "{body}");
        }
        assert_eq!(version_of(&answer(404, r#"{"version": "3.3.2"}"#)), None);
    }
}
