//! `airside drain`: what a pod's `preStop` hook calls, because an image without a shell has no `kill`.

use std::fs;
use std::io::{Write as _, stderr};
use std::process::ExitCode;

use rustix::process::{Pid, Signal, kill_process};

use super::exit;

/// Who is to end.
#[derive(Debug, clap::Args)]
pub struct DrainArgs {
    /// The process that runs `airside serve`; in a container it is the first.
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = process)]
    pid: Pid,
}

/// Runs the command.
#[must_use]
pub fn run(args: &DrainArgs) -> ExitCode {
    match drain(args.pid) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(stderr(), "airside: {why}");
            ExitCode::from(exit::FAILED)
        }
    }
}

fn drain(pid: Pid) -> Result<(), String> {
    let number = pid.as_raw_pid();
    let own = program("self")?;
    let found = program(&number.to_string())?;
    // SIGUSR1 ends programs that do not know it.
    if found != own {
        return Err(format!(
            "process {number} is {found}, expected {own}: say with --pid which process is airside"
        ));
    }
    kill_process(pid, Signal::USR1)
        .map_err(|error| format!("process {number} cannot be signalled: {error}"))
}

/// The name of a process, which everybody may read.
fn program(process: &str) -> Result<String, String> {
    let name = fs::read_to_string(format!("/proc/{process}/comm"));
    let name = name.map_err(|error| format!("process {process} cannot be looked at: {error}"))?;
    Ok(name.trim_end().to_owned())
}

fn process(text: &str) -> Result<Pid, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.and_then(Pid::from_raw).ok_or_else(|| "expected the number of a process".to_owned())
}
