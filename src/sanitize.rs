//! The first step, on every path: what only airside may say is removed from the request.
//!
//! Hop-by-hop headers (RFC 9110, section 7.6.1) and those that `Connection` nominates go first, so
//! that nothing of ours can be nominated away; then client-made identity headers in every spelling
//! that a server behind us might fold into ours; then forwarding headers of peers who are not
//! trusted.

use std::net::{IpAddr, SocketAddr};

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use ipnet::IpNet;

use crate::downstream::acceptor::Entrance;
use crate::rejection::{Reason, Rejection};
use crate::telemetry::redact;

/// A request in which no header made by the client can be taken for one of ours.
#[derive(Debug)]
pub struct Inbound<B = Incoming> {
    parts: Parts,
    body: B,
    websocket: Option<WebSocket>,
}

/// That the client asks to go on as a WebSocket (RFC 6455, section 4.1), and its side of one. The
/// headers that said so are gone: whoever may, says it to Airflow anew.
#[derive(Debug)]
pub struct WebSocket(OnUpgrade);

impl WebSocket {
    /// The client's side, once it has been told that it may.
    #[must_use]
    pub fn into_client(self) -> OnUpgrade {
        self.0
    }
}

impl<B> Inbound<B> {
    /// Its head.
    #[must_use]
    pub const fn head(&self) -> &Parts {
        &self.parts
    }

    /// That the client asks for a WebSocket, if it does; for policy to judge.
    pub const fn take_websocket(&mut self) -> Option<WebSocket> {
        self.websocket.take()
    }

    /// Head and body, for the hand-off.
    #[must_use]
    pub fn into_parts(self) -> (Parts, B) {
        (self.parts, self.body)
    }
}

/// The other end of the connection, prepared once for all its requests.
#[derive(Clone, Debug)]
pub struct Peer {
    address: IpAddr,
    entrance: Entrance,
    forwarded_for: HeaderValue,
    scheme: &'static str,
    trusted: bool,
}

impl Peer {
    /// The peer at `address`, who came in by `entrance`.
    #[must_use]
    pub fn new(address: IpAddr, entrance: Entrance, trusted: &[IpNet]) -> Self {
        let address = address.to_canonical();
        let forwarded_for = HeaderValue::from_str(&address.to_string())
            .unwrap_or(HeaderValue::from_static("unknown"));
        let trusted = contains(trusted, address);
        Self { address, entrance, forwarded_for, scheme: "http", trusted }
    }

    /// The same, over TLS.
    #[must_use]
    pub fn over_tls(self) -> Self {
        Self { scheme: "https", ..self }
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether it may speak for others.
    #[must_use]
    pub const fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// The one of our sockets that it came in by.
    #[must_use]
    pub const fn entrance(&self) -> Entrance {
        self.entrance
    }
}

/// What is removed and what is believed, from the configuration.
#[derive(Clone, Debug)]
pub struct Sanitizer {
    identity_headers: Vec<String>,
    trusted: Vec<IpNet>,
    header_bytes: usize,
}

/// What a sanitized request is known by.
#[derive(Debug)]
pub struct Provenance {
    /// The client's address: the peer, or what trusted peers say of it.
    pub client: IpAddr,
    /// The request id a trusted peer gave, if it is a safe one.
    pub request_id: Option<HeaderValue>,
}

impl Sanitizer {
    /// A sanitizer that also removes `identity_headers` in every spelling, believes forwarding
    /// headers from `trusted`, and refuses heads of more than `header_bytes` bytes.
    #[must_use]
    pub fn new(identity_headers: &[HeaderName], trusted: Vec<IpNet>, header_bytes: usize) -> Self {
        let identity_headers = identity_headers.iter().map(|name| fold(name.as_str())).collect();
        Self { identity_headers, trusted, header_bytes }
    }

    /// The peers whose forwarding headers are believed.
    #[must_use]
    pub fn trusted(&self) -> &[IpNet] {
        &self.trusted
    }

    /// Who sent the request, before anything is removed or refused.
    #[must_use]
    pub fn provenance(&self, headers: &HeaderMap, peer: &Peer) -> Provenance {
        if !peer.trusted {
            return Provenance { client: peer.address, request_id: None };
        }
        let request_id = headers.get(&X_REQUEST_ID).filter(|id| is_safe_id(id)).cloned();
        Provenance { client: self.client_behind(headers, peer), request_id }
    }

