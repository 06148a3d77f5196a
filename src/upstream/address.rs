//! One place where Airflow listens: how to get there, what it is called, and how it has fared.

use std::io;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

use super::health::Health;
use super::tls::{Tls, server_name};
use super::wire::Transport;

/// One place where Airflow listens, shared by all cores.
#[derive(Debug)]
pub struct Address {
    place: Place,
    name: String,
    health: Health,
    opened: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug)]
enum Place {
    Tcp { host: String, port: u16, tls: Option<(Tls, ServerName<'static>)> },
    Unix(PathBuf),
}

impl Address {
    /// A host, by name or address (IPv6 in brackets), and a port.
    #[must_use]
    pub fn tcp(host: String, port: u16) -> Self {
        let name = format!("{host}:{port}");
        Self::at(Place::Tcp { host, port, tls: None }, name)
    }

    /// The same over TLS; the certificate must be the host's.
    pub fn tls(host: String, port: u16, tls: Tls) -> Result<Self, InvalidDnsNameError> {
        let server = server_name(bare(&host))?;
        let name = format!("{host}:{port}");
        Ok(Self::at(Place::Tcp { host, port, tls: Some((tls, server)) }, name))
    }

    /// The socket at an absolute path; fails where no socket can have it, because it is too long.
    pub fn unix(path: &Path) -> io::Result<Self> {
        SocketAddr::from_pathname(path)?;
        Ok(Self::at(Place::Unix(path.to_owned()), format!("unix:{}", path.display())))
    }

    fn at(place: Place, name: String) -> Self {
        let health = Health::new(Instant::now());
        Self { place, name, health, opened: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }

    /// As it is configured, for log and metrics.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `Host` is on requests of our own.
    #[must_use]
    pub fn host(&self) -> &str {
        match &self.place {
            Place::Tcp { .. } => &self.name,
            Place::Unix(_) => "localhost",
        }
    }

    /// Whether it is worth a request.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// How many connections to it were opened, and how many could not be.
    #[must_use]
    pub fn connections(&self) -> (u64, u64) {
        (self.opened.load(Relaxed), self.failed.load(Relaxed))
    }

    pub(super) fn connected(&self, well: bool) {
        if well { &self.opened } else { &self.failed }.fetch_add(1, Relaxed);
    }

    /// Connects. A name is looked up each time, and its addresses are tried in the order of the
    /// resolver until one accepts.
    pub(super) async fn connect(&self) -> io::Result<Transport> {
        match &self.place {
            Place::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((bare(host), *port)).await?;
                // Small writes leave at once; without it a POST may wait 40 ms for an ACK.
                stream.set_nodelay(true)?;
                match tls {
                    None => Ok(Transport::Tcp(stream)),
                    Some((tls, name)) => {
                        Ok(Transport::Tls(tls.connect(name.clone(), stream).await?))
                    }
                }
            }
            Place::Unix(path) => Ok(Transport::Unix(connect_to_socket(path).await?)),
        }
    }
}

/// Where TCP waits for room in a backlog that is full, a Unix socket says at once that there is none
/// (connect(2), `EAGAIN`). How long that may go on is for whoever waits to say.
async fn connect_to_socket(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(PAUSE).await,
            connected => return connected,
        }
    }
}

/// What an accepting server needs for a few connections.
const PAUSE: Duration = Duration::from_millis(5);

/// The resolver knows IPv6 addresses without the brackets of a URL.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, accept, bind, listen, socket};

    use super::*;

    #[tokio::test]
    async fn a_full_backlog_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&listener, 0).unwrap();
        let _first = UnixStream::connect(&path).await.unwrap();
        let full = UnixStream::connect(&path).await.unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let address = Address::unix(&path).unwrap();
        let (connected, _) = tokio::join!(address.connect(), async {
            sleep(PAUSE * 2).await;
            accept(&listener).unwrap()
        });
        assert!(matches!(connected.unwrap(), Transport::Unix(_)));
    }

    #[test]
    fn requests_of_our_own_name_the_host_that_is_configured() {
        for (address, host, name) in [
            (Address::tcp("airflow".into(), 8080), "airflow:8080", "airflow:8080"),
            (Address::tcp("[::1]".into(), 80), "[::1]:80", "[::1]:80"),
            (Address::unix(Path::new("/run/a.sock")).unwrap(), "localhost", "unix:/run/a.sock"),
        ] {
            assert_eq!((address.host(), address.name()), (host, name));
        }
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_refused() {
        let long = format!("/{}", "x".repeat(107));
        assert!(Address::unix(Path::new(&long)).is_err());
        assert!(Address::unix(Path::new(&long[..107])).is_ok());
    }

    #[test]
    fn brackets_belong_to_urls_alone() {
        for (host, expected) in
            [("[::1]", "::1"), ("127.0.0.1", "127.0.0.1"), ("airflow", "airflow")]
        {
            assert_eq!(bare(host), expected);
        }
    }
}
