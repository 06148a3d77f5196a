//! Steady load: clients that send one request after the other, on connections that they keep while
//! they may or on a new one each time, and count. Nothing is sent twice.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::http::{Connection, Request, Response};
use super::wait::eventually;

/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct Load {
    address: SocketAddr,
    over: AtomicBool,
    answered: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Load {
    pub(crate) fn on(address: SocketAddr) -> Self {
        Self {
            address,
            over: AtomicBool::new(false),
            answered: AtomicUsize::new(0),
            failures: Mutex::default(),
        }
    }

    /// One client; every answer but 200 is a failure, and so is none.
    pub(crate) fn client(&self, keeps: bool, mut next: impl FnMut(usize) -> Request) {
        self.client_expecting(keeps, |number| (next(number), 200));
    }

    /// The same, where each request has a status of its own to be answered with.
    pub(crate) fn client_expecting(
        &self,
        keeps: bool,
        mut next: impl FnMut(usize) -> (Request, u16),
    ) {
        let mut kept = None;
        for number in 0.. {
            if self.over.load(Relaxed) {
                return;
            }
            let (request, status) = next(number);
            match self.ask(&mut kept, &request) {
                Ok(answer) if answer.status == status => drop(self.answered.fetch_add(1, Relaxed)),
                Ok(answer) => self.fails(format!("{} {}", answer.status, answer.text())),
                Err(error) => self.fails(error.to_string()),
            }
            if !keeps {
                kept = None;
            }
            thread::sleep(PAUSE);
        }
    }

    fn ask(&self, kept: &mut Option<Connection>, request: &Request) -> io::Result<Response> {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::try_open(self.address)?,
        };
        connection.send(&request.bytes(self.address))?;
        let answer = connection.response_to(request.method())?;
        // Who is told to connect anew does.
        if answer.header("connection") != Some("close") {
            *kept = Some(connection);
        }
        Ok(answer)
    }

    fn fails(&self, what: String) {
        self.failures.lock().unwrap().push(what);
    }

    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Relaxed)
    }

    /// Waits until so many more are answered, or one has failed.
    pub(crate) fn goes_on(&self, requests: usize) {
        let until = self.answered() + requests;
        eventually("the load goes on", || {
            let failed = !self.failures.lock().unwrap().is_empty();
            (failed || self.answered() >= until).then_some(())
        });
    }

    /// The clients end when this is dropped: also where a step between fails,
    /// or nobody would see why.
    pub(crate) fn ending(&self) -> Ending<'_> {
        Ending(self)
    }

    /// Fails the test where a request failed.
    pub(crate) fn assert_whole(&self) {
        let failures = self.failures.lock().unwrap();
        let (failed, answered) = (failures.len(), self.answered());
        let first: Vec<_> = failures.iter().take(10).collect();
        assert!(failures.is_empty(), "{failed} failed, {answered} were answered: {first:#?}");
    }
}

pub(crate) struct Ending<'l>(&'l Load);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Relaxed);
    }
}
