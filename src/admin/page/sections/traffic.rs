//! How many requests there are, and how they end.

use std::fmt::{self, Display, Formatter};

use crate::admin::html::{Count, Lapse, Rate, Short, counted};
use crate::admin::plot::{Layer, Plots};
use crate::admin::status::{Series, Status};
use crate::rejection::Reason;

/// The last five minutes in a few numbers.
pub(in crate::admin::page) struct Tiles<'a>(pub(in crate::admin::page) &'a Status);

impl Display for Tiles<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let traffic = &self.0.traffic;
        let recent = &traffic.last_five_minutes;
        let counts = &recent.counts;
        f.write_str(r#"<section class="tiles" aria-label="The last five minutes">"#)?;
        let per_second = Rate(ratio(counts.requests, recent.seconds));
        tile(
            f,
            "Requests a second",
            &per_second,
            &format!("{} in five minutes", Count(counts.requests)),
        )?;
        let reasons = &self.0.refusals.by_reason;
        let own_failures = reasons.iter().filter(|row| row.status >= 500);
        let own_failures: u64 = own_failures.map(|row| row.last_five_minutes).sum();
        let refused = counts.refused.saturating_sub(own_failures);
        let share = |count| format!("{:.1} %", 100.0 * ratio(count, as_number(counts.requests)));
        tile(f, "Refused", &share(refused), &format!("{} by airside", Count(refused)))?;
        let (theirs, ours) = (Count(counts.forwarded_5xx), Count(own_failures));
        let failed = share(counts.forwarded_5xx + own_failures);
        tile(f, "Failed", &failed, &format!("{theirs} by Airflow, {ours} by airside"))?;
        let at_most = |bound: Option<f64>| match bound {
            Some(bound) => format!("≤ {}", Short(bound)),
            None if counts.requests > 0 => "> 100 s".to_owned(),
            None => "–".to_owned(),
        };
        let half =
            format!("half {}, 99 % {}", at_most(recent.p50_seconds), at_most(recent.p99_seconds));
        // A number stays on the line of what it is the number of.
        let half = half.replace(' ', "\u{a0}").replace(",\u{a0}", ", ");
        tile(f, "95 % take", &at_most(recent.p95_seconds), &half)?;
        let in_flight = counted(traffic.connections, "connection", "connections");
        tile(f, "In flight", &traffic.in_flight, &in_flight)?;
        let least = self.0.issuers.iter().filter_map(|issuer| issuer.keys.autonomy_seconds).min();
        let keys = least.map_or("for good".to_owned(), |least| Lapse(least).to_string());
        tile(f, "Keys last", &keys, "if no fetch succeeds from now on")?;
        f.write_str("</section>")
    }
}

fn tile(f: &mut Formatter<'_>, label: &str, value: &dyn Display, more: &str) -> fmt::Result {
    write!(
        f,
        r#"<div class="tile"><h3>{label}</h3><p class="value">{value}</p><p class="more">{more}</p></div>"#
    )
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
const fn as_number(count: u64) -> f64 {
    count as f64
}

fn ratio(count: u64, of: f64) -> f64 {
    if of > 0.0 { as_number(count) / of } else { 0.0 }
}

/// Requests over time, by how they ended.
pub(in crate::admin::page) struct Traffic<'a>(pub(in crate::admin::page) &'a Status);

impl Display for Traffic<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let status = self.0;
        f.write_str(r#"<section id="traffic"><h2>Traffic</h2>"#)?;
        let (hour, day) = (layers(&status.history.hour), layers(&status.history.day));
        let now = status.time.0.unix();
        let plots = Plots {
            id: "traffic",
            title: "Requests a second",
            history: &status.history,
            now,
            layers: [&hour, &day],
        };
        write!(f, "{plots}")?;
        self.since_start(f)
    }
}

fn layers(series: &Series) -> [Layer<'static>; 6] {
    let add = |columns: &[&Vec<u64>]| {
        (0..series.ended.len())
            .map(|slot| columns.iter().filter_map(|column| column.get(slot)).sum())
            .collect::<Vec<u64>>()
    };
    let layer = |label, class, counts| Layer { label, class, counts };
    let well = [&series.forwarded_1xx, &series.forwarded_2xx, &series.forwarded_3xx];
    let well: Vec<_> = well.into_iter().chain([&series.answered]).collect();
    let is_failure = |name: &str| {
        let mut failures = Reason::ALL.iter().filter(|reason| reason.status().is_server_error());
        failures.any(|reason| reason.name() == name)
    };
    let own = |failures: bool| -> Vec<_> {
        let of_kind = series.refused.iter().filter(|(name, _)| is_failure(name) == failures);
        of_kind.map(|(_, counts)| counts).collect()
    };
    [
        layer("served", "c-served", add(&well)),
        layer("refused by airside", "c-refused", add(&own(false))),
        layer("4xx from Airflow", "c-4xx", series.forwarded_4xx.clone()),
        layer("5xx from Airflow", "c-5xx", series.forwarded_5xx.clone()),
        layer("5xx from airside", "c-failed", add(&own(true))),
        layer("client gone", "c-gone", series.abandoned.clone()),
    ]
}

impl Traffic<'_> {
    fn since_start(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let counts = &self.0.traffic.since_start;
        f.write_str(r#"<p class="note">Since the start: "#)?;
        let requests = counted(counts.requests, "request", "requests");
        write!(f, "{requests}, {} of them not served by airside", Count(counts.refused))?;
        for (count, what) in [
            (counts.forwarded_5xx, "answered 5xx by Airflow"),
            (counts.abandoned, "left by their clients"),
            (counts.answered, "given a token"),
        ] {
            if count > 0 {
                write!(f, ", {} {what}", Count(count))?;
            }
        }
        if counts.unparsed > 0 {
            write!(f, "; heads that were no request: {}", Count(counts.unparsed))?;
        }
        if counts.shed_connections > 0 {
            let shed = counted(counts.shed_connections, "connection", "connections");
            write!(f, "; {shed} too many")?;
        }
        f.write_str(".</p></section>")
    }
}
