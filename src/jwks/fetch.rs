//! Gets a key set over the network: bounded in size and time, no redirects, https unless the host
//! is loopback.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{AGE, CACHE_CONTROL, DATE, HeaderMap};
use reqwest::redirect::Policy;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::time::timeout;

use super::document::{DocumentError, KeySet};
use crate::clock;
use crate::loopback::is_loopback_host;

pub use reqwest::Url;

/// What a fetch brought.
#[derive(Debug)]
pub struct Fetched {
    /// The keys in it.
    pub keys: KeySet,
    /// The document itself.
    pub document: Vec<u8>,
    /// How long its publisher takes it to be current.
    pub max_age: Option<Duration>,
    /// How far the publisher's clock is ahead of ours, in seconds, where it says.
    pub clock_ahead: Option<i64>,
}

/// Where one key set comes from.
#[derive(Clone, Debug)]
pub struct Source {
    place: Place,
    /// Through the system's proxies; for loopback never.
    client: reqwest::Client,
    loopback: reqwest::Client,
    timeout: Duration,
    /// The certificates that are trusted beside Mozilla's.
    ca: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Place {
    Keys(Url),
    /// The metadata of an issuer (OpenID Connect Discovery 1.0, section 4), which names the place
    /// of its keys.
    Metadata {
        issuer: String,
        url: Url,
    },
    #[cfg(test)]
    Simulated {
        issuer: super::simulation::Issuer,
        url: Url,
    },
}

/// A document as it came.
struct Got {
    document: Vec<u8>,
    max_age: Option<Duration>,
    clock_ahead: Option<i64>,
}

impl Source {
    /// The key set at `url`, trusting Mozilla's roots and those of `ca_file`; each fetch takes at
    /// most `timeout`. System proxies (`HTTPS_PROXY`) are used, except for loopback.
    pub fn keys(url: Url, ca_file: Option<&Path>, timeout: Duration) -> Result<Self, SourceError> {
        Self::new(Place::Keys(url), ca_file, timeout)
    }

    /// The key set of an OpenID issuer, found by its metadata at `url`.
    pub fn discovered(
        issuer: String,
        url: Url,
        ca_file: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, SourceError> {
        Self::new(Place::Metadata { issuer, url }, ca_file, timeout)
    }

    fn new(place: Place, ca_file: Option<&Path>, timeout: Duration) -> Result<Self, SourceError> {
        let ca = ca_file.map(read_ca).transpose()?;
        let tls = tls(ca_file.zip(ca.as_deref()))?;
        let builder = || builder(tls.clone(), timeout);
        let (client, loopback) = (built(builder())?, built(builder().no_proxy())?);
        Ok(Self { place, client, loopback, timeout, ca })
    }

    /// The key set at another address of the same host, asked for in the same way; `None` for
    /// another host.
    #[must_use]
    pub fn beside(&self, url: Url) -> Option<Self> {
        let same = self.url().origin() == url.origin();
        same.then(|| Self { place: Place::Keys(url), ..self.clone() })
    }

    /// Whether both ask the same place in the same way.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.url() == other.url()
            && self.realm() == other.realm()
            && (self.timeout, &self.ca) == (other.timeout, &other.ca)
    }

    /// The issuer that has to be named by the metadata, where that is asked.
    const fn realm(&self) -> Option<&String> {
        match &self.place {
            Place::Metadata { issuer, .. } => Some(issuer),
            Place::Keys(_) => None,
            #[cfg(test)]
            Place::Simulated { .. } => None,
        }
    }

    /// The key set of an issuer that only a test knows.
    #[cfg(test)]
    pub(super) fn simulated(issuer: super::simulation::Issuer, timeout: Duration) -> Self {
        let url = Url::parse("https://idp.example/keys").unwrap();
        Self::new(Place::Simulated { issuer, url }, None, timeout).unwrap()
    }

    /// The address that is asked first.
    #[must_use]
    pub const fn url(&self) -> &Url {
        match &self.place {
            Place::Keys(url) | Place::Metadata { url, .. } => url,
            #[cfg(test)]
            Place::Simulated { url, .. } => url,
        }
    }

