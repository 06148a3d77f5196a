//! What `/status` says, as data: the page shows the same. Documented in `docs/reference/status.md`,
//! which a test holds against what is served.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;
use serde::{Serialize, Serializer};

use super::Admin;
use crate::clock::{self, Timestamp};
use crate::generation::Generation;
use crate::jwks::{Algorithm, Details, Failure, KeyStatus, KeyStore, Provenance, by_issuer};
use crate::rejection::Reason;
use crate::shell::quoted;
use crate::telemetry::history::{COARSE, FINE, Past, Slot};
use crate::telemetry::refusals::Refusal;
use crate::telemetry::reloads::{Fault, Reload};
use crate::telemetry::totals::Totals;

/// Everything.
#[derive(Debug, Serialize)]
pub struct Status {
    pub(super) version: &'static str,
    pub(super) time: Moment,
    pub(super) started: Moment,
    pub(super) ready: bool,
    pub(super) stage: &'static str,
    pub(super) not_ready_because: Option<String>,
    pub(super) configuration: Configuration,
    pub(super) issuers: Vec<Issuer>,
    pub(super) upstream: Vec<Upstream>,
    pub(super) traffic: Traffic,
    pub(super) refusals: Refusals,
    pub(super) history: History,
}

/// An instant, shown as RFC 3339 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) Timestamp);

