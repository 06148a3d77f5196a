//! Promises kept over real sockets: the executable itself, between an issuer, an upstream and raw
//! clients on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends here, with its reason"
)]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod answers;
mod assertion;
mod caches;
mod configuration;
mod delegates;
#[cfg(feature = "dev")]
mod dev;
mod endurance;
mod examples;
mod exchange;
mod execution;
mod explain;
mod fab;
mod framing;
mod handoff;
mod headers;
mod http2;
mod identity;
mod issuers;
mod keys;
mod keys_of_ours;
mod life;
mod limits;
mod logging;
mod overload;
mod prefixes;
mod proxy_protocol;
mod refusals;
mod reload;
mod revocation;
mod routes;
mod shipped;
mod slow;
mod streaming;
mod tls;
mod transport;
mod upstreams;
mod websocket;
mod wire;
