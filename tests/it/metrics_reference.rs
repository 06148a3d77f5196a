//! docs/reference/metrics.md is a contract: what it lists is what is exported.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::collector::Collector;
use crate::support::entra::v2_app;
use crate::support::scene::Scene;

const REFERENCE: &str = include_str!("../../docs/reference/metrics.md");

/// A metric but for its name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
    help: String,
}

#[test]
fn every_metric_is_documented_with_its_type_labels_and_help() {
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    let scene = Scene::with(|config| {
        let revoked = config.file("revoked.yaml", "- jti: x\n").display().to_string();
        config.set("/telemetry/otlp_endpoint", endpoint).set("/revocation/file", revoked)
    });
    assert_eq!(scene.present(&v2_app().token()).status, 200);
    assert_eq!(scene.present("nonsense").status, 401);
    assert_eq!(exported(&scene.airside.ask_admin("/metrics").text()), documented());
}

fn documented() -> BTreeMap<String, Metric> {
    let (_, table) = REFERENCE.split_once("| metric | type |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .map(|cells| {
            let unquoted = |cell: &str| cell.trim_matches('`').to_owned();
            let labels = cells[2].split_whitespace().map(unquoted).collect();
            let metric = Metric { kind: cells[1].to_owned(), labels, help: cells[3].to_owned() };
            (unquoted(cells[0]), metric)
        })
        .collect()
}

/// By the name under which it is asked for: of counters with the ending that series have.
fn exported(text: &str) -> BTreeMap<String, Metric> {
    let mut metrics = BTreeMap::<String, Metric>::new();
    for line in text.lines() {
        let described = |mark| line.strip_prefix(mark)?.split_once(' ');
        if let Some((name, help)) = described("# HELP ") {
            help.trim_end_matches('.')
                .clone_into(&mut metrics.entry(name.into()).or_default().help);
        } else if let Some((name, kind)) = described("# TYPE ") {
            kind.clone_into(&mut metrics.entry(name.into()).or_default().kind);
        } else if !line.starts_with('#') {
            let series = line.rsplit_once(' ').unwrap().0;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let endings = ["", "_total", "_bucket", "_sum", "_count"];
            let mut families = endings.iter().filter_map(|ending| name.strip_suffix(ending));
            let family = families.rfind(|family| metrics.contains_key(*family)).unwrap_or(name);
            let labels = labels.split('"').step_by(2).filter_map(|part| part.strip_suffix('='));
            let labels = labels.map(|name| name.trim_start_matches(',').to_owned());
            let labels = labels.filter(|name| name != "le");
            metrics.entry(family.to_owned()).or_default().labels.extend(labels);
        }
    }
    let named = |(name, metric): (String, Metric)| match metric.kind.as_str() {
        "counter" => (format!("{name}_total"), metric),
        _ => (name, metric),
    };
    metrics.into_iter().map(named).collect()
}
