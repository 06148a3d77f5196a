//! `airside schema`: what editors complete and check configuration files by.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::config::schema;

/// Runs the command.
#[must_use]
pub fn run() -> ExitCode {
    // A closed pipe is the reader's choice.
    let _ = io::stdout().write_all(schema::published().as_bytes());
    ExitCode::SUCCESS
}
