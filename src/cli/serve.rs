//! `airside serve`: runs the proxy until a signal, and follows its configuration meanwhile.

use std::io::{Write, stderr};
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::runtime::Builder;
use tracing::error;

use super::exit;
use crate::app::App;
use crate::app::reload::{self, Follower};
use crate::config::{self, Config, Environment, Overrides, Reading};
use crate::crash;
use crate::shutdown::{Hangups, Signals};
use crate::telemetry::logging::Logging;

/// Runs the command.
#[must_use]
pub fn run(overrides: &Overrides, environment: &Environment) -> ExitCode {
    let Reading { files, warnings, config, .. } = config::read(overrides, environment, &[]);
    let config = match config {
        Ok(config) => config,
        Err(problems) => {
            let _ = writeln!(stderr(), "airside: {problems}");
            return ExitCode::from(exit::CONFIG);
        }
    };
    crash::leave_no_secrets();
    let logging = Logging::start(config.log_format, config.log_level);
    reload::warn_of(&warnings);
    let follower = Follower::new(overrides, environment, &config, files);
    match serve(config, overrides.file(environment), follower, &logging) {
        Ok(code) => code,
        Err(error) => {
            error!(%error, "airside cannot run");
            let _ = writeln!(stderr(), "airside: {error}");
            ExitCode::from(exit::FAILED)
        }
    }
}

fn serve(
    config: Config,
    file: Option<PathBuf>,
    follower: Follower,
    logging: &Logging,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let control = Builder::new_current_thread().enable_all().thread_name("airside").build()?;
    let ended = control.block_on(async {
        let mut signals = Signals::take_over()?;
        let mut hangups = Hangups::take_over()?;
        let mut app = App::start(config, file, logging).await?;
        tokio::select! {
            () = signals.next() => {}
            never = follower.run(&mut app, logging, &mut hangups) => match never {},
        }
        let finished = app.drain(&mut signals).await;
        Ok(if finished { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
    });
    // A look-up of a name that is still under way must not hold up the end.
    control.shutdown_background();
    ended
}
