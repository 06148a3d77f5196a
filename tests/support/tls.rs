//! Certificates of an authority of the tests', and a listener that speaks TLS in front of a plain
//! one, with whatever certificate it is told to show.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, Stream,
    SupportedProtocolVersion,
};

use super::keys::pem;
use super::listener::Listener;
use super::wait::DEADLINE;

/// What a server shows: its chain and the key of the first certificate.
#[derive(Clone)]
pub(crate) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Shown {
    /// The chain, PEM.
    pub(crate) fn chain_pem(&self) -> String {
        self.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
    }

    /// The key, PEM.
    pub(crate) fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }

    /// The key as PKCS #8.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The certificates, its own first.
    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The first certificate, as `x5c` has it (RFC 7517, section 4.7).
    pub(crate) fn leaf(&self) -> String {
        STANDARD.encode(&self.chain[0])
    }
}

/// Who signs certificates.
pub(crate) struct Authority {
    itself: CertifiedIssuer<'static, KeyPair>,
    /// Whether clients know it, or have to be shown its certificate.
    known: bool,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::with(&[], |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
    }

    /// One whose own certificate has these names and is bent by the hook.
    pub(crate) fn with(names: &[&str], bend: impl FnOnce(&mut CertificateParams)) -> Self {
        let params = params(names, bend);
        let itself = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { itself, known: true }
    }

    /// One below this one, its certificate bent by the hook.
    pub(crate) fn below(&self, bend: impl FnOnce(&mut CertificateParams)) -> Self {
        let (params, key) = (params(&[], bend), KeyPair::generate().unwrap());
        Self {
            itself: CertifiedIssuer::signed_by(params, key, &self.itself).unwrap(),
            known: false,
        }
    }

    /// What a client has that trusts it, shows `shown`, and offers these protocols and versions.
    pub(crate) fn client(
        &self,
        shown: Option<&Shown>,
        alpn: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.itself.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let key = PrivatePkcs8KeyDer::from(shown.key.clone()).into();
                builder.with_client_auth_cert(shown.chain.clone(), key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// What `ca_file` holds.
    pub(crate) fn pem(&self) -> String {
        pem("CERTIFICATE", self.itself.der())
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.itself.der().clone()
    }

    /// A certificate for these names, bent by the hook.
    pub(crate) fn issue(&self, names: &[&str], bend: impl FnOnce(&mut CertificateParams)) -> Shown {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names, bend).signed_by(&key, &self.itself).unwrap();
        let mut chain = vec![certificate.der().clone()];
        if !self.known {
            chain.push(self.itself.der().clone());
        }
        Shown { chain, key: key.serialize_der() }
    }

    /// Itself, as the certificate of a server.
    pub(crate) fn itself(&self) -> Shown {
        Shown { chain: vec![self.itself.der().clone()], key: self.itself.key().serialize_der() }
    }
}

/// The subject is of its own, so that no chain can be mistaken for another.
fn params(names: &[&str], bend: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    params.distinguished_name.push(DnType::CommonName, format!("certificate {number}"));
    bend(&mut params);
    params
}

/// Sends the bytes over TLS on a stream that may have had a beginning, and reads to the end.
pub(crate) fn converse(
    mut stream: TcpStream,
    config: Arc<ClientConfig>,
    bytes: &[u8],
) -> io::Result<String> {
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut session = ClientConnection::new(config, ServerName::try_from("localhost").unwrap())
        .map_err(io::Error::other)?;
    let mut tls = Stream::new(&mut session, &mut stream);
    tls.write_all(bytes)?;
    let mut answer = Vec::new();
    let read = tls.read_to_end(&mut answer);
    if answer.is_empty() {
        read?;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// TLS in front of a listener that answers one request a connection.
pub(crate) struct Front {
    listener: Listener,
    shown: Arc<Mutex<Arc<ServerConfig>>>,
}

impl Front {
    pub(crate) fn before(address: SocketAddr, shown: &Shown) -> Self {
        let shown = Arc::new(Mutex::new(server(shown)));
        let listener = Listener::start({
            let shown = Arc::clone(&shown);
            move |stream| {
                let config = Arc::clone(&shown.lock().unwrap());
                let _refused_or_gone = pass_on(stream, config, address);
            }
        });
        Self { listener, shown }
    }

    /// Shows another certificate from now on.
    pub(crate) fn show(&self, shown: &Shown) {
        *self.shown.lock().unwrap() = server(shown);
    }

    /// By the name that its good certificate has.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.listener.address().port())
    }

    pub(crate) fn connections(&self) -> usize {
        self.listener.accepted()
    }
}

fn server(shown: &Shown) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(shown.chain.clone(), PrivatePkcs8KeyDer::from(shown.key.clone()).into());
    Arc::new(config.unwrap())
}

fn pass_on(mut stream: TcpStream, config: Arc<ServerConfig>, to: SocketAddr) -> io::Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut client = Stream::new(&mut session, &mut stream);
    let mut head = [0; 16 * 1024];
    let length = client.read(&mut head)?;
    let mut plain = TcpStream::connect(to)?;
    plain.write_all(&head[..length])?;
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer)?;
    client.write_all(&answer)?;
    session.send_close_notify();
    session.complete_io(&mut stream)?;
    stream.shutdown(Shutdown::Both)
}
