//! A caller's trace goes on in a real Airflow: instrumented as OpenTelemetry does it for any program in
//! Python, it continues what airside sends, and both tell the same collector.

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use crate::flight::{Flight, post};
use crate::programs::built;
use crate::stock::Recipe;
use crate::support::collector::{Collector, said};
use crate::support::entra::v2_app;
use crate::support::http::Request;
use crate::support::wait::eventually;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Airflow with the instrumentation that tests/airflow/setup.py installed beside it.
fn instrumented(endpoint: &str) -> Recipe {
    let packages = built().join("tracing").display().to_string();
    let starts = format!("{packages}/opentelemetry/instrumentation/auto_instrumentation");
    Recipe::simple("traced", "3.3.2")
        .set("PYTHONPATH", &format!("{starts}:{packages}"))
        .set("OTEL_SERVICE_NAME", "airflow")
        .set("OTEL_TRACES_EXPORTER", "otlp")
        .set("OTEL_METRICS_EXPORTER", "none")
        .set("OTEL_LOGS_EXPORTER", "none")
        .set("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .set("OTEL_BSP_SCHEDULE_DELAY", "200")
}

#[test]
fn a_callers_trace_goes_on_in_airflow() {
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    let flight = Flight::with(&instrumented(&endpoint), |config| {
        config.set("/telemetry/otlp_endpoint", endpoint.as_str())
    });
    let token = v2_app().token();
    let trigger = post("/api/v2/dags/demo/dagRuns", &json!({"logical_date": null})).bearer(&token);
    for request in [Request::get("/api/v2/dags").bearer(&token), trigger] {
        let request = request.header("traceparent", &format!("00-{TRACE}-b7ad6b7169203331-01"));
        let answer = flight.ask(&request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let (ours, below) = collector.spans_of(answer.header("x-request-id").unwrap());
        let below = below.unwrap();
        let airflows = eventually("Airflow's span has come", || {
            let spans = of_airflow(&collector);
            spans.into_iter().find(|span| span.parent_span_id == below.span_id)
        });
        assert_eq!((&airflows.trace_id, &below.trace_id), (&ours.trace_id, &ours.trace_id));
        assert_eq!(hex(&ours.trace_id), TRACE);
        assert!(airflows.name.starts_with(request.method()), "{}", airflows.name);
        // Airflow's instrumentation still has the conventions of before 1.23.
        let path = said(&airflows, "http.target") + &said(&airflows, "url.path");
        assert!(path.contains(&said(&ours, "url.path")), "{airflows:?}");
    }
}

fn of_airflow(collector: &Collector) -> Vec<Span> {
    let resources = collector.requests().into_iter().flat_map(|request| request.resource_spans);
    let named = resources.filter(|spans| {
        let attributes = spans.resource.iter().flat_map(|resource| &resource.attributes);
        attributes.clone().any(|attribute| format!("{attribute:?}").contains("\"airflow\""))
    });
    named.flat_map(|spans| spans.scope_spans).flat_map(|scope| scope.spans).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
