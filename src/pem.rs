//! What PEM files hold (RFC 7468): the certificates and keys of TLS, towards clients and Airflow.
//! Errors name the file and what was found in it.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The certificates in a file, at least one.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(at(file, "no certificate in it")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(at(file, error)),
    }
}

/// The authorities in a file, at least one.
pub fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| at(file, error))?;
    }
    Ok(roots)
}

/// The private key in a file.
pub fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    // The error of a file without one names what PEM sections there are for keys.
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|error| at(file, error))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| at(file, error))
}

fn at(file: &Path, why: impl std::fmt::Display) -> String {
    format!("{}: {why}", file.display())
}
