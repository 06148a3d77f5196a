//! Envoy's side of `envoy.service.auth.v3.Authorization/Check`, protobuf by hand: what the tests send
//! does not go through the messages that the program has.

use std::collections::BTreeMap;

use super::http::Request;
use super::http2::Http2;

/// A message as its bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A field of text, bytes or another message.
    pub(crate) fn with(mut self, number: u32, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        varint(u64::from(number << 3 | 2), &mut self.0);
        varint(value.len() as u64, &mut self.0);
        self.0.extend_from_slice(value);
        self
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 128 {
        bytes.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    bytes.push(u8::try_from(value).unwrap());
}

/// The fields of a message: numbers and texts by their numbers, in order.
fn fields(mut bytes: &[u8]) -> BTreeMap<u64, Vec<Vec<u8>>> {
    let mut fields: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    while !bytes.is_empty() {
        let key = read_varint(&mut bytes);
        let value = read_varint(&mut bytes);
        let value = match key & 7 {
            0 => value.to_be_bytes().to_vec(),
            2 => {
                let (text, rest) = bytes.split_at(usize::try_from(value).unwrap());
                bytes = rest;
                text.to_vec()
            }
            other => panic!("wire type {other}"),
        };
        fields.entry(key >> 3).or_default().push(value);
    }
    fields
}

fn read_varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first().expect("a whole number");
        *bytes = rest;
        value |= u64::from(first & 127) << shift;
        shift += 7;
        if first & 128 == 0 {
            return value;
        }
    }
}

/// A request as Envoy tells of it.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    method: String,
    path: String,
    host: String,
    source: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    more: Message,
}

impl Check {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            host: "airflow.example".to_owned(),
            source: Some("192.0.2.77".to_owned()),
            headers: Vec::new(),
            more: Message::new(),
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    pub(crate) fn from(mut self, source: &str) -> Self {
        self.source = Some(source.to_owned());
        self
    }

    /// A further field of `HttpRequest`.
    pub(crate) fn field(mut self, number: u32, value: impl AsRef<[u8]>) -> Self {
        self.more = self.more.with(number, value);
        self
    }

    /// `CheckRequest`.
    pub(crate) fn message(&self) -> Message {
        let mut http = Message::new().with(2, &self.method);
        for (name, value) in &self.headers {
            http = http.with(3, Message::new().with(1, name).with(2, value));
        }
        let mut http = http.with(4, &self.path).with(5, &self.host).with(6, "https");
        http.0.extend_from_slice(&self.more.0);
        let mut attributes = Message::new();
        if let Some(source) = &self.source {
            let socket = Message::new().with(1, Message::new().with(2, source));
            attributes = attributes.with(1, Message::new().with(1, socket));
        }
        Message::new().with(1, attributes.with(4, Message::new().with(2, http)))
    }

    /// Asks, on a connection of its own.
    pub(crate) fn ask(&self, address: std::net::SocketAddr) -> Verdict {
        Verdict::of(&mut Http2::open(address), &call(framed(&self.message().0)))
    }
}

/// A message behind its length.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, message].concat()
}

/// A call with these bytes as its body.
pub(crate) fn call(body: Vec<u8>) -> Request {
    Request::new("POST", "/envoy.service.auth.v3.Authorization/Check")
        .header("Content-Type", "application/grpc")
        .header("TE", "trailers")
        .body(body)
}

/// What a call was answered: `CheckResponse`.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Of `google.rpc.Status`; 0 is a yes.
    pub(crate) code: u64,
    /// Of a denial.
    pub(crate) status: u64,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) removed: Vec<String>,
    pub(crate) body: String,
}

impl Verdict {
    /// Asks, and sees to it that the call itself went well.
    pub(crate) fn of(connection: &mut Http2, request: &Request) -> Self {
        let (answer, trailers) = connection.call(request).unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
        let trailers = trailers.expect("trailers");
        assert_eq!(trailers.get("grpc-status").unwrap(), "0", "{trailers:?}");
        assert_eq!(answer.body[0], 0, "not compressed");
        assert_eq!(framed(&answer.body[5..]), answer.body, "one message");
        Self::read(&answer.body[5..])
    }

    fn read(message: &[u8]) -> Self {
        let response = fields(message);
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        let number = |value: &[u8]| u64::from_be_bytes(value.try_into().unwrap());
        let first =
            |of: &BTreeMap<u64, Vec<Vec<u8>>>, field| of.get(&field).map(|all| all[0].clone());
        let status = fields(&first(&response, 1).expect("a status"));
        let code = first(&status, 1).map_or(0, |code| number(&code));
        let verdict = match (response.get(&2), response.get(&3)) {
            (Some(denied), None) => {
                assert_ne!(code, 0, "a denial is no yes");
                fields(&denied[0])
            }
            (None, Some(ok)) => {
                assert_eq!(code, 0, "a yes is no denial");
                fields(&ok[0])
            }
            other => panic!("not one verdict: {other:?}"),
        };
        let header = |option: &Vec<u8>| {
            let option = fields(option);
            let header = fields(&option[&1][0]);
            let again = number(&first(&option, 3).unwrap_or(0_u64.to_be_bytes().to_vec())) == 0;
            let append = fields(&first(&option, 2).expect("append for old Envoys"));
            let append = append.get(&1).is_some_and(|append| number(&append[0]) == 1);
            assert_eq!(again, append, "both ways to say it say the same");
            let name = text(&header[&1][0]);
            let name = if append { format!("+{name}") } else { name };
            (name, first(&header, 2).map(|value| text(&value)).unwrap_or_default())
        };
        let denied = response.contains_key(&2);
        let http = first(&verdict, 1).filter(|_| denied).map(|status| fields(&status));
        Self {
            code,
            status: http.map_or(200, |status| number(&status[&1][0])),
            headers: verdict.get(&2).into_iter().flatten().map(header).collect(),
            removed: verdict.get(&5).into_iter().flatten().map(|name| text(name)).collect(),
            body: first(&verdict, 3).map(|body| text(&body)).unwrap_or_default(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn removes(&self, name: &str) -> bool {
        self.removed.iter().any(|removed| removed == name)
    }

    /// The reason in the problem document of a denial.
    pub(crate) fn reason(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["reason"].as_str().unwrap_or("none").to_owned()
    }
}
