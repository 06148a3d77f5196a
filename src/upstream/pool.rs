//! Connections to one address of Airflow that one core keeps open between requests: no lock, no
//! other core.

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::fmt;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tracing::debug;

use super::address::Address;
use super::body::RequestBody;
use super::wire::{EndlessPreface, Heard, Wire};
use crate::alarm::Alarm;
use crate::rejection::Rejection;

/// One core's connections to one address.
pub struct Pool {
    address: Arc<Address>,
    connect_timeout: Duration,
    idle: RefCell<Vec<Idle>>,
    busy: Cell<usize>,
}

struct Idle {
    sender: SendRequest<RequestBody>,
    heard: Heard,
    alarm: Alarm,
    since: Instant,
}

/// A connection in use. It goes back to its pool by [`Connection::release`], and is closed when
/// dropped before.
pub struct Connection {
    sender: SendRequest<RequestBody>,
    heard: Heard,
    alarm: Alarm,
    seat: Seat,
}

/// Counts a request for as long as it is with an address.
pub(super) struct Seat(Rc<Pool>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get().saturating_sub(1));
    }
}

/// Why a request got no answer.
#[derive(Debug)]
pub enum SendError {
    /// The connection took nothing of it.
    Unsent,
    /// The connection ended before an answer.
    Closed {
        /// Whether not even a byte of one had come.
        unheard: bool,
        /// How it ended.
        why: String,
    },
    /// What came is not HTTP.
    Invalid(String),
    /// Nothing came in time.
    Overdue(Rejection),
}

impl Pool {
    pub(super) fn new(address: Arc<Address>, connect_timeout: Duration) -> Self {
        Self { address, connect_timeout, idle: RefCell::default(), busy: Cell::new(0) }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// How many requests are with the address now.
    pub(super) const fn busy(&self) -> usize {
        self.busy.get()
    }

    pub(super) fn seat(self: &Rc<Self>) -> Seat {
        self.busy.set(self.busy.get() + 1);
        Seat(Rc::clone(self))
    }

    /// The connection that became idle last and is still good.
    pub(super) fn idle(self: &Rc<Self>) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { sender, heard, alarm, since }) = idle.pop() {
            if since.elapsed() < IDLE_FOR && sender.is_ready() {
                return Some(Connection { sender, heard, alarm, seat: self.seat() });
            }
        }
        None
    }

    /// A fresh connection, or why there is none.
    pub(super) async fn connect(self: &Rc<Self>) -> Result<Connection, String> {
        let seat = self.seat();
        let transport = match timeout(self.connect_timeout, self.address.connect()).await {
            Ok(connected) => connected.map_err(|error| error.to_string())?,
            Err(_) => return Err(format!("no connection in {:?}", self.connect_timeout)),
        };
        let (wire, heard) = Wire::new(transport);
        let mut builder = Builder::new();
        let handshake = builder.max_header_size(MOST_HEAD).handshake(TokioIo::new(wire)).await;
        let (sender, connection) = handshake.map_err(|error| error.to_string())?;
        spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                debug!(%error, "upstream connection ended");
            }
        });
        Ok(Connection { sender, heard, alarm: Alarm::default(), seat })
    }
}

impl Connection {
    /// Takes the request, and waits for the head of the answer until `overdue` has had enough of
    /// waiting. What was not sent is put back.
    pub(super) async fn send(
        &mut self,
        request: &mut Option<Request<RequestBody>>,
        overdue: impl AsyncFnOnce(&mut Alarm) -> Rejection,
    ) -> Result<Response<Incoming>, SendError> {
        let mut alarm = mem::take(&mut self.alarm);
        let response = tokio::select! {
            biased;
            response = self.exchange(request) => response?,
            overdue = overdue(&mut alarm) => return Err(SendError::Overdue(overdue)),
        };
        self.alarm = alarm;
        Ok(response)
    }

    async fn exchange(
        &mut self,
        request: &mut Option<Request<RequestBody>>,
    ) -> Result<Response<Incoming>, SendError> {
        self.heard.begin();
        let Some(taken) = request.take() else { return Err(SendError::Unsent) };
        match self.sender.try_send_request(taken).await {
            Ok(response) => {
                self.heard.answered();
                Ok(response)
            }
            Err(mut failed) => {
                *request = failed.take_message();
                Err(match request {
                    Some(_) => SendError::Unsent,
                    None => self.failed(&failed.into_error()),
                })
            }
        }
    }

    fn failed(&self, error: &hyper::Error) -> SendError {
        let cause = error.source();
        let io = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
        let inner = io.and_then(std::io::Error::get_ref);
        if let Some(endless) = inner.and_then(|inner| inner.downcast_ref::<EndlessPreface>()) {
            return SendError::Invalid(endless.to_string());
        }
        if error.is_parse() {
            return SendError::Invalid(error.to_string());
        }
        let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        SendError::Closed { unheard: self.heard.nothing(), why: format!("{error}{cause}") }
    }

    /// Gives the connection back, when the answer has been read to its end.
    pub fn release(self) {
        let Self { sender, heard, alarm, seat } = self;
        let mut idle = seat.0.idle.borrow_mut();
        if !sender.is_closed() && idle.len() < MOST_IDLE {
            idle.push(Idle { sender, heard, alarm, since: Instant::now() });
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("address", &self.address.name())
            .field("idle", &self.idle.borrow().len())
            .field("busy", &self.busy)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection(..)")
    }
}

/// The largest head of an answer: Airflow's have some kilobytes, most of it cookies.
const MOST_HEAD: usize = 128 * 1024;
/// Shorter than Airflow keeps a silent connection (`[api] worker_timeout`, 120 s).
const IDLE_FOR: Duration = Duration::from_secs(90);
/// As many as a core serves at once under heavy load; more are closed.
const MOST_IDLE: usize = 1024;
