//! One place where Airflow listens: how to get there, what it is called, and how it has fared.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use tokio::net::TcpStream;

use super::health::Health;
use super::wire::Transport;

/// One place where Airflow listens, shared by all cores.
#[derive(Debug)]
pub struct Address {
    place: Place,
    name: String,
    health: Health,
    opened: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug)]
enum Place {
    Tcp { host: String, port: u16 },
}

impl Address {
    /// A host, by name or address (IPv6 in brackets), and a port.
    #[must_use]
    pub fn tcp(host: String, port: u16) -> Self {
        let name = format!("{host}:{port}");
        Self::at(Place::Tcp { host, port }, name)
    }

    fn at(place: Place, name: String) -> Self {
        let health = Health::new(Instant::now());
        Self { place, name, health, opened: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }

    /// As it is configured, for log and metrics.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `Host` is on requests of our own.
    #[must_use]
    pub fn host(&self) -> &str {
        match &self.place {
            Place::Tcp { .. } => &self.name,
        }
    }

    /// Whether it is worth a request.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// How many connections to it were opened, and how many could not be.
    #[must_use]
    pub fn connections(&self) -> (u64, u64) {
        (self.opened.load(Relaxed), self.failed.load(Relaxed))
    }

    pub(super) fn connected(&self, well: bool) {
        if well { &self.opened } else { &self.failed }.fetch_add(1, Relaxed);
    }

    /// Connects. A name is looked up each time, and its addresses are tried in the order of the
    /// resolver until one accepts.
    pub(super) async fn connect(&self) -> io::Result<Transport> {
        match &self.place {
            Place::Tcp { host, port } => {
                let stream = TcpStream::connect((bare(host), *port)).await?;
                // Small writes leave at once; without it a POST may wait 40 ms for an ACK.
                stream.set_nodelay(true)?;
                Ok(Transport::Tcp(stream))
            }
        }
    }
}

/// The resolver knows IPv6 addresses without the brackets of a URL.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}
