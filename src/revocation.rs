//! Tokens that are refused although they verify: the list of them, and whether a token is on it.
//!
//! A list is one value that is swapped as a whole ([`document`] reads it, [`watch`] notices that the
//! file has changed). What was not on one list has to be asked again of the next, so each has a
//! generation: while that stays, a remembered caller costs one comparison.

pub mod document;
pub mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Context, SHA256};

use crate::clock::Timestamp;
use crate::rejection::{Reason, Rejection};

/// The list in force, as every core reads it.
#[derive(Debug)]
pub struct Revocations {
    issuers: Vec<Watched>,
    current: ArcSwap<Published>,
    generation: AtomicU64,
    reloads: [AtomicU64; Reload::ALL.len()],
}

/// One issuer, in the verifier's order: what an entry of the list may say of it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The name of the configuration entry.
    pub name: Arc<str>,
    /// The claim that holds the user name, which is a subject beside `sub`.
    pub username_claim: String,
}

#[derive(Debug)]
struct Published {
    list: List,
    generation: u64,
}

/// Proof that a token was not on the list, and what it takes to ask again: of fixed size, whatever
/// the token holds.
#[derive(Debug)]
pub struct Clearance {
    issuer: usize,
    marks: Box<[Mark]>,
    generation: AtomicU64,
}

impl Revocations {
    /// The list of a configuration without one: nothing is revoked, and nothing is remembered.
    #[must_use]
    pub fn none() -> Self {
        Self::new(List::default(), Vec::new())
    }

    /// This list, about tokens of these issuers.
    #[must_use]
    pub fn new(list: List, issuers: Vec<Watched>) -> Self {
        Self {
            issuers,
            current: ArcSwap::from_pointee(Published { list, generation: 0 }),
            generation: AtomicU64::new(0),
            reloads: Default::default(),
        }
    }

