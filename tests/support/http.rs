//! A tiny blocking HTTP/1.1 client that sends exactly the bytes it is given, and the reader of
//! messages that the servers of the tests share with it.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use serde_json::Value;

use super::wait::DEADLINE;

/// A request as its text; what is not said is not sent, but for `Host` and `Content-Length`.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    target: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            host: None,
            headers: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn post(target: &str) -> Self {
        Self::new("POST", target).body("{}")
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn cookie(self, cookie: &str) -> Self {
        self.header("Cookie", cookie)
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// The bytes on the wire.
    pub(crate) fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let host = self.host.clone().unwrap_or_else(|| address.to_string());
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        let body = self.body.clone().unwrap_or_default();
        if self.body.is_some() {
            write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        head.push_str("\r\n");
        [head.into_bytes(), body].concat()
    }

    /// Whether a well-behaved client of HTTP/2 can send it.
    pub(crate) fn suits_http2(&self) -> bool {
        self.target.starts_with('/')
            && format!("http://a{}", self.target).parse::<http::Uri>().is_ok()
    }

    /// The same for a client of HTTP/2.
    pub(crate) fn as_http2(&self, address: SocketAddr) -> http::Request<Full<Bytes>> {
        let host = self.host.clone().unwrap_or_else(|| address.to_string());
        let uri = format!("http://{host}{}", self.target);
        let mut request = http::Request::builder().method(self.method.as_str()).uri(uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::from(self.body.clone().unwrap_or_default())).unwrap()
    }

    /// Sends it on a connection of its own.
    pub(crate) fn send(&self, address: SocketAddr) -> Response {
        self.try_send(address).unwrap_or_else(|error| {
            panic!("{} {}: no answer: {error}", self.method, self.target);
        })
    }

    pub(crate) fn try_send(&self, address: SocketAddr) -> io::Result<Response> {
        let mut connection = Connection::try_open(address)?;
        connection.send(&self.bytes(address))?;
        connection.response_to(&self.method)
    }
}

/// One answer, its body decoded.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.head.all(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }
}

/// The head of a message: its first line and its fields, in order.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) first: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) raw: Vec<u8>,
}

impl Head {
    /// The only value of that name, if there is one; more than one fails the test.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} came {} times: {all:?}", all.len());
        all.first().copied()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields.iter().filter(named).map(|(_, value)| value.as_str()).collect()
    }

    fn parse(raw: Vec<u8>) -> Self {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Self { first, fields, raw }
    }

    fn status(&self) -> io::Result<u16> {
        let number = self.first.split(' ').nth(1).and_then(|word| word.parse().ok());
        number.ok_or_else(|| odd(&format!("not a status line: {:?}", self.first)))
    }

    fn is_chunked(&self) -> bool {
        self.all("transfer-encoding").iter().any(|value| value.eq_ignore_ascii_case("chunked"))
    }

    fn length(&self) -> Option<usize> {
        self.all("content-length").first().and_then(|value| value.parse().ok())
    }
}

/// A client's connection.
pub(crate) struct Connection {
    reader: Reader,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    pub(crate) fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        Ok(Self { reader: Reader::new(stream) })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.stream.write_all(bytes)
    }

    /// Sends a request and reads its answer, leaving the connection open.
    pub(crate) fn ask(&mut self, request: &Request) -> Response {
        let address = self.reader.stream.peer_addr().unwrap();
        self.send(&request.bytes(address)).unwrap();
        self.response_to(request.method()).unwrap()
    }

    /// The next answer, interim ones (1xx) skipped.
    pub(crate) fn response_to(&mut self, method: &str) -> io::Result<Response> {
        loop {
            let head = self.reader.head()?;
            let status = head.status()?;
            if status == 101 || status >= 200 {
                let bodiless = method == "HEAD" || matches!(status, 101 | 204 | 304);
                let body = if bodiless { Vec::new() } else { self.reader.answer_body(&head)? };
                return Ok(Response { status, head, body });
            }
        }
    }

    /// The next head alone, interim or final.
    pub(crate) fn head(&mut self) -> io::Result<Head> {
        self.reader.head()
    }

    /// One chunk of a chunked body; empty at its end.
    pub(crate) fn chunk(&mut self) -> io::Result<Vec<u8>> {
        self.reader.chunk()
    }

    /// So many bytes of a body with a length.
    pub(crate) fn body(&mut self, length: usize) -> io::Result<Vec<u8>> {
        self.reader.exactly(length)
    }

    /// Waits at most that long for each further read.
    pub(crate) fn patience(&mut self, limit: Duration) {
        self.reader.stream.set_read_timeout(Some(limit)).unwrap();
    }

    /// Whatever still comes until the other side closes.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        self.reader.rest()
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.reader.stream
    }
}

/// Reads messages off a socket.
pub(crate) struct Reader {
    pub(crate) stream: TcpStream,
    ahead: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, ahead: Vec::new() }
    }

    pub(crate) fn head(&mut self) -> io::Result<Head> {
        let raw = self.until(b"\r\n\r\n")?;
        Ok(Head::parse(raw))
    }

    /// The body of a request: as it came, and decoded.
    pub(crate) fn request_body(&mut self, head: &Head) -> io::Result<(Vec<u8>, Vec<u8>)> {
        if head.is_chunked() {
            return self.chunked();
        }
        let body = self.exactly(head.length().unwrap_or(0))?;
        Ok((body.clone(), body))
    }

    fn answer_body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        match (head.is_chunked(), head.length()) {
            (true, _) => self.chunked().map(|(_, decoded)| decoded),
            (false, Some(length)) => self.exactly(length),
            (false, None) => self.rest(),
        }
    }

    fn chunked(&mut self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (mut raw, mut decoded) = (Vec::new(), Vec::new());
        loop {
            let line = self.until(b"\r\n")?;
            let size = chunk_size(&line)?;
            raw.extend_from_slice(&line);
            if size == 0 {
                break;
            }
            let data = self.exactly(size + 2)?;
            raw.extend_from_slice(&data);
            decoded.extend_from_slice(&data[..size]);
        }
        loop {
            let trailer = self.until(b"\r\n")?;
            raw.extend_from_slice(&trailer);
            if trailer == b"\r\n" {
                return Ok((raw, decoded));
            }
        }
    }

    /// One chunk; empty at the end of the body.
    pub(crate) fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let size = chunk_size(&self.until(b"\r\n")?)?;
        let mut data = self.exactly(size + 2)?;
        data.truncate(size);
        Ok(data)
    }

    pub(crate) fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            self.more()?;
        }
        Ok(self.ahead.drain(..length).collect())
    }

    fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.ahead.windows(end.len()).position(|window| window == end) {
                return Ok(self.ahead.drain(..at + end.len()).collect());
            }
            self.more()?;
        }
    }

    fn rest(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.more() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.ahead));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn more(&mut self) -> io::Result<()> {
        let mut piece = [0; 16 * 1024];
        let length = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.ahead.extend_from_slice(&piece[..length]);
        Ok(())
    }
}

fn chunk_size(line: &[u8]) -> io::Result<usize> {
    let text = String::from_utf8_lossy(line);
    let digits = text.trim().split(';').next().unwrap_or_default().trim().to_owned();
    usize::from_str_radix(&digits, 16).map_err(|_| odd(&format!("not a chunk size: {text:?}")))
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
