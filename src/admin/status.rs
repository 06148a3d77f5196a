//! What `/status` says, as data: the page shows the same. Documented in `docs/reference/status.md`,
//! which a test holds against what is served.

mod gather;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;
use serde::{Serialize, Serializer};

use crate::clock::Timestamp;
use crate::rejection::Reason;

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
