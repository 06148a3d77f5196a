//! Which headers reach Airflow: none that a client could have made for one of ours.
//!
//! Input: a request head, line by line: `METHOD TARGET`, then `Name: value`. Lines that hyper would
//! never hand on are left out.

use std::net::IpAddr;
use std::sync::LazyLock;

use airside::downstream::acceptor::Entrance;
use airside::rejection::Reason;
use airside::sanitize::{Peer, Sanitizer};
use http::header::{HOST, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};

/// `accepted` or the reason, for a stranger's request.
pub(crate) fn run(data: &[u8]) -> &'static str {
    let Some(sent) = read(data) else { return "unreadable" };
    let trusted = Sent { head: &sent, trusted: true }.outcome();
    let stranger = Sent { head: &sent, trusted: false }.outcome();
    assert_eq!(trusted, stranger, "trust is about headers, not about what is refused");
    stranger
}

struct Sent<'s> {
    head: &'s Request<()>,
    trusted: bool,
}

impl Sent<'_> {
    fn outcome(&self) -> &'static str {
        self.names_its_client();
        let id = HeaderValue::from_static(OUR_ID);
        let request = self.head.clone();
        let left = match SANITIZER.sanitize(request, &self.peer(), &id) {
            Ok(inbound) => inbound.into_parts().0,
            Err(rejection) => {
                self.deserves(rejection.reason());
                return rejection.reason().name();
            }
        };
        assert!(self.size() <= HEADER_BYTES);
        assert_eq!((&left.method, &left.uri), (self.head.method(), self.head.uri()));
        for name in left.headers.keys() {
            assert!(self.may_pass(name), "{name} in {:?}", left.headers);
        }
        self.lost_nothing(&left.headers);
        self.says_who_asks(&left.headers);
        self.changes_nothing_twice(&left.headers);
        "accepted"
    }

    fn deserves(&self, reason: Reason) {
        let hosts: Vec<_> = self.head.headers().get_all(HOST).iter().collect();
        match reason {
            Reason::HeadersTooLarge => assert!(self.size() > HEADER_BYTES),
            Reason::RequestMalformed => {
                let plain = |host: &&HeaderValue| {
                    host.as_bytes().iter().all(|it| it.is_ascii_alphanumeric() || *it == b'.')
                };
                let relative = self.head.uri().authority().is_none();
                let host = hosts.len() == 1 && relative && hosts.iter().all(plain);
                assert!(!host || !self.is_framed_plainly(), "{hosts:?}");
            }
            other => panic!("{other:?} is not about a head"),
        }
    }

    /// By chunks alone, or by a length or nothing.
    fn is_framed_plainly(&self) -> bool {
        let codings: Vec<_> = self.head.headers().get_all(TRANSFER_ENCODING).iter().collect();
        let chunked = |it: &&HeaderValue| it.as_bytes().eq_ignore_ascii_case(b"chunked");
        codings.len() <= 1 && codings.iter().all(chunked)
    }

    fn size(&self) -> usize {
        let fields = self.head.headers().iter();
        let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + 4);
        self.head.uri().path_and_query().map_or(0, |it| it.as_str().len()) + fields.sum::<usize>()
    }

    /// By the name alone: whether Airflow may see it.
    fn may_pass(&self, name: &HeaderName) -> bool {
        let folded = folded(name.as_str());
        let ours = folded.starts_with("x-airside-") || OURS.contains(&folded.as_str());
        let written = WRITTEN.contains(&name.as_str());
        let forwarding =
            speaks_for_a_client(&folded) && !written && (!self.trusted || folded != name.as_str());
        let nominated = !written && !FRAMING.contains(&name.as_str()) && self.nominates(name);
        !ours && !forwarding && !nominated && !HOP_BY_HOP.contains(&name.as_str())
    }

    fn nominates(&self, name: &HeaderName) -> bool {
        let fields = self.head.headers().get_all("connection").iter();
        let mut names = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
        names.any(|it| it.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
    }

    /// What may pass has passed: every value, in order.
    fn lost_nothing(&self, left: &HeaderMap) {
        let sent = self.head.headers();
        let kept = |name: &&HeaderName| self.may_pass(name) && !WRITTEN.contains(&name.as_str());
        for name in sent.keys().filter(kept) {
            assert!(sent.get_all(name).iter().eq(left.get_all(name)), "{name}");
        }
        let invented = |name: &&HeaderName| !sent.contains_key(*name);
        assert!(left.keys().filter(invented).all(|name| WRITTEN.contains(&name.as_str())));
    }

    fn says_who_asks(&self, left: &HeaderMap) {
        let only = |name: &str| {
            let values: Vec<_> = left.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            assert_eq!(values.len(), 1, "{name}: {values:?}");
            values[0].to_vec()
        };
        assert_eq!(only("x-request-id"), OUR_ID.as_bytes());
        let hops = only("x-forwarded-for");
        let peer = self.address().to_string();
        if self.trusted {
            let last = hops.rsplit(|byte| *byte == b',').next().unwrap_or_default();
            assert_eq!(last.trim_ascii(), peer.as_bytes());
        } else {
            assert_eq!(hops, peer.as_bytes());
            assert_eq!(only("x-forwarded-proto"), b"http");
            assert_eq!(only("x-forwarded-host"), left[HOST].as_bytes());
        }
    }

    /// What a stranger's request has become is what becomes of it again.
    fn changes_nothing_twice(&self, left: &HeaderMap) {
        if self.trusted {
            return; // the peer is added once more
        }
        let mut again = self.head.clone();
        *again.headers_mut() = left.clone();
        if let Ok(inbound) = SANITIZER.sanitize(again, &self.peer(), &left["x-request-id"]) {
            assert_eq!(inbound.head().headers, *left);
        }
    }

    /// A stranger is who connects; behind a trusted peer it is whom that peer names last, whatever
    /// the client has written before it.
    fn names_its_client(&self) {
        let provenance = SANITIZER.provenance(self.head.headers(), &self.peer());
        if !self.trusted {
            assert_eq!(provenance.client, self.address());
            assert!(provenance.request_id.is_none());
            return;
        }
        if let Some(id) = provenance.request_id {
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
            assert!((1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain), "{id:?}");
        }
        let mut headers = self.head.headers().clone();
        let Some(field) = headers.get_all("x-forwarded-for").iter().next_back() else { return };
        let named = [field.as_bytes(), b", 198.51.100.9"].concat();
        headers.append("x-forwarded-for", HeaderValue::from_bytes(&named).unwrap());
        let client = SANITIZER.provenance(&headers, &self.peer()).client;
        assert_eq!(client, "198.51.100.9".parse::<IpAddr>().unwrap());
    }

    fn address(&self) -> IpAddr {
        let address = if self.trusted { "10.1.2.3" } else { "192.0.2.7" };
        address.parse().unwrap()
    }

    fn peer(&self) -> Peer {
        Peer::new(self.address(), Entrance::Callers, SANITIZER.trusted())
    }
}

