//! What stands behind the proxy: it records each request byte by byte and answers as scripted.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use super::http::{Head, Reader};
use super::listener::Listener;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) head: Head,
    /// The body as it stood on the wire.
    pub(crate) raw_body: Vec<u8>,
    /// The body without its transfer coding.
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn method(&self) -> &str {
        self.head.first.split(' ').next().unwrap_or_default()
    }

    pub(crate) fn target(&self) -> &str {
        self.head.first.split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.head.all(name)
    }

    /// The credential after `Bearer `.
    pub(crate) fn bearer(&self) -> &str {
        let value = self.header("authorization").expect("an Authorization header upstream");
        value.strip_prefix("Bearer ").expect("a bearer credential upstream")
    }

    /// Head and raw body as text, for searches.
    pub(crate) fn text(&self) -> String {
        let head = String::from_utf8_lossy(&self.head.raw).into_owned();
        head + &String::from_utf8_lossy(&self.raw_body)
    }
}

/// What to do with a request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Exactly these bytes; the connection stays open.
    Bytes(Vec<u8>),
    /// Exactly these bytes, then the end of the connection.
    LastBytes(Vec<u8>),
    /// Nothing, until the other side gives up.
    Silence,
    /// Nothing, and the connection ends.
    Hangup,
}

impl Answer {
    /// 200 with a small JSON body and these further header lines.
    pub(crate) fn ok(headers: &[&str]) -> Self {
        Self::json(200, headers, r#"{"answered":"upstream"}"#)
    }

    pub(crate) fn json(status: u16, headers: &[&str], body: &str) -> Self {
        let more = [headers, &[""]].concat().join("\r\n");
        let length = body.len();
        Self::Bytes(
            format!(
                "HTTP/1.1 {status} Scripted\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{more}\r\n{body}"
            )
            .into_bytes(),
        )
    }
}

pub(crate) struct Upstream {
    listener: Listener,
    requests: Arc<Mutex<Vec<Received>>>,
}

impl Upstream {
    /// Answers everything with 200.
    pub(crate) fn start() -> Self {
        Self::answering(|_| Answer::ok(&[]))
    }

    /// Answers as the script says, which sees the whole request.
    pub(crate) fn answering(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let listener = Listener::start({
            let requests = Arc::clone(&requests);
            move |stream| converse(stream, &requests, &script)
        });
        Self { listener, requests }
    }

    /// Gives each connection to the script, which reads and writes as it likes.
    pub(crate) fn scripted(script: impl Fn(Reader) + Send + Sync + 'static) -> Self {
        let listener = Listener::start(move |stream| script(Reader::new(stream)));
        Self { listener, requests: Arc::default() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Everything received so far.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap().clone()
    }

    /// Everything received since the last time, leaving nothing.
    pub(crate) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }

    /// The newest request.
    pub(crate) fn last(&self) -> Received {
        self.requests.lock().unwrap().last().cloned().expect("a request reached upstream")
    }

    pub(crate) fn connections(&self) -> usize {
        self.listener.accepted()
    }

    pub(crate) fn stop(&mut self) {
        self.listener.stop();
    }

    pub(crate) fn restart(&mut self) {
        self.listener.restart();
    }
}

fn converse(
    stream: TcpStream,
    requests: &Mutex<Vec<Received>>,
    script: &(impl Fn(&Received) -> Answer + Send + Sync),
) {
    let mut reader = Reader::new(stream);
    while let Ok(head) = reader.head() {
        let Ok((raw_body, body)) = reader.request_body(&head) else {
            return;
        };
        let received = Received { head, raw_body, body };
        requests.lock().unwrap().push(received.clone());
        match script(&received) {
            Answer::Bytes(bytes) => {
                let bytes = if received.method() == "HEAD" { head_of(&bytes) } else { &bytes };
                if reader.stream.write_all(bytes).is_err() {
                    return;
                }
            }
            Answer::LastBytes(bytes) => {
                let _gone = reader.stream.write_all(&bytes);
                return;
            }
            Answer::Silence => {
                let _ended = reader.head();
                return;
            }
            Answer::Hangup => return,
        }
    }
}

fn head_of(bytes: &[u8]) -> &[u8] {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    end.map_or(bytes, |end| &bytes[..end + 4])
}
