//! Keys of issuers: [`document`] says which keys a JWK Set holds, [`fetch`] gets it, [`refresh`]
//! decides when, [`disk`] keeps it over a restart, [`store`] is what the cores read.

pub mod disk;
pub mod document;
pub mod fetch;
pub mod refresh;
#[cfg(test)]
mod simulation;
pub mod store;
#[cfg(test)]
mod wycheproof;

pub use document::{Algorithm, Key, KeySet, RsaNumbers};
pub use store::{
    Details, Failure, Freshness, KeyStamp, KeyStatus, KeyStore, Provenance, Schedule, by_issuer,
};
