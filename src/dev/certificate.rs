//! The certificate that the issuer's applications may sign in with.
//!
//! Its dates say nothing, because its key lives no longer than the run.

use std::fmt;

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Header};
use rcgen::{Certificate, CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

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

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(error) => write!(f, "no certificate can be made: {error}"),
            Self::Random(error) => write!(f, "no key can be made: {error}"),
        }
    }
}

impl std::error::Error for CertificateError {}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}
