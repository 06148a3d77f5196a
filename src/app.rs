//! From a valid configuration to bound sockets and supervised tasks, and back to nothing.
//! `assembly` makes what is in force of a configuration, [`reload`] notices that there is another,
//! `fixed` knows what cannot change while airside runs.

mod assembly;
mod fixed;
pub mod reload;

use std::fmt;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle, available_parallelism};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use crate::admin::health::{Health, Stage};
use crate::admin::{self, Admin};
use crate::clock;
use crate::config::tree::Tree;
use crate::config::used::Drain;
use crate::config::{Config, KeySource, Problems};
use crate::downstream::acceptor::{self, Sockets};
use crate::downstream::core::{self, Blueprint};
use crate::generation::Succession;
use crate::shutdown::{self, Signals, Trigger};
use crate::telemetry::history::History;
use crate::telemetry::logging::Logging;
use crate::telemetry::metrics::{InFlight, Metrics};
use crate::telemetry::refusals::Refusals;
use crate::telemetry::reloads::Reloads;
use assembly::Assembly;
use fixed::Fixed;

/// A running airside.
#[derive(Debug)]
pub struct App {
    proxy: SocketAddr,
    admin_address: SocketAddr,
    stage: Stage,
    trigger: Trigger,
    admin: AbortHandle,
    cores: Vec<JoinHandle<()>>,
    assembly: Assembly,
    succession: Succession,
    reloads: Arc<Reloads>,
    fixed: Fixed,
    drain: Drain,
}