    /// Checks the head, removes what only airside may say, and writes who is asking.
    pub fn sanitize<B>(
        &self,
        request: Request<B>,
        peer: &Peer,
        request_id: &HeaderValue,
    ) -> Result<Inbound<B>, Rejection> {
        let (mut parts, body) = request.into_parts();
        let websocket = if asks_for_websocket(&parts) {
            parts.extensions.remove::<OnUpgrade>().map(WebSocket)
        } else {
            None
        };
        check_target(&parts)?;
        check_framing(&parts.headers)?;
        self.check_size(&parts)?;
        self.strip(&mut parts.headers, peer.trusted);
        write_forwarded(&mut parts.headers, peer);
        parts.headers.insert(X_REQUEST_ID, request_id.clone());
        Ok(Inbound { parts, body, websocket })
    }

    fn check_size(&self, parts: &Parts) -> Result<(), Rejection> {
        let line = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
        let fields = parts
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD);
        let size = line + fields.sum::<usize>();
        if size <= self.header_bytes {
            return Ok(());
        }
        let found = format!("{size} bytes, at most {} are allowed", self.header_bytes);
        Err(Rejection::found_that(Reason::HeadersTooLarge, found))
    }

    fn strip(&self, headers: &mut HeaderMap, trusted: bool) {
        let mut doomed = nominated(headers);
        for name in headers.keys() {
            let text = name.as_str();
            if is_hop_by_hop(text)
                || self.is_identity(text)
                || (is_forwarding(text) && (!trusted || is_folded(text)))
            {
                doomed.push(name.clone());
            }
        }
        for name in doomed {
            headers.remove(name);
        }
    }

    /// Whether a server that folds `_` or `.` into `-` (WSGI, CGI) could take it for ours.
    #[must_use]
    pub fn is_identity(&self, name: &str) -> bool {
        is_airsides(name)
            || self
                .identity_headers
                .iter()
                .any(|ours| ours.len() == name.len() && folds_to_prefix(name, ours))
    }

    /// The rightmost address in `X-Forwarded-For` that is not a trusted proxy's.
    fn client_behind(&self, headers: &HeaderMap, peer: &Peer) -> IpAddr {
        let mut client = peer.address;
        let fields = headers.get_all(&X_FORWARDED_FOR).iter().rev();
        for hop in fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b',')) {
            let Some(address) = address(hop) else {
                break;
            };
            client = address.to_canonical();
            if !contains(&self.trusted, client) {
                break;
            }
        }
        client
    }
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `: ` and the line break.
const FIELD_OVERHEAD: usize = 4;

/// One Host, and no target that contradicts it (RFC 9112, section 3.2).
fn check_target(parts: &Parts) -> Result<(), Rejection> {
    let malformed = |found| Err(Rejection::found_that(Reason::RequestMalformed, found));
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return malformed("more than one Host header");
    }
    let Some(host) = host else {
        return malformed("no Host header");
    };
    let is_host = Authority::try_from(host.as_bytes()).is_ok_and(|host| is_host_alone(&host));
    if !host.is_empty() && !is_host {
        return malformed("the Host header is not a host");
    }
    if parts.method == Method::CONNECT {
        return Ok(()); // its target is an authority by nature; the route refuses it
    }
    let contradicts = |authority: &Authority| {
        !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes())
    };
    if parts.uri.authority().is_some_and(contradicts) {
        return malformed("the target names another host than the Host header");
    }
    Ok(())
}

/// A host, and a port that is a number if there is one; a user before it is for people to be misled
/// by (RFC 9110, sections 4.2.4 and 7.2).
fn is_host_alone(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    let is_number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(is_number))
}

/// Chunks, or a length. hyper takes any list of codings that ends in chunks, but undoes the chunks
/// alone, and who stands before us may have read such a list otherwise (RFC 9112, section 6.1).
fn check_framing(headers: &HeaderMap) -> Result<(), Rejection> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_none_or(is_chunked) && codings.next().is_none() {
        return Ok(());
    }
    let found = "a transfer coding that is not chunked alone";
    Err(Rejection::found_that(Reason::RequestMalformed, found))
}

/// Whether the client asks for a WebSocket and for nothing else (RFC 9110, section 7.8). Any other
/// protocol ends here: cleartext HTTP/2 most of all, in which nobody would judge what is asked for.
fn asks_for_websocket(parts: &Parts) -> bool {
    let headers = &parts.headers;
    let mut asked = headers.get_all(UPGRADE).iter();
    asked.next().is_some_and(is_websocket)
        && asked.next().is_none()
        && nominated(headers).contains(&UPGRADE)
        && parts.method == Method::GET
        && parts.version == Version::HTTP_11
}