    /// Judges a token of the issuer at this place by its string claims and its `kid`.
    pub fn clear<'c>(
        &self,
        issuer: usize,
        claim: impl Fn(&str) -> Option<&'c str>,
        kid: Option<&str>,
        now: Timestamp,
    ) -> Result<Clearance, Rejection> {
        let marks = match self.issuers.get(issuer) {
            Some(watched) => marks(watched, claim, kid),
            None => Vec::new(),
        };
        let generation = AtomicU64::new(UNASKED);
        let clearance = Clearance { issuer, marks: marks.into(), generation };
        self.recheck(&clearance, now)?;
        Ok(clearance)
    }

    /// Judges the same token again: at no cost while the list is the one that cleared it.
    pub fn recheck(&self, clearance: &Clearance, now: Timestamp) -> Result<(), Rejection> {
        // Entries run out with time but never begin, so what a list has cleared it goes on clearing.
        let generation = self.generation.load(Ordering::Acquire);
        if clearance.generation.load(Ordering::Relaxed) == generation {
            return Ok(());
        }
        let current = self.current.load();
        if let Some(found) = current.list.revokes(clearance, now) {
            return Err(Rejection::found_that(Reason::TokenRevoked, found));
        }
        clearance.generation.store(current.generation, Ordering::Relaxed);
        Ok(())
    }

    /// How many entries the list in force has, those that have run out included.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.current.load().list.entries
    }

    /// How often a changed file had this outcome.
    #[must_use]
    pub fn reloads(&self, outcome: Reload) -> u64 {
        self.reloads.get(outcome as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Whether there is a list at all.
    #[must_use]
    pub const fn watches(&self) -> bool {
        !self.issuers.is_empty()
    }

    /// Puts another list in force. For the one task that watches the file.
    fn publish(&self, list: List) {
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        self.current.store(Arc::new(Published { list, generation }));
        // After the list: whoever sees the number finds the list behind it.
        self.generation.store(generation, Ordering::Release);
    }

    fn count(&self, outcome: Reload) {
        if let Some(count) = self.reloads.get(outcome as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// No list has this generation.
const UNASKED: u64 = u64::MAX;

/// What became of a changed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// Its list is in force.
    Loaded,
    /// Something is wrong with it; the list before it stays.
    Rejected,
    /// It cannot be read any more; the list that was in it stays.
    Unreadable,
}

impl Reload {
    /// Every outcome, in the order of its discriminant.
    pub const ALL: [Self; 3] = [Self::Loaded, Self::Rejected, Self::Unreadable];

    /// The name in the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Rejected => "rejected",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The entries of one file.
#[derive(Debug, Default)]
pub struct List {
    rules: HashMap<Mark, Vec<Rule>>,
    entries: u64,
}

/// What an entry says beyond the value that it names.
#[derive(Debug)]
struct Rule {
    /// Only tokens of the issuer at this place; `None`: of all.
    issuer: Option<usize>,
    until: Option<Timestamp>,
    field: Field,
    line: u64,
    reason: Option<String>,
}

impl List {
    fn add(&mut self, mark: Mark, rule: Rule) {
        self.rules.entry(mark).or_default().push(rule);
        self.entries += 1;
    }

    /// The entry that revokes the token, for the log.
    fn revokes(&self, clearance: &Clearance, now: Timestamp) -> Option<String> {
        let rules = clearance.marks.iter().filter_map(|mark| self.rules.get(mark)).flatten();
        let holds = |rule: &&Rule| {
            rule.issuer.is_none_or(|issuer| issuer == clearance.issuer)
                && rule.until.is_none_or(|until| now < until)
        };
        rules.into_iter().find(holds).map(|rule| {
            let (field, line) = (rule.field.name(), rule.line);
            let reason = rule.reason.as_deref().map_or(String::new(), |text| format!(": {text}"));
            format!("its {field} is in line {line} of the revocation list{reason}")
        })
    }
}

/// What an entry can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Jti,
    Subject,
    Client,
    Kid,
}

impl Field {
    const ALL: [Self; 4] = [Self::Jti, Self::Subject, Self::Client, Self::Kid];

    const fn name(self) -> &'static str {
        match self {
            Self::Jti => "jti",
            Self::Subject => "subject",
            Self::Client => "client",
            Self::Kid => "kid",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

/// A value under its name, as the first half of a digest: any length takes the same room, and what
/// is remembered of a caller for this cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Mark([u8; 16]);

impl Mark {
    fn of(field: Field, value: &str) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(field.name().as_bytes());
        context.update(b":");
        context.update(value.as_bytes());
        let digest = context.finish();
        let mut mark = [0; 16];
        for (byte, from) in mark.iter_mut().zip(digest.as_ref()) {
            *byte = *from;
        }
        Self(mark)
    }
}

/// Everything of a token that an entry can name. Entra calls its `jti` `uti`, and the client `azp`
/// in v2 and `appid` in v1 tokens.
fn marks<'c>(
    watched: &Watched,
    claim: impl Fn(&str) -> Option<&'c str>,
    kid: Option<&str>,
) -> Vec<Mark> {
    let claims = [
        (Field::Jti, "jti"),
        (Field::Jti, "uti"),
        (Field::Subject, "sub"),
        (Field::Subject, watched.username_claim.as_str()),
        (Field::Client, "azp"),
        (Field::Client, "appid"),
    ];
    let mut marks: Vec<Mark> = Vec::with_capacity(claims.len() + 1);
    let values = claims.into_iter().filter_map(|(field, name)| Some((field, claim(name)?)));
    for (field, value) in values.chain(kid.map(|kid| (Field::Kid, kid))) {
        let mark = Mark::of(field, value);
        if !marks.contains(&mark) {
            marks.push(mark);
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_000);

    fn watched() -> Vec<Watched> {
        let issuer = |name: &str, username_claim: &str| Watched {
            name: name.into(),
            username_claim: username_claim.into(),
        };
        vec![issuer("entra", "oid"), issuer("airflow", "sub")]
    }

    fn list(text: &str) -> List {
        document::parse(text.as_bytes(), Some(&watched())).unwrap()
    }

    fn claim(name: &str) -> Option<&'static str> {
        match name {
            "jti" => Some("j"),
            "uti" => Some("u"),
            "sub" => Some("s"),
            "oid" => Some("o"),
            "azp" => Some("z"),
            "appid" => Some("a"),
            _ => None,
        }
    }

    fn clear(list: &Revocations, issuer: usize, now: Timestamp) -> Result<Clearance, Rejection> {
        list.clear(issuer, claim, Some("k"), now)
    }

    #[test]
    fn an_entry_names_one_value_of_a_token_exactly() {
        for (entry, entra, airflow) in [
            ("{jti: j}", true, true),
            ("{jti: u}", true, true),
            ("{subject: s}", true, true),
            ("{subject: o}", true, false),
            ("{client: z}", true, true),
            ("{client: a}", true, true),
            ("{kid: k}", true, true),
            ("{issuer: entra, jti: j}", true, false),
            ("{issuer: airflow, kid: k}", false, true),
            ("{jti: s}", false, false),
            ("{jti: J}", false, false),
            ("{subject: j}", false, false),
            ("{kid: ka}", false, false),
            ("{jti: j, until: 1000}", false, false),
            ("{jti: j, until: 1001}", true, true),
            ("{jti: j, until: '1970-01-01T00:16:41Z'}", true, true),
        ] {
            let list = Revocations::new(list(&format!("[{entry}]")), watched());
            for (issuer, expected) in [(0, entra), (1, airflow)] {
                let refused = clear(&list, issuer, NOW).map(|_| ()).map_err(|r| r.reason());
                let expected = if expected { Err(Reason::TokenRevoked) } else { Ok(()) };
                assert_eq!(refused, expected, "{entry} of issuer {issuer}");
            }
        }
    }

    #[test]
    fn what_one_list_cleared_is_asked_of_the_next() {
        let revocations = Revocations::new(list("[]"), watched());
        let clearance = clear(&revocations, 0, NOW).unwrap();
        assert!(revocations.recheck(&clearance, NOW).is_ok());
        revocations.publish(list("[{jti: u, reason: lost laptop}]"));
        let refused = revocations.recheck(&clearance, NOW).unwrap_err();
        assert_eq!(refused.reason(), Reason::TokenRevoked);
        let found = "its jti is in line 1 of the revocation list: lost laptop";
        assert_eq!(refused.found(), Some(found));
        assert!(revocations.recheck(&clearance, NOW).is_err(), "and goes on being refused");
        revocations.publish(list("[]"));
        assert!(revocations.recheck(&clearance, NOW).is_ok());
    }

    #[test]
    fn an_entry_that_runs_out_lets_the_token_in_again() {
        let revocations = Revocations::new(list("[]"), watched());
        let clearance = clear(&revocations, 0, NOW).unwrap();
        revocations.publish(list("[{jti: j, until: 2000}]"));
        assert!(revocations.recheck(&clearance, Timestamp::from_unix(1_999)).is_err());
        assert!(revocations.recheck(&clearance, Timestamp::from_unix(2_000)).is_ok());
    }

    #[test]
    fn of_a_caller_little_is_remembered_and_nothing_without_a_list() {
        let long = "x".repeat(30_000);
        let claim = |name: &str| (name == "sub").then_some(long.as_str());
        let revocations = Revocations::new(list("[]"), watched());
        assert_eq!(revocations.clear(0, claim, None, NOW).unwrap().marks.len(), 1);
        assert_eq!(clear(&revocations, 0, NOW).unwrap().marks.len(), 7);
        assert!(clear(&Revocations::none(), 0, NOW).unwrap().marks.is_empty());
    }
}
