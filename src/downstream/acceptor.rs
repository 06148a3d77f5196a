//! Accepts connections and hands each to the core that has the fewest: fair with few long
//! connections too, which `SO_REUSEPORT` is not, and the one place for the connection limit.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::warn;

use super::core::{Arrived, Handle};
use crate::generation::Generations;
use crate::shutdown::Drain;

/// Which of our sockets a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// `listen`: where callers connect.
    Callers,
    /// `execution_listen`: where workers alone connect.
    Workers,
}

/// The sockets that connections come in by.
#[derive(Debug)]
pub struct Entrances {
    /// Where callers connect.
    pub callers: TcpListener,
    /// Where workers connect, if that is not the same.
    pub workers: Option<TcpListener>,
}

impl Entrances {
    async fn next(&self) -> (io::Result<(TcpStream, SocketAddr)>, Entrance) {
        tokio::select! {
            accepted = self.callers.accept() => (accepted, Entrance::Callers),
            accepted = self.next_worker() => (accepted, Entrance::Workers),
        }
    }

    async fn next_worker(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.workers {
            Some(workers) => workers.accept().await,
            None => pending().await,
        }
    }
}

/// Accepts until the drain begins and nobody is left who has connected before. Above
/// `limits.connections` open ones some more are taken to be told so, the rest is closed.
pub async fn accept(
    entrances: Entrances,
    cores: Vec<Handle>,
    generations: Generations,
    mut drain: Drain,
) {
    loop {
        let (accepted, entrance) = tokio::select! {
            biased;
            next = entrances.next() => next,
            () = drain.begun() => return,
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors or memory: serving what there is makes room again.
                warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let open: u64 = cores.iter().map(Handle::connections).sum();
        let Some(core) = cores.iter().min_by_key(|core| core.connections()) else {
            return;
        };
        let limit = generations.current().connections;
        let surplus = open >= limit;
        if surplus {
            core.metrics().connection_shed();
        }
        if open >= limit.saturating_add(MOST_SURPLUS) {
            continue;
        }
        if let Ok(socket) = socket.into_std() {
            core.take(Arrived { socket, address: address.ip(), entrance, surplus });
        }
    }
}

/// So many beyond the limit learn that there are too many, instead of a connection that ends.
const MOST_SURPLUS: u64 = 128;
/// Long enough not to spin, short enough not to be noticed.
const PAUSE: Duration = Duration::from_millis(50);
