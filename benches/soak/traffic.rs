//! Callers of every kind: good, refused, slow, impatient.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};
use std::time::Duration;

use serde_json::json;

use super::ledger::{Ledger, Seen};
use super::support::entra::v2_app;
use super::support::http::{Connection, Request};
use super::support::http2::Http2;
use super::support::keys::{SigningKey, encode, parts};
use super::upstream::{LARGE, PIECES};

/// How many different tokens come: all are remembered within the time for warming up.
const TOKENS: usize = 400;
/// How many are refused for each reason.
const BENT: usize = 50;
const UPLOAD: usize = 256 * 1024;
/// Of a connection of HTTP/2; then it is closed, and another is opened.
const REQUESTS_EACH: usize = 200;

type Call = fn(&Traffic, &mut Caller<'_>);

/// How many callers, how long each rests between two requests in milliseconds, and what it does.
const CALLERS: [(usize, u64, Call); 11] = [
    (4, 20, Traffic::known),
    (2, 50, Traffic::distinct),
    (2, 30, Traffic::refused),
    (2, 100, Traffic::slow_head),
    (2, 100, Traffic::unsaid_head),
    (2, 50, Traffic::slow_reader),
    (2, 100, Traffic::impatient),
    (2, 50, Traffic::streamed),
    (2, 100, Traffic::upload),
    (3, 30, Traffic::http2),
    (2, 100, Traffic::tunnel),
];

pub(crate) struct Traffic {
    proxy: SocketAddr,
    /// Each signed for itself.
    tokens: Vec<String>,
    /// With the reason for which each is refused.
    bent: Vec<(Request, Seen)>,
}

/// One caller, with the connections that it keeps.
struct Caller<'a> {
    ledger: &'a Ledger,
    /// Of requests so far; each caller begins elsewhere.
    number: usize,
    kept: Option<Connection>,
    kept_http2: Option<Http2>,
}

impl Traffic {
    pub(crate) fn new(proxy: SocketAddr) -> Self {
        let tokens = (0..TOKENS).map(|number| v2_app().with("uti", number).token()).collect();
        let refused = |reason: &str| Seen::Refused(reason.to_owned());
        let get = || Request::get("/api/v2/dags");
        let bent = (0..BENT).flat_map(|number| {
            let claims = v2_app().with("uti", format!("bent-{number}"));
            let token = claims.token();
            let [_, payload, signature] = parts(&token);
            let header = json!({"alg": "RS256", "kid": format!("unknown-{number}")}).to_string();
            let unknown = format!("{}.{payload}.{signature}", encode(header.as_bytes()));
            [
                (
                    get().bearer(&SigningKey::stranger().token(claims.value())),
                    refused("signature_invalid"),
                ),
                (get().bearer(&unknown), refused("key_unknown")),
                (get().bearer(&"x".repeat(1000 + number)), refused("token_malformed")),
                (get(), refused("credential_missing")),
            ]
        });
        Self { proxy, tokens, bent: bent.collect() }
    }

    pub(crate) fn callers() -> usize {
        CALLERS.iter().map(|(count, ..)| count).sum()
    }

