//! From a valid configuration to bound sockets and supervised tasks, and back to nothing.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use crate::admin::health::{Health, Stage};
use crate::admin::{self, Admin};
use crate::clock;
use crate::config::Config;
use crate::downstream::acceptor::{self, Entrances};
use crate::downstream::core::{self, Blueprint, Handle};
use crate::jwks::refresh::{jittered, keep_fresh, restore};
use crate::shutdown::{self, Signals, Trigger};
use crate::telemetry::access::AccessLog;
use crate::telemetry::logging::Logging;
use crate::telemetry::metrics::{InFlight, Metrics};

/// A running airside.
#[derive(Debug)]
pub struct App {
    proxy: SocketAddr,
    stage: Stage,
    trigger: Trigger,
    acceptor: AbortHandle,
    admin: AbortHandle,
    cores: Vec<JoinHandle<()>>,
    delay: Duration,
    timeout: Duration,
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
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { listener, address, error } => write!(
                f,
                "the {listener} listener cannot be bound to {address}: {error}; is the port taken?"
            ),
            Self::Thread(error) => write!(f, "a thread cannot be started: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl App {
    /// Binds the sockets, starts the cores and the tasks that keep keys fresh, and says where it
    /// listens. Must run on a tokio runtime: that of the control plane.
    pub async fn start(config: Config, logging: &Logging) -> Result<Self, StartError> {
        allow_connections();
        let proxy = bind("proxy", config.listen).await?;
        let admin = bind("admin", config.admin).await?;
        let execution = match config.execution {
            Some(address) => Some(bind("execution", address).await?),
            None => None,
        };
        let stores: Vec<_> = config.keys.iter().map(|source| Arc::clone(&source.store)).collect();
        for keys in config.keys {
            if let Some(cache) = &keys.cache {
                restore(&keys.store, cache, clock::now());
            }
            if let Some(source) = keys.source {
                tokio::spawn(keep_fresh(keys.store, source, keys.cache, keys.refresh, jittered));
            }
        }
        if let Some(watch) = config.revocation_watch {
            tokio::spawn(watch.run());
        }
        if let Some(tls) = &config.welcome.tls {
            tokio::spawn(Arc::clone(tls).follow());
        }
        let (trigger, drain) = shutdown::drain();
        let log = config.access_log.then(|| AccessLog::new(logging.writer(), logging.format()));
        let addresses = Arc::clone(&config.upstream.addresses);
        let blueprint = Blueprint {
            gate: Arc::new(config.gate),
            upstream: config.upstream,
            welcome: config.welcome,
            limits: config.limits,
            in_flight: InFlight::default(),
            log,
        };
        let mut handles = Vec::new();
        let mut cores = Vec::new();
        for number in 0..config.threads.get() {
            let started = core::start(number, blueprint.clone(), drain.clone());
            let (handle, thread) = started.map_err(StartError::Thread)?;
            handles.push(handle);
            cores.push(thread);
        }
        let metrics = handles.iter().map(|handle| Arc::clone(handle.metrics())).collect();
        let stage = Stage::default();
        let shown = Arc::new(Admin {
            health: Health::new(stage.clone(), stores.clone(), config.ready_needs_keys),
            metrics: Metrics::new(
                metrics,
                stores,
                config.revocations,
                addresses,
                logging.writer().error_counter(),
            ),
            published: config.published,
        });
        logging.listening("proxy", proxy.address);
        logging.listening("admin", admin.address);
        if let Some(execution) = &execution {
            logging.listening("execution", execution.address);
        }
        let admin = tokio::spawn(admin::serve(admin.listener, shown)).abort_handle();
        let workers = execution.map(|bound| bound.listener);
        let entrances = Entrances { callers: proxy.listener, workers };
        let acceptor = tokio::spawn(accept(entrances, handles, config.connections));
        stage.serving();
        Ok(Self {
            proxy: proxy.address,
            stage,
            trigger,
            acceptor: acceptor.abort_handle(),
            admin,
            cores,
            delay: config.drain.delay,
            timeout: config.drain.timeout,
        })
    }

    /// Where callers reach it.
    #[must_use]
    pub const fn proxy(&self) -> SocketAddr {
        self.proxy
    }

    /// Ends in good order: not ready at once, serving on for `drain.delay` while load balancers
    /// notice, then finishing what runs within `drain.timeout`. A signal meanwhile ends it at once.
    /// `true` when everything was finished.
    pub async fn drain(self, signals: &mut Signals) -> bool {
        self.stage.draining();
        info!(delay = ?self.delay, timeout = ?self.timeout, "draining");
        let admin = self.admin.clone();
        let finished = tokio::select! {
            finished = self.finish() => finished,
            () = signals.next() => false,
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
        sleep(self.delay).await;
        // The acceptor owns the cores' handles: without it they end with their last connection.
        self.acceptor.abort();
        self.trigger.begin();
        let deadline = Instant::now() + self.timeout;
        while !self.cores.iter().all(thread::JoinHandle::is_finished) {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(POLL).await;
        }
        self.cores.into_iter().all(|core| core.join().is_ok())
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

async fn accept(entrances: Entrances, cores: Vec<Handle>, limit: u64) {
    acceptor::accept(entrances, &cores, limit).await;
}
