//! An explanation for people. On a terminal with columns and colours, in a pipe one plain line for
//! each thing.

use std::fmt::Write as _;

use super::cause::{Fix, Says};
use super::steps::Step;
use super::{Caller, Explanation, Verdict, span};
use crate::rejection::Reason;

/// How it is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// In columns, with blank lines between the parts.
    pub columns: bool,
    /// With colours.
    pub colours: bool,
}

/// SGR parameters (ECMA-48, section 8.3.117).
#[derive(Clone, Copy)]
enum Paint {
    Good = 32,
    Bad = 31,
    Dim = 2,
    Strong = 1,
}

impl Style {
    fn paint(self, paint: Paint, text: &str) -> String {
        if self.colours { format!("\x1b[{}m{text}\x1b[0m", paint as u8) } else { text.to_owned() }
    }

    fn heading(self, out: &mut String, text: &str) {
        if self.columns {
            let _ = writeln!(out, "\n{}", self.paint(Paint::Strong, text));
        }
    }
}

/// The whole explanation as text.
#[must_use]
pub fn render(answer: &Explanation, style: Style) -> String {
    let mut out = String::new();
    verdict(&mut out, answer, style);
    style.heading(&mut out, "Checks");
    for step in &answer.steps {
        check(&mut out, step, style);
    }
    for (index, cause) in answer.causes.iter().enumerate() {
        let label = match (answer.verdict.refusal, index) {
            // The path lets it in; others would not.
            (None, _) => "Elsewhere",
            (Some(_), 0) => "Cause",
            (Some(_), _) => "Also",
        };
        self::cause(&mut out, label, &cause.says(), style);
    }
    about(&mut out, answer, style);
    if let Some(reason) = answer.verdict.refusal {
        style.heading(&mut out, "More");
        let _ = writeln!(out, "{}{}", lead(style, "more"), reason.help());
    }
    out
}

fn verdict(out: &mut String, answer: &Explanation, style: Style) {
    let status = answer.verdict.status().map(|status| format!("{} ", status.as_u16()));
    let refused = |reason: Reason| {
        let text = format!("{}{}", status.unwrap_or_default(), reason.name());
        format!("{} {text}", style.paint(Paint::Bad, "would be refused:"))
    };
    let line = match answer.verdict.refusal {
        None => {
            let text = style.paint(Paint::Good, "would be let in");
            format!("{text} {}", answer.verdict.passage)
        }
        Some(Reason::KeysUnavailable) => no_keys(&answer.verdict, style),
        Some(reason) => refused(reason),
    };
    let _ = writeln!(out, "{line}");
    // The line before says it, where there is no answer.
    if answer.verdict.status().is_some() {
        let _ = writeln!(out, "{}", answer.verdict.detail());
    }
    if let Some(mended) = &answer.mended {
        let then = match mended.refusal {
            None => "it would be let in".to_owned(),
            Some(Reason::KeysUnavailable) => "it could be judged by its keys".to_owned(),
            Some(reason) => format!("it would still be refused: {}", reason.name()),
        };
        let _ = writeln!(out, "Without what came along with the token {then}.");
    }
}

fn no_keys(verdict: &Verdict, style: Style) -> String {
    let answered = format!(
        "{} 503 keys_unavailable",
        style.paint(Paint::Bad, "cannot be verified, would be answered")
    );
    match verdict.in_any_case {
        None if verdict.offline => {
            style.paint(Paint::Bad, "cannot be verified without keys (--offline)")
        }
        None => answered,
        Some(reason) => format!("{answered}; with any keys it would be refused: {}", reason.name()),
    }
}

fn check(out: &mut String, step: &Step, style: Style) {
    let paint = match step.verdict() {
        "ok" => Paint::Good,
        "failed" => Paint::Bad,
        _ => Paint::Dim,
    };
    let mark = match step.verdict() {
        "failed" => "FAILED",
        "unjudged" => "-",
        ok => ok,
    };
    if style.columns {
        let mark = style.paint(paint, &format!("{mark:<6}"));
        let _ = writeln!(out, "  {mark}  {:<15}  {}", step.name, first_column(step));
        for (label, text) in further(step) {
            let label = style.paint(Paint::Dim, label);
            let _ = writeln!(out, "{:27}{label} {text}", "");
        }
    } else {
        let _ = write!(out, "check {}: {}; {}", step.name, step.verdict(), first_column(step));
        for (label, text) in further(step) {
            let _ = write!(out, "; {label} {text}");
        }
        out.push('\n');
    }
}

fn first_column(step: &Step) -> String {
    match step.verdict() {
        "unjudged" => step.why().unwrap_or_default(),
        _ => step.found.clone(),
    }
}

