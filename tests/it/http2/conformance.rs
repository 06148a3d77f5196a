//! What RFC 9113 and RFC 7541 say must be an error is one, of the right kind and with the right code,
//! and what must be let pass passes. What a head must be is told by the tests beside, and what must
//! not be sent by tests/conformance.
//!
//! After what must not end the connection comes a request on a further stream, which is answered.

mod cases;

use std::io;
use std::sync::{Mutex, mpsc};
use std::thread;

use crate::support::expect::Verdicts;
use crate::support::http2::{DATA, GOAWAY, HEADERS, PING, RST_STREAM, Raw, frame};
use crate::support::issuer::Issuer;
use crate::support::scene::Scene;
use crate::support::upstream::Upstream;
use crate::support::wait::DEADLINE;

/// What becomes of the stream with the number 1, or of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The connection goes on, and the stream, if there is one, was not reset.
    Served,
    /// The stream is reset with this code, and the connection goes on.
    Stream(Code),
    /// The connection ends with this code.
    Connection(Code),
    /// The connection ends without a word of HTTP/2.
    Closed,
    /// Nothing came.
    Nothing,
}

use Code::{Compression, FlowControl, FrameSize, Protocol, RefusedStream, StreamClosed};
use Fate::{Closed, Connection, Served, Stream};

/// RFC 9113, section 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Protocol = 1,
    FlowControl = 3,
    StreamClosed = 5,
    FrameSize = 6,
    RefusedStream = 7,
    Compression = 9,
    Other = 99,
}

impl Code {
    fn of(payload: &[u8]) -> Self {
        let codes = [Protocol, FlowControl, StreamClosed, FrameSize, RefusedStream, Compression];
        let said = payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        codes.into_iter().find(|code| Some(*code as u32) == said).unwrap_or(Self::Other)
    }
}

/// What is sent after the preface, and what becomes of it.
struct Case {
    /// Where the RFC says so, and what is wrong or right.
    label: &'static str,
    send: Vec<u8>,
    fate: Fate,
    /// Why that is not what the RFC asks for.
    because: Option<&'static str>,
}

impl Case {
    /// What comes instead of what the RFC asks for, and why that is left so.
    fn but(self, fate: Fate, because: &'static str) -> Self {
        assert_ne!(fate, self.fate, "{}: no difference", self.label);
        Self { fate, because: Some(because), ..self }
    }

    /// For what hyper's h2 cannot read at all.
    fn but_named_otherwise(self) -> Self {
        self.but(Connection(Protocol), CODE)
    }
}

const CODE: &str = "hyper's h2 ends the connection, as it must, and calls whatever it cannot read a \
    PROTOCOL_ERROR: the code is for people who look for the client's fault";
const WHOLE: &str = "hyper's h2 takes it for an error of the whole connection, which section 5.4.1 \
    allows of every error of a stream";
const FIRST: &str = "hyper's h2 takes frames before the settings, and nothing depends on them: \
    who sends none is as slow as one without a request";
const TRAILERS: &str = "hyper's h2 passes it over, and airside drops all trailers";

fn case(label: &'static str, send: &[&[u8]], fate: Fate) -> Case {
    Case { label, send: send.concat(), fate, because: None }
}

/// The stream of the request that comes afterwards.
const AFTERWARDS: u32 = 9_999;

/// What becomes of what is sent.
fn fate(mut raw: Raw, case: &Case) -> Fate {
    if raw.send(&case.send).is_err() {
        return Closed;
    }
    // Who is to be closed gets nothing more: what nobody reads would take back what was said.
    let goes_on = matches!(case.fate, Served | Stream(_));
    if goes_on && raw.send(&frame(HEADERS, 5, AFTERWARDS, &cases::bare())).is_err() {
        return Closed;
    }
    let (mut answered, mut code) = (false, None);
    loop {
        if answered && (code.is_some() || !matches!(case.fate, Stream(_))) {
            return code.map_or(Served, Stream);
        }
        match raw.next() {
            Ok(frame) if frame.kind == GOAWAY && frame.payload[4..8] != [0; 4] => {
                return Connection(Code::of(&frame.payload[4..]));
            }
            // Whoever answers a whole request before its end asks for no more of it (section 8.1).
            Ok(frame) if frame.kind == RST_STREAM && frame.payload != [0; 4] => {
                code = code.or(Some(Code::of(&frame.payload)));
            }
            Ok(frame) => answered |= frame.kind == HEADERS && frame.stream == AFTERWARDS,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Fate::Nothing,
            Err(_closed) => return Closed,
        }
    }
}

#[test]
fn what_is_an_error_is_one_and_what_is_none_passes() {
    let scene = Scene::start();
    let proxy = scene.airside.proxy;
    let opened = |case: &Case| fate(Raw::open(proxy), case);
    let silent = |case: &Case| fate(Raw::silent(proxy), case);
    let groups = [
        (cases::prefaces(), &silent as &(dyn Fn(&Case) -> Fate + Sync)),
        (cases::frames(), &opened),
        (cases::of_streams(), &opened),
        (cases::of_windows_and_messages(), &opened),
        (cases::too_many(), &opened),
        (cases::of_connections(), &opened),
        (cases::of_fields(), &opened),
    ];
    let mut verdicts = Verdicts::default();
    thread::scope(|scope| {
        let under_way: Vec<_> = groups
            .iter()
            .flat_map(|(cases, run)| cases.iter().map(move |case| (case, run)))
            .map(|(case, run)| (case, scope.spawn(move || run(case))))
            .collect();
        for (case, found) in under_way {
            let found = found.join().unwrap();
            verdicts.check(
                case.label,
                found == case.fate,
                (found, "instead of", case.fate, case.because),
            );
        }
    });
    assert!(scene.airside.ended("malformed_http2") > 0);
}

/// Section 6.9.1: Airflow does not read on, so no window is opened again.
#[test]
fn whoever_sends_more_than_there_is_room_for_is_told_so() {
    let (over, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let upstream = Upstream::scripted(move |mut reader| {
        let _head = reader.head();
        let _over = ended.lock().unwrap().recv_timeout(2 * DEADLINE);
    });
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let mut raw = Raw::open(scene.airside.proxy);
    raw.send(&[cases::begin(), frame(PING, 0, 0, &[0; 8])].concat()).unwrap();
    assert_eq!(raw.next().unwrap().kind, PING, "and settings are agreed on");
    let mut writer = raw.again();
    let sent = thread::spawn(move || {
        let piece = frame(DATA, 0, 1, &[0; 16_384]);
        (0..4096).find(|_| writer.send(&piece).is_err())
    });
    let told = raw.rest().expect("closed").into_iter().find_map(|frame| match frame.kind {
        RST_STREAM => Some(Code::of(&frame.payload)),
        GOAWAY => Some(Code::of(&frame.payload[4..])),
        _ => None,
    });
    assert_eq!(told, Some(FlowControl));
    assert!(sent.join().unwrap().is_some(), "64 MiB were taken");
    drop(over);
}
