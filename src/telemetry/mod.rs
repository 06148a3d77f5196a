//! What operators see: [`exchange`] follows one request, [`access`] writes its line, [`metrics`]
//! counts it, [`trace`] makes spans of it, [`logging`] sets up everything else that is logged.

pub mod access;
pub mod exchange;
pub mod logging;
pub mod metrics;
pub mod trace;

pub use exchange::{Exchange, Recorder};