/// What else is said of a check that failed.
fn further(step: &Step) -> Vec<(&'static str, String)> {
    if step.verdict() != "failed" {
        return Vec::new();
    }
    let mut further = vec![("expected", step.expected.clone())];
    if let Some(reason) = step.reason() {
        further.push(("reason", reason.name().to_owned()));
    }
    // Expected and found say it already.
    let plain = [Reason::AudienceMismatch, Reason::IssuerUnknown, Reason::AlgorithmNotAllowed];
    let said = step.reason().is_some_and(|reason| plain.contains(&reason));
    further.extend(step.why().filter(|_| !said).map(|why| ("because", why)));
    further
}

fn cause(out: &mut String, label: &str, says: &Says, style: Style) {
    if style.columns {
        let _ = writeln!(out, "\n{} {}", style.paint(Paint::Strong, label), says.name);
        let _ = writeln!(out, "  {}", says.what);
        for fix in &says.fixes {
            let Fix { place, what } = fix;
            let _ = writeln!(out, "  {} {place}\n      {what}", style.paint(Paint::Good, "fix"));
        }
    } else {
        let _ = writeln!(out, "{} {}: {}", label.to_lowercase(), says.name, says.what);
        for fix in &says.fixes {
            let _ = writeln!(out, "fix {}: {}", fix.place, fix.what);
        }
    }
}

fn about(out: &mut String, answer: &Explanation, style: Style) {
    if answer.caller.is_none() && answer.remarks.is_empty() && answer.clock_ahead.is_none() {
        return;
    }
    style.heading(out, "Caller");
    if let Some(caller) = &answer.caller {
        let _ = writeln!(out, "{}{}", lead(style, "caller"), described(caller));
    }
    for remark in &answer.remarks {
        let _ = writeln!(out, "{}{remark}", lead(style, "note"));
    }
    if let Some(offset) = answer.clock_ahead {
        let _ = writeln!(out, "{}{}", lead(style, "clock"), clock(offset));
    }
}

fn described(caller: &Caller) -> String {
    let believed =
        if caller.verified { "" } else { " (so the token says; no signature vouches for it)" };
    let rights = if caller.issued_by_airflow {
        "with the rights that Airflow gives the token".to_owned()
    } else if caller.roles.is_empty() {
        "without an Airflow role".to_owned()
    } else {
        format!("as {}", caller.roles.join(", "))
    };
    let teams = caller.teams.as_ref().map(|teams| format!(", teams: {}", teams.join(", ")));
    let teams = teams.unwrap_or_default();
    format!("{} of {}, {rights}{teams}{believed}", caller.username, caller.issuer)
}

fn clock(offset: i64) -> String {
    match offset {
        0 => "this host's agrees with that of the host of the keys".to_owned(),
        behind @ 1.. => {
            format!(
                "this host's is {} behind that of the host of the keys",
                span(behind.unsigned_abs())
            )
        }
        ahead => {
            format!(
                "this host's is {} ahead of that of the host of the keys",
                span(ahead.unsigned_abs())
            )
        }
    }
}

fn lead(style: Style, label: &str) -> String {
    if style.columns { "  ".to_owned() } else { format!("{label}: ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::cause::{Cause, Times};
    use crate::rejection::Rejection;
    use crate::token::inspection::Outcome;

    fn answer() -> Explanation {
        let step = |name, outcome| Step {
            name,
            outcome,
            expected: "one of ours".to_owned(),
            found: "another".to_owned(),
        };
        let late = Rejection::found_that(Reason::TokenExpired, "60 s ago");
        let refusal = Some(Reason::TokenExpired);
        Explanation {
            verdict: Verdict {
                refusal,
                passage: "",
                in_any_case: None,
                offline: false,
                at_token_endpoint: false,
            },
            mended: None,
            asked: None,
            steps: vec![
                step("shape", Outcome::Held),
                step("times", Outcome::Failed(late)),
                step("client", Outcome::Unjudged("nobody knows")),
            ],
            causes: vec![Cause::Times(Times::Expired { ago: 60, lifetime: None })],
            caller: None,
            remarks: vec!["worth knowing".to_owned()],
            clock_ahead: Some(-7),
        }
    }

    #[test]
    fn a_terminal_gets_columns_and_colours_and_a_pipe_plain_lines() {
        let text = render(&answer(), Style { columns: true, colours: true });
        assert!(text.contains("\x1b[31mFAILED\x1b[0m  times "), "{text}");
        let text = render(&answer(), Style { columns: true, colours: false });
        assert!(!text.contains('\x1b') && text.contains("\n  FAILED  times  "), "{text}");
        let plain = render(&answer(), Style { columns: false, colours: false });
        let lines: Vec<&str> = plain.lines().collect();
        assert_eq!(lines[0], "would be refused: 401 token_expired");
        let times = "check times: failed; another; expected one of ours; reason token_expired; because 60 s ago";
        assert_eq!(
            lines[2..5],
            ["check shape: ok; another", times, "check client: unjudged; nobody knows"]
        );
        assert!(plain.contains("clock: this host's is 7 s ahead"), "{plain}");
        assert!(lines.iter().all(|line| !line.is_empty() && !line.starts_with(' ')), "{plain}");
    }
}
