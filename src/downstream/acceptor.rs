//! Accepts connections and hands each to the core that has the fewest: fair with few long
//! connections too, which `SO_REUSEPORT` is not, and the one place for the connection limit.

use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::task::yield_now;
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
    /// `forward_auth.listen`: where other proxies ask.
    ForwardAuth,
}

/// The sockets that connections come in by: where callers connect, and where workers and proxies do,
/// if there are such.
#[derive(Debug)]
pub struct Sockets<L = tokio::net::TcpListener> {
    /// `listen`.
    pub callers: L,
    /// `execution_listen`.
    pub workers: Option<L>,
    /// `forward_auth.listen`.
    pub proxies: Option<L>,
}

impl Sockets {
    fn into_std(self) -> io::Result<Sockets<TcpListener>> {
        let into_std = tokio::net::TcpListener::into_std;
        Ok(Sockets {
            callers: into_std(self.callers)?,
            workers: self.workers.map(into_std).transpose()?,
            proxies: self.proxies.map(into_std).transpose()?,
        })
    }
}

/// One of them. What it accepts is not tokio's yet: only the core that serves it waits for it.
type Door = AsyncFd<TcpListener>;

impl Sockets<Door> {
    /// Of sockets that do not block. Must run on the runtime that accepts.
    #[expect(deprecated, reason = "a listener keeps its descriptor; what replaces it is unsafe")]
    fn open(sockets: Sockets<TcpListener>) -> io::Result<Self> {
        let door = |listener| AsyncFd::with_interest(listener, Interest::READABLE);
        Ok(Self {
            callers: door(sockets.callers)?,
            workers: sockets.workers.map(door).transpose()?,
            proxies: sockets.proxies.map(door).transpose()?,
        })
    }

    async fn next(&self) -> (io::Result<(TcpStream, SocketAddr)>, Entrance) {
        tokio::select! {
            accepted = accept_one(&self.callers) => (accepted, Entrance::Callers),
            accepted = accept_if(self.workers.as_ref()) => (accepted, Entrance::Workers),
            accepted = accept_if(self.proxies.as_ref()) => (accepted, Entrance::ForwardAuth),
        }
    }

    fn all(&self) -> impl Iterator<Item = (&Door, Entrance)> {
        let workers = self.workers.iter().map(|workers| (workers, Entrance::Workers));
        let proxies = self.proxies.iter().map(|proxies| (proxies, Entrance::ForwardAuth));
        [(&self.callers, Entrance::Callers)].into_iter().chain(workers).chain(proxies)
    }
}

async fn accept_if(door: Option<&Door>) -> io::Result<(TcpStream, SocketAddr)> {
    match door {
        Some(door) => accept_one(door).await,
        None => pending().await,
    }
}

async fn accept_one(door: &Door) -> io::Result<(TcpStream, SocketAddr)> {
    door.async_io(Interest::READABLE, take_one).await
}

fn take_one(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, address) = listener.accept()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// Accepts on the first of the cores, so that what it serves itself never changes threads, until
/// the drain begins, and then who has connected before. It owns the handles: without it cores end with
/// their last connection. An error says why nothing can be accepted.
pub async fn start(
    sockets: Sockets,
    cores: Vec<Handle>,
    generations: Generations,
    drain: Drain,
) -> io::Result<()> {
    let sockets = sockets.into_std()?;
    let Some(host) = cores.first().cloned() else {
        return Err(io::Error::other("there is no core"));
    };
    let (report, begun) = oneshot::channel();
    host.host(async move || match Sockets::open(sockets) {
        Ok(entrances) => {
            drop(report.send(Ok(())));
            accept(entrances, cores, generations, drain).await;
        }
        Err(error) => drop(report.send(Err(error))),
    });
    begun.await.map_err(io::Error::other)?
}

/// Above `limits.connections` open ones some more are taken to be told so, the rest is closed.
async fn accept(
    entrances: Sockets<Door>,
    cores: Vec<Handle>,
    generations: Generations,
    mut drain: Drain,
) {
    let mut in_a_row = 0;
    loop {
        let (accepted, entrance) = tokio::select! {
            next = entrances.next() => next,
            () = drain.begun() => break,
        };
        match accepted {
            Ok((socket, address)) => {
                hand_over(socket, address, entrance, &cores, generations.current().connections);
            }
            Err(error) => {
                // Out of descriptors or memory: serving what there is makes room again.
                warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
            }
        }
        in_a_row = (in_a_row + 1) % MOST_IN_A_ROW;
        if in_a_row == 0 {
            yield_now().await;
        }
    }
    // Not by what the runtime knows: the core may be too busy to have looked at its sockets.
    for (door, entrance) in entrances.all() {
        for _ in 0..BACKLOG {
            let Ok((socket, address)) = take_one(door.get_ref()) else { break };
            hand_over(socket, address, entrance, &cores, generations.current().connections);
        }
    }
}

fn hand_over(
    socket: TcpStream,
    address: SocketAddr,
    entrance: Entrance,
    cores: &[Handle],
    limit: u64,
) {
    let open: u64 = cores.iter().map(Handle::connections).sum();
    let Some(core) = cores.iter().min_by_key(|core| core.connections()) else {
        return;
    };
    let surplus = open >= limit;
    if surplus {
        core.metrics().connection_shed();
    }
    if open >= limit.saturating_add(MOST_SURPLUS) {
        return;
    }
    core.take(Arrived { socket, address: address.ip(), entrance, surplus });
}

/// Connections that are served on the same core have their turn after so many new ones.
const MOST_IN_A_ROW: usize = 16;
/// What the operating system keeps for us at the most, as tokio asks it to.
const BACKLOG: usize = 1024;
/// So many beyond the limit learn that there are too many, instead of a connection that ends.
const MOST_SURPLUS: u64 = 128;
/// Long enough not to spin, short enough not to be noticed.
const PAUSE: Duration = Duration::from_millis(50);
