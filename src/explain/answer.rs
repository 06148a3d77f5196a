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
    pub(super) at_token_endpoint: bool,
}

impl Judged<'_> {
    pub(super) fn answer(&self) -> Explanation {
        let steps = self.steps();
        let verdict = self.verdict(self.verdict, &steps);
        Explanation {
            mended: self.mended.map(|mended| self.verdict(mended, &steps)),
            asked: self.asked.then(|| self.path.clone()),
            causes: self.causes(&steps, verdict.in_any_case.or(verdict.refusal)),
            verdict,
            steps,
            remarks: self.remarks(),
            caller: self.caller(),
            clock_ahead: self.facts.keys.clock_ahead,
        }
    }

    /// The verdict, and where there are no keys, what refuses the token whatever they are. Where
    /// nobody was to fetch keys, nobody knows that there are none: then that is the verdict.
    fn verdict(&self, judged: &Result<Passage, Rejection>, steps: &[Step]) -> Verdict {
        let offline = self.facts.keys.offline;
        let verdict = Verdict::of(judged, offline, self.at_token_endpoint);
        let keyless = Some(Reason::KeysUnavailable);
        let of_token = steps.iter().filter(|step| step.name != CREDENTIAL);
        let mut reasons = of_token.filter_map(Step::reason);
        match reasons.find(|reason| Some(*reason) != keyless && verdict.refusal == keyless) {
            Some(other) if offline => Verdict { refusal: Some(other), ..verdict },
            in_any_case => Verdict { in_any_case, ..verdict },
        }
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
            let cookie = self.facts.input.is_cookie() && reason == Reason::TokenMalformed;
            cookie
                || matches!(
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
            name: CREDENTIAL,
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
    fn causes(&self, steps: &[Step], decisive: Option<Reason>) -> Vec<Cause> {
        let failed = || steps.iter().filter_map(Step::rejection);
        let first = failed().filter(|refusal| Some(refusal.reason()) == decisive);
        let all = first.chain(self.verdict.as_ref().err()).chain(failed());
        let mut causes: Vec<Cause> = Vec::new();
        for cause in all.map(|rejection| diagnosis::cause(rejection, self.facts)) {
            if !causes.iter().any(|known| known.says().name == cause.says().name) {
                causes.push(cause);
            }
        }
        causes
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.facts.input.is_lifted() {
            remarks.push("judged is the header in what was pasted, alone".to_owned());
        }
        remarks.extend(diagnosis::remarks(self.facts));
        if self.asked && matches!(self.verdict, Ok(Passage::Caller)) {
            remarks.push(self.beyond());
        }
        remarks
    }

    /// What is decided behind airside, by the role.
    fn beyond(&self) -> String {
        let changes = !policy::is_safe(&self.path.method);
        match self.caller().filter(|caller| !caller.issued_by_airflow) {
            Some(caller) if changes && caller.roles == ["Viewer"] => {
                "Viewer only reads, and this request changes something: expect Airflow's own 403"
                    .to_owned()
            }
            Some(caller) => {
                let roles = caller.roles.join(", ");
                format!("what {roles} may do with it, Airflow decides: its own 403 has no reason")
            }
            None => "what the token may do with it, Airflow decides".to_owned(),
        }
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

/// The name of the first step.
const CREDENTIAL: &str = "credential";

/// An outcome and what was found.
fn told<T>(result: Result<T, Rejection>, show: impl Fn(T) -> String) -> (Outcome, String) {
    match result {
        Ok(value) => (Outcome::Held, show(value)),
        Err(rejection) => (Outcome::Failed(rejection), "nothing that can be used".to_owned()),
    }
}