/// What is in force, and what became of what was to take its place.
#[derive(Debug, Serialize)]
pub(super) struct Configuration {
    pub(super) generation: u64,
    pub(super) since: Moment,
    pub(super) applied: u64,
    pub(super) rejected: u64,
    pub(super) last_reload: Option<LastReload>,
    /// Entries of the revocation list; `None` where there is no such file.
    pub(super) revocation_entries: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct LastReload {
    pub(super) time: Moment,
    pub(super) outcome: &'static str,
    pub(super) problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
pub(super) struct Problem {
    pub(super) key: String,
    pub(super) place: String,
    pub(super) found: String,
    pub(super) expected: String,
    pub(super) hint: Option<String>,
}

/// An entry of `issuers`; with several key sets the worst of each.
#[derive(Debug, Serialize)]
pub(super) struct Issuer {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) keys: Keys,
    pub(super) key_sets: Vec<KeySet>,
}

#[derive(Debug, Serialize)]
pub(super) struct Keys {
    /// `fresh`, `stale` or `none`.
    #[serde(rename = "keys")]
    pub(super) state: &'static str,
    pub(super) source: Option<&'static str>,
    pub(super) age_seconds: Option<u64>,
    /// For how long they would serve if no fetch succeeded from now on.
    pub(super) autonomy_seconds: Option<u64>,
    pub(super) fetches_ok: u64,
    pub(super) fetches_failed: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct KeySet {
    pub(super) from: Option<String>,
    #[serde(flatten)]
    pub(super) keys: Keys,
    pub(super) next_fetch_seconds: Option<u64>,
    pub(super) last_failure: Option<LastFailure>,
    pub(super) usable: Vec<Key>,
    pub(super) left_out: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct LastFailure {
    pub(super) time: Moment,
    pub(super) why: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Key {
    pub(super) kid: Option<String>,
    pub(super) algorithms: Vec<&'static str>,
}

/// An address of Airflow.
#[derive(Debug, Serialize)]
pub(super) struct Upstream {
    pub(super) address: String,
    pub(super) up: bool,
    pub(super) connections_ok: u64,
    pub(super) connections_failed: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Traffic {
    pub(super) connections: u64,
    pub(super) in_flight: u64,
    pub(super) since_start: Counts,
    pub(super) last_five_minutes: Recent,
}

/// Requests by how they ended.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) forwarded_1xx: u64,
    pub(super) forwarded_2xx: u64,
    pub(super) forwarded_3xx: u64,
    pub(super) forwarded_4xx: u64,
    pub(super) forwarded_5xx: u64,
    pub(super) answered: u64,
    pub(super) abandoned: u64,
    pub(super) refused: u64,
    pub(super) unparsed: u64,
    pub(super) shed_connections: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Recent {
    pub(super) seconds: f64,
    #[serde(flatten)]
    pub(super) counts: Counts,
    /// Upper bounds of histogram buckets, in seconds.
    pub(super) p50_seconds: Option<f64>,
    pub(super) p95_seconds: Option<f64>,
    pub(super) p99_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Refusals {
    /// Those that occurred since the start, the most frequent of the last hour first.
    pub(super) by_reason: Vec<ByReason>,
    /// The last one first.
    pub(super) latest: Vec<Latest>,
}

#[derive(Debug, Serialize)]
pub(super) struct ByReason {
    pub(super) reason: &'static str,
    pub(super) status: u16,
    pub(super) since_start: u64,
    pub(super) last_hour: u64,
    pub(super) last_five_minutes: u64,
    /// What the caller is told.
    pub(super) meaning: &'static str,
    /// Where to read on.
    pub(super) section: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Latest {
    /// Which one it is, for the page: ids of requests are chosen by trusted peers.
    #[serde(skip)]
    pub(super) number: u64,
    #[serde(skip)]
    pub(super) why: Reason,
    pub(super) time: Moment,
    pub(super) reason: &'static str,
    pub(super) status: u16,
    pub(super) class: &'static str,
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) client: String,
    pub(super) issuer: Option<String>,
    pub(super) request_id: String,
    pub(super) found: Option<String>,
    /// The command that says step by step what is wrong with such a token.
    pub(super) explain: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct History {
    pub(super) hour: Series,
    pub(super) day: Series,
}

/// Columns of the same length, the oldest slot first; the last slot is not over yet.
#[derive(Debug, Default, Serialize)]
pub(super) struct Series {
    pub(super) interval_seconds: u64,
    /// Unix time of each slot's end.
    pub(super) ended: Vec<u64>,
    pub(super) seconds: Vec<f64>,
    pub(super) forwarded_1xx: Vec<u64>,
    pub(super) forwarded_2xx: Vec<u64>,
    pub(super) forwarded_3xx: Vec<u64>,
    pub(super) forwarded_4xx: Vec<u64>,
    pub(super) forwarded_5xx: Vec<u64>,
    pub(super) answered: Vec<u64>,
    pub(super) abandoned: Vec<u64>,
    /// Of the reasons that occurred.
    pub(super) refused: BTreeMap<&'static str, Vec<u64>>,
    pub(super) connections: Vec<u64>,
    pub(super) in_flight: Vec<u64>,
    pub(super) p95_seconds: Vec<Option<f64>>,
}

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
            refusals: Refusals {
                by_reason: by_reason(&totals, &past),
                latest: self.refusals.latest().iter().map(|refusal| latest(refusal)).collect(),
            },
            history: History {
                hour: Series::of(&past.hour, FINE),
                day: Series::of(&past.day, COARSE),
            },
        }
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
fn bounded(mut text: String) -> String {
    const MOST: usize = 512;
    if text.len() > MOST {
        text.truncate(text.floor_char_boundary(MOST));
        text.push('…');
    }
    text
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
        section: section(reason),
    };
    let mut rows: Vec<_> =
        Reason::ALL.into_iter().map(row).filter(|row| row.since_start > 0).collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.last_hour, row.since_start)));
    rows
}

/// Where causes and cures of it are written down.
pub(super) fn section(reason: Reason) -> String {
    format!("docs/troubleshooting.md#{}", reason.name())
}

fn latest(refusal: &Refusal) -> Latest {
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
        explain: explain(refusal),
    }
}

/// A token is what `explain` reads; it asks for it on its standard input. The rules of the path count
/// only where the whole path is known.
fn explain(refusal: &Refusal) -> Option<String> {
    let of_a_token = matches!(refusal.reason.status().as_u16(), 401 | 403)
        && !matches!(
            refusal.reason,
            Reason::CredentialMissing | Reason::CrossSite | Reason::AccessClosed
        );
    let request = format!("{} {}", refusal.method, refusal.path);
    let asked = if refusal.verbatim {
        format!("airside explain - --request {}", quoted(&request))
    } else {
        "airside explain -".to_owned()
    };
    of_a_token.then_some(asked)
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

impl Moment {
    fn of(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Timestamp::from_unix(since_epoch.as_secs()))
    }

    /// Seconds from then to `now`.
    pub(super) const fn age(self, now: Self) -> u64 {
        now.0.unix().saturating_sub(self.0.unix())
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = UNIX_EPOCH + Duration::from_secs(self.0.unix());
        write!(f, "{}", format_rfc3339_seconds(time))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
