//! Brings spans to a collector: OTLP over HTTP in protobuf (`POST {endpoint}/v1/traces`), in batches,
//! from the control thread. A request only leaves its record in a queue; where that is full the record
//! is dropped and counted, because no request waits for a collector.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode, Url};
use tokio::sync::mpsc::{self, Receiver, Sender, error::TryRecvError};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::span::{Ended, text};
use crate::jwks::fetch::{chain, place};

/// Where spans go.
#[derive(Clone)]
pub struct Collector {
    /// Where they are posted.
    pub url: Url,
    /// What posts them.
    pub client: Client,
}

/// The cores' end of the queue. The exporter ends when the last one is gone and all is sent.
#[derive(Clone)]
pub struct Spans(Arc<Queue>);

struct Queue {
    url: Url,
    ended: Sender<Ended>,
    flush: mpsc::UnboundedSender<oneshot::Sender<()>>,
    counts: Arc<Counts>,
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct Counts {
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// Each count with its name: of spans, but for `dropped`, which are requests.
    #[must_use]
    pub fn all(&self) -> [(&'static str, u64); 3] {
        [
            ("exported", self.exported.load(Relaxed)),
            ("failed", self.failed.load(Relaxed)),
            ("dropped", self.dropped.load(Relaxed)),
        ]
    }
}

impl Spans {
    /// Starts the exporter on this runtime.
    #[must_use]
    pub fn start(collector: Collector) -> Self {
        let (ended, arriving) = mpsc::channel(MOST_WAITING);
        let (flush, asked) = mpsc::unbounded_channel();
        let counts = Arc::<Counts>::default();
        let url = collector.url.clone();
        let exporter =
            Exporter { collector, arriving, asked, counts: Arc::clone(&counts), is_up: true };
        tokio::spawn(exporter.run());
        Self(Arc::new(Queue { url, ended, flush, counts }))
    }

    /// Whether they go there.
    #[must_use]
    pub fn go_to(&self, collector: &Collector) -> bool {
        self.0.url == collector.url
    }

    /// What became of them.
    #[must_use]
    pub fn counts(&self) -> &Arc<Counts> {
        &self.0.counts
    }

    /// Sends what waits, but not for long: the program ends.
    pub async fn flush(&self) {
        let (done, sent) = oneshot::channel();
        if self.0.flush.send(done).is_ok() {
            let _ = timeout(LAST, sent).await;
        }
    }

    pub(super) fn take(&self, ended: Ended) {
        if self.0.ended.try_send(ended).is_err() {
            self.0.counts.dropped.fetch_add(1, Relaxed);
        }
    }
}

// Addresses of collectors may have a key in their query.
impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Collector").field(&place(&self.url)).finish()
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spans").field(&place(&self.0.url)).finish()
    }
}

struct Exporter {
    collector: Collector,
    arriving: Receiver<Ended>,
    asked: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    counts: Arc<Counts>,
    is_up: bool,
}

impl Exporter {
    /// It looks into the queue instead of being woken by each span, which would cost requests a
    /// system call.
    async fn run(mut self) {
        loop {
            let asked = tokio::select! {
                () = sleep(EVERY) => None,
                asked = self.asked.recv() => asked,
            };
            let ends = self.send_all().await;
            if let Some(done) = asked {
                let _ = done.send(());
            }
            if ends {
                return;
            }
        }
    }

    /// Empties the queue; `true` where nothing more will come.
    async fn send_all(&mut self) -> bool {
        loop {
            let mut batch = Vec::new();
            let ends = loop {
                if batch.len() >= BATCH {
                    break None;
                }
                match self.arriving.try_recv() {
                    Ok(ended) => batch.extend(ended.spans()),
                    Err(TryRecvError::Empty) => break Some(false),
                    Err(TryRecvError::Disconnected) => break Some(true),
                }
            };
            if !batch.is_empty() {
                self.send(batch).await;
            }
            if let Some(ends) = ends {
                return ends;
            }
        }
    }

    /// Sends a batch, more than once where the collector may take it later (OTLP 1.9, "Failures" and
    /// "Throttling").
    async fn send(&mut self, batch: Vec<Span>) {
        let count = batch.len() as u64;
        let body = Bytes::from(request(batch).encode_to_vec());
        for pause in PAUSES {
            match self.post(body.clone()).await {
                Ok(rejected) => {
                    self.is_back();
                    let rejected = rejected.min(count);
                    self.counts.failed.fetch_add(rejected, Relaxed);
                    self.counts.exported.fetch_add(count - rejected, Relaxed);
                    return;
                }
                Err(failure) => {
                    self.is_out(&failure);
                    if !failure.may_pass {
                        break;
                    }
                    sleep(pause).await;
                }
            }
        }
        self.counts.failed.fetch_add(count, Relaxed);
    }

    /// How many the collector refused of those that it took.
    async fn post(&self, body: Bytes) -> Result<u64, Failure> {
        let Collector { url, client } = &self.collector;
        let request = client.post(url.clone()).header(CONTENT_TYPE, PROTOBUF).body(body);
        let mut answer = request.send().await.map_err(Failure::of_network)?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(Failure {
                why: format!("answered {}, expected 200", status.as_u16()),
                may_pass: matches!(status.as_u16(), 429 | 502 | 503 | 504),
            });
        }
        let mut content = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(Failure::of_network)? {
            content.extend_from_slice(&piece);
            if content.len() > MOST_CONTENT {
                return Ok(0);
            }
        }
        let answer = ExportTraceServiceResponse::decode(content.as_slice()).unwrap_or_default();
        let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
        Ok(u64::try_from(rejected).unwrap_or(0))
    }

    fn is_back(&mut self) {
        if !std::mem::replace(&mut self.is_up, true) {
            info!(url = place(&self.collector.url), "the collector takes traces again");
        }
    }

    fn is_out(&mut self, failure: &Failure) {
        if std::mem::replace(&mut self.is_up, false) {
            let why = &failure.why;
            warn!(url = place(&self.collector.url), why, "the collector does not take traces");
        }
    }
}

struct Failure {
    why: String,
    may_pass: bool,
}

impl Failure {
    fn of_network(error: reqwest::Error) -> Self {
        Self { why: chain(&error.without_url()), may_pass: true }
    }
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource {
        attributes: vec![
            text("service.name", "airside"),
            text("service.version", env!("CARGO_PKG_VERSION")),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "airside".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let spans = ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

const PROTOBUF: &str = "application/x-protobuf";
/// Requests whose spans wait: some megabytes, and a quarter of a second at 30,000 a second.
const MOST_WAITING: usize = 8192;
const EVERY: Duration = Duration::from_millis(250);
/// Spans in one call; as many as OpenTelemetry's own exporters send at once.
const BATCH: usize = 512;
/// After each attempt; the queue fills meanwhile, and what is more is dropped.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::ZERO];
/// What is waited for at the end of the program.
const LAST: Duration = Duration::from_secs(2);
/// An answer is empty, or says in a sentence what was refused.
const MOST_CONTENT: usize = 64 * 1024;