    /// Fetches the set once; metadata and keys together take at most the timeout.
    pub async fn fetch(&self) -> Result<Fetched, FetchError> {
        let late = |_| FetchError::Network(format!("no answer within {:?}", self.timeout));
        timeout(self.timeout, self.fetch_at_leisure()).await.map_err(late)?
    }

    /// Gets another document of the same publisher, in the same way.
    pub async fn document(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let late = |_| FetchError::Network(format!("no answer within {:?}", self.timeout));
        let got = timeout(self.timeout, self.get(url)).await.map_err(late)??;
        Ok(got.document)
    }

    async fn fetch_at_leisure(&self) -> Result<Fetched, FetchError> {
        let Got { document, max_age, clock_ahead } = match &self.place {
            Place::Keys(url) => self.get(url).await?,
            Place::Metadata { issuer, url } => {
                let keys = keys_of(issuer, url, &self.get(url).await?.document)?;
                self.get(&keys).await?
            }
            #[cfg(test)]
            Place::Simulated { issuer, .. } => {
                Got { document: issuer.answer().await?, max_age: None, clock_ahead: None }
            }
        };
        let keys = KeySet::parse(&document).map_err(FetchError::Document)?;
        Ok(Fetched { keys, document, max_age, clock_ahead })
    }

    async fn get(&self, url: &Url) -> Result<Got, FetchError> {
        let network = |error: reqwest::Error| FetchError::Network(chain(&error.without_url()));
        let client = if is_loopback(url) { &self.loopback } else { &self.client };
        let mut response = client.get(url.clone()).send().await.map_err(network)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let max_age = max_age(response.headers());
        let clock_ahead = clock_ahead(response.headers(), clock::wall());
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(network)? {
            if document.len() + chunk.len() > MAX_DOCUMENT {
                return Err(FetchError::TooLarge);
            }
            document.extend_from_slice(&chunk);
        }
        Ok(Got { document, max_age, clock_ahead })
    }
}

/// What calls `url` and nobody else: no redirects, at most `timeout` for a call, Mozilla's roots.
pub fn client(url: &Url, timeout: Duration) -> Result<reqwest::Client, SourceError> {
    let builder = builder(tls(None)?, timeout);
    built(if is_loopback(url) { builder.no_proxy() } else { builder })
}

fn builder(tls: ClientConfig, timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .timeout(timeout)
        .user_agent(concat!("airside/", env!("CARGO_PKG_VERSION")))
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, SourceError> {
    builder.build().map_err(|error| SourceError::Client(chain(&error)))
}

/// The place of the keys, from metadata that is the issuer's own: `issuer` must be what is
/// configured (section 4.3), so that no other issuer's keys can be slipped in. Only an issuer on
/// this machine may send us to this machine.
fn keys_of(issuer: &str, url: &Url, metadata: &[u8]) -> Result<Url, FetchError> {
    let metadata: Value =
        serde_json::from_slice(metadata).map_err(|_| FetchError::Metadata("not JSON".into()))?;
    let text = |name: &str| metadata.get(name).and_then(Value::as_str);
    if text("issuer") != Some(issuer) {
        let found = format!("its issuer is {:?}, expected {issuer:?}", text("issuer"));
        return Err(FetchError::Metadata(found));
    }
    let keys = text("jwks_uri").and_then(|text| Url::parse(text).ok());
    let allowed = |keys: &Url| {
        if is_loopback(keys) { is_loopback(url) } else { keys.scheme() == "https" }
    };
    keys.filter(allowed).ok_or_else(|| {
        FetchError::Metadata(format!("its jwks_uri is {:?}, expected https", text("jwks_uri")))
    })
}

/// Whether the host of `url` is this machine.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback_host)
}

/// `url` for messages: without what may be a secret, user information and query.
#[must_use]
pub fn place(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// Why a source cannot be used at all.
#[derive(Debug)]
pub enum SourceError {
    /// The CA file cannot be read or holds no certificate.
    CaFile(String),
    /// The HTTP client cannot be built.
    Client(String),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CaFile(why) => write!(f, "the CA file cannot be used: {why}"),
            Self::Client(why) => write!(f, "the HTTP client cannot be built: {why}"),
        }
    }
}

