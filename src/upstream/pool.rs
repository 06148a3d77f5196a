//! Connections to Airflow that one core keeps open between requests: no lock, no other core.

use std::cell::RefCell;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tracing::debug;

use super::body::RequestBody;
use crate::rejection::Rejection;

/// The idle connections of one core.
pub struct Pool {
    host: String,
    port: u16,
    connect_timeout: Duration,
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

/// A connection in use. It goes back to its pool by [`Connection::release`], and is closed when
/// dropped before.
pub struct Connection {
    sender: SendRequest<RequestBody>,
    pool: Weak<Pool>,
}

/// Why a request got no answer.
#[derive(Debug)]
pub enum SendError {
    /// The connection took nothing of it: here it is back.
    Unsent(Box<Request<RequestBody>>),
    /// The connection ended before an answer.
    Closed,
    /// What came is not HTTP.
    Invalid(String),
    /// Nothing came in time.
    Overdue(Rejection),
}

impl Pool {
    pub(super) fn new(host: String, port: u16, connect_timeout: Duration) -> Self {
        Self { host, port, connect_timeout, idle: RefCell::default() }
    }

    /// The connection that became idle last and is still good.
    pub(super) fn idle(self: &Rc<Self>) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(candidate) = idle.pop() {
            if candidate.since.elapsed() < IDLE_FOR && candidate.sender.is_ready() {
                return Some(Connection { sender: candidate.sender, pool: Rc::downgrade(self) });
            }
        }
        None
    }

    /// A fresh connection, or why there is none.
    pub(super) async fn connect(self: &Rc<Self>) -> Result<Connection, String> {
        let address = format!("{}:{}", self.host, self.port);
        let stream = match timeout(self.connect_timeout, TcpStream::connect(&address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(format!("{address}: {error}")),
            Err(_) => {
                return Err(format!("{address}: no connection in {:?}", self.connect_timeout));
            }
        };
        // Small writes leave at once; without it a POST may wait 40 ms for an ACK.
        stream.set_nodelay(true).map_err(|error| format!("{address}: {error}"))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| format!("{address}: {error}"))?;
        spawn_local(async move {
            if let Err(error) = connection.await {
                debug!(%error, "upstream connection ended");
            }
        });
        Ok(Connection { sender, pool: Rc::downgrade(self) })
    }
}

impl Connection {
    /// Sends the request and waits for the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, SendError> {
        match self.sender.try_send_request(request).await {
            Ok(response) => Ok(response),
            Err(mut failed) => Err(match failed.take_message() {
                Some(unsent) => SendError::Unsent(Box::new(unsent)),
                None => {
                    let error = failed.into_error();
                    if error.is_parse() {
                        SendError::Invalid(error.to_string())
                    } else {
                        SendError::Closed
                    }
                }
            }),
        }
    }

    /// Gives the connection back, when the answer has been read to its end.
    pub fn release(self) {
        let Some(pool) = self.pool.upgrade() else {
            return;
        };
        let mut idle = pool.idle.borrow_mut();
        if !self.sender.is_closed() && idle.len() < MOST_IDLE {
            idle.push(Idle { sender: self.sender, since: Instant::now() });
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("idle", &self.idle.borrow().len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection(..)")
    }
}

/// Shorter than Airflow keeps a silent connection (`[api] worker_timeout`, 120 s).
const IDLE_FOR: Duration = Duration::from_secs(90);
/// As many as a core serves at once under heavy load; more are closed.
const MOST_IDLE: usize = 1024;
