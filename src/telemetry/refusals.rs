//! The latest refusals, for people who look for what is wrong: the last of all, and of each reason
//! the last few, so that a flood of one does not push out the others.
//!
//! Noting one is bounded whatever strangers send. A reason that comes too often is noted now and
//! then, which costs one atomic load; and no core waits for the lock: what finds it taken is not
//! noted. Everything is counted elsewhere.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::exchange::{Caller, Exchange};
use super::redact;
use crate::clock;
use crate::rejection::Reason;
use crate::route::Class;

/// One request that was refused, or whose answer broke off.
#[derive(Debug)]
pub struct Refusal {
    /// Counted from 1; 0 before it is kept.
    pub number: u64,
    /// When it ended.
    pub time: SystemTime,
    /// Why.
    pub reason: Reason,
    /// The status of the answer.
    pub status: u16,
    /// What the path is for.
    pub class: Class,
    /// The method, by a name that HTTP has; empty where the head was no request.
    pub method: &'static str,
    /// The path without its query, without tokens, and not all of it where it is long.
    pub path: String,
    /// Whether `path` is just what was asked for.
    pub verbatim: bool,
    /// Who called, as far as trusted peers say.
    pub client: IpAddr,
    /// The issuer entry that vouches for the caller, or that the refused token names.
    pub issuer: Option<String>,
    /// The request's id; empty where the head was no request.
    pub request_id: String,
    /// What was found and expected.
    pub found: Option<String>,
}

/// The latest of them, shared by all cores.
#[derive(Debug)]
pub struct Refusals {
    begun: Instant,
    gates: [Gate; Reason::ALL.len()],
    latest: Mutex<Latest>,
}

impl Default for Refusals {
    fn default() -> Self {
        let gates = std::array::from_fn(|_| Gate::default());
        Self { begun: Instant::now(), gates, latest: Mutex::default() }
    }
}

impl Refusals {
    /// Notes how an exchange ended, if that was a refusal and there is room for another of its
    /// reason.
    pub(super) fn note(&self, exchange: &Exchange) {
        let Some(reason) = exchange.reason else { return };
        if self.has_room_for(reason) {
            self.keep(Refusal::of(exchange, reason));
        }
    }

    /// Notes a head that was no request.
    pub(super) fn note_unparsed(&self, status: u16, client: IpAddr, why: &str) {
        if self.has_room_for(Reason::RequestMalformed) {
            self.keep(Refusal::of_unparsed(status, client, why));
        }
    }

    fn has_room_for(&self, reason: Reason) -> bool {
        let now = self.begun.elapsed();
        self.gates.get(reason as usize).is_some_and(|gate| gate.lets_in(now))
    }

    fn keep(&self, refusal: Refusal) {
        let mut latest = match self.latest.try_lock() {
            Ok(latest) => latest,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return,
        };
        latest.keep(refusal);
    }

    /// The latest, the last one first.
    #[must_use]
    pub fn latest(&self) -> Vec<Arc<Refusal>> {
        // Nothing is left half-done behind this lock.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).sorted()
    }
}

/// Of all reasons together.
const MOST: usize = 100;
/// Of each reason at least, if there were as many.
const MOST_OF_A_REASON: usize = 4;
/// A path of Airflow with all its names is shorter.
const MOST_OF_A_PATH: usize = 256;
/// What was found of a claim that is a list may be long.
const MOST_OF_FOUND: usize = 512;

#[derive(Debug, Default)]
struct Latest {
    count: u64,
    all: VecDeque<Arc<Refusal>>,
    by_reason: Vec<VecDeque<Arc<Refusal>>>,
}

impl Latest {
    fn keep(&mut self, mut refusal: Refusal) {
        self.count += 1;
        refusal.number = self.count;
        let index = refusal.reason as usize;
        let refusal = Arc::new(refusal);
        self.by_reason.resize_with(Reason::ALL.len(), VecDeque::new);
        if let Some(reason) = self.by_reason.get_mut(index) {
            push(reason, Arc::clone(&refusal), MOST_OF_A_REASON);
        }
        push(&mut self.all, refusal, MOST);
    }

    fn sorted(&self) -> Vec<Arc<Refusal>> {
        let mut seen = BTreeSet::new();
        let every = self.all.iter().chain(self.by_reason.iter().flatten());
        let mut sorted: Vec<_> =
            every.filter(|refusal| seen.insert(refusal.number)).map(Arc::clone).collect();
        sorted.sort_unstable_by_key(|refusal| std::cmp::Reverse(refusal.number));
        sorted
    }
}

fn push(ring: &mut VecDeque<Arc<Refusal>>, refusal: Arc<Refusal>, most: usize) {
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(refusal);
}

