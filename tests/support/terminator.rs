//! What may stand between airside and the plain listener of an upstream: TLS, or a Unix socket.
//! Bytes flow both ways as they come, on as many connections as there are.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::tls::{Authority, Shown};

/// A handshake as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    /// The name that the client asked for.
    pub(crate) name: Option<String>,
    /// The protocol that was agreed on.
    pub(crate) protocol: Option<String>,
    /// Whether the client showed a certificate.
    pub(crate) client: bool,
}

pub(crate) struct Terminator {
    address: SocketAddr,
    handshakes: Arc<Mutex<Vec<Handshake>>>,
    _running: Running,
}

impl Terminator {
    /// Speaks TLS, and HTTP/2 rather than HTTP/1.1 to who offers it; asks clients for a certificate
    /// of `clients`.
    pub(crate) fn before(to: SocketAddr, shown: &Shown, clients: Option<&Authority>) -> Self {
        let runtime = runtime();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let handshakes = Arc::new(Mutex::new(Vec::new()));
        let (acceptor, seen) = (TlsAcceptor::from(server(shown, clients)), Arc::clone(&handshakes));
        let running = Running::begin(runtime, async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    // The other side may not like what it is shown.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let session = stream.get_ref().1;
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    seen.lock().unwrap().push(Handshake {
                        name: session.server_name().map(str::to_owned),
                        protocol: session.alpn_protocol().map(text),
                        client: session.peer_certificates().is_some(),
                    });
                    let _ended = pass_on(stream, to).await;
                });
            }
        });
        Self { address, handshakes, _running: running }
    }

    /// By the name that its good certificate has.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    pub(crate) fn handshakes(&self) -> Vec<Handshake> {
        self.handshakes.lock().unwrap().clone()
    }
}

/// Listens at `path` for as long as it is not dropped.
pub(crate) struct Socket {
    _running: Running,
}

impl Socket {
    pub(crate) fn at(path: &Path, to: SocketAddr) -> Self {
        let runtime = runtime();
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(path).unwrap()
        };
        let running = Running::begin(runtime, async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass_on(stream, to));
            }
        });
        Self { _running: running }
    }
}

/// A thread with a runtime, until it is dropped.
struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn begin(runtime: Runtime, work: impl Future<Output = ()> + Send + 'static) -> Self {
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = work => {}
                    _ = stopped => {}
                }
            });
        };
        Self { stop: Some(stop), thread: Some(thread::spawn(run)) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn pass_on(mut from: impl AsyncRead + AsyncWrite + Unpin, to: SocketAddr) -> io::Result<()> {
    let mut to = TcpStream::connect(to).await?;
    to.set_nodelay(true)?;
    copy_bidirectional(&mut from, &mut to).await.map(|_| ())
}

fn server(shown: &Shown, clients: Option<&Authority>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.certificate()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivatePkcs8KeyDer::from(shown.key().to_vec()).into();
    let mut config = builder.with_single_cert(shown.chain().to_vec(), key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}
