//! Where the status comes from: the counters, the key stores, what is in force.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{
    ByReason, Configuration, Counts, History, Issuer, Key, KeySet, Keys, LastFailure, LastReload,
    Latest, Moment, Problem, Recent, Refusals, Series, Status, Traffic, Upstream,
};
use crate::admin::Admin;
use crate::clock;
use crate::generation::Generation;
use crate::jwks::{Algorithm, Details, Failure, KeyStatus, KeyStore, Provenance, by_issuer};
use crate::rejection::Reason;
use crate::shell::quoted;
use crate::telemetry::history::{COARSE, FINE, Past, Slot};
use crate::telemetry::redact;
use crate::telemetry::refusals::Refusal;
use crate::telemetry::reloads::{Fault, Reload};
use crate::telemetry::totals::Totals;

impl Admin {
    /// How everything is at this moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let generation = self.generations.current();
        let totals = self.metrics.totals();
        let past = self.history.past(&totals);
        let readiness = self.health.readiness(&generation.keys, generation.ready_needs_keys);
        Status {
            version: env!("CARGO_PKG_VERSION"),
            time: Moment(clock::now()),
            started: Moment(self.started),
            ready: readiness.is_ready(),
            stage: readiness.stage,
            not_ready_because: readiness.obstacle,
            configuration: self.configuration(&generation),
            issuers: issuers(&generation.keys),
            upstream: upstream(&generation),
            traffic: traffic(&totals, &past),
            refusals: Refusals { by_reason: by_reason(&totals, &past), latest: self.latest() },
            history: History {
                hour: Series::of(&past.hour, FINE),
                day: Series::of(&past.day, COARSE),
            },
        }
    }

    fn latest(&self) -> Vec<Latest> {
        let file = self.config_file.as_deref();
        self.refusals.latest().iter().map(|refusal| latest(refusal, file)).collect()
    }

    fn configuration(&self, generation: &Generation) -> Configuration {
        let reloads = self.metrics.reloads();
        let (applied, rejected) = reloads.counts();
        let revocations = &generation.revocations;
        Configuration {
            generation: generation.number,
            since: Moment(generation.since),
            applied,
            rejected,
            last_reload: reloads.last().map(LastReload::from),
            revocation_entries: revocations.watches().then(|| revocations.entries()),
        }
    }
}

impl From<Reload> for LastReload {
    fn from(reload: Reload) -> Self {
        Self {
            time: Moment(reload.time),
            outcome: if reload.was_applied() { "applied" } else { "rejected" },
            problems: reload.faults.into_iter().map(Problem::from).collect(),
        }
    }
}

impl From<Fault> for Problem {
    fn from(Fault { key, place, found, expected, hint }: Fault) -> Self {
        Self { key, place, found, expected, hint }
    }
}

fn issuers(stores: &[Arc<KeyStore>]) -> Vec<Issuer> {
    let issuer = |(name, status): (&Arc<str>, KeyStatus)| {
        let sets = stores.iter().filter(|store| store.issuer() == name);
        let key_sets = sets.map(|store| KeySet::of(store.status(), store.details())).collect();
        Issuer { name: name.to_string(), keys: Keys::from(status), key_sets }
    };
    by_issuer(stores).into_iter().map(issuer).collect()
}

impl From<KeyStatus> for Keys {
    fn from(status: KeyStatus) -> Self {
        Self {
            state: status.freshness.name(),
            source: status.source.map(Provenance::name),
            age_seconds: status.age.map(|age| age.as_secs()),
            autonomy_seconds: status.autonomy.map(|left| left.as_secs()),
            fetches_ok: status.refreshes.ok,
            fetches_failed: status.refreshes.failed,
        }
    }
}

impl KeySet {
    fn of(status: KeyStatus, details: Details) -> Self {
        let key = |(kid, algorithms): (Option<String>, Vec<Algorithm>)| Key {
            kid: kid.map(bounded),
            algorithms: algorithms.into_iter().map(Algorithm::name).collect(),
        };
        Self {
            from: details.place.map(bounded),
            keys: Keys::from(status),
            next_fetch_seconds: details.next.map(|next| next.as_secs()),
            last_failure: details.failure.map(LastFailure::from),
            usable: details.keys.into_iter().map(key).collect(),
            left_out: details.left_out.into_iter().map(bounded).collect(),
        }
    }
}

impl From<Failure> for LastFailure {
    fn from(Failure { time, why }: Failure) -> Self {
        Self { time: Moment(time), why: bounded(why) }
    }
}

/// A publisher of keys chooses how long its names are.
fn bounded(text: String) -> String {
    match redact::cut(&text, 512) {
        Cow::Borrowed(_) => text,
        Cow::Owned(cut) => cut,
    }
}

fn upstream(generation: &Generation) -> Vec<Upstream> {
    let addresses = generation.upstream.addresses.iter();
    let shown = addresses.map(|address| {
        let (ok, failed) = address.connections();
        Upstream {
            address: address.name().to_owned(),
            up: !address.health().is_out(),
            connections_ok: ok,
            connections_failed: failed,
        }
    });
    shown.collect()
}

/// Slots of the hour.
const FIVE_MINUTES: usize = 30;

