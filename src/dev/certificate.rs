//! The certificates of one run: what the issuer serves TLS with, and what its applications may
//! sign in with.
//!
//! Their dates say nothing, because their keys live no longer than the run.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Header};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// TLS for the names of this machine, and the authority to trust for it.
pub struct Tls {
    /// The authority's certificate, PEM.
    pub ca_pem: String,
    /// What a listener needs.
    pub config: Arc<ServerConfig>,
}

impl Tls {
    /// Makes an authority and has it issue one certificate, for `address` and every usual name of
    /// this machine. The authority's key is gone when this returns: it can never issue another.
    pub fn generate(address: IpAddr) -> Result<Self, CertificateError> {
        let ca_key = KeyPair::generate()?;
        let ca = authority();
        let ca_pem = ca.self_signed(&ca_key)?.pem();

        let key = KeyPair::generate()?;
        let certificate = of_this_machine(address)?.signed_by(&key, &Issuer::new(ca, ca_key))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        Ok(Self { ca_pem, config: Arc::new(config) })
    }
}

/// A certificate that the directory's applications have registered, with its key: they sign in by
/// what they sign with it.
pub struct ClientCertificate {
    key: KeyPair,
    certificate: Certificate,
}

impl ClientCertificate {
    /// Makes a key (RSA, which is all that Entra takes) and a self-signed certificate.
    pub fn generate() -> Result<Self, CertificateError> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let certificate = named("airside dev: an application").self_signed(&key)?;
        Ok(Self { key, certificate })
    }

    /// Key and certificate, PEM, as Microsoft's clients want them in one file.
    pub fn pem(&self) -> String {
        self.key.serialize_pem() + &self.certificate.pem()
    }

    /// The key that verifies what was signed with this certificate.
    pub(super) fn verifying_key(&self) -> DecodingKey {
        DecodingKey::from_rsa_der(self.key.public_key_raw())
    }

    /// Whether a JOSE header names this certificate, by `x5t#S256` or by `x5t` (RFC 7515, 4.1.7
    /// and 4.1.8). MSAL for Python pads the thumbprints, which the RFC does not allow.
    pub(super) fn is_named_by(&self, header: &Header) -> bool {
        let (named, algorithm) = match (&header.x5t_s256, &header.x5t) {
            (Some(sha256), _) => (sha256, &SHA256),
            (None, Some(sha1)) => (sha1, &SHA1_FOR_LEGACY_USE_ONLY),
            (None, None) => return false,
        };
        named.trim_end_matches('=') == self.thumbprint(algorithm)
    }

    /// The hash of the certificate, as headers carry it.
    pub(super) fn thumbprint(&self, algorithm: &'static Algorithm) -> String {
        URL_SAFE_NO_PAD.encode(digest(algorithm, self.certificate.der()))
    }
}

/// Why there is no certificate. Ours to mend, or the system's: nothing that a user sets is in it.
#[derive(Debug)]
pub enum CertificateError {
    /// It cannot be made or signed.
    Certificate(rcgen::Error),
    /// TLS cannot be served with it.
    Tls(rustls::Error),
    /// The system gave no random bytes.
    Random(Unspecified),
}

impl From<Unspecified> for CertificateError {
    fn from(error: Unspecified) -> Self {
        Self::Random(error)
    }
}

impl From<rcgen::Error> for CertificateError {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error)
    }
}

impl From<rustls::Error> for CertificateError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(error) => write!(f, "no certificate can be made: {error}"),
            Self::Tls(error) => write!(f, "TLS cannot be served: {error}"),
            Self::Random(error) => write!(f, "no key can be made: {error}"),
        }
    }
}

impl std::error::Error for CertificateError {}

/// What OpenSSL's strict mode, Python's default from 3.13 on, wants of an authority: basic
/// constraints, a key usage, and a subject key identifier, which rcgen adds to every authority.
fn authority() -> CertificateParams {
    let mut params = named("airside dev: authority of this run");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// What it wants of a server: the names, and the authority's key identifier.
fn of_this_machine(address: IpAddr) -> Result<CertificateParams, rcgen::Error> {
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    if !names.contains(&address.to_string()) {
        names.push(address.to_string());
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = named("airside dev").distinguished_name;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}
