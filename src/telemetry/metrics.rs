//! Every metric: its name, its help, and where it is counted. Labels are closed sets, so nothing a
//! stranger sends can make a new series.
//!
//! Each core counts for itself in plain atomics, without a lock or a hash; a scrape adds them up.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use tracing_appender::non_blocking::ErrorCounter;

use super::exchange::Exchange;
use super::reloads::Reloads;
use super::totals::{Durations, Totals};
use super::trace::export::Counts;
use crate::clock::Timestamp;
use crate::downstream::head::Ending;
use crate::jwks::{Freshness, KeyStatus, KeyStore, Provenance, by_issuer};
use crate::rejection::Reason;
use crate::revocation::{Reload, Revocations};
use crate::route::Class;
use crate::upstream::address::Address;

/// The counters of one core.
#[derive(Debug)]
pub struct CoreMetrics {
    requests: Vec<AtomicU64>,
    in_flight: InFlight,
    connections: AtomicU64,
    shed: AtomicU64,
    ended: [AtomicU64; Ending::ALL.len()],
    unparsed: AtomicU64,
    total: Histogram,
    verify: Histogram,
    upstream: Histogram,
}

/// The requests being served by all cores together: the limit on them is one number.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<AtomicU64>);

impl InFlight {
    /// How many there are now.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl CoreMetrics {
    /// Counters of a core that counts its requests in flight together with the others.
    #[must_use]
    pub fn new(in_flight: InFlight) -> Self {
        Self {
            requests: (0..Class::ALL.len() * Outcome::COUNT).map(|_| AtomicU64::new(0)).collect(),
            in_flight,
            connections: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            ended: Default::default(),
            unparsed: AtomicU64::new(0),
            total: Histogram::default(),
            verify: Histogram::default(),
            upstream: Histogram::default(),
        }
    }