/// Why a fetch brought no keys. The issuer's fault, or the network's; never the caller's.
#[derive(Debug)]
pub enum FetchError {
    /// No answer, or not to its end.
    Network(String),
    /// An answer other than 200; redirects are refused.
    Status(u16),
    /// More than 1 MiB.
    TooLarge,
    /// The issuer's metadata cannot be used.
    Metadata(String),
    /// The answer is no usable key set.
    Document(DocumentError),
}

impl FetchError {
    /// Whether nothing is known to be wrong: nobody is there, or not for now.
    #[must_use]
    pub const fn is_silence(&self) -> bool {
        match self {
            Self::Network(_) => true,
            Self::Status(status) => *status >= 500 || *status == 429,
            Self::TooLarge | Self::Metadata(_) | Self::Document(_) => false,
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(why) => f.write_str(why),
            Self::Status(status) => write!(f, "answered {status}, expected 200"),
            Self::TooLarge => write!(f, "the document is larger than {MAX_DOCUMENT} bytes"),
            Self::Metadata(why) => write!(f, "the issuer's metadata: {why}"),
            Self::Document(error) => error.fmt(f),
        }
    }
}

/// Entra's set is 15 KB; 1 MiB is generous and bounded.
const MAX_DOCUMENT: usize = 1 << 20;

/// The `max-age` of `Cache-Control` (RFC 9111, section 5.2.2.1), the shortest if there are several.
/// What cannot be read says nothing: our own interval holds then.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let seconds = lines.flat_map(|line| line.split(',')).filter_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("max-age").then(|| value.parse().ok()).flatten()
    });
    seconds.min().map(Duration::from_secs)
}

/// How far the clock that wrote `Date` (RFC 9110, section 6.6.1) is ahead of `now`; a cache on the
/// way says how long it has kept the answer.
#[must_use]
pub fn clock_ahead(headers: &HeaderMap, now: SystemTime) -> Option<i64> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let kept = text(AGE).and_then(|age| age.trim().parse().ok()).unwrap_or(0);
    let written = httpdate::parse_http_date(text(DATE)?).ok()?;
    let theirs = written.checked_add(Duration::from_secs(kept))?;
    let seconds = |span: Duration| i64::try_from(span.as_secs()).ok();
    match theirs.duration_since(now) {
        Ok(ahead) => seconds(ahead),
        // Dates are of whole seconds: less than one behind is none.
        Err(behind) => seconds(behind.duration()).map(|behind| -behind),
    }
}

fn read_ca(path: &Path) -> Result<Vec<u8>, SourceError> {
    let unreadable = |error| SourceError::CaFile(format!("{}: {error}", path.display()));
    std::fs::read(path).map_err(unreadable)
}

