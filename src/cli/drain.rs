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
    if found != own {
        return Err(format!(
            "process {number} is {found}, expected {own}: say with --pid which process is airside"
        ));
    }
    // SIGUSR1 ends programs that do not wait for it: other commands, and one that has yet to start.
    if !catches(number, Signal::USR1)? {
        return Err(format!(
            "process {number} does not wait for SIGUSR1, expected `airside serve` that has started: \
             say with --pid which process that is, or stop this one by SIGTERM"
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

/// Whether the process has a handler for this signal: `SigCgt` in `proc_pid_status(5)`.
fn catches(process: i32, signal: Signal) -> Result<bool, String> {
    let status = fs::read_to_string(format!("/proc/{process}/status"));
    let status =
        status.map_err(|error| format!("process {process} cannot be looked at: {error}"))?;
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let caught = caught.ok_or_else(|| format!("/proc/{process}/status says no SigCgt"))?;
    Ok(caught >> (signal.as_raw() - 1) & 1 == 1)
}

fn process(text: &str) -> Result<Pid, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.and_then(Pid::from_raw).ok_or_else(|| "expected the number of a process".to_owned())
}
