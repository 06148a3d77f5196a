//! One data core: a thread with a runtime of its own, so that a request, its connection to Airflow
//! and its memory stay on one processor and nothing is locked.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, TcpStream};
use std::pin::Pin;
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
use crate::telemetry::refusals::Refusals;
use crate::upstream::Upstream;

/// What every core is made of.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// The configuration in force.
    pub generations: Generations,
    /// What all cores serve together.
    pub in_flight: InFlight,
    /// The latest refusals of all cores.
    pub refusals: Arc<Refusals>,
    /// The end.
    pub drain: Drain,
}

/// The acceptor's end of a running core. The core ends when this is dropped and its last
/// connection has ended.
#[derive(Clone, Debug)]
pub struct Handle {
    errands: UnboundedSender<Errand>,
    metrics: Arc<CoreMetrics>,
}

/// What a core is given to do.
enum Errand {
    Serve(Arrived),
    Host(Work),
}

type Work = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

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
        if self.errands.send(Errand::Serve(arrived)).is_err() {
            self.metrics.connection_closed();
        }
    }

    /// Has the core run something beside its connections. It ends when that has ended, too.
    pub fn host<F>(&self, begin: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let work: Work = Box::new(|| Box::pin(begin()));
        // A core ends only when there is no handle of it any more.
        drop(self.errands.send(Errand::Host(work)));
    }

    /// The core's counters.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<CoreMetrics> {
        &self.metrics
    }
}

/// Starts a core on a thread called after its `number`.
pub fn start(number: usize, blueprint: Blueprint) -> io::Result<(Handle, JoinHandle<()>)> {
    let (errands, given) = unbounded_channel();
    let metrics = Arc::new(CoreMetrics::new(blueprint.in_flight.clone()));
    let handle = Handle { errands, metrics: Arc::clone(&metrics) };
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
        runtime.block_on(serve(number, blueprint, metrics, given));
    };
    let thread = thread::Builder::new().name(format!("airside-{number}")).spawn(run)?;
    built.recv().map_err(io::Error::other)??;
    Ok((handle, thread))
}

async fn serve(
    number: usize,
    blueprint: Blueprint,
    metrics: Arc<CoreMetrics>,
    mut given: UnboundedReceiver<Errand>,
) {
    let Blueprint { mut generations, drain, refusals, .. } = blueprint;
    let sinks = (Arc::clone(&metrics), refusals);
    let current = Rc::new(Current::new(number, generations.clone(), sinks));
    let line = Line::new();
    let mut tasks = JoinSet::new();
    let mut pulse = interval(PULSE);
    loop {
        tokio::select! {
            errand = given.recv() => match errand {
                Some(Errand::Serve(arrived)) => {
                    let (current, line, drain) = (Rc::clone(&current), line.clone(), drain.clone());
                    let open = Open(Arc::clone(&metrics));
                    let serve = move || connection::serve(current, arrived, line, drain);
                    tasks.spawn_local(open.during(serve));
                }
                Some(Errand::Host(work)) => drop(tasks.spawn_local(work())),
                None => break,
            },
            // A core without requests lets go of what is not in force any more, too.
            () = generations.another() => drop(current.core()),
            // Ended ones are collected as they end.
            Some(_) = tasks.join_next() => {}
            _ = pulse.tick() => {}
        }
    }
    // One that panicked is no reason to leave the others.
    while tasks.join_next().await.is_some() {}
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serve(arrived) => f.debug_tuple("Serve").field(arrived).finish(),
            Self::Host(_) => f.debug_tuple("Host").finish_non_exhaustive(),
        }
    }
}

/// Where what was done is told, whatever configuration is in force.
type Sinks = (Arc<CoreMetrics>, Arc<Refusals>);

/// The core as the configuration in force makes it.
#[derive(Debug)]
pub struct Current {
    number: usize,
    sinks: Sinks,
    generations: RefCell<Generations>,
    core: RefCell<Rc<Core>>,
}

impl Current {
    fn new(number: usize, generations: Generations, sinks: Sinks) -> Self {
        let core = RefCell::new(core(number, &generations.current(), &sinks));
        Self { number, sinks, generations: RefCell::new(generations), core }
    }

    /// For a request or a connection that begins: what is in force now serves it to its end.
    pub fn core(&self) -> Rc<Core> {
        if let Some(generation) = self.generations.borrow_mut().replaced() {
            self.core.replace(core(self.number, &generation, &self.sinks));
        }
        Rc::clone(&self.core.borrow())
    }
}

/// Requests under way keep the former one, and its connections to Airflow with it.
fn core(number: usize, generation: &Arc<Generation>, (metrics, refusals): &Sinks) -> Rc<Core> {
    let (metrics, refusals) = (Arc::clone(metrics), Arc::clone(refusals));
    let (log, spans) = (generation.log.clone(), generation.spans.clone());
    let recorder = Rc::new(Recorder { metrics, log, refusals, spans });
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
