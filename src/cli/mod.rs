//! The command line: one file per command.

pub mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Environment, Overrides};

/// A JWT-authenticating reverse proxy for the Apache Airflow API server.
#[derive(Debug, Parser)]
#[command(name = "airside", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy.
    Serve {
        #[command(flatten)]
        overrides: Overrides,
    },
}

/// The exit codes of every command.
pub mod exit {
    /// Something failed at run time.
    pub const FAILED: u8 = 1;
    /// The configuration is wrong (`EX_CONFIG` of sysexits.h).
    pub const CONFIG: u8 = 78;
}

/// Runs the command that the command line names. Wrong usage ends the program with 2.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let environment = Environment::of_process();
    match arguments.command {
        Command::Serve { overrides } => serve::run(&overrides, &environment),
    }
}
