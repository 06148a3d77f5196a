//! Sets up the log: everything goes to stdout through one writer thread, so that a slow pipe never
//! stalls a request.

use std::io::{Write, stdout};
use std::net::SocketAddr;

use serde_json::json;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `key=value` after the message.
    Text,
    /// One JSON object per line.
    Json,
}

/// The running log; lines still under way are written when it is dropped.
#[derive(Debug)]
pub struct Logging {
    writer: NonBlocking,
    format: Format,
    _guard: WorkerGuard,
}

impl Logging {
    /// Starts the log; later calls in one process keep the first subscriber.
    #[must_use]
    pub fn start(format: Format, level: LevelFilter) -> Self {
        let (writer, guard) =
            NonBlockingBuilder::default().lossy(true).thread_name("airside-log").finish(stdout());
        let builder = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_target(false)
            .with_writer({
                let writer = writer.clone();
                move || writer.clone()
            });
        let set = match format {
            Format::Text => tracing::subscriber::set_global_default(builder.finish()),
            Format::Json => {
                tracing::subscriber::set_global_default(builder.json().flatten_event(true).finish())
            }
        };
        // A second log in one process only happens in tests.
        let _ = set;
        Self { writer, format, _guard: guard }
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