/// Why airside could not start.
#[derive(Debug)]
pub enum StartError {
    /// A socket could not be bound.
    Bind {
        /// Which one.
        listener: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// A thread could not be started.
    Thread(io::Error),
    /// No connection can be accepted.
    Accept(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { listener, address, error } => write!(
                f,
                "the {listener} listener cannot be bound to {address}: {error}; is the port taken?"
            ),
            Self::Thread(error) => write!(f, "a thread cannot be started: {error}"),
            Self::Accept(error) => write!(f, "no connection can be accepted: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl App {
    /// Binds the sockets, starts the cores and the tasks that keep keys fresh, and says where it
    /// listens. Must run on a tokio runtime: that of the control plane. The status page names `file`,
    /// where the configuration comes from one.
    pub async fn start(
        config: Config,
        file: Option<PathBuf>,
        logging: &Logging,
    ) -> Result<Self, StartError> {
        allow_connections();
        let proxy = bind("proxy", config.listen).await?;
        let admin = bind("admin", config.admin).await?;
        let execution = bind_if("execution", config.execution).await?;
        let forward_auth = bind_if("forward_auth", config.forward_auth).await?;
        let (fixed, drain, threads) = (Fixed::of(&config), config.drain, threads(&config));
        let assembly = Assembly::of(config, None, logging);
        let (succession, generations) = Succession::begin(Arc::clone(assembly.generation()));
        let (trigger, draining) = shutdown::drain();
        let refusals = Arc::<Refusals>::default();
        let blueprint = Blueprint {
            generations: generations.clone(),
            in_flight: InFlight::default(),
            refusals: Arc::clone(&refusals),
            drain: draining.clone(),
        };
        let (mut handles, mut cores) = (Vec::new(), Vec::new());
        for number in 0..threads.get() {
            let started = core::start(number, blueprint.clone());
            let (handle, thread) = started.map_err(StartError::Thread)?;
            handles.push(handle);
            cores.push(thread);
        }
        let metrics = handles.iter().map(|handle| Arc::clone(handle.metrics())).collect();
        let (stage, reloads) = (Stage::default(), Arc::<Reloads>::default());
        let metrics = Metrics::new(metrics, logging.writer().error_counter(), Arc::clone(&reloads));
        let metrics = Arc::new(metrics);
        let history = Arc::new(History::begin(&metrics));
        let shown = Arc::new(Admin {
            health: Health::new(stage.clone()),
            metrics: Arc::clone(&metrics),
            history: Arc::clone(&history),
            refusals,
            generations: generations.clone(),
            // Who reads it may be in another folder.
            config_file: file.map(|file| std::path::absolute(&file).unwrap_or(file)),
            started: clock::now(),
        });
        logging.listening("proxy", proxy.address);
        logging.listening("admin", admin.address);
        for (name, bound) in [("execution", &execution), ("forward_auth", &forward_auth)] {
            if let Some(bound) = bound {
                logging.listening(name, bound.address);
            }
        }
        tokio::spawn(history.follow(metrics));
        let admin_address = admin.address;
        let admin = tokio::spawn(admin::serve(admin.listener, shown)).abort_handle();
        let sockets = Sockets {
            callers: proxy.listener,
            workers: execution.map(|bound| bound.listener),
            proxies: forward_auth.map(|bound| bound.listener),
        };
        let accepting = acceptor::start(sockets, handles, generations, draining);
        accepting.await.map_err(StartError::Accept)?;
        stage.serving();
        let proxy = proxy.address;
        Ok(Self {
            proxy,
            admin_address,
            stage,
            trigger,
            admin,
            cores,
            assembly,
            succession,
            reloads,
            fixed,
            drain,
        })
    }

    /// Puts another configuration in the place of the one in force, as a whole: requests that begin
    /// after it are served by it alone, those under way by the one that they began with. Nothing of
    /// it is taken up where something in it cannot change while airside runs; `tree` says where that
    /// is written.
    pub async fn take_up(
        &mut self,
        config: Config,
        tree: &Tree,
        logging: &Logging,
    ) -> Result<(), Problems> {
        self.fixed.allow(&config, tree)?;
        let (level, drain) = (config.log_level, config.drain);
        let next = Assembly::of(config, Some(&self.assembly), logging);
        next.keys_attempted().await;
        self.succession.put(Arc::clone(next.generation()));
        mem::replace(&mut self.assembly, next).retire();
        self.drain = drain;
        logging.set_level(level);
        self.reloads.applied();
        Ok(())
    }

    /// The number of the configuration in force.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.assembly.generation().number
    }

    /// Where the keys in force come from.
    #[must_use]
    pub fn key_sources(&self) -> Vec<KeySource> {
        self.assembly.sources()
    }

    /// Where callers reach it.
    #[must_use]
    pub const fn proxy(&self) -> SocketAddr {
        self.proxy
    }

    /// Where the status page is.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin_address
    }

    /// Ends in good order: not ready at once, serving on for `drain.delay` while load balancers
    /// notice, then finishing what runs within `drain.timeout`. Another signal meanwhile ends it at once.
    /// `true` when everything was finished.
    pub async fn drain(self, signals: &mut Signals) -> bool {
        self.stage.draining();
        self.trigger.announce();
        info!(delay = ?self.drain.delay, timeout = ?self.drain.timeout, "draining");
        let admin = self.admin.clone();
        let finished = tokio::select! {
            finished = self.finish() => finished,
            () = signals.insisted() => false,
        };
        admin.abort();
        if finished {
            info!("drained");
        } else {
            warn!("ended before all requests were finished");
        }
        finished
    }

    async fn finish(self) -> bool {
        sleep(self.drain.delay).await;
        self.trigger.begin();
        let deadline = Instant::now() + self.drain.timeout;
        while !self.cores.iter().all(thread::JoinHandle::is_finished) {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(POLL).await;
        }
        let finished = self.cores.into_iter().all(|core| core.join().is_ok());
        if let Some(spans) = &self.assembly.generation().spans {
            spans.flush().await;
        }
        finished
    }
}

/// How often the end of the cores is looked for.
const POLL: Duration = Duration::from_millis(10);

/// Raises the soft limit on open files to the hard one: a proxied request takes two.
fn allow_connections() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        debug!(%error, "the limit on open files stays as it is");
    }
}

struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

async fn bind(listener: &'static str, address: SocketAddr) -> Result<Bound, StartError> {
    let failed = |error| StartError::Bind { listener, address, error };
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok(Bound { listener: socket, address })
}

async fn bind_if(
    listener: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<Bound>, StartError> {
    match address {
        Some(address) => bind(listener, address).await.map(Some),
        None => Ok(None),
    }
}

fn threads(config: &Config) -> NonZeroUsize {
    config.threads.or_else(|| available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}
