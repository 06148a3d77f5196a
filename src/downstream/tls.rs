//! TLS towards clients: 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, client certificates where an
//! authority for them is named.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::ahead::Protocol;
use crate::pem;

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
        read(files).map(|config| Self(Arc::new(config)))
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

/// Everything that is wrong with the files, in one go.
fn read(files: &Files) -> Result<ServerConfig, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut wrong = |part, expected, found| faults.push(Fault { part, found, expected });
    let chain = pem::certificates(&files.certificate);
    let chain = chain.map_err(|found| wrong(Part::Certificate, CHAIN, found)).ok();
    let key = pem::private_key(&files.key);
    let key = key.map_err(|found| wrong(Part::Key, KEY, found)).ok();
    let clients = files.client_authority.as_deref().map(pem::authorities).transpose();
    let clients = clients.map_err(|found| wrong(Part::ClientAuthority, AUTHORITIES, found)).ok();
    let (Some(chain), Some(key), Some(clients)) = (chain, key, clients) else {
        return Err(faults);
    };
    server(chain, key, clients).map_err(|error| {
        let found = format!("{}: {error}", files.key.display());
        let expected = "the key of the first certificate in tls.cert_file";
        vec![Fault { part: Part::Key, found, expected }]
    })
}

const CHAIN: &str = "a file with a certificate and those between it and its authority, PEM";
const KEY: &str = "a file with one private key, PEM, without a passphrase";
const AUTHORITIES: &str = "a file with the certificates of authorities, PEM";

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
