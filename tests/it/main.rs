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
mod canaries;
mod check;
mod commands;
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
mod forward_auth;
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
mod log_reference;
mod logging;
mod metrics_reference;
mod overload;
mod prefixes;
mod proxy_protocol;
mod refusals;
mod reload;
mod replicas;
mod revocation;
mod routes;
mod shipped;
mod slow;
mod status;
mod streaming;
mod swaps;
mod tls;
mod traces;
mod transport;
mod upstreams;
mod websocket;
mod wire;
