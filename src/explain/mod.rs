//! What the configuration in force makes of a token, step by step: what held, what failed, why, and
//! what to change where.
//!
//! The verdict is the request path's own ([`verdict`]). Beside it [`steps`] has each check of the
//! verifier with expected and found, past the first that fails, and [`diagnosis`] the causes, whose
//! words stand in [`cause`]. Nothing of a token is sent anywhere, and of its signature no byte is
//! shown.

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

use cause::Cause;
use diagnosis::{Evidence, Facts};
use input::Input;
use request::Asked;
use steps::Step;
use verdict::Passage;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::policy;
use crate::proxy::Gate;
use crate::rejection::{Reason, Rejection};
use crate::route::Route;
use crate::token::inspection::{Bearer, Check, Inspection, Outcome};
use crate::token::jws::Parts;

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
    fn of(verdict: &Result<Passage, Rejection>) -> Self {
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
        Self { refusal, passage, in_any_case: None }
    }

    /// 0: let in; 1: no keys, and nothing else decides; 3: refused.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match (self.refusal, self.in_any_case) {
            (None, _) => 0,
            (Some(Reason::KeysUnavailable), None) => 1,
            (Some(_), _) => 3,
        }
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
    let mended = match input.flaws() {
        [] => None,
        _ => Some(verdict::judge(gate, &path, &input, Some(&input.mended()), now).await),
    };
    let bearer = bearer(gate, &path);
    let inspection = verifier.inspect(input.token(), &parts, bearer, now).await;
    if let Some((entry, kid)) = unknown_key(&inspection) {
        let tid = inspection.claims.as_ref().and_then(|claims| claims.text("tid").ok().flatten());
        keys::look_elsewhere(config, entry, kid, tid, &mut evidence, now).await;
    }
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
    let checks = Checks { facts: &facts, verdict: &verdict, mended: mended.as_ref() };
    let mut answer = checks.answer(&evidence);
    answer.asked = question.asked;
    answer.steps = checks.steps(&path, answer.asked.is_some(), inspection_steps(&inspection));
    answer.causes = checks.causes(&answer.steps);
    answer.verdict.in_any_case = in_any_case(&answer);
    answer
}

/// Whose tokens the path takes.
fn bearer(gate: &Gate, asked: &Asked) -> Bearer {
    let entrance = asked.entrance(&gate.access);
    match gate.access.route(entrance, &asked.method, asked.target.path(), false) {
        Ok(Route::Task(_) | Route::Edge(_)) => Bearer::Worker,
        _ => Bearer::Caller,
    }
}

/// The entry and the name of a key that it does not have.
fn unknown_key<'i>(
    inspection: &'i Inspection<'_>,
) -> Option<(&'i crate::token::inspection::Entry, &'i str)> {
    let Some(Outcome::Failed(rejection)) = inspection.outcome(Check::Key) else { return None };
    let kid = inspection.header.as_ref()?.kid()?;
    (rejection.reason() == Reason::KeyUnknown).then_some(())?;
    Some((inspection.entry.as_ref()?, kid))
}

/// The checks of the token, with outcomes that can be given away.
fn inspection_steps(inspection: &Inspection<'_>) -> Vec<(Check, Outcome)> {
    inspection.steps.iter().map(|(check, outcome)| (*check, again(outcome))).collect()
}

fn again(outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::Held => Outcome::Held,
        Outcome::Failed(rejection) => Outcome::Failed(rejection.again()),
        Outcome::Unjudged(why) => Outcome::Unjudged(why),
    }
}

/// What would refuse the token whatever keys there were.
fn in_any_case(answer: &Explanation) -> Option<Reason> {
    if answer.verdict.refusal != Some(Reason::KeysUnavailable) {
        return None;
    }
    let mut reasons = answer.steps.iter().filter_map(Step::reason);
    reasons.find(|reason| *reason != Reason::KeysUnavailable)
}

/// Everything that was judged.
struct Checks<'a> {
    facts: &'a Facts<'a>,
    verdict: &'a Result<Passage, Rejection>,
    mended: Option<&'a Result<Passage, Rejection>>,
}

