//! One data core: a thread with a runtime of its own, so that a request, its connection to Airflow
//! and its memory stay on one processor and nothing is locked.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::interval;

use super::acceptor::Entrance;
use super::connection;
use super::line::Line;
use crate::generation::{Generation, Generations};
use crate::proxy::Core;
use crate::shutdown::Drain;
use crate::telemetry::Recorder;
use crate::telemetry::metrics::{CoreMetrics, InFlight};
use crate::upstream::Upstream;

/// What every core is made of.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// The configuration in force.
    pub generations: Generations,
    /// What all cores serve together.
    pub in_flight: InFlight,
    /// The end.
    pub drain: Drain,
}

/// The acceptor's end of a running core. The core ends when this is dropped and its last
/// connection has ended.
#[derive(Debug)]
pub struct Handle {
    sockets: UnboundedSender<Arrived>,
    metrics: Arc<CoreMetrics>,
}

/// A socket on its way to a core.
#[derive(Debug)]
pub struct Arrived {
    /// The socket.
    pub socket: TcpStream,
    /// The address of its other end.
    pub address: IpAddr,
    /// The one of ours that it came in by.
    pub entrance: Entrance,
    /// Whether there are too many: its first request is refused, and it ends.
    pub surplus: bool,
}

impl Handle {
    /// How many connections the core has, with those on their way to it.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.metrics.connections()
    }

    /// Hands a socket to the core.
    pub fn take(&self, arrived: Arrived) {
        self.metrics.connection_opened();
        if self.sockets.send(arrived).is_err() {
            self.metrics.connection_closed();
        }
    }

    /// The core's counters.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<CoreMetrics> {
        &self.metrics
    }
}

/// Starts a core on a thread called after its `number`.
pub fn start(number: usize, blueprint: Blueprint) -> io::Result<(Handle, JoinHandle<()>)> {
    let (sockets, arriving) = unbounded_channel();
    let metrics = Arc::new(CoreMetrics::new(blueprint.in_flight.clone()));
    let handle = Handle { sockets, metrics: Arc::clone(&metrics) };
    let (report, built) = channel();
    let run = move || {
        // A local runtime belongs to the thread that builds it.
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return drop(report.send(Err(error))),
        };
        drop(report.send(Ok(())));
        runtime.block_on(serve(number, blueprint, metrics, arriving));
    };
    let thread = thread::Builder::new().name(format!("airside-{number}")).spawn(run)?;
    built.recv().map_err(io::Error::other)??;
    Ok((handle, thread))
}

async fn serve(
    number: usize,
    blueprint: Blueprint,
    metrics: Arc<CoreMetrics>,
    mut arriving: UnboundedReceiver<Arrived>,
) {
    let Blueprint { mut generations, drain, .. } = blueprint;
    let current = Rc::new(Current::new(number, generations.clone(), Arc::clone(&metrics)));
    let line = Line::new();
    let mut connections = JoinSet::new();
    let mut pulse = interval(PULSE);
    loop {
        tokio::select! {
            arrived = arriving.recv() => {
                let Some(arrived) = arrived else { break };
                let (current, line, drain) = (Rc::clone(&current), line.clone(), drain.clone());
                let open = Open(Arc::clone(&metrics));
                let serve = move || connection::serve(current, arrived, line, drain);
                connections.spawn_local(open.during(serve));
            }
            // A core without requests lets go of what is not in force any more, too.
            () = generations.another() => drop(current.core()),
            // Ended ones are collected as they end.
            Some(_) = connections.join_next() => {}
            _ = pulse.tick() => {}
        }
    }
    // One that panicked is no reason to leave the others.
    while connections.join_next().await.is_some() {}
}

/// The core as the configuration in force makes it.
#[derive(Debug)]
pub struct Current {
    number: usize,
    metrics: Arc<CoreMetrics>,
    generations: RefCell<Generations>,
    core: RefCell<Rc<Core>>,
}

impl Current {
    fn new(number: usize, generations: Generations, metrics: Arc<CoreMetrics>) -> Self {
        let core = RefCell::new(core(number, &generations.current(), &metrics));
        Self { number, metrics, generations: RefCell::new(generations), core }
    }

    /// For a request or a connection that begins: what is in force now serves it to its end.
    pub fn core(&self) -> Rc<Core> {
        if let Some(generation) = self.generations.borrow_mut().replaced() {
            self.core.replace(core(self.number, &generation, &self.metrics));
        }
        Rc::clone(&self.core.borrow())
    }
}

/// Requests under way keep the former one, and its connections to Airflow with it.
fn core(number: usize, generation: &Arc<Generation>, metrics: &Arc<CoreMetrics>) -> Rc<Core> {
    let (log, spans) = (generation.log.clone(), generation.spans.clone());
    let recorder = Rc::new(Recorder { metrics: Arc::clone(metrics), log, spans });
    let upstream = Upstream::new(generation.upstream.clone());
    Rc::new(Core::new(number, Arc::clone(generation), upstream, recorder))
}

/// A timer that is due before all others wakes the runtime by a system call when it is set (tokio
/// 1.54, `runtime/time/mod.rs`, `reregister`), which would be one for many requests; so there is
/// always one that is due earlier than any of a request.
const PULSE: Duration = Duration::from_secs(1);

// A panic must unwind, whatever the profile, to cost one connection and not all of them.
const _: () = assert!(cfg!(panic = "unwind"), "airside is built with panic = \"unwind\"");

/// Counts a connection as open for as long as it lives, also where its task panics.
struct Open(Arc<CoreMetrics>);

impl Open {
    /// The connection begins inside, so that its task has room for it once and not twice.
    async fn during<C: Future<Output = ()>>(self, begin: impl FnOnce() -> C) {
        begin().await;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_panics_is_missed_by_no_other() {
        let metrics = Arc::new(CoreMetrics::new(InFlight::default()));
        let open = || {
            metrics.connection_opened();
            Open(Arc::clone(&metrics))
        };
        let options = LocalOptions::default();
        let runtime = Builder::new_current_thread().enable_all().build_local(options).unwrap();
        runtime.block_on(async {
            let mut connections = JoinSet::new();
            let served = Rc::new(RefCell::new(0));
            for number in 0..5 {
                let served = Rc::clone(&served);
                connections.spawn_local(open().during(async move || {
                    tokio::task::yield_now().await;
                    assert!(number % 2 == 1, "{number}");
                    *served.borrow_mut() += 1;
                }));
            }
            while connections.join_next().await.is_some() {}
            assert_eq!(*served.borrow(), 2);
        });
        assert_eq!(metrics.connections(), 0, "and none is counted for ever");
    }
}
