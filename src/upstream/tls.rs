//! TLS to Airflow: whom airside trusts to be Airflow, and by what certificate Airflow knows airside.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pem;

/// How TLS is spoken to all of Airflow's addresses.
#[derive(Clone)]
pub struct Tls(TlsConnector);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

/// A certificate, with those between it and its authority, and its key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Whom airside trusts to be Airflow.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Mozilla's, because an image FROM scratch has no certificate store.
    #[must_use]
    pub fn public() -> Self {
        Self(Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }))
    }

    /// The authorities in a PEM file and no others: who runs Airflow's own authority wants no other
    /// to vouch for it.
    pub fn of(file: &Path) -> Result<Self, String> {
        pem::authorities(file).map(|roots| Self(Arc::new(roots)))
    }
}

impl Tls {
    /// Trusts `roots`, and shows `identity` to an Airflow that asks for it. Fails where key and
    /// certificate are not each other's.
    pub fn new(roots: Roots, identity: Option<Identity>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.0);
        let mut config = match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        };
        // An ingress that speaks HTTP/2 as well must not choose it.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands with whoever proves to be `name`.
    pub(super) async fn connect(
        &self,
        name: ServerName<'static>,
        stream: TcpStream,
    ) -> io::Result<Box<TlsStream<TcpStream>>> {
        self.0.connect(name, stream).await.map(Box::new)
    }
}

/// The name that the certificate must have: a host, or an address without brackets.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    ServerName::try_from(host).map(|name| name.to_owned())
}
