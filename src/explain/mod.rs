//! What the configuration in force makes of a token, step by step: what held, what failed, why, and
//! what to change where.
//!
//! The verdict is the request path's own ([`verdict`]). Beside it [`steps`] has each check of the
//! verifier with expected and found, past the first that fails, and [`diagnosis`] the causes, whose
//! words stand in [`cause`]. Nothing of a token is sent anywhere, and of its signature no byte is
//! shown.

mod answer;
pub mod cause;
mod diagnosis;
pub mod input;
pub mod json;
mod keys;
mod recovery;
pub mod request;
pub mod steps;
pub mod text;
mod verdict;

use answer::Judged;
use cause::Cause;
use diagnosis::Facts;
use input::Input;
use request::Asked;
use steps::Step;
use verdict::Passage;

use http::StatusCode;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::proxy::Gate;
use crate::rejection::{Reason, Rejection};
use crate::route::Route;
use crate::token::inspection::Bearer;
use crate::token::jws::Parts;
use crate::token_exchange::Refusal;

/// What is asked.
#[derive(Debug)]
pub struct Question<'q> {
    /// The token, or the header line with it.
    pub pasted: &'q str,
    /// The request that it is for; `None`: any that needs a caller with a role.
    pub asked: Option<Asked>,
    /// Whether keys may not be fetched.
    pub offline: bool,
}

/// The answer.
#[derive(Debug)]
pub struct Explanation {
    /// Whether the request would be let in.
    pub verdict: Verdict,
    /// Without what came along with the token, where something did.
    pub mended: Option<Verdict>,
    /// The request, where one was asked about.
    pub asked: Option<Asked>,
    /// Each check.
    pub steps: Vec<Step>,
    /// Why it is refused, the decisive cause first.
    pub causes: Vec<Cause>,
    /// Whose token it is.
    pub caller: Option<Caller>,
    /// What else is worth knowing.
    pub remarks: Vec<String>,
    /// How far the clock of the host of the keys is ahead of ours, in seconds, where it was measured.
    pub clock_ahead: Option<i64>,
}

/// Whether a request would be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why not.
    pub refusal: Option<Reason>,
    /// How it goes on, where it does.
    pub passage: &'static str,
    /// Where there are no keys: what it would be refused for whatever they are.
    pub in_any_case: Option<Reason>,
    /// Whether nobody was to look for keys.
    pub offline: bool,
    /// Whether it is asked where tokens are exchanged, which has answers of its own form.
    pub at_token_endpoint: bool,
}

/// What comes of a verdict for who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// It would be let in.
    LetIn,
    /// There are no keys, and nothing else decides.
    Undecided,
    /// It would be refused.
    Refused,
}

/// Whose token it is.
#[derive(Debug)]
pub struct Caller {
    /// The name of the issuer's entry.
    pub issuer: String,
    /// The user name for Airflow.
    pub username: String,
    /// The Airflow roles.
    pub roles: Vec<String>,
    /// The Airflow teams, where any are mapped at all.
    pub teams: Option<Vec<String>>,
    /// Whether the token is Airflow's own, which knows the rights itself.
    pub issued_by_airflow: bool,
    /// Whether the signature vouches for it.
    pub verified: bool,
}

impl Verdict {
    fn of(verdict: &Result<Passage, Rejection>, offline: bool, at_token_endpoint: bool) -> Self {
        let passage = match verdict {
            Ok(Passage::Caller) => "as this caller",
            Ok(Passage::Token) => "with a token of Airflow's form for this caller",
            Ok(Passage::Worker) => "as a worker, the token untouched",
            Ok(Passage::Untouched) => "untouched: Airflow judges the token itself",
            Ok(Passage::Open) => "without an identity: the path is open, the token is not needed",
            Ok(Passage::Delegated) => "untouched: Airflow's own backends judge the credential",
            Err(_) => "",
        };
        let refusal = verdict.as_ref().err().map(Rejection::reason);
        Self { refusal, passage, in_any_case: None, offline, at_token_endpoint }
    }

    /// What comes of it.
    #[must_use]
    pub const fn conclusion(&self) -> Conclusion {
        match (self.refusal, self.in_any_case) {
            (None, _) => Conclusion::LetIn,
            (Some(Reason::KeysUnavailable), None) => Conclusion::Undecided,
            (Some(_), _) => Conclusion::Refused,
        }
    }

