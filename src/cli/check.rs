//! `airside check`: everything that is wrong with a configuration, and everything that is risky.

use std::fmt::Write as _;
use std::io::{Write as _, stdout};
use std::process::ExitCode;

use super::exit;
use crate::config::{self, Environment, Overrides, Reading};

/// What to check.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    overrides: Overrides,
}

/// Runs the command.
#[must_use]
pub fn run(args: &CheckArgs, environment: &Environment) -> ExitCode {
    let reading = config::read(&args.overrides, environment, &[]);
    // A closed pipe is the reader's choice.
    let _ = stdout().write_all(report(&reading).as_bytes());
    match reading.config {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(exit::CONFIG),
    }
}

fn report(reading: &Reading) -> String {
    let problems = reading.config.as_ref().err().map_or(&[][..], |problems| problems.all());
    let mut text = String::new();
    for problem in problems {
        let _infallible = write!(text, "problem: {problem}\n\n");
    }
    for warning in &reading.warnings {
        let _infallible = write!(text, "warning: {warning}\n\n");
    }
    let files: Vec<_> = reading.files.names().map(|name| name.display().to_string()).collect();
    let files = if files.is_empty() { String::new() } else { format!(", {}", files.join(", ")) };
    let _infallible = writeln!(text, "checked: flags, environment{files}");
    let (problems, warnings) = (problems.len(), reading.warnings.len());
    let _infallible = writeln!(text, "{}", counted(problems, warnings));
    text
}

fn counted(problems: usize, warnings: usize) -> String {
    let one = |count, noun: &str| match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    };
    format!("{}, {}", one(problems, "problem"), one(warnings, "warning"))
}
