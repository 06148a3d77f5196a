//! What operators see: [`exchange`] follows one request, [`access`] writes its line, [`metrics`]
//! counts it, [`trace`] makes spans of it, [`refusals`] keeps it for a while where it was refused,
//! [`redact`] says what of it may be shown. [`history`] keeps what the counters ([`totals`]) were,
//! [`reloads`] what became of configurations, and [`logging`] sets up everything else that is logged.

pub mod access;
pub mod exchange;
pub mod history;
pub mod logging;
pub mod metrics;
pub mod redact;
pub mod refusals;
pub mod reloads;
pub mod totals;
pub mod trace;

pub use exchange::{Exchange, Recorder};
