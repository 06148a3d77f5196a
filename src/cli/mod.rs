//! The command line: one file per command.

pub mod check;
pub mod completions;
pub mod config;
#[cfg(feature = "dev")]
pub mod dev;
pub mod drain;
pub mod explain;
pub mod healthcheck;
pub mod schema;
pub mod serve;
#[cfg(feature = "dev")]
pub mod token;

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
    /// Try it out on this machine, with an issuer that imitates Entra.
    #[cfg(feature = "dev")]
    Dev(dev::DevArgs),
    /// Print a token from the running `airside dev`.
    #[cfg(feature = "dev")]
    Token(token::TokenArgs),
    /// Read the configuration and print all of its problems and risks.
    Check(check::CheckArgs),
    /// Print the settings in effect, and where each of them comes from.
    Config {
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Say what the configuration makes of a token, step by step, and what to change.
    Explain(explain::ExplainArgs),
    /// Print the JSON Schema of the configuration file.
    Schema,
    /// Print what a shell needs to complete this command line.
    Completions(completions::CompletionsArgs),
    /// Ask the running airside whether it is ready: exit code 0 if so
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Have the running airside send its clients elsewhere and end, ahead of SIGTERM
    Drain(drain::DrainArgs),
}

/// The exit codes of every command.
pub mod exit {
    /// All is well.
    pub const FINE: u8 = 0;
    /// Something failed at run time.
    pub const FAILED: u8 = 1;
    /// The command line is wrong; clap uses the same.
    pub const USAGE: u8 = 2;
    /// Somebody who was asked does not answer (`check`).
    pub const UNANSWERED: u8 = 3;
    /// The token would be refused (`explain`).
    pub const REFUSED: u8 = 3;
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
        #[cfg(feature = "dev")]
        Command::Dev(args) => dev::run(&args, &environment),
        #[cfg(feature = "dev")]
        Command::Token(args) => token::run(args, &environment),
        Command::Check(args) => check::run(&args, &environment),
        Command::Config { overrides } => config::run(&overrides, &environment),
        Command::Explain(args) => explain::run(args, &environment),
        Command::Schema => schema::run(),
        Command::Completions(args) => completions::run(&args),
        Command::Healthcheck(args) => healthcheck::run(args, &environment),
        Command::Drain(args) => drain::run(&args),
    }
}

/// Where `dev` and `token` meet when nobody says.
#[cfg(feature = "dev")]
fn default_state(environment: &Environment) -> std::path::PathBuf {
    let runtime_dir = environment.get("XDG_RUNTIME_DIR").map(std::ffi::OsStr::new);
    crate::dev::state::default_path(runtime_dir, &std::env::temp_dir())
}
