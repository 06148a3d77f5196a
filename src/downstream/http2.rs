//! HTTP/2 (RFC 9113) on one connection: what hyper and h2 leave to us is how long it may do nothing,
//! how it ends, and that a client pays for more than requests (see [`super::budget`]).

use std::convert::Infallible;
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::HOST;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use super::budget::Item;
use super::connection::{Limits, MOST_REQUESTS, Visit};
use super::frames::{Activity, Frames};
use super::head::{Ending, Phase};
use crate::answer::Answer;
use crate::telemetry::metrics::CoreMetrics;

/// Requests on a connection at once. Clients assume as many until they are told (RFC 9113, section
/// 6.5.2, asks for no fewer).
const STREAMS: u32 = 100;
/// What may be on its way to us of one body and of all, in bytes: a megabyte each 50 ms or so.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;
/// What is kept of an answer that the client does not take yet, in bytes, for each stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams of one connection that we reset for what is wrong with them, before it is closed.
const OUR_RESETS: usize = 200;
/// For what is on its way when a connection is told to end, and for a client that does not answer.
const GRACE: Duration = Duration::from_secs(5);

/// Serves the connection to its end.
pub(super) async fn serve<T>(visit: Rc<Visit>, io: T, phase: Phase) -> hyper::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let Visit { current, limits, drain, .. } = &*visit;
    let activity = Rc::new(Activity::begin());
    let socket = Frames::new(
        io,
        phase.clone(),
        Rc::clone(&activity),
        limits.header_timeout,
        limits.unread_timeout,
    );
    let executor = OnThisCore {
        patience: limits.unread_timeout.max(limits.answer_timeout),
        metrics: Arc::clone(&current.core().recorder.metrics),
        activity: Rc::clone(&activity),
    };
    let service = service_fn(|request| {
        answer(Rc::clone(&visit), phase.clone(), Rc::clone(&activity), request)
    });
    let connection = builder(executor, limits).serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let mut drain = drain.clone();
    tokio::select! {
        ended = &mut connection => return ended,
        () = drain.begun() => {}
        () = quiet(&phase, &activity, limits.idle_timeout) => {}
        () = activity.full() => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = connection => ended,
        () = quiet(&phase, &activity, GRACE) => Ok(()),
    }
}

/// Why a connection ended that hyper gave up: what the socket did is noted by it, or is the
/// network's; the rest is what h2 found wrong with the frames.
pub(super) fn ending(error: &hyper::Error, phase: &Phase) -> Option<Ending> {
    let of_the_socket = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    phase.ending().or(of_the_socket.is_none().then_some(Ending::Malformed))
}

fn builder(executor: OnThisCore, limits: &Limits) -> http2::Builder<OnThisCore> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_local_error_reset_streams(OUR_RESETS)
        // All that it may ask at once it may take back at once; what that costs is in the budget.
        .max_pending_accept_reset_streams(STREAMS as usize)
        // As with HTTP/1.1 the answer is ours up to twice what is allowed, and h2's above.
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX / 2) * 2);
    builder
}

async fn answer(
    visit: Rc<Visit>,
    phase: Phase,
    activity: Rc<Activity>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    activity.moved();
    let turn = phase.serve();
    if phase.begun() == MOST_REQUESTS || visit.ends() {
        activity.fill();
    }
    let unanswered = Unanswered(Some(&activity));
    if turn.must_wait() {
        visit.line.turn().await;
    }
    let response = visit.answer(turn, as_http1(request)).await;
    unanswered.answered();
    Ok(response)
}

/// The rest of the way knows one kind of request: the authority of the target stands in `Host`
/// (RFC 9113, section 8.3.1). A `Host` that was sent beside it stays, to be compared.
fn as_http1(mut request: Request<Incoming>) -> Request<Incoming> {
    if !request.headers().contains_key(HOST)
        && let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    request
}

/// A request that has no answer yet: taken back by then, it has to be paid for.
struct Unanswered<'a>(Option<&'a Activity>);

impl Unanswered<'_> {
    fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(activity) = self.0 {
            activity.budget.book(Item::Abandoned);
        }
    }
}

/// Ends when for `span` nothing has been asked, served or sent.
async fn quiet(phase: &Phase, activity: &Activity, span: Duration) {
    loop {
        let since = if phase.running() > 0 { Instant::now() } else { activity.last() };
        if since.elapsed() >= span {
            return;
        }
        sleep_until(since + span).await;
    }
}

/// Runs a connection's streams as tasks on its core. hyper asks for more of an answer only when the
/// client's window is open, so a stream that nothing wakes any more is ended here.
#[derive(Clone)]
struct OnThisCore {
    patience: Duration,
    metrics: Arc<CoreMetrics>,
    activity: Rc<Activity>,
}

impl<F: Future<Output = ()> + 'static> Executor<F> for OnThisCore {
    fn execute(&self, stream: F) {
        let Self { patience, metrics, activity } = self.clone();
        // Boxed once, or each of the layers around it would have room for another one.
        let stream = Box::pin(stream);
        spawn_local(async move {
            if !ends_or_moves(stream, patience).await {
                metrics.connection_ended(Ending::Unread);
            }
            activity.moved();
        });
    }
}

/// Runs the future to its end; `false` when for `patience` nothing has woken it.
async fn ends_or_moves(future: impl Future<Output = ()>, patience: Duration) -> bool {
    let mut future = pin!(future);
    let mut moved = Instant::now();
    let mut alarm = pin!(sleep_until(moved + patience));
    poll_fn(|cx| {
        let rung = alarm.as_mut().poll(cx).is_ready();
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        if !rung {
            moved = Instant::now();
            return Poll::Pending;
        }
        if moved.elapsed() >= patience {
            return Poll::Ready(false);
        }
        // Polled, to be woken again.
        alarm.as_mut().reset(moved + patience);
        alarm.as_mut().poll(cx).map(|()| false)
    })
    .await
}
