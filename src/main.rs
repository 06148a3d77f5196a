//! The `airside` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    airside::cli::run()
}
