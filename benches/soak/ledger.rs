//! What the callers counted, and whether airside counted the same.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use super::support::http::Response;

/// How a request ended, as its caller saw it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    /// Airflow's answer, whole and as it should be.
    Answered,
    /// An answer of airside's own, with its reason.
    Refused(String),
    /// The caller left in the middle of the answer.
    Left,
    /// The caller left before the answer: whether airside has read the head is not known.
    LeftEarly,
    /// Never said its head: no request.
    Unsaid,
    /// No answer, or half of one.
    Broken(String),
}

impl Seen {
    /// What an answer is, when its body is this.
    pub(crate) fn of(answer: &Response, body: &[u8]) -> Self {
        if answer.status == 200 && answer.body == body {
            return Self::Answered;
        }
        Self::refusal(answer)
            .unwrap_or_else(|| Self::Broken(format!("{}: {}", answer.status, answer.text())))
    }

    fn refusal(answer: &Response) -> Option<Self> {
        let ours = answer.header("content-type") == Some("application/problem+json");
        let text = ours.then(|| answer.json())?;
        Some(Self::Refused(text.get("reason")?.as_str()?.to_owned()))
    }
}

#[derive(Default)]
struct Counts {
    /// By the kind of request and how it ended.
    seen: BTreeMap<(&'static str, Seen), u64>,
    /// Those among them that failed because Airflow was down.
    explained: BTreeMap<&'static str, u64>,
    unexplained: Vec<String>,
    /// When Airflow was down; the last may still be going on.
    down: Vec<(Instant, Option<Instant>)>,
}

pub(crate) struct Ledger {
    begun: Instant,
    counts: Mutex<Counts>,
}

impl Ledger {
    pub(crate) fn start() -> Self {
        Self { begun: Instant::now(), counts: Mutex::default() }
    }

    /// Takes down from when until when Airflow is not to be had.
    pub(crate) fn while_down(&self, act: impl FnOnce()) {
        self.counts.lock().unwrap().down.push((Instant::now(), None));
        act();
        self.counts.lock().unwrap().down.last_mut().unwrap().1 = Some(Instant::now());
    }

    /// Runs a request that should end as given; whether it did.
    pub(crate) fn run(
        &self,
        kind: &'static str,
        expected: &Seen,
        request: impl FnOnce() -> Seen,
    ) -> bool {
        let begun = Instant::now();
        let seen = request();
        let holds = seen == *expected;
        let mut counts = self.counts.lock().unwrap();
        if !holds {
            let meanwhile =
                |down: &(Instant, Option<Instant>)| down.1.is_none_or(|end| end >= begun);
            if is_airflows(&seen) && counts.down.last().is_some_and(meanwhile) {
                *counts.explained.entry(kind).or_default() += 1;
            } else {
                let second = self.begun.elapsed().as_secs_f64();
                let fault = format!("{second:.3} s: {kind}: {seen:?} instead of {expected:?}");
                counts.unexplained.push(fault);
            }
        }
        *counts.seen.entry((kind, seen)).or_default() += 1;
        holds
    }

    /// Prints the table; what does not hold.
    pub(crate) fn judge(&self, metrics: &str, log: &str) -> Vec<String> {
        let counts = self.counts.lock().unwrap();
        counts.show();
        let mut faults: Vec<_> = counts.unexplained.iter().take(20).cloned().collect();
        if counts.unexplained.len() > 20 {
            faults.push(format!("and {} more", counts.unexplained.len() - 20));
        }
        println!("\n{:<34} {:>9} {:>21}", "airside counted", "", "the callers counted");
        for (what, counted, least, most) in counts.compared(metrics, log) {
            let range =
                if least == most { least.to_string() } else { format!("{least} to {most}") };
            println!("{what:<34} {counted:>9} {range:>21}");
            if !(least..=most).contains(&counted) {
                faults.push(format!("{what}: airside counted {counted}, the callers {range}"));
            }
        }
        faults
    }
}

/// Whether the death of Airflow can be why.
fn is_airflows(seen: &Seen) -> bool {
    match seen {
        Seen::Refused(reason) => reason.starts_with("upstream_"),
        Seen::Broken(_) => true,
        Seen::Answered | Seen::Left | Seen::LeftEarly | Seen::Unsaid => false,
    }
}

impl Counts {
    fn count(&self, matching: impl Fn(&Seen) -> bool) -> u64 {
        self.seen.iter().filter(|((_, seen), _)| matching(seen)).map(|(_, count)| count).sum()
    }