/// Explicit roots, because an image FROM scratch has no certificate store.
fn tls(ca: Option<(&Path, &[u8])>) -> Result<ClientConfig, SourceError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some((path, pem)) = ca {
        let unusable = |why: String| SourceError::CaFile(format!("{}: {why}", path.display()));
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
        if roots.len() == before {
            return Err(unusable("no certificate in it, PEM expected".into()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SourceError::Client(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// An error with its causes: reqwest's own text stops at "error sending request".
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_max_age_counts_and_nonsense_does_not() {
        for (lines, expected) in [
            (&["max-age=600"][..], Some(600)),
            (&["public, Max-Age=\"3600\", must-revalidate"], Some(3600)),
            (&["max-age=600", "private,max-age=60"], Some(60)),
            (&["max-age=0"], Some(0)),
            (&[], None),
            (&["no-store"], None),
            (&["s-maxage=60, x-max-age=60, max-age"], None),
            (&["max-age=-1"], None),
            (&["max-age=soon, max-age=99999999999999999999"], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CACHE_CONTROL, line.parse().unwrap());
            }
            assert_eq!(max_age(&headers), expected.map(Duration::from_secs), "{lines:?}");
        }
    }

    #[test]
    fn the_publishers_clock_is_measured_by_its_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (date, age, expected) in [
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), None, Some(0)),
            (Some("Sun, 06 Nov 1994 08:59:37 GMT"), None, Some(600)),
            (Some("Sun, 06 Nov 1994 08:39:37 GMT"), None, Some(-600)),
            (Some("Sun, 06 Nov 1994 08:39:37 GMT"), Some("600"), Some(0)),
            (Some("yesterday"), None, None),
            (Some("Sun, 06 Nov 1994 08:39:37 GMT"), Some("99999999999999999999"), Some(-600)),
            (None, None, None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(DATE, date), (AGE, age)] {
                value.map(|value| headers.insert(name, value.parse().unwrap()));
            }
            assert_eq!(clock_ahead(&headers, now), expected, "{date:?} {age:?}");
        }
    }

    #[test]
    fn beside_a_set_there_are_those_of_the_same_host_alone() {
        let url = |text: &str| Url::parse(text).unwrap();
        let source = Source::keys(url("https://idp.example/a/keys"), None, Duration::from_secs(1));
        let source = source.unwrap();
        assert!(source.beside(url("https://idp.example/b/keys?appid=c")).is_some());
        for other in ["https://evil.example/b", "http://idp.example/b", "https://idp.example:8/b"] {
            assert!(source.beside(url(other)).is_none(), "{other}");
        }
    }

    #[test]
    fn loopback_is_this_machine_and_nothing_that_looks_like_it() {
        for (url, expected) in [
            ("http://localhost:1/", true),
            ("http://127.0.0.1/", true),
            ("http://127.8.9.1/", true),
            ("http://[::1]:8/", true),
            ("http://idp.LOCALHOST/", true),
            ("http://localhost.evil.example/", false),
            ("http://127.0.0.1.evil.example/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn an_address_is_named_without_what_may_be_a_secret() {
        for (url, expected) in [
            ("https://idp.example/a/keys?code=s3cret#x", "https://idp.example/a/keys"),
            ("https://a:s3cret@idp.example:8443", "https://idp.example:8443/"),
            ("http://[::1]:8/keys", "http://[::1]:8/keys"),
        ] {
            assert_eq!(place(&Url::parse(url).unwrap()), expected);
        }
    }

    #[test]
    fn metadata_counts_only_as_the_issuers_own() {
        let issuer = "https://idp.example/realms/a";
        let url =
            Url::parse("https://idp.example/realms/a/.well-known/openid-configuration").unwrap();
        for (metadata, accepted) in [
            (
                r#"{"issuer":"https://idp.example/realms/a","jwks_uri":"https://keys.example/a"}"#,
                true,
            ),
            (
                r#"{"issuer":"https://idp.example/realms/a/","jwks_uri":"https://keys.example/a"}"#,
                false,
            ),
            (r#"{"issuer":"https://evil.example","jwks_uri":"https://keys.example/a"}"#, false),
            (
                r#"{"issuer":"https://idp.example/realms/a","jwks_uri":"http://keys.example/a"}"#,
                false,
            ),
            (
                r#"{"issuer":"https://idp.example/realms/a","jwks_uri":"http://169.254.169.254/"}"#,
                false,
            ),
            (r#"{"issuer":"https://idp.example/realms/a","jwks_uri":"http://127.0.0.1/"}"#, false),
            (r#"{"issuer":"https://idp.example/realms/a","jwks_uri":"file:///etc/passwd"}"#, false),
            (r#"{"issuer":"https://idp.example/realms/a"}"#, false),
            ("<html>", false),
        ] {
            let found = keys_of(issuer, &url, metadata.as_bytes());
            assert_eq!(found.is_ok(), accepted, "{metadata}: {found:?}");
        }
    }
}