fn traffic(totals: &Totals, past: &Past) -> Traffic {
    let slots = past.hour.iter().rev().take(FIVE_MINUTES);
    let seconds = slots.clone().map(|slot| slot.span.as_secs_f64()).sum();
    let recent = sum(slots);
    let quantile = |share| recent.durations.quantile(share).map(|bound| bound.as_secs_f64());
    Traffic {
        connections: totals.connections,
        in_flight: totals.in_flight,
        since_start: Counts::of(totals),
        last_five_minutes: Recent {
            seconds,
            counts: Counts::of(&recent),
            p50_seconds: quantile(0.5),
            p95_seconds: quantile(0.95),
            p99_seconds: quantile(0.99),
        },
    }
}

fn sum<'s>(slots: impl Iterator<Item = &'s Slot>) -> Totals {
    slots.fold(Totals::default(), |sum, slot| sum.and(&slot.counted))
}

impl Counts {
    fn of(totals: &Totals) -> Self {
        let [one, two, three, four, five] = totals.forwarded;
        Self {
            requests: totals.requests(),
            forwarded_1xx: one,
            forwarded_2xx: two,
            forwarded_3xx: three,
            forwarded_4xx: four,
            forwarded_5xx: five,
            answered: totals.answered,
            abandoned: totals.abandoned,
            refused: totals.refused.all(),
            unparsed: totals.unparsed,
            shed_connections: totals.shed,
        }
    }
}

fn by_reason(totals: &Totals, past: &Past) -> Vec<ByReason> {
    let hour = sum(past.hour.iter());
    let recent = sum(past.hour.iter().rev().take(FIVE_MINUTES));
    let row = |reason: Reason| ByReason {
        reason: reason.name(),
        status: reason.status().as_u16(),
        since_start: totals.refused.of(reason),
        last_hour: hour.refused.of(reason),
        last_five_minutes: recent.refused.of(reason),
        meaning: reason.sentence(),
        section: reason.help().to_string(),
    };
    let mut rows: Vec<_> =
        Reason::ALL.into_iter().map(row).filter(|row| row.since_start > 0).collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.last_hour, row.since_start)));
    rows
}

fn latest(refusal: &Refusal, file: Option<&Path>) -> Latest {
    Latest {
        number: refusal.number,
        why: refusal.reason,
        time: Moment::of(refusal.time),
        reason: refusal.reason.name(),
        status: refusal.status,
        class: refusal.class.name(),
        method: refusal.method,
        path: refusal.path.clone(),
        client: refusal.client.to_string(),
        issuer: refusal.issuer.clone(),
        request_id: refusal.request_id.clone(),
        found: refusal.found.clone(),
        explain: explain(refusal, file),
    }
}

/// A token is what `explain` reads; it asks for it on its standard input. The rules of the path count
/// only where the whole path is known.
fn explain(refusal: &Refusal, file: Option<&Path>) -> Option<String> {
    let of_a_token = matches!(refusal.reason.status().as_u16(), 401 | 403)
        && !matches!(
            refusal.reason,
            Reason::CredentialMissing
                | Reason::CrossSite
                | Reason::CallerUntrusted
                | Reason::AccessClosed
        );
    let mut command = match file {
        Some(file) => format!("airside explain -c {} -", quoted(&file.to_string_lossy())),
        None => "airside explain -".to_owned(),
    };
    if refusal.verbatim {
        let request = format!("{} {}", refusal.method, refusal.path);
        command = format!("{command} --request {}", quoted(&request));
    }
    of_a_token.then_some(command)
}

impl Series {
    fn of(slots: &[Slot], interval: Duration) -> Self {
        let column = |read: &dyn Fn(&Totals) -> u64| -> Vec<u64> {
            slots.iter().map(|slot| read(&slot.counted)).collect()
        };
        let counts = |read: fn(Counts) -> u64| column(&|totals| read(Counts::of(totals)));
        let occurred = sum(slots.iter()).refused;
        let reasons = Reason::ALL.into_iter().filter(|reason| occurred.of(*reason) > 0);
        let refused =
            reasons.map(|reason| (reason.name(), column(&|totals| totals.refused.of(reason))));
        let p95 = |slot: &Slot| Some(slot.counted.durations.quantile(0.95)?.as_secs_f64());
        Self {
            interval_seconds: interval.as_secs(),
            ended: slots.iter().map(|slot| slot.ended.unix()).collect(),
            seconds: slots.iter().map(|slot| slot.span.as_secs_f64()).collect(),
            forwarded_1xx: counts(|counts| counts.forwarded_1xx),
            forwarded_2xx: counts(|counts| counts.forwarded_2xx),
            forwarded_3xx: counts(|counts| counts.forwarded_3xx),
            forwarded_4xx: counts(|counts| counts.forwarded_4xx),
            forwarded_5xx: counts(|counts| counts.forwarded_5xx),
            answered: counts(|counts| counts.answered),
            abandoned: counts(|counts| counts.abandoned),
            refused: refused.collect(),
            connections: column(&|totals| totals.connections),
            in_flight: column(&|totals| totals.in_flight),
            p95_seconds: slots.iter().map(p95).collect(),
        }
    }
}
