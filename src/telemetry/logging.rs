//! Sets up the log: everything goes to stdout through one writer thread, so that a slow pipe never
//! stalls a request.

use std::fmt;
use std::io::{Write, stdout};
use std::net::SocketAddr;

use serde_json::json;
use tracing::Subscriber;
use tracing::subscriber::set_global_default;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `key=value` after the message.
    Text,
    /// One JSON object per line.
    Json,
}

/// The running log; lines still under way are written when it is dropped.
pub struct Logging {
    writer: NonBlocking,
    format: Format,
    level: Box<dyn Fn(LevelFilter) + Send + Sync>,
    _guard: WorkerGuard,
}

impl Logging {
    /// Starts the log; later calls in one process keep the first subscriber.
    #[must_use]
    pub fn start(format: Format, level: LevelFilter) -> Self {
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(MOST_LINES)
            .thread_name("airside-log")
            .finish(stdout());
        let builder = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .with_target(false)
            .with_writer({
                let writer = writer.clone();
                move || writer.clone()
            });
        let level = match format {
            Format::Text => install(builder.finish(), level),
            Format::Json => install(builder.json().flatten_event(true).finish(), level),
        };
        Self { writer, format, level, _guard: guard }
    }

    /// From this level on is logged from now on.
    pub fn set_level(&self, level: LevelFilter) {
        (self.level)(level);
    }

    /// The writer, for access lines.
    #[must_use]
    pub fn writer(&self) -> NonBlocking {
        self.writer.clone()
    }

    /// How lines look.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Says that a socket is bound: a contract with whoever starts airside, so it is written at
    /// every log level.
    pub fn listening(&self, listener: &str, address: SocketAddr) {
        let line = match self.format {
            Format::Text => format!("listening listener={listener} address={address}\n"),
            Format::Json => {
                let line = json!({
                    "message": "listening",
                    "listener": listener,
                    "address": address.to_string(),
                });
                format!("{line}\n")
            }
        };
        let _ = self.writer.clone().write_all(line.as_bytes());
    }
}

/// A second or two of a flood; more are dropped and counted rather than kept in memory, where nobody
/// reads them.
const MOST_LINES: usize = 16_384;

/// Logs by `subscriber` from `level` on; gives what sets another level.
fn install<S>(subscriber: S, level: LevelFilter) -> Box<dyn Fn(LevelFilter) + Send + Sync>
where
    S: Subscriber + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(level);
    // A second log in one process only happens in tests.
    let _ = set_global_default(subscriber.with(filter));
    // It fails only where the subscriber is gone, and nothing is logged any more.
    Box::new(move |level| drop(handle.reload(level)))
}

impl fmt::Debug for Logging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logging").field("format", &self.format).finish_non_exhaustive()
    }
}
