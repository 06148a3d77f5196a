//! The request's body on its way to Airflow: a client's is passed on frame by frame, watched for
//! its end, its size and its silence; one of our own is there whole.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::rejection::{Reason, Rejection};

/// How far a request's body has come; shared with whoever waits for the answer.
#[derive(Debug)]
pub struct Progress {
    last: Cell<Instant>,
    ended: Cell<Option<Instant>>,
    fault: Cell<Option<Fault>>,
    bytes: Cell<u64>,
}

/// Why a body did not reach its end.
#[derive(Clone, Copy, Debug)]
enum Fault {
    TooLarge(u64),
    Client,
}

impl Progress {
    pub(super) fn begin() -> Rc<Self> {
        Rc::new(Self {
            last: Cell::new(Instant::now()),
            ended: Cell::new(None),
            fault: Cell::new(None),
            bytes: Cell::new(0),
        })
    }

    /// When the last byte came.
    #[must_use]
    pub fn last(&self) -> Instant {
        self.last.get()
    }

    /// When the body had been passed on whole.
    #[must_use]
    pub fn ended(&self) -> Option<Instant> {
        self.ended.get()
    }

    /// How many bytes came.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(super) fn fault(&self) -> Option<Rejection> {
        Some(match self.fault.get()? {
            Fault::TooLarge(limit) => too_large(limit),
            Fault::Client => {
                let found = "the client broke off or garbled its body";
                Rejection::found_that(Reason::RequestMalformed, found)
            }
        })
    }
}

/// A request body for hyper's client.
#[derive(Debug)]
pub struct RequestBody {
    source: Source,
    progress: Option<Rc<Progress>>,
    limit: Option<u64>,
}

#[derive(Debug)]
enum Source {
    Client(Incoming),
    Own(Option<Bytes>),
}

impl RequestBody {
    /// Passes `incoming` on; refuses at once what is declared larger than `limit` bytes.
    pub(super) fn new(
        incoming: Incoming,
        progress: Option<Rc<Progress>>,
        limit: Option<u64>,
    ) -> Result<Self, Rejection> {
        match limit {
            Some(limit) if incoming.size_hint().lower() > limit => Err(too_large(limit)),
            _ => Ok(Self { source: Source::Client(incoming), progress, limit }),
        }
    }

    /// A body of our own, which may be empty.
    pub(super) fn own(body: Bytes) -> Self {
        let body = (!body.is_empty()).then_some(body);
        Self { source: Source::Own(body), progress: None, limit: None }
    }

    fn record(&self, bytes: u64) -> Result<(), BodyError> {
        let Some(progress) = &self.progress else {
            return Ok(());
        };
        progress.last.set(Instant::now());
        progress.bytes.set(progress.bytes.get() + bytes);
        match self.limit {
            Some(limit) if progress.bytes.get() > limit => {
                progress.fault.set(Some(Fault::TooLarge(limit)));
                Err(BodyError)
            }
            _ => Ok(()),
        }
    }

    fn end(&self) {
        if let Some(progress) = &self.progress {
            progress.ended.set(Some(Instant::now()));
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let incoming = match &mut self.source {
            Source::Own(body) => return Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Source::Client(incoming) => incoming,
        };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let recorded = self.record(data.len() as u64);
                    if self.is_end_stream() {
                        self.end();
                    }
                    Some(recorded.map(|()| Frame::data(data)))
                }
                // Trailers are dropped: nobody has judged them.
                Err(_trailers) => {
                    self.end();
                    None
                }
            },
            Some(Err(_)) => {
                if let Some(progress) = &self.progress {
                    progress.fault.set(Some(Fault::Client));
                }
                Some(Err(BodyError))
            }
            None => {
                self.end();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Client(incoming) => incoming.is_end_stream(),
            Source::Own(body) => body.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Client(incoming) => incoming.size_hint(),
            Source::Own(body) => {
                SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64))
            }
        }
    }
}

/// The body ended before its end; the reason is with its [`Progress`].
#[derive(Debug)]
pub struct BodyError;

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body did not reach its end")
    }
}

impl std::error::Error for BodyError {}

fn too_large(limit: u64) -> Rejection {
    let found = format!("{CONTENT_LENGTH} or body above the limit of {limit} bytes");
    Rejection::found_that(Reason::BodyTooLarge, found)
}
