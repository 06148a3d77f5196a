//! What operators see: [`exchange`] follows one request, [`access`] writes its line, [`metrics`]
//! counts it, [`logging`] sets up everything else that is logged.

pub mod access;
pub mod exchange;
pub mod logging;
pub mod metrics;
pub mod redact;

pub use exchange::{Exchange, Recorder};
