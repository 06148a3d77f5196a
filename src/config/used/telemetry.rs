//! Who collects traces.

use std::time::Duration;

use super::{Builder, Said};
use crate::jwks::fetch::{Url, client};
use crate::telemetry::trace::export::Collector;

impl Builder<'_, '_, '_> {
    /// `None` where nobody does.
    pub(super) fn collector(&mut self) -> Result<Option<Collector>, Said> {
        let Some(written) = &self.written.telemetry.otlp_endpoint else {
            return Ok(None);
        };
        let endpoint = self.url(KEY, written).ok_or(Said)?;
        let client = client(&endpoint, PATIENCE);
        let client = self.findings.take(KEY, client, "a collector's address").ok_or(Said)?;
        Ok(Some(Collector { url: traces(endpoint), client }))
    }
}

const KEY: &str = "telemetry.otlp_endpoint";
/// As long as OpenTelemetry's own exporters wait (`OTEL_EXPORTER_OTLP_TIMEOUT`).
const PATIENCE: Duration = Duration::from_secs(10);

/// The path of one signal below an endpoint for all (OpenTelemetry, "Endpoint URLs for OTLP/HTTP").
fn traces(mut endpoint: Url) -> Url {
    let path = format!("{}/v1/traces", endpoint.path().trim_end_matches('/'));
    endpoint.set_path(&path);
    endpoint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_below_the_endpoint() {
        for (endpoint, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://a.example/otlp/", "https://a.example/otlp/v1/traces"),
        ] {
            assert_eq!(traces(Url::parse(endpoint).unwrap()).as_str(), expected);
        }
    }
}
