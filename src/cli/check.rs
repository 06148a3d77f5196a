//! `airside check`: everything that is wrong with a configuration, and everything that is risky.

use std::fmt::Write as _;
use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;

use tokio::runtime::Builder;

use super::exit;
use crate::check::{self, Finding, Verdict};
use crate::config::{self, Environment, Overrides, Reading};

/// What to check.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Also fetch keys, ask Airflow, and try out whether it takes what airside signs. Nothing is
    /// changed there.
    #[arg(long)]
    online: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// Runs the command.
#[must_use]
pub fn run(args: &CheckArgs, environment: &Environment) -> ExitCode {
    let reading = config::read(&args.overrides, environment, &[]);
    print(&report(&reading));
    let Reading { written: Some(written), config: Ok(config), .. } = &reading else {
        if args.online {
            print("not asked: nothing outside, while the configuration is wrong\n");
        }
        return ExitCode::from(exit::CONFIG);
    };
    if !args.online {
        return ExitCode::SUCCESS;
    }
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(stderr(), "airside: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    let findings = runtime.block_on(check::online(written, config));
    // A look-up of a name that is still under way must not hold up the end.
    runtime.shutdown_background();
    let lines: Vec<String> = findings.iter().map(|finding| format!("{finding}\n")).collect();
    print(&format!("\n{}", lines.concat()));
    code(&findings)
}

/// What is wrong counts more than who is silent: that may be over soon.
fn code(findings: &[Finding]) -> ExitCode {
    let any = |verdict| findings.iter().any(|finding| finding.verdict == verdict);
    if any(Verdict::Wrong) {
        return ExitCode::from(exit::CONFIG);
    }
    if any(Verdict::Silent) { ExitCode::from(exit::UNANSWERED) } else { ExitCode::SUCCESS }
}

fn print(text: &str) {
    // A closed pipe is the reader's choice.
    let _ = stdout().write_all(text.as_bytes());
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
