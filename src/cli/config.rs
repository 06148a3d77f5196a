//! `airside config`: the settings in effect, and where each of them comes from.

use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;

use super::exit;
use crate::config::{self, Environment, Overrides};

/// Runs the command.
#[must_use]
pub fn run(overrides: &Overrides, environment: &Environment) -> ExitCode {
    match config::effective(overrides, environment) {
        Ok(text) => {
            // A closed pipe is the reader's choice.
            let _ = stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(problems) => {
            let _ = writeln!(stderr(), "airside: {problems}");
            ExitCode::from(exit::CONFIG)
        }
    }
}