/// Whether `Upgrade` names WebSocket alone; protocols are in any case (RFC 6455, section 4.2.1).
#[must_use]
pub fn is_websocket(upgrade: &HeaderValue) -> bool {
    upgrade.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes())
}

/// The one protocol that is switched to.
pub const WEBSOCKET: &str = "websocket";

/// The headers that `Connection` nominates; never those that say where the request goes or how
/// long its body is.
#[must_use]
pub fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let fields = headers.get_all(CONNECTION).iter();
    let names = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    // Most of these are no names of headers that there are.
    let names = names.map(<[u8]>::trim_ascii);
    let names = names.filter(|name| !matches!(*name, b"keep-alive" | b"close"));
    let names = names.filter_map(|name| HeaderName::from_bytes(name).ok());
    names.filter(|name| *name != HOST && *name != CONTENT_LENGTH).collect()
}

/// Whether a server that folds `_` or `.` into `-` could take it for a header of ours.
#[must_use]
pub fn is_airsides(name: &str) -> bool {
    folds_to_prefix(name, "x-airside-")
}

/// Whether the header is about this connection only (RFC 9110, section 7.6.1).
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Headers by which a proxy speaks for its client, or that change what is asked for; in any
/// spelling.
#[must_use]
pub fn is_forwarding(name: &str) -> bool {
    if !name.starts_with(['x', 'X', 'f', 'F']) {
        return false;
    }
    let folded = fold(name);
    folded == "forwarded"
        || folded == "x-real-ip"
        || folded == "x-http-method-override"
        || folded == "x-request-id"
        || ["x-forwarded-", "x-original-", "x-rewrite-"].iter().any(|p| folded.starts_with(p))
}

/// A spelling that no proxy writes, but that a server behind us might take for the real one.
fn is_folded(name: &str) -> bool {
    name.contains(['_', '.'])
}

fn write_forwarded(headers: &mut HeaderMap, peer: &Peer) {
    headers.insert(X_FORWARDED_FOR, hops(headers, peer));
    if !headers.contains_key(&X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(peer.scheme));
    }
    if !headers.contains_key(&X_FORWARDED_HOST)
        && let Some(host) = headers.get(HOST).cloned()
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
}

/// The peer, after those that it names if it is trusted.
fn hops(headers: &HeaderMap, peer: &Peer) -> HeaderValue {
    if !peer.trusted {
        return peer.forwarded_for.clone();
    }
    let earlier = headers.get_all(&X_FORWARDED_FOR).iter();
    let all: Vec<&[u8]> = earlier.chain([&peer.forwarded_for]).map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&all.join(&b", "[..])).unwrap_or_else(|_| peer.forwarded_for.clone())
}

/// The address in one hop, without a port: Azure's Application Gateway writes `address:port` (Microsoft
/// Learn, "How an application gateway works"). A client can put any bytes before it: they must not hide
/// it.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop.trim_ascii()).ok()?;
    hop.parse().or_else(|_| hop.parse().map(|hop: SocketAddr| hop.ip())).ok()
}

/// `[A-Za-z0-9._-]{1,128}`, and no token: what may stand in a log line as it is.
fn is_safe_id(id: &HeaderValue) -> bool {
    let safe = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&id.len())
        && id.as_bytes().iter().all(safe)
        && !id.to_str().is_ok_and(redact::has_token)
}

/// The name as a server that folds `_` and `.` into `-` reads it.
#[must_use]
pub fn fold(name: &str) -> String {
    name.bytes().map(|byte| char::from(folded(byte))).collect()
}

fn folds_to_prefix(name: &str, prefix: &str) -> bool {
    name.len() >= prefix.len() && name.bytes().map(folded).zip(prefix.bytes()).all(|(a, b)| a == b)
}

