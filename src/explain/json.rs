//! An explanation for programs: `docs/reference/explain.md` has the members, which stay.

use serde_json::{Value, json};

use super::cause::Cause;
use super::steps::Step;
use super::{Caller, Conclusion, Explanation, Verdict};
use crate::rejection::Reason;

/// The whole explanation as one document, in which conclusions have these exit codes.
#[must_use]
pub fn render(answer: &Explanation, code: fn(Conclusion) -> u8) -> Value {
    let verdict = |verdict| self::verdict(verdict, code);
    let asked = answer
        .asked
        .as_ref()
        .map(|asked| json!({ "method": asked.method.as_str(), "path": asked.target.path() }));
    json!({
        "version": VERSION,
        "verdict": verdict(&answer.verdict),
        "mended": answer.mended.as_ref().map(verdict),
        "request": asked,
        "steps": answer.steps.iter().map(step).collect::<Vec<_>>(),
        "causes": answer.causes.iter().map(cause).collect::<Vec<_>>(),
        "caller": answer.caller.as_ref().map(caller),
        "remarks": answer.remarks,
        "clock_ahead_seconds": answer.clock_ahead,
    })
}

/// Changes where a member goes or means another thing, not where one is added.
const VERSION: u8 = 1;

fn verdict(verdict: &Verdict, code: fn(Conclusion) -> u8) -> Value {
    let refusal = verdict.refusal;
    json!({
        "let_in": refusal.is_none(),
        "status": verdict.status().map(|status| status.as_u16()),
        "reason": refusal.map(Reason::name),
        "detail": verdict.detail(),
        "help": refusal.map(|reason| reason.help().to_string()),
        "in_any_case": verdict.in_any_case.map(Reason::name),
        "exit_code": code(verdict.conclusion()),
    })
}

fn step(step: &Step) -> Value {
    json!({
        "name": step.name,
        "verdict": step.verdict(),
        "reason": step.reason().map(Reason::name),
        "expected": step.expected,
        "found": step.found,
        "why": step.why(),
    })
}

fn cause(cause: &Cause) -> Value {
    let says = cause.says();
    let fix = |fix: &super::cause::Fix| json!({ "place": fix.place, "what": fix.what });
    json!({
        "name": says.name,
        "what": says.what,
        "fixes": says.fixes.iter().map(fix).collect::<Vec<_>>(),
    })
}

fn caller(caller: &Caller) -> Value {
    json!({
        "issuer": caller.issuer,
        "username": caller.username,
        "roles": caller.roles,
        "teams": caller.teams,
        "issued_by_airflow": caller.issued_by_airflow,
        "verified": caller.verified,
    })
}