    /// A connection was accepted.
    pub fn connection_opened(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// A connection has ended.
    pub fn connection_closed(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// How many requests all cores serve.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.now()
    }

    /// A connection was turned away because there are too many.
    pub fn connection_shed(&self) {
        self.shed.fetch_add(1, Relaxed);
    }

    /// We ended a connection, or a stream of one, for what its client did.
    pub fn connection_ended(&self, ending: Ending) {
        if let Some(counter) = self.ended.get(ending as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// A request head could not be parsed; the HTTP library answered it.
    pub fn unparsed(&self) {
        self.unparsed.fetch_add(1, Relaxed);
    }

    pub(super) fn request_begins(&self) {
        self.in_flight.0.fetch_add(1, Relaxed);
    }

    pub(super) fn request_ended(&self, exchange: &Exchange) {
        self.in_flight.0.fetch_sub(1, Relaxed);
        let index = exchange.class as usize * Outcome::COUNT + Outcome::of(exchange).index();
        if let Some(counter) = self.requests.get(index) {
            counter.fetch_add(1, Relaxed);
        }
        self.total.observe(exchange.begun.elapsed());
        if let Some(span) = exchange.verify {
            self.verify.observe(span);
        }
        if let Some(span) = exchange.upstream {
            self.upstream.observe(span);
        }
    }

    /// How many requests ended so, whatever their class.
    fn ended_by(&self, outcome: Outcome) -> u64 {
        let of_each_class = self.requests.iter().skip(outcome.index()).step_by(Outcome::COUNT);
        of_each_class.map(|counter| counter.load(Relaxed)).sum()
    }
}

/// How a request ended.
#[derive(Clone, Copy)]
enum Outcome {
    /// Airflow answered, with a status of this hundred.
    Forwarded(u8),
    /// We gave a token for a token, or another proxy a yes.
    Answered,
    /// The client went away before the end of an answer.
    Abandoned,
    /// We refused, or the answer broke off.
    Refused(Reason),
}

impl Outcome {
    const HUNDREDS: usize = 5;
    const COUNT: usize = Self::HUNDREDS + 2 + Reason::ALL.len();

    fn of(exchange: &Exchange) -> Self {
        match (exchange.reason, exchange.status) {
            (Some(reason), _) => Self::Refused(reason),
            (None, _) if exchange.cut => Self::Abandoned,
            (None, Some(_)) if exchange.asked_by_proxy || exchange.class == Class::Exchange => {
                Self::Answered
            }
            (None, None) => Self::Abandoned,
            (None, Some(status)) => {
                Self::Forwarded(u8::try_from(status.as_u16() / 100).unwrap_or(5).clamp(1, 5))
            }
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        (1..=5)
            .map(Self::Forwarded)
            .chain([Self::Abandoned, Self::Answered])
            .chain(Reason::ALL.into_iter().map(Self::Refused))
    }

    const fn index(self) -> usize {
        match self {
            Self::Forwarded(hundred) => hundred as usize - 1,
            Self::Abandoned => Self::HUNDREDS,
            Self::Answered => Self::HUNDREDS + 1,
            Self::Refused(reason) => Self::HUNDREDS + 2 + reason as usize,
        }
    }

    const fn labels(self) -> [(&'static str, &'static str); 3] {
        let (outcome, code, reason) = match self {
            Self::Forwarded(1) => ("forwarded", "1xx", ""),
            Self::Forwarded(2) => ("forwarded", "2xx", ""),
            Self::Forwarded(3) => ("forwarded", "3xx", ""),
            Self::Forwarded(4) => ("forwarded", "4xx", ""),
            Self::Forwarded(_) => ("forwarded", "5xx", ""),
            Self::Abandoned => ("abandoned", "", ""),
            Self::Answered => ("answered", "2xx", ""),
            Self::Refused(reason) => ("refused", "", reason.name()),
        };
        [("outcome", outcome), ("code", code), ("reason", reason)]
    }
}

/// A histogram of seconds that costs two additions.
#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// Upper bounds in seconds: a cached verification takes microseconds, a wait for a run minutes.
const BOUNDS: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0,
    100.0,
];

impl Histogram {
    fn observe(&self, span: Duration) {
        let seconds = span.as_secs_f64();
        let index = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(1, Relaxed);
        }
        self.micros.fetch_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How many spans are in that bucket.
    fn held(&self, index: usize) -> u64 {
        self.buckets.get(index).map_or(0, |bucket| bucket.load(Relaxed))
    }
}

/// What a scrape reads for as long as the program runs.
#[derive(Debug)]
pub struct Metrics {
    cores: Vec<Arc<CoreMetrics>>,
    lost_lines: ErrorCounter,
    reloads: Arc<Reloads>,
}

/// What it reads of the configuration in force.
#[derive(Debug)]
pub struct InForce {
    /// 1 at the start, one more with each configuration taken up.
    pub number: u64,
    /// Since when.
    pub since: Timestamp,
    /// The key sets.
    pub keys: Vec<Arc<KeyStore>>,
    /// The list of revoked tokens.
    pub revocations: Arc<Revocations>,
    /// The addresses of Airflow.
    pub upstream: Arc<[Arc<Address>]>,
    /// What became of spans, where they are wanted.
    pub spans: Option<Arc<Counts>>,
}

impl Metrics {
    /// The metrics of these cores, of the log and of configurations taken up.
    #[must_use]
    pub const fn new(
        cores: Vec<Arc<CoreMetrics>>,
        lost_lines: ErrorCounter,
        reloads: Arc<Reloads>,
    ) -> Self {
        Self { cores, lost_lines, reloads }
    }

    /// What has been counted of requests so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let sum =
            |read: &dyn Fn(&CoreMetrics) -> u64| self.cores.iter().map(|core| read(core)).sum();
        let ended = |outcome: Outcome| sum(&|core| core.ended_by(outcome));
        let buckets = BOUNDS.into_iter().chain([f64::INFINITY]).enumerate();
        let held = |index| sum(&|core: &CoreMetrics| core.total.held(index));
        let mut totals = Totals {
            forwarded: [1, 2, 3, 4, 5].map(|hundred| ended(Outcome::Forwarded(hundred))),
            answered: ended(Outcome::Answered),
            abandoned: ended(Outcome::Abandoned),
            unparsed: sum(&|core| core.unparsed.load(Relaxed)),
            shed: sum(&|core| core.shed.load(Relaxed)),
            durations: Durations(buckets.map(|(index, bound)| (bound, held(index))).collect()),
            connections: sum(&CoreMetrics::connections),
            in_flight: self.cores.first().map_or(0, |core| core.in_flight()),
            ..Totals::default()
        };
        for (count, reason) in totals.refused.0.iter_mut().zip(Reason::ALL) {
            *count = ended(Outcome::Refused(reason));
        }
        totals
    }

    /// What became of further configurations.
    #[must_use]
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// The OpenMetrics text.
    #[must_use]
    pub fn encode(&self, in_force: InForce) -> String {
        let mut registry = Registry::with_prefix("airside");
        let sources = Sources {
            cores: self.cores.clone(),
            lost_lines: self.lost_lines.clone(),
            reloads: Arc::clone(&self.reloads),
            in_force,
        };
        registry.register_collector(Box::new(sources));
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut text, &registry);
        text
    }
}

#[derive(Debug)]
struct Sources {
    cores: Vec<Arc<CoreMetrics>>,
    lost_lines: ErrorCounter,
    reloads: Arc<Reloads>,
    in_force: InForce,
}

impl Sources {
    fn sum(&self, read: impl Fn(&CoreMetrics) -> &AtomicU64) -> u64 {
        self.cores.iter().map(|core| read(core).load(Relaxed)).sum()
    }

    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests by class of path, outcome, status of Airflow's answer, and reason";
        let mut metric = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for class in Class::ALL {
            for outcome in Outcome::all() {
                let index = class as usize * Outcome::COUNT + outcome.index();
                let count: u64 = self
                    .cores
                    .iter()
                    .filter_map(|core| core.requests.get(index))
                    .map(|counter| counter.load(Relaxed))
                    .sum();
                if count > 0 {
                    let [outcome, code, reason] = outcome.labels();
                    let labels = [("class", class.name()), outcome, code, reason];
                    ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }

    fn counter(
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        count: u64,
    ) -> fmt::Result {
        let count = ConstCounter::new(count);
        count.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    fn gauge(
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: u64,
    ) -> fmt::Result {
        let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        value.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    fn histogram(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        read: impl Fn(&CoreMetrics) -> &Histogram,
    ) -> fmt::Result {
        let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(BOUNDS.len() + 1);
        for (index, bound) in BOUNDS.iter().copied().chain([f64::INFINITY]).enumerate() {
            let counts = self.cores.iter().filter_map(|core| read(core).buckets.get(index));
            buckets.push((bound, counts.map(|bucket| bucket.load(Relaxed)).sum()));
        }
        let count = buckets.iter().map(|(_, count)| count).sum();
        let micros = self.sum(|core| &read(core).micros);
        let seconds = Duration::from_micros(micros).as_secs_f64();
        encoder
            .encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?
            .encode_histogram::<[(&str, &str); 0]>(seconds, count, &buckets, None)
    }

    fn configuration(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Configurations read while running, by what became of them";
        let kind = MetricType::Counter;
        let mut reloads = encoder.encode_descriptor("config_reloads", help, None, kind)?;
        let (applied, rejected) = self.reloads.counts();
        for (result, count) in [("applied", applied), ("rejected", rejected)] {
            let count = ConstCounter::new(count);
            count.encode(reloads.encode_family(&[("result", result)])?)?;
        }
        let help =
            "Whether the last configuration that was read is in force: 0 while it is refused";
        let last_is_in_force = self.reloads.last().is_none_or(|last| last.was_applied());
        Self::gauge(encoder, "config_last_reload_successful", help, last_is_in_force.into())?;
        let help = "Number of the configuration in force: 1 at the start";
        Self::gauge(encoder, "config_generation", help, self.in_force.number)?;
        let help = "When the configuration in force was taken up, in Unix time";
        let name = "config_last_success_timestamp";
        let kind = MetricType::Gauge;
        let since = i64::try_from(self.in_force.since.unix()).unwrap_or(i64::MAX);
        ConstGauge::new(since).encode(encoder.encode_descriptor(
            name,
            help,
            Some(&Unit::Seconds),
            kind,
        )?)
    }

    fn key_sets(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let issuers = by_issuer(&self.in_force.keys);
        let help = "Age of the last good key set, by issuer";
        Self::key_spans(encoder, "keys_age", help, &issuers, |status| status.age)?;
        let help =
            "How long keys serve on without a further fetch, by issuer; then tokens are refused";
        Self::key_spans(encoder, "keys_autonomy", help, &issuers, |status| status.autonomy)?;
        let help = "Where the keys in use come from, by issuer: 1 at the source";
        let mut sources =
            encoder.encode_descriptor("keys_source", help, None, MetricType::Gauge)?;
        for (issuer, status) in &issuers {
            for source in Provenance::ALL {
                let labels = [("issuer", issuer.as_ref()), ("source", source.name())];
                let value = i64::from(status.source == Some(source));
                ConstGauge::new(value).encode(sources.encode_family(&labels)?)?;
            }
        }
        let help = "Fetches of keys that have ended, by issuer and outcome";
        let kind = MetricType::Counter;
        let mut refreshes = encoder.encode_descriptor("keys_refreshes", help, None, kind)?;
        for (issuer, status) in &issuers {
            let outcomes = [("ok", status.refreshes.ok), ("failed", status.refreshes.failed)];
            for (outcome, count) in outcomes {
                let labels = [("issuer", issuer.as_ref()), ("outcome", outcome)];
                ConstCounter::new(count).encode(refreshes.encode_family(&labels)?)?;
            }
        }
        let help = "Whether tokens of the issuer can be verified now, by issuer";
        let mut usable = encoder.encode_descriptor("keys_usable", help, None, MetricType::Gauge)?;
        for (issuer, status) in &issuers {
            let labels = [("issuer", issuer.as_ref())];
            let value = i64::from(status.freshness != Freshness::None);
            ConstGauge::new(value).encode(usable.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// A gauge of seconds, for the issuers that have it.
    fn key_spans(
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        issuers: &[(&Arc<str>, KeyStatus)],
        read: impl Fn(&KeyStatus) -> Option<Duration>,
    ) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let mut spans = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (issuer, status) in issuers {
            if let Some(span) = read(status) {
                let labels = [("issuer", issuer.as_ref())];
                ConstGauge::new(span.as_secs_f64()).encode(spans.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn ended_connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Connections, and streams of HTTP/2, that were ended for what the client did";
        let kind = MetricType::Counter;
        let mut ended = encoder.encode_descriptor("ended_connections", help, None, kind)?;
        for ending in Ending::ALL {
            let counters = self.cores.iter().filter_map(|core| core.ended.get(ending as usize));
            let count = counters.map(|counter| counter.load(Relaxed)).sum();
            let labels = [("reason", ending.name())];
            ConstCounter::<u64>::new(count).encode(ended.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn addresses(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Whether an address of Airflow gets requests: 0 while it is out";
        let mut up = encoder.encode_descriptor("upstream_up", help, None, MetricType::Gauge)?;
        for address in &*self.in_force.upstream {
            let up_now = ConstGauge::new(i64::from(!address.health().is_out()));
            up_now.encode(up.encode_family(&[("address", address.name())])?)?;
        }
        let help = "Connections to Airflow, by address and whether they could be made";
        let kind = MetricType::Counter;
        let mut opened = encoder.encode_descriptor("upstream_connections", help, None, kind)?;
        for address in &*self.in_force.upstream {
            let (ok, failed) = address.connections();
            for (outcome, count) in [("ok", ok), ("failed", failed)] {
                let labels = [("address", address.name()), ("outcome", outcome)];
                ConstCounter::new(count).encode(opened.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn spans(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(counts) = &self.in_force.spans else {
            return Ok(());
        };
        let help =
            "Spans by what became of them: dropped ones, each a whole request, for want of room";
        let kind = MetricType::Counter;
        let mut spans = encoder.encode_descriptor("trace_spans", help, None, kind)?;
        for (outcome, count) in counts.all() {
            ConstCounter::new(count).encode(spans.encode_family(&[("outcome", outcome)])?)?;
        }
        Ok(())
    }

    fn revocations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if !self.in_force.revocations.watches() {
            return Ok(());
        }
        let help = "Entries of the revocation list in force, those that have run out included";
        Self::gauge(encoder, "revocation_entries", help, self.in_force.revocations.entries())?;
        let help = "Changes of the revocation list's file, by what became of them";
        let kind = MetricType::Counter;
        let mut reloads = encoder.encode_descriptor("revocation_reloads", help, None, kind)?;
        for outcome in Reload::ALL {
            let labels = [("outcome", outcome.name())];
            let count = ConstCounter::new(self.in_force.revocations.reloads(outcome));
            count.encode(reloads.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.requests(&mut encoder)?;
        let counters = [
            (
                "unparsed_requests",
                "Request heads that could not be parsed as HTTP",
                self.sum(|core| &core.unparsed),
            ),
            (
                "shed_connections",
                "Connections turned away because there are too many",
                self.sum(|core| &core.shed),
            ),
            (
                "lost_log_lines",
                "Log lines dropped because the log is not read fast enough",
                self.lost_lines.dropped_lines() as u64,
            ),
        ];
        for (name, help, count) in counters {
            Self::counter(&mut encoder, name, help, count)?;
        }
        self.ended_connections(&mut encoder)?;
        let in_flight = self.cores.first().map_or(0, |core| core.in_flight());
        Self::gauge(&mut encoder, "requests_in_flight", "Requests being served", in_flight)?;
        let connections = self.sum(|core| &core.connections);
        Self::gauge(&mut encoder, "connections", "Open client connections", connections)?;
        let help = "From the request's head to the last byte of the answer";
        self.histogram(&mut encoder, "request_duration", help, |core| &core.total)?;
        let help = "Judging the credential";
        self.histogram(&mut encoder, "verify_duration", help, |core| &core.verify)?;
        let help = "From sending the request to Airflow to the head of its answer";
        self.histogram(&mut encoder, "upstream_duration", help, |core| &core.upstream)?;
        self.addresses(&mut encoder)?;
        self.configuration(&mut encoder)?;
        self.key_sets(&mut encoder)?;
        self.revocations(&mut encoder)?;
        self.spans(&mut encoder)
    }
}

#[cfg(test)]
mod tests {
    use tracing_appender::non_blocking::NonBlocking;

    use super::*;

    #[test]
    fn outcomes_fill_their_table_without_overlap() {
        let indexes: Vec<usize> = Outcome::all().map(Outcome::index).collect();
        assert_eq!(indexes, (0..Outcome::COUNT).collect::<Vec<_>>());
    }

    #[test]
    fn the_text_is_open_metrics() {
        let core = Arc::new(CoreMetrics::new(InFlight::default()));
        core.verify.observe(Duration::from_micros(70));
        core.connection_opened();
        let (writer, _guard) = NonBlocking::new(std::io::sink());
        let metrics = Metrics::new(vec![core], writer.error_counter(), Arc::default());
        let text = metrics.encode(InForce {
            number: 1,
            since: Timestamp::from_unix(1_000),
            keys: Vec::new(),
            revocations: Arc::new(Revocations::none()),
            upstream: [Arc::new(Address::tcp("airflow".into(), 8080))].into(),
            spans: None,
        });
        for line in [
            "airside_connections 1",
            "airside_upstream_up{address=\"airflow:8080\"} 1",
            "airside_config_generation 1",
            "airside_config_last_success_timestamp_seconds 1000",
            "airside_config_reloads_total{result=\"applied\"} 0",
            "airside_verify_duration_seconds_bucket{le=\"0.0001\"} 1",
            "airside_verify_duration_seconds_bucket{le=\"+Inf\"} 1",
            "airside_verify_duration_seconds_count 1",
            "# UNIT airside_verify_duration_seconds seconds",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
