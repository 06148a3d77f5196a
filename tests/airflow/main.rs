//! Promises about real Airflow: releases of it behind the real executable, over loopback sockets.
//!
//! `make test-airflow` builds what is needed and runs these; without it they fail and say so.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on ends here, with its reason"
)]

#[path = "../support/mod.rs"]
mod support;

mod airflow2;
mod audit;
mod browser;
mod callers;
mod check;
mod clients;
mod compatibility;
mod confusion;
mod dev;
mod exchange;
mod execution;
mod fab;
mod flight;
#[cfg(feature = "kerberos-tests")]
mod kerberos;
mod manager;
mod microsoft;
mod programs;
#[cfg(feature = "proxy-tests")]
mod proxies;
mod replicas;
mod routes;
mod shared_secret;
mod stock;
mod tasks;
mod tls;
mod traces;
mod trusted_keys;
#[cfg(feature = "browser-tests")]
mod ui;
mod verified;
