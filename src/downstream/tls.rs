//! TLS towards clients: 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, client certificates where an
//! authority for them is named.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::ahead::Protocol;

/// The files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The chain that we show, PEM, our own certificate first.
    pub certificate: PathBuf,
    /// The key of the first, PEM.
    pub key: PathBuf,
    /// Who signs the certificates that clients must show, PEM; `None`: they need none.
    pub client_authority: Option<PathBuf>,
}

/// What one of the files is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The chain.
    Certificate,
    /// Its key.
    Key,
    /// Who signs clients.
    ClientAuthority,
}

/// What is wrong with one of them.
#[derive(Debug)]
pub struct Fault {
    /// Which.
    pub part: Part,
    /// What is found there.
    pub found: String,
    /// What should be.
    pub expected: &'static str,
}

/// TLS as the files have it.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ServerConfig>);

impl Tls {
    /// Reads the files; everything that is wrong with them otherwise.
    pub fn load(files: &Files) -> Result<Self, Vec<Fault>> {
        Read::of(files).config(files).map(|config| Self(Arc::new(config)))
    }

    /// Shakes hands; gives what the client speaks from there on.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Protocol)> {
        if !begins_handshake(&stream).await? {
            refuse_plainly(stream).await;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no TLS"));
        }
        let stream = TlsAcceptor::from(Arc::clone(&self.0)).accept(stream).await?;
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(H2) => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Ok((stream, protocol))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}, expected {}", self.found, self.expected)
    }
}

type Content = Result<Vec<u8>, String>;

/// What the files hold.
struct Read {
    certificate: Content,
    key: Content,
    client_authority: Option<Content>,
}

impl Read {
    fn of(files: &Files) -> Self {
        Self {
            certificate: content(&files.certificate),
            key: content(&files.key),
            client_authority: files.client_authority.as_deref().map(content),
        }
    }

    fn config(&self, files: &Files) -> Result<ServerConfig, Vec<Fault>> {
        let mut faults = Vec::new();
        let chain = certificates(&self.certificate, Part::Certificate, &files.certificate);
        let chain = chain.map_err(|fault| faults.push(fault)).ok();
        let key = self.private_key(&files.key).map_err(|fault| faults.push(fault)).ok();
        let clients = self.clients(files).map_err(|fault| faults.push(fault)).ok();
        let (Some(chain), Some(key), Some(clients)) = (chain, key, clients) else {
            return Err(faults);
        };
        server(chain, key, clients).map_err(|error| {
            let found = format!("{}: {error}", files.key.display());
            let expected = "the key of the first certificate in tls.cert_file";
            vec![Fault { part: Part::Key, found, expected }]
        })
    }

    fn private_key(&self, file: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
        let fault = |why: String| Fault {
            part: Part::Key,
            found: format!("{}: {why}", file.display()),
            expected: "a file with one private key, PEM, without a passphrase",
        };
        let bytes = self.key.as_ref().map_err(|error| fault(error.clone()))?;
        PrivateKeyDer::from_pem_slice(bytes).map_err(|error| fault(error.to_string()))
    }

    fn clients(&self, files: &Files) -> Result<Option<RootCertStore>, Fault> {
        let (Some(content), Some(file)) = (&self.client_authority, &files.client_authority) else {
            return Ok(None);
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(content, Part::ClientAuthority, file)? {
            roots.add(certificate).map_err(|error| Fault {
                part: Part::ClientAuthority,
                found: format!("{}: {error}", file.display()),
                expected: AUTHORITIES,
            })?;
        }
        Ok(Some(roots))
    }
}

fn content(file: &Path) -> Content {
    std::fs::read(file).map_err(|error| error.to_string())
}

const CHAIN: &str = "a file with a certificate and those between it and its authority, PEM";
const AUTHORITIES: &str = "a file with the certificates of authorities, PEM";

fn certificates(
    content: &Content,
    part: Part,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let expected = if part == Part::Certificate { CHAIN } else { AUTHORITIES };
    let fault = |why: String| Fault { part, found: format!("{}: {why}", file.display()), expected };
    let bytes = content.as_ref().map_err(|error| fault(error.clone()))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match all {
        Ok(all) if all.is_empty() => Err(fault("no certificate".into())),
        Ok(all) => Ok(all),
        Err(error) => Err(fault(error.to_string())),
    }
}

fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients: Option<RootCertStore>,
) -> Result<ServerConfig, Box<dyn std::error::Error>> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

const H2: &[u8] = b"h2";

/// The first byte of a TLS connection is the type of a record: a handshake (RFC 8446, section 5.1).
async fn begins_handshake(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first == [22]),
    }
}

/// Somebody typed `http` where it should be `https`: the answer is one that their client can show.
async fn refuse_plainly(mut stream: TcpStream) {
    let tell = async {
        stream.write_all(PLAIN_REFUSAL).await?;
        stream.shutdown().await?;
        // Unread bytes would turn the end into a reset, which takes the answer with it.
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // Whoever is told already need not be waited for.
    let _ = timeout(LINGER, tell).await;
}

const PLAIN_REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Cache-Control: no-store\r\nContent-Length: 24\r\nConnection: close\r\n\r\n\
    this port takes TLS only";
const LINGER: Duration = Duration::from_secs(1);
