//! `airside completions`: what a shell needs to complete this command line.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

/// For whom.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell; its own documentation says where completions belong.
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command.
#[must_use]
pub fn run(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    generate(args.shell, &mut super::Arguments::command(), "airside", &mut script);
    // A closed pipe is the reader's choice.
    let _ = io::stdout().write_all(&script);
    ExitCode::SUCCESS
}
