//! What follows a switch of protocols: the bytes of both sides as they come, until both have ended
//! it, one has and the other does not follow, or nothing has come for too long.

use std::cell::Cell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::{Instant as TokioInstant, sleep_until};

use super::pool::Connection;
use crate::policy::Switch;
use crate::telemetry::Exchange;

/// Two connections that are about to be joined.
#[derive(Debug)]
pub struct Tunnel {
    client: OnUpgrade,
    airflow: OnUpgrade,
    /// Counts as a request to its address until the end.
    _connection: Connection,
    idle_timeout: Duration,
}

impl Tunnel {
    pub(super) fn new(
        switch: Switch,
        airflow: OnUpgrade,
        connection: Connection,
        idle_timeout: Duration,
    ) -> Self {
        Self {
            client: switch.into_inner().into_client(),
            airflow,
            _connection: connection,
            idle_timeout,
        }
    }

    /// Joins them, and ends the exchange with them.
    pub async fn run(self, mut exchange: Exchange) {
        let passed = Rc::new(Passed::begin());
        let ended = self.join(&passed).await;
        exchange.received(passed.from_client.get());
        exchange.sent(passed.to_client.get());
        match ended {
            Ok(End::Closed) => {}
            Ok(End::Silent(span)) => exchange.found(&format!("no byte either way for {span:?}")),
            Err(_) => exchange.cut(),
        }
    }

    async fn join(self, passed: &Rc<Passed>) -> io::Result<End> {
        let Self { client, airflow, _connection, idle_timeout } = self;
        let client = TokioIo::new(client.await.map_err(io::Error::other)?);
        let mut airflow = TokioIo::new(airflow.await.map_err(io::Error::other)?);
        passed.last.set(Instant::now());
        let mut client = Watched { io: client, passed: Rc::clone(passed) };
        tokio::select! {
            // First what passes, then the time: the end of one side brings it forward.
            biased;
            ended = copy_bidirectional(&mut client, &mut airflow) => ended.map(|_| End::Closed),
            end = passed.overdue(idle_timeout) => Ok(end),
        }
    }
}

enum End {
    Closed,
    Silent(Duration),
}

/// How much has passed through, and when.
#[derive(Debug)]
struct Passed {
    from_client: Cell<u64>,
    to_client: Cell<u64>,
    last: Cell<Instant>,
    /// When one side ended.
    ended: Cell<Option<Instant>>,
}

impl Passed {
    fn begin() -> Self {
        Self {
            from_client: Cell::new(0),
            to_client: Cell::new(0),
            last: Cell::new(Instant::now()),
            ended: Cell::new(None),
        }
    }

    fn add(&self, counter: &Cell<u64>, bytes: usize) {
        counter.set(counter.get() + bytes as u64);
        self.last.set(Instant::now());
    }

    fn end(&self) {
        if self.ended.get().is_none() {
            self.ended.set(Some(Instant::now()));
        }
    }

    fn deadline(&self, idle: Duration) -> Instant {
        let silent = self.last.get() + idle;
        self.ended.get().map_or(silent, |ended| silent.min(ended + LINGER))
    }

    /// Waits until nothing has passed for too long, or one side has not followed the other.
    async fn overdue(&self, idle: Duration) -> End {
        let mut alarm = pin!(sleep_until(TokioInstant::from_std(self.deadline(idle))));
        poll_fn(|cx| {
            loop {
                let deadline = TokioInstant::from_std(self.deadline(idle));
                // Set anew when it rings too early, not with every byte.
                if deadline < alarm.deadline() {
                    alarm.as_mut().reset(deadline);
                }
                ready!(alarm.as_mut().poll(cx));
                if deadline <= TokioInstant::now() {
                    return Poll::Ready(());
                }
                alarm.as_mut().reset(deadline);
            }
        })
        .await;
        self.ended.get().map_or(End::Silent(idle), |_| End::Closed)
    }
}

/// For the last words of a side that has heard the other's end. A WebSocket has said all it will by
/// then (RFC 6455, section 7.1.1).
const LINGER: Duration = Duration::from_secs(2);

/// The client's side: all bytes pass through it.
struct Watched<T> {
    io: T,
    passed: Rc<Passed>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        match buf.filled().len() - before {
            0 => self.passed.end(),
            bytes => self.passed.add(&self.passed.from_client, bytes),
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.passed.add(&self.passed.to_client, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Airflow has ended, and all that it said has been passed on.
        self.passed.end();
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