    /// Everybody asks until it is over, and finishes what is under way.
    pub(crate) fn spawn<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        ledger: &'scope Ledger,
        over: &'scope AtomicBool,
    ) {
        for (count, pause, call) in CALLERS {
            for caller in 0..count {
                scope.spawn(move || {
                    let number = caller * TOKENS / count;
                    let mut caller = Caller { ledger, number, kept: None, kept_http2: None };
                    while !over.load(Ordering::SeqCst) {
                        call(self, &mut caller);
                        caller.number += 1;
                        thread::sleep(Duration::from_millis(pause));
                    }
                });
            }
        }
    }

    fn get(&self, path: &str, number: usize) -> Request {
        Request::get(path).bearer(&self.tokens[number % TOKENS])
    }

    /// The same token again and again on a connection that stays.
    fn known(&self, caller: &mut Caller<'_>) {
        let request = self.get("/api/v2/dags", 0);
        self.on_kept(caller, "known token", &request, &Seen::Answered);
    }

    /// Another token and another connection each time.
    fn distinct(&self, caller: &mut Caller<'_>) {
        let request = self.get("/api/v2/dags", caller.number);
        caller.on_new(self.proxy, "new connection", |connection| {
            ask(connection, &request, self.proxy, b"0")
        });
    }

    fn refused(&self, caller: &mut Caller<'_>) {
        let (request, reason) = &self.bent[caller.number % self.bent.len()];
        self.on_kept(caller, "bent token", request, reason);
    }

    fn slow_head(&self, caller: &mut Caller<'_>) {
        let bytes = self.get("/api/v2/dags", caller.number).bytes(self.proxy);
        caller.on_new(self.proxy, "slow head", |connection| {
            for piece in bytes.chunks(bytes.len() / 4) {
                connection.send(piece)?;
                thread::sleep(Duration::from_millis(50));
            }
            connection.response_to("GET").map(|answer| Seen::of(&answer, b"0"))
        });
    }

    fn unsaid_head(&self, caller: &mut Caller<'_>) {
        let bytes = self.get("/api/v2/dags", 0).bytes(self.proxy);
        caller.expecting(self.proxy, "head never finished", &Seen::Unsaid, |connection| {
            connection.send(&bytes[..bytes.len() / 2])?;
            // Until it is given up.
            connection.rest().map(|_| Seen::Unsaid)
        });
    }

    fn slow_reader(&self, caller: &mut Caller<'_>) {
        let request = self.get("/api/v2/large", caller.number);
        caller.on_new(self.proxy, "slow reader", |connection| {
            connection.send(&request.bytes(self.proxy))?;
            let head = connection.head()?;
            if !head.first.contains(" 200 ") {
                return Ok(Seen::Broken(head.first));
            }
            for _ in 0..16 {
                let piece = connection.body(LARGE / 16)?;
                if piece.iter().any(|byte| *byte != b'x') {
                    return Ok(Seen::Broken("another body".to_owned()));
                }
                thread::sleep(Duration::from_millis(20));
            }
            Ok(Seen::Answered)
        });
    }

    /// Leaves in the middle of an answer, before one, or in the middle of an upload.
    fn impatient(&self, caller: &mut Caller<'_>) {
        let request = self.get("/api/v2/stream", caller.number).bytes(self.proxy);
        match caller.number % 4 {
            0 => {
                caller.expecting(self.proxy, "left early", &Seen::LeftEarly, |connection| {
                    connection.send(&request)?;
                    Ok(Seen::LeftEarly)
                });
            }
            1 => {
                caller.expecting(self.proxy, "upload broken off", &Seen::LeftEarly, |connection| {
                    let upload = self.an_upload(0).bytes(self.proxy);
                    connection.send(&upload[..upload.len() / 2])?;
                    Ok(Seen::LeftEarly)
                });
            }
            2 => {
                caller.expecting(self.proxy, "answer broken off", &Seen::Left, |connection| {
                    connection.send(&request)?;
                    let head = connection.head()?;
                    if !head.first.contains(" 200 ") {
                        return Ok(Seen::Broken(head.first));
                    }
                    connection.chunk()?;
                    Ok(Seen::Left)
                });
            }
            _ => self.impatient_http2(caller),
        }
    }

    fn impatient_http2(&self, caller: &mut Caller<'_>) {
        let request = self.get("/api/v2/stream", caller.number);
        let client = caller.kept_http2.get_or_insert_with(|| Http2::open(self.proxy));
        let holds = caller.ledger.run("broken off, HTTP/2", &Seen::Left, || {
            let left = client.begin(&request).and_then(|mut begun| {
                if begun.status != 200 {
                    return Ok(Seen::Broken(begun.status.to_string()));
                }
                client.piece(&mut begun).map(|_| Seen::Left)
            });
            left.unwrap_or_else(|error| Seen::Broken(format!("{error:?}")))
        });
        if !holds || caller.number % REQUESTS_EACH > REQUESTS_EACH - 4 {
            caller.kept_http2 = None;
        }
    }

    fn streamed(&self, caller: &mut Caller<'_>) {
        let request = self.get("/api/v2/stream", caller.number);
        let body = b"piece".repeat(PIECES);
        caller.on_new(self.proxy, "streamed answer", |connection| {
            ask(connection, &request, self.proxy, &body)
        });
    }

    fn an_upload(&self, number: usize) -> Request {
        let token = &self.tokens[number % TOKENS];
        Request::new("POST", "/api/v2/variables").bearer(token).body(vec![b'x'; UPLOAD])
    }

    fn upload(&self, caller: &mut Caller<'_>) {
        let request = self.an_upload(caller.number);
        caller.on_new(self.proxy, "upload", |connection| {
            ask(connection, &request, self.proxy, UPLOAD.to_string().as_bytes())
        });
    }

    /// Reads, uploads, streams and refusals on one connection.
    fn http2(&self, caller: &mut Caller<'_>) {
        let number = caller.number;
        let none = b"0".to_vec();
        let (kind, request, body) = match number % 8 {
            0 => ("upload, HTTP/2", self.an_upload(number), UPLOAD.to_string().into_bytes()),
            1 => ("streamed, HTTP/2", self.get("/api/v2/stream", number), b"piece".repeat(PIECES)),
            2 => ("bent token, HTTP/2", self.bent[number % self.bent.len()].0.clone(), none),
            _ => ("known token, HTTP/2", self.get("/api/v2/dags", 0), none),
        };
        let bent = &self.bent[number % self.bent.len()].1;
        let expected = if number % 8 == 2 { bent } else { &Seen::Answered };
        let client = caller.kept_http2.get_or_insert_with(|| Http2::open(self.proxy));
        let holds = caller.ledger.run(kind, expected, || match client.try_ask(&request) {
            Ok(answer) => Seen::of(&answer, &body),
            Err(error) => Seen::Broken(format!("{error:?}")),
        });
        if !holds || number.is_multiple_of(REQUESTS_EACH) {
            caller.kept_http2 = None;
        }
    }

    fn tunnel(&self, caller: &mut Caller<'_>) {
        let request = self
            .get("/api/v2/live", caller.number)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        caller.on_new(self.proxy, "WebSocket", |connection| {
            connection.send(&request.bytes(self.proxy))?;
            let answer = connection.response_to("GET")?;
            if answer.status != 101 {
                return Ok(Seen::of(&answer, b""));
            }
            for word in [b"hello", b"there", b"again"] {
                connection.send(word)?;
                if connection.body(word.len())? != word {
                    return Ok(Seen::Broken("another word came back".to_owned()));
                }
                thread::sleep(Duration::from_millis(50));
            }
            connection.stream().shutdown(std::net::Shutdown::Write)?;
            let rest = connection.rest()?;
            Ok(if rest.is_empty() { Seen::Answered } else { Seen::Broken("more came".to_owned()) })
        });
    }

    fn on_kept(
        &self,
        caller: &mut Caller<'_>,
        kind: &'static str,
        request: &Request,
        expected: &Seen,
    ) {
        let mut kept = caller.kept.take();
        let holds = caller.ledger.run(kind, expected, || {
            let connection = match kept.as_mut() {
                Some(kept) => kept,
                None => kept.insert(Connection::open(self.proxy)),
            };
            seen(ask(connection, request, self.proxy, b"0"))
        });
        // What has failed may have closed it; 1 in many closes it by itself.
        if holds && !caller.number.is_multiple_of(REQUESTS_EACH) {
            caller.kept = kept;
        }
    }
}

impl Caller<'_> {
    fn on_new(
        &self,
        proxy: SocketAddr,
        kind: &'static str,
        act: impl FnOnce(&mut Connection) -> io::Result<Seen>,
    ) {
        self.expecting(proxy, kind, &Seen::Answered, act);
    }

    fn expecting(
        &self,
        proxy: SocketAddr,
        kind: &'static str,
        expected: &Seen,
        act: impl FnOnce(&mut Connection) -> io::Result<Seen>,
    ) {
        self.ledger.run(kind, expected, || seen(act(&mut Connection::open(proxy))));
    }
}

fn ask(
    connection: &mut Connection,
    request: &Request,
    proxy: SocketAddr,
    body: &[u8],
) -> io::Result<Seen> {
    connection.send(&request.bytes(proxy))?;
    connection.response_to(request.method()).map(|answer| Seen::of(&answer, body))
}

fn seen(outcome: io::Result<Seen>) -> Seen {
    outcome.unwrap_or_else(|error| Seen::Broken(error.to_string()))
}
