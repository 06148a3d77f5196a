//! From what was judged to the answer: the steps, the caller, and the causes in their order.

use super::cause::Cause;
use super::diagnosis::{self, Facts};
use super::steps::{self, Step};
use super::verdict::Passage;
use super::{Caller, Explanation, Verdict};
use crate::explain::request::Asked;
use crate::identity::{Origin, Rights};
use crate::policy;
use crate::rejection::{Reason, Rejection};
use crate::token::inspection::{Bearer, Outcome};

/// Everything that was judged.
pub(super) struct Judged<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) verdict: &'a Result<Passage, Rejection>,
    pub(super) mended: Option<&'a Result<Passage, Rejection>>,
    /// The request that it was judged by, and whether somebody asked about it.
    pub(super) path: &'a Asked,
    pub(super) asked: bool,
}

impl Judged<'_> {
    pub(super) fn answer(&self) -> Explanation {
        let steps = self.steps();
        let in_any_case = self.in_any_case(&steps);
        let mut verdict = Verdict::of(self.verdict, self.facts.keys.offline);
        // Where nobody was to fetch keys, nobody knows that there are none.
        if self.facts.keys.offline && in_any_case.is_some() {
            verdict.refusal = in_any_case;
        } else {
            verdict.in_any_case = in_any_case;
        }
        Explanation {
            verdict,
            mended: self.mended.map(|mended| Verdict::of(mended, self.facts.keys.offline)),
            asked: self.asked.then(|| self.path.clone()),
            causes: self.causes(&steps, in_any_case),
            steps,
            caller: self.caller(),
            remarks: diagnosis::remarks(self.facts),
            clock_ahead: self.facts.keys.clock_ahead,
        }
    }

    /// What refuses the token whatever keys there were, where there are none.
    fn in_any_case(&self, steps: &[Step]) -> Option<Reason> {
        let keyless = Reason::KeysUnavailable;
        let decides = self.verdict.as_ref().is_err_and(|refusal| refusal.reason() == keyless);
        let mut reasons = steps.iter().filter(|_| decides).filter_map(Step::reason);
        reasons.find(|reason| *reason != keyless)
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![self.credential()];
        for (check, outcome) in &self.facts.inspection.steps {
            steps.push(Step {
                name: steps::name(*check),
                outcome: outcome.again(),
                expected: steps::expected(*check, self.facts),
                found: steps::found(*check, self.facts),
            });
        }
        if self.facts.bearer == Bearer::Caller {
            steps.extend(self.identity());
        }
        if self.asked {
            steps.push(self.request(&steps));
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
            (Some(_), None) => format!("a token of {} bytes", self.facts.input.token().len()),
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
        let airflows = matches!(mapping.origin, Origin::Airflow);
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
    fn request(&self, earlier: &[Step]) -> Step {
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
            found: format!("{} {}", self.path.method, diagnosis::shown(self.path.target.path())),
        }
    }

    /// The decisive cause, then those of everything else that failed.
    fn causes(&self, steps: &[Step], in_any_case: Option<Reason>) -> Vec<Cause> {
        let decisive = steps.iter().filter_map(Step::rejection);
        let decisive = decisive.filter(|refusal| in_any_case == Some(refusal.reason()));
        let of_verdict = self.verdict.as_ref().err();
        let all = decisive.chain(of_verdict).chain(steps.iter().filter_map(Step::rejection));
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
        let names = |rights: &Rights| rights.roles.iter().map(ToString::to_string).collect();
        let teams = rights.as_ref().and_then(|rights| rights.teams.as_ref());
        Some(Caller {
            issuer: mapping.issuer.to_string(),
            username: sketch.username.ok()?,
            roles: rights.as_ref().map(names).unwrap_or_default(),
            teams: teams.map(|teams| teams.iter().map(|team| team.name().to_owned()).collect()),
            issued_by_airflow: matches!(mapping.origin, Origin::Airflow),
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
