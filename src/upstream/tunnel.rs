//! What follows a switch of protocols: the bytes of both sides as they come, until one ends it, or
//! nothing has come for too long.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
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
        Self { client: switch.into_client(), airflow, _connection: connection, idle_timeout }
    }

    /// Joins them, and ends the exchange with them.
    pub async fn run(self, mut exchange: Exchange) {
        let passed = Rc::new(Passed::default());
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
        passed.last.set(Some(Instant::now()));
        let mut client = Watched { io: client, passed: Rc::clone(passed) };
        tokio::select! {
            ended = copy_bidirectional(&mut client, &mut airflow) => ended.map(|_| End::Closed),
            () = passed.silence(idle_timeout) => Ok(End::Silent(idle_timeout)),
        }
    }
}

enum End {
    Closed,
    Silent(Duration),
}

/// How much has passed through, and when.
#[derive(Debug, Default)]
struct Passed {
    from_client: Cell<u64>,
    to_client: Cell<u64>,
    last: Cell<Option<Instant>>,
}

impl Passed {
    fn add(&self, counter: &Cell<u64>, bytes: usize) {
        counter.set(counter.get() + bytes as u64);
        self.last.set(Some(Instant::now()));
    }

    /// Ends when nothing has passed for `span`.
    async fn silence(&self, span: Duration) {
        loop {
            let last = self.last.get().unwrap_or_else(Instant::now);
            let deadline = last + span;
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(TokioInstant::from_std(deadline)).await;
        }
    }
}

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
        self.passed.add(&self.passed.from_client, buf.filled().len() - before);
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
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