fn read(data: &[u8]) -> Option<Request<()>> {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let (method, target) = first.split_once(' ')?;
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    *request.uri_mut() = Uri::try_from(target).ok()?;
    for line in lines.take(MOST_FIELDS) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            request.headers_mut().append(name, value);
        }
    }
    Some(request)
}

/// As a server reads it that makes `HTTP_X_NAME` of `X-Name`.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

fn speaks_for_a_client(folded: &str) -> bool {
    let exact = ["forwarded", "x-real-ip", "x-http-method-override", "x-request-id"];
    let families = ["x-forwarded-", "x-original-", "x-rewrite-"];
    exact.contains(&folded) || families.iter().any(|family| folded.starts_with(family))
}

/// hyper reads no more than 100.
const MOST_FIELDS: usize = 100;
const HEADER_BYTES: usize = 2048;
const OUR_ID: &str = "0123456789abcdef";
/// What airside writes itself, over whatever came.
const WRITTEN: [&str; 4] =
    ["x-request-id", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
/// Where the request goes and how long its body is: never nominated away.
const FRAMING: [&str; 2] = ["host", "content-length"];
/// Configured beside `X-Airside-*`, folded.
const OURS: [&str; 2] = ["remote-user", "x-corp-roles"];
/// RFC 9110, section 7.6.1, and what browsers and proxies add to it.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

static SANITIZER: LazyLock<Sanitizer> = LazyLock::new(|| {
    let ours = ["remote-user", "x_corp.roles"].map(HeaderName::from_static);
    Sanitizer::new(&ours, vec!["10.0.0.0/8".parse().unwrap()], HEADER_BYTES)
});