    /// The status that the refusal is answered with; `None` also where only this command has no keys.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        let reason = self.refusal.filter(|_| !self.is_unasked())?;
        if self.at_token_endpoint {
            return Some(Refusal::from(Rejection::from(reason)).answer("").status());
        }
        Some(reason.status())
    }

    /// What the caller is told, or how the request goes on.
    #[must_use]
    pub fn detail(&self) -> &'static str {
        match self.refusal {
            None => self.passage,
            Some(_) if self.is_unasked() => {
                "Without keys it cannot be verified, and none were fetched."
            }
            Some(reason) => reason.sentence(),
        }
    }

    /// Whether there are no keys here because nobody was to fetch any, which says nothing of `serve`.
    fn is_unasked(&self) -> bool {
        self.offline && self.refusal == Some(Reason::KeysUnavailable)
    }
}

/// Answers the question by this configuration, at this time.
pub async fn explain(config: &Config, question: Question<'_>, now: Timestamp) -> Explanation {
    let gate = &config.gate;
    let verifier = gate.callers.verifier();
    let input = Input::read(question.pasted);
    let parts = Parts::glimpse(input.token());
    let entry = verifier.entry(&parts);
    let mut evidence = keys::gather(config, entry.as_ref(), question.offline, now).await;
    let path = question.asked.clone().unwrap_or_else(Asked::any_protected);
    let verdict = verdict::judge(gate, &path, &input, input.sent(), now).await;
    let mended = if came_along(&input, &verdict) {
        Some(verdict::judge(gate, &path, &input, Some(&input.mended()), now).await)
    } else {
        None
    };
    let route = route(gate, &path);
    let bearer = bearer(route.as_ref());
    let inspection = verifier.inspect(input.token(), &parts, bearer, now).await;
    keys::look_on(config, &inspection, &input, &parts, &mut evidence, now).await;
    let facts = Facts {
        input: &input,
        inspection: &inspection,
        parts: &parts,
        bearer,
        issuers: verifier.issuers(),
        directory: gate.callers.directory(),
        keys: &evidence,
        token_bytes: gate.token_bytes,
        leeway: verifier.leeway(),
        now,
    };
    let asked = question.asked.is_some();
    let mended = mended.as_ref();
    let at_token_endpoint = matches!(route, Some(Route::Exchange(_)));
    let verdict = &verdict;
    Judged { facts: &facts, verdict, mended, path: &path, asked, at_token_endpoint }.answer()
}

/// Whether something came along with the token that does not belong there, and is why it is refused.
fn came_along(input: &Input, verdict: &Result<Passage, Rejection>) -> bool {
    let Some(reason) = verdict.as_ref().err().map(Rejection::reason) else { return false };
    let odd = [Reason::CredentialMalformed, Reason::SchemeUnsupported].contains(&reason);
    let cookie = reason == Reason::TokenMalformed && input.is_cookie();
    odd && !input.flaws().is_empty() || cookie
}

/// Where the request goes; `None` where its path alone is refused.
fn route(gate: &Gate, asked: &Asked) -> Option<Route> {
    let entrance = asked.entrance(&gate.access);
    gate.access.route(entrance, &asked.method, asked.target.path(), false).ok()
}

/// Whose tokens the path takes.
fn bearer(route: Option<&Route>) -> Bearer {
    match route {
        Some(Route::Task(_) | Route::Edge(_)) => Bearer::Worker,
        _ => Bearer::Caller,
    }
}

/// Seconds as people say them.
pub(crate) fn span(seconds: u64) -> String {
    let of = |whole: u64, unit: &str, rest: u64, smaller: &str| {
        if rest == 0 {
            format!("{whole} {unit}")
        } else {
            format!("{whole} {unit} {rest} {smaller}")
        }
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => of(seconds / 60, "min", seconds % 60, "s"),
        3600..86400 => of(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => of(seconds / 86400, "d", seconds % 86400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_two_units() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (75, "1 min 15 s"),
            (3600, "1 h"),
            (7260, "2 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }
}
