//! Gets a key set over the network: bounded in size and time, no redirects, https unless the host
//! is loopback.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::document::{DocumentError, KeySet};

pub use reqwest::Url;

/// Where one key set comes from.
#[derive(Clone, Debug)]
pub struct Source {
    url: Url,
    client: reqwest::Client,
}

impl Source {
    /// A source at `url`, trusting Mozilla's roots and those of `ca_file`; each fetch takes at
    /// most `timeout`. System proxies (`HTTPS_PROXY`) are used, except for loopback.
    pub fn new(url: Url, ca_file: Option<&Path>, timeout: Duration) -> Result<Self, SourceError> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(ca_file)?)
            .redirect(Policy::none())
            .timeout(timeout)
            .user_agent(concat!("airside/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| SourceError::Client(chain(&error)))?;
        Ok(Self { url, client })
    }

    /// The address it is fetched from.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Fetches the set once.
    pub async fn fetch(&self) -> Result<KeySet, FetchError> {
        let network = |error: reqwest::Error| FetchError::Network(chain(&error.without_url()));
        let mut response = self.client.get(self.url.clone()).send().await.map_err(network)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(network)? {
            if document.len() + chunk.len() > MAX_DOCUMENT {
                return Err(FetchError::TooLarge);
            }
            document.extend_from_slice(&chunk);
        }
        KeySet::parse(&document).map_err(FetchError::Document)
    }
}

/// Whether the host of `url` is this machine: `localhost` or a loopback address.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
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
    /// The answer is no usable key set.
    Document(DocumentError),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(why) => f.write_str(why),
            Self::Status(status) => write!(f, "answered {status}, expected 200"),
            Self::TooLarge => write!(f, "the document is larger than {MAX_DOCUMENT} bytes"),
            Self::Document(error) => error.fmt(f),
        }
    }
}

/// Entra's set is 15 KB; 1 MiB is generous and bounded.
const MAX_DOCUMENT: usize = 1 << 20;

/// Explicit roots, because an image FROM scratch has no certificate store.
fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, SourceError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        let unusable = |why: String| SourceError::CaFile(format!("{}: {why}", path.display()));
        let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
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
fn chain(error: &dyn std::error::Error) -> String {
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
    fn loopback_is_this_machine_and_nothing_that_looks_like_it() {
        for (url, expected) in [
            ("http://localhost:1/", true),
            ("http://127.0.0.1/", true),
            ("http://127.8.9.1/", true),
            ("http://[::1]:8/", true),
            ("http://localhost.evil.example/", false),
            ("http://127.0.0.1.evil.example/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