impl Checks<'_> {
    fn answer(&self, evidence: &Evidence) -> Explanation {
        Explanation {
            verdict: Verdict::of(self.verdict),
            mended: self.mended.map(Verdict::of),
            asked: None,
            steps: Vec::new(),
            causes: Vec::new(),
            caller: self.caller(),
            remarks: diagnosis::remarks(self.facts),
            clock_ahead: evidence.clock_ahead,
        }
    }

    fn steps(&self, path: &Asked, asked: bool, checks: Vec<(Check, Outcome)>) -> Vec<Step> {
        let mut steps = vec![self.credential()];
        for (check, outcome) in checks {
            steps.push(Step {
                name: steps::name(check),
                outcome,
                expected: steps::expected(check, self.facts),
                found: steps::found(check, self.facts),
            });
        }
        if self.facts.bearer == Bearer::Caller {
            steps.extend(self.identity());
        }
        if asked || self.facts.bearer == Bearer::Worker {
            steps.push(self.request(path, &steps));
        }
        steps
    }

    /// The header as it was sent: what refuses that has refused it before anything in the token.
    fn credential(&self) -> Step {
        let of_header = |reason: Reason| {
            matches!(
                reason,
                Reason::CredentialMissing
                    | Reason::CredentialMalformed
                    | Reason::SchemeUnsupported
                    | Reason::TokenTooLarge
                    | Reason::HeadersTooLarge
                    | Reason::RequestMalformed
            )
        };
        let failed = self.verdict.as_ref().err().filter(|rejection| of_header(rejection.reason()));
        let found = match (self.facts.input.sent(), failed) {
            (None, _) => "none".to_owned(),
            (Some(_), None) => "one".to_owned(),
            (Some(sent), Some(_)) => format!("a value of {} bytes", sent.len()),
        };
        Step {
            name: "credential",
            outcome: failed.map_or(Outcome::Held, |rejection| Outcome::Failed(rejection.again())),
            expected: "Authorization: Bearer, one space, the token".into(),
            found,
        }
    }

    /// User name and roles, by claims that may not be verified.
    fn identity(&self) -> Vec<Step> {
        let entry = self.facts.inspection.entry.as_ref();
        let sketch =
            entry.zip(self.facts.inspection.claims.as_ref()).and_then(|(entry, claims)| {
                let mapping = self.facts.directory.mapping(entry.issuer)?;
                Some((mapping, self.facts.directory.sketch(entry.issuer, claims)?))
            });
        let Some((mapping, sketch)) = sketch else { return Vec::new() };
        let airflows = matches!(mapping.origin, crate::identity::Origin::Airflow);
        let (outcome, found) = told(sketch.username, |name| diagnosis::shown(&name));
        let username = Step {
            name: "username",
            outcome,
            expected: format!("visible ASCII in the claim {}", mapping.username_claim),
            found,
        };
        let rights = sketch.rights.and_then(|rights| {
            if !airflows {
                policy::check_roles(&rights.roles, rights.without_role.as_deref())?;
            }
            Ok(rights.roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        });
        let (outcome, found) = told(rights, |roles| roles);
        let expected = if airflows {
            "none needed: Airflow knows the rights itself"
        } else {
            "at least one mapped value"
        };
        vec![username, Step { name: "roles", outcome, expected: expected.into(), found }]
    }

    /// The request: what the path itself refuses, or what it refuses this caller.
    fn request(&self, path: &Asked, earlier: &[Step]) -> Step {
        let told = |rejection: &Rejection| {
            let said = earlier.iter().filter_map(Step::reason).any(|r| r == rejection.reason());
            if said {
                Outcome::Unjudged("the token is refused before that")
            } else {
                Outcome::Failed(rejection.again())
            }
        };
        Step {
            name: "request",
            outcome: self.verdict.as_ref().map_or_else(told, |_| Outcome::Held),
            expected: "a path that is open to such a caller".into(),
            found: format!("{} {}", path.method, diagnosis::shown(path.target.path())),
        }
    }

    /// The cause of the verdict, then those of everything else that failed.
    fn causes(&self, steps: &[Step]) -> Vec<Cause> {
        let decisive = self.verdict.as_ref().err();
        let all = decisive.into_iter().chain(steps.iter().filter_map(Step::rejection));
        let mut causes: Vec<Cause> = Vec::new();
        for cause in all.map(|rejection| diagnosis::cause(rejection, self.facts)) {
            if !causes.iter().any(|known| known.says().name == cause.says().name) {
                causes.push(cause);
            }
        }
        causes
    }

    fn caller(&self) -> Option<Caller> {
        let entry = self.facts.inspection.entry.as_ref()?;
        let claims = self.facts.inspection.claims.as_ref()?;
        let mapping = self.facts.directory.mapping(entry.issuer)?;
        let sketch = self.facts.directory.sketch(entry.issuer, claims)?;
        let rights = sketch.rights.ok();
        let names = |rights: &crate::identity::Rights| {
            rights.roles.iter().map(ToString::to_string).collect()
        };
        let teams = rights.as_ref().and_then(|rights| rights.teams.as_ref());
        Some(Caller {
            issuer: mapping.issuer.to_string(),
            username: sketch.username.ok()?,
            roles: rights.as_ref().map(names).unwrap_or_default(),
            teams: teams.map(|teams| teams.iter().map(|team| team.name().to_owned()).collect()),
            issued_by_airflow: matches!(mapping.origin, crate::identity::Origin::Airflow),
            verified: entry.named && self.facts.inspection.is_signed(),
        })
    }
}

/// An outcome and what was found.
fn told<T>(result: Result<T, Rejection>, show: impl Fn(T) -> String) -> (Outcome, String) {
    match result {
        Ok(value) => (Outcome::Held, show(value)),
        Err(rejection) => (Outcome::Failed(rejection), "nothing that can be used".to_owned()),
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