const fn folded(byte: u8) -> u8 {
    match byte {
        b'_' | b'.' => b'-',
        byte => byte.to_ascii_lowercase(),
    }
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PEER: &str = "10.1.2.3";

    fn sanitizer() -> Sanitizer {
        let custom = HeaderName::from_static("remote-user");
        Sanitizer::new(&[custom], vec!["10.0.0.0/8".parse().unwrap()], 4096)
    }

    fn peer(trusted: bool) -> Peer {
        let address = if trusted { PEER } else { "192.0.2.7" };
        Peer::new(address.parse().unwrap(), Entrance::Callers, sanitizer().trusted())
    }

    fn id() -> HeaderValue {
        HeaderValue::from_static("r1")
    }

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::new(());
        request.headers_mut().insert(HOST, HeaderValue::from_static("airflow.example"));
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        request
    }

    fn left(headers: &[(&str, &str)], trusted: bool) -> HeaderMap {
        sanitizer()
            .sanitize(request(headers), &peer(trusted), &id())
            .unwrap()
            .into_parts()
            .0
            .headers
    }

    #[test]
    fn no_spelling_of_our_headers_comes_through() {
        for name in [
            "X-Airside-User",
            "x_airside_user",
            "x.airside.roles",
            "X-Airside_Anything",
            "Remote-User",
            "remote_user",
            "REMOTE.USER",
        ] {
            for trusted in [false, true] {
                let left = left(&[(name, "mallory")], trusted);
                assert!(!left.values().any(|value| value == "mallory"), "{name}");
            }
        }
        let left = left(&[("Remote-User-Agent", "x"), ("X-Airsides", "x")], false);
        assert_eq!(left.values().filter(|value| *value == "x").count(), 2);
    }

    #[test]
    fn nominated_headers_go_and_framing_stays() {
        let left = left(
            &[
                ("Connection", "close, x-secret"),
                ("Connection", "Authorization,host,content-length"),
                ("X-Secret", "1"),
                ("Authorization", "Bearer x"),
                ("Content-Length", "3"),
                ("Te", "trailers"),
                ("Upgrade", "h2c"),
                ("HTTP2-Settings", "x"),
            ],
            false,
        );
        for gone in ["connection", "x-secret", "authorization", "te", "upgrade", "http2-settings"] {
            assert!(!left.contains_key(gone), "{gone}");
        }
        assert!(left.contains_key(HOST) && left.contains_key(CONTENT_LENGTH));
    }

    #[test]
    fn forwarding_headers_are_believed_from_trusted_peers_only() {
        let sent = [
            ("X-Forwarded-For", "198.51.100.1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "public.example"),
            ("X-Forwarded-Prefix", "/af"),
            ("X_Forwarded_Prefix", "/evil"),
            ("Forwarded", "for=198.51.100.1"),
            ("X-Real-IP", "198.51.100.1"),
            ("X-Original-URL", "/"),
            ("X-HTTP-Method-Override", "DELETE"),
        ];
        let stranger = left(&sent, false);
        assert_eq!(stranger["x-forwarded-for"], "192.0.2.7");
        assert_eq!(stranger["x-forwarded-proto"], "http");
        assert_eq!(stranger["x-forwarded-host"], "airflow.example");
        assert_eq!(stranger.len(), 5, "{stranger:?}");

        let trusted = left(&sent, true);
        assert_eq!(trusted["x-forwarded-for"], "198.51.100.1, 10.1.2.3");
        assert_eq!(trusted["x-forwarded-proto"], "https");
        assert_eq!(trusted["x-forwarded-host"], "public.example");
        assert_eq!(trusted["x-forwarded-prefix"], "/af");
        assert!(!trusted.values().any(|value| value == "/evil"));
    }

    #[test]
    fn the_client_is_the_first_address_no_proxy_of_ours_has() {
        let sanitizer = sanitizer();
        for (field, expected) in [
            ("198.51.100.1", "198.51.100.1"),
            ("203.0.113.9, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
            ("10.8.8.8", "10.8.8.8"),
            ("garbage", PEER),
            ("198.51.100.1, garbage", PEER),
            ("203.0.113.9, 198.51.100.1:53124", "198.51.100.1"),
            ("198.51.100.1:53124, 10.9.9.9:443", "198.51.100.1"),
            ("[2001:db8::7]:53124", "2001:db8::7"),
            ("198.51.100.1:", PEER),
        ] {
            let request = request(&[("X-Forwarded-For", field)]);
            let provenance = sanitizer.provenance(request.headers(), &peer(true));
            assert_eq!(provenance.client, expected.parse::<IpAddr>().unwrap(), "{field}");
        }
    }

    #[test]
    fn bytes_beyond_ascii_hide_neither_the_client_nor_what_is_nominated() {
        let mut request = request(&[("X-Secret", "1")]);
        let value = |bytes| HeaderValue::from_bytes(bytes).unwrap();
        request.headers_mut().insert(X_FORWARDED_FOR, value(b"\xff, 198.51.100.1"));
        request.headers_mut().insert(CONNECTION, value(b"\xff, x-secret"));
        let client = sanitizer().provenance(request.headers(), &peer(true)).client;
        assert_eq!(client, "198.51.100.1".parse::<IpAddr>().unwrap());
        let left = sanitizer().sanitize(request, &peer(true), &id()).unwrap();
        let left = &left.head().headers;
        assert_eq!(left[X_FORWARDED_FOR], value(b"\xff, 198.51.100.1, 10.1.2.3"));
        assert!(!left.contains_key("x-secret"));
    }

    #[test]
    fn a_request_id_is_kept_from_trusted_peers_when_safe() {
        let sanitizer = sanitizer();
        for (id, trusted, kept) in [
            ("abc-1.2_3", true, true),
            ("abc-1.2_3", false, false),
            ("a b", true, false),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.cut", true, false),
            ("", true, false),
        ] {
            let request = request(&[("X-Request-Id", id)]);
            let provenance = sanitizer.provenance(request.headers(), &peer(trusted));
            assert_eq!(provenance.request_id.is_some(), kept, "{id:?} {trusted}");
        }
    }

    #[test]
    fn host_must_be_one_and_agree_with_the_target() {
        let refused = |request: Request<()>| {
            let rejection = sanitizer().sanitize(request, &peer(false), &id()).unwrap_err();
            rejection.reason() == Reason::RequestMalformed
        };
        assert!(refused(request(&[("Host", "other.example")])));
        assert!(refused(Request::new(())));
        let mut absolute = request(&[]);
        *absolute.uri_mut() = "http://other.example/".parse().unwrap();
        assert!(refused(absolute));
        let mut absolute = request(&[]);
        *absolute.uri_mut() = "http://Airflow.Example/".parse().unwrap();
        assert!(sanitizer().sanitize(absolute, &peer(false), &id()).is_ok());
    }

    #[test]
    fn a_head_beyond_the_limit_is_refused() {
        let large = "x".repeat(5000);
        let request = request(&[("X-Large", &large)]);
        let rejection = sanitizer().sanitize(request, &peer(false), &id()).unwrap_err();
        assert_eq!(rejection.reason(), Reason::HeadersTooLarge);
    }

    /// A name in some case, with its separators in some spelling.
    fn spelling_of(name: String) -> impl Strategy<Value = String> {
        let each = prop::collection::vec((any::<bool>(), 0..3_usize), name.len());
        each.prop_map(move |choices| {
            let spell = |(letter, (upper, separator)): (char, (bool, usize))| match letter {
                '-' => ['-', '_', '.'][separator],
                letter if upper => letter.to_ascii_uppercase(),
                letter => letter,
            };
            name.chars().zip(choices).map(spell).collect()
        })
    }

    proptest! {
        #[test]
        fn no_spelling_survives_whatever_stands_beside_it(
            ours in prop_oneof![Just("remote-user".to_owned()), "x-airside-[a-z0-9-]{0,12}"]
                .prop_flat_map(spelling_of),
            beside in "[a-w][!#$%&'*+.^_`|~0-9A-Za-z-]{0,20}",
            nominated in "[ ,A-Za-z_.-]{0,30}",
            path in "/[A-Za-z0-9%._~!$&'()*+,;=:@?-][/A-Za-z0-9%._~!$&'()*+,;=:@?-]{0,30}",
            trusted in any::<bool>(),
        ) {
            let sent = [(ours.as_str(), "mallory"), (&beside, "kept"), ("Connection", &nominated)];
            let mut request = request(&sent);
            *request.uri_mut() = path.parse().unwrap();
            let before = request.uri().clone();
            let left = sanitizer().sanitize(request, &peer(trusted), &id()).unwrap();
            let left = left.head();
            prop_assert!(!left.headers.values().any(|value| value == "mallory"), "{:?}", left);
            prop_assert_eq!(&left.uri, &before, "the target is forwarded as it came");
            let folded = beside.to_ascii_lowercase().replace(['_', '.'], "-");
            let named = |name: &str| name.trim().eq_ignore_ascii_case(&beside);
            let expected = folded != "remote-user"
                && folded != "forwarded"
                && !is_hop_by_hop(&beside.to_ascii_lowercase())
                && !nominated.split(',').any(named);
            let kept = left.headers.get_all(beside.as_str()).iter().any(|value| value == "kept");
            prop_assert!(kept || !expected, "{} went", beside);
        }
    }
}