    fn show(&self) {
        println!(
            "\n{:<24} {:>8} {:>8} {:>8} {:>8} {:>12}",
            "requests", "answered", "refused", "left", "no head", "Airflow down"
        );
        let mut kinds: Vec<_> = self.seen.keys().map(|(kind, _)| *kind).collect();
        kinds.dedup();
        for kind in kinds {
            let of = |matching: fn(&Seen) -> bool| -> u64 {
                let counts = self.seen.iter();
                let counts = counts.filter(|((of, seen), _)| *of == kind && matching(seen));
                counts.map(|(_, count)| count).sum()
            };
            println!(
                "{kind:<24} {:>8} {:>8} {:>8} {:>8} {:>12}",
                of(|seen| *seen == Seen::Answered),
                of(
                    |seen| matches!(seen, Seen::Refused(reason) if !reason.starts_with("upstream_"))
                ),
                of(|seen| matches!(seen, Seen::Left | Seen::LeftEarly)),
                of(|seen| *seen == Seen::Unsaid),
                self.explained.get(kind).unwrap_or(&0),
            );
        }
    }

    /// What airside counted, and the least and most that the callers' counts allow.
    fn compared(&self, metrics: &str, log: &str) -> Vec<(String, u64, u64, u64)> {
        let sum = |name: &str, parts: &[&str]| -> u64 {
            let lines = metrics.lines().filter(|line| line.starts_with(name));
            let lines = lines.filter(|line| parts.iter().all(|part| line.contains(part)));
            lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
        };
        let early = self.count(|seen| *seen == Seen::LeftEarly);
        // What broke may have been an answer of Airflow's that was cut, or no request at all.
        let broken = self.count(|seen| matches!(seen, Seen::Broken(_)));
        let unsaid = self.count(|seen| *seen == Seen::Unsaid);
        let left = self.count(|seen| *seen == Seen::Left);
        let answered = self.count(|seen| *seen == Seen::Answered);
        let refused = self.count(|seen| matches!(seen, Seen::Refused(_)));
        let certain = answered + refused + left;
        let requests = "airside_requests_total";
        let all = sum(requests, &[]);
        let lines = log.lines().filter(|line| line.contains(" access ")).count();
        let forwarded = sum(requests, &["\"forwarded\""]);
        let mut rows = vec![
            ("requests".to_owned(), all, certain, certain + early + broken),
            ("lines of the access log".to_owned(), lines as u64, all, all),
            ("forwarded".to_owned(), forwarded, answered, answered + left + early + broken),
            (
                "heads given up".to_owned(),
                sum("airside_ended_connections_total", &["late_head"]),
                unsaid,
                unsaid,
            ),
        ];
        let reasons = self.seen.keys().filter_map(|(_, seen)| match seen {
            Seen::Refused(reason) => Some(reason),
            _ => None,
        });
        let reasons: std::collections::BTreeSet<_> = reasons.collect();
        for reason in reasons {
            let exact = self.count(|seen| matches!(seen, Seen::Refused(of) if of == reason));
            let ours = !reason.starts_with("upstream_");
            let most = if ours { exact } else { exact + left + early + broken };
            let counted = sum(requests, &["\"refused\"", &format!("\"{reason}\"")]);
            rows.push((format!("refused as {reason}"), counted, exact, most));
        }
        rows
    }
}