/// Lets some in at once and then so many a second (the generic cell rate algorithm). Between cores it
/// is about right, which is enough.
#[derive(Debug, Default)]
struct Gate {
    /// In milliseconds: when the gate is as it was at first, if nobody comes.
    rests: AtomicU64,
}

/// One for each of those, in the long run.
const PACE: Duration = Duration::from_millis(100);
/// At once, after a pause.
const BURST: u64 = 20;

impl Gate {
    fn lets_in(&self, now: Duration) -> bool {
        let (now, pace) = (millis(now), millis(PACE));
        let rests = self.rests.load(Relaxed).max(now);
        let lets_in = rests - now < BURST * pace;
        if lets_in {
            self.rests.store(rests + pace, Relaxed);
        }
        lets_in
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Refusal {
    fn of(exchange: &Exchange, reason: Reason) -> Self {
        let path = exchange.uri.path();
        let shown = redact::shown(path, MOST_OF_A_PATH);
        let method = redact::method(&exchange.method);
        let found = exchange.found.as_deref().map(|found| redact::shown(found, MOST_OF_FOUND));
        let status = exchange.status.unwrap_or(reason.status());
        let issuer = exchange.caller.as_ref().map(Caller::issuer).or(exchange.named.as_deref());
        Self {
            number: 0,
            time: clock::wall(),
            reason,
            status: status.as_u16(),
            class: exchange.class,
            method,
            verbatim: shown == path && method == exchange.method.as_str(),
            path: shown.into_owned(),
            client: exchange.client,
            issuer: issuer.map(str::to_owned),
            request_id: exchange.request_id.to_str().unwrap_or_default().to_owned(),
            found: found.map(Cow::into_owned),
        }
    }

    fn of_unparsed(status: u16, client: IpAddr, why: &str) -> Self {
        Self {
            number: 0,
            time: clock::wall(),
            reason: Reason::RequestMalformed,
            status,
            class: Class::None,
            method: "",
            verbatim: false,
            path: String::new(),
            client,
            issuer: None,
            request_id: String::new(),
            found: Some(redact::shown(why, MOST_OF_FOUND).into_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(reason: Reason) -> Refusal {
        Refusal {
            number: 0,
            time: clock::wall(),
            reason,
            status: reason.status().as_u16(),
            class: Class::Protected,
            method: "GET",
            path: "/api/v2/dags".to_owned(),
            verbatim: true,
            client: [192, 0, 2, 1].into(),
            issuer: None,
            request_id: String::new(),
            found: None,
        }
    }

    #[test]
    fn a_flood_of_one_reason_does_not_push_out_the_others() {
        let refusals = Refusals::default();
        for _ in 0..=MOST_OF_A_REASON {
            refusals.keep(refusal(Reason::RoleMissing));
        }
        for _ in 0..10 * MOST {
            refusals.keep(refusal(Reason::TokenExpired));
        }
        let latest = refusals.latest();
        let of = |reason| latest.iter().filter(|refusal| refusal.reason == reason).count();
        assert_eq!(of(Reason::RoleMissing), MOST_OF_A_REASON);
        assert_eq!(of(Reason::TokenExpired), MOST);
        assert!(latest.is_sorted_by_key(|refusal| std::cmp::Reverse(refusal.number)));
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let refusals = Refusals::default();
        for round in 0..1000 {
            refusals.keep(refusal(Reason::ALL[round % Reason::ALL.len()]));
        }
        assert!(refusals.latest().len() <= MOST + Reason::ALL.len() * MOST_OF_A_REASON);
    }

    #[test]
    fn what_comes_too_often_is_noted_now_and_then() {
        let gate = Gate::default();
        let let_in = |from: u64, to: u64| {
            (from..to).filter(|now| gate.lets_in(Duration::from_millis(*now))).count()
        };
        let first: Vec<bool> = (0..=BURST).map(|_| gate.lets_in(Duration::ZERO)).collect();
        assert!(first.iter().take(20).all(|let_in| *let_in));
        assert!(!first[20]);
        assert!((99..=101).contains(&let_in(0, 10_000)));
        // Times of other cores may be a little earlier.
        gate.lets_in(Duration::ZERO);
        assert!((20..=22).contains(&let_in(60_000, 60_100)), "as at first after a pause");
    }

    #[test]
    fn nobody_waits_for_who_reads() {
        let refusals = Refusals::default();
        refusals.keep(refusal(Reason::RoleMissing));
        let reading = refusals.latest.lock().unwrap();
        refusals.keep(refusal(Reason::RoleMissing));
        drop(reading);
        assert_eq!(refusals.latest().len(), 1);
    }
}
