//! What the tests stand on: an issuer, an upstream, a client and the real executable, over loopback
//! sockets and plain threads. Each test binary includes this folder and uses a part of it.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends here, with its reason"
)]

pub(crate) mod airflow;
pub(crate) mod airside;
pub(crate) mod balancer;
pub(crate) mod claims;
pub(crate) mod collector;
pub(crate) mod config;
pub(crate) mod entra;
pub(crate) mod envoy;
pub(crate) mod expect;
pub(crate) mod fab;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod issuer;
pub(crate) mod keys;
pub(crate) mod listener;
pub(crate) mod load;
pub(crate) mod oidc;
pub(crate) mod scene;
pub(crate) mod terminator;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod volume;
pub(crate) mod wait;
