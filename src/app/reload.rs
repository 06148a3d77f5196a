//! Follows the configuration: the file and those that it names are read again when they change, and
//! on SIGHUP. A bad configuration leaves the one in force as it is.

use std::convert::Infallible;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::App;
use crate::config::{self, Config, Environment, Overrides, Reading};
use crate::shutdown::Hangups;
use crate::telemetry::logging::Logging;
use crate::telemetry::reloads::Fault;
use crate::watch::{EVERY, Sights};

/// Where the configuration comes from, and what was there when it was read last.
#[derive(Debug)]
pub struct Follower {
    overrides: Overrides,
    environment: Environment,
    /// As they were when they made the configuration in force, or the last bad one.
    seen: Sights,
    /// As they are now, but for one look only: what is still being written has to come to rest.
    moving: Option<Sights>,
}

impl Follower {
    /// Follows these sources, of which `files` made the `config` in force.
    #[must_use]
    pub fn new(
        overrides: &Overrides,
        environment: &Environment,
        config: &Config,
        files: Sights,
    ) -> Self {
        let (overrides, environment) = (overrides.clone(), environment.clone());
        Self { overrides, environment, seen: to_follow(files, config), moving: None }
    }

    /// Looks again and again; never ends.
    pub async fn run(
        mut self,
        app: &mut App,
        logging: &Logging,
        hangups: &mut Hangups,
    ) -> Infallible {
        let mut asked = false;
        loop {
            tokio::select! {
                () = sleep(EVERY) => {}
                () = hangups.next() => asked = true,
            }
            if asked || self.have_changed().await {
                // What has changed while it was read is read again in a moment.
                asked = !self.reload(app, logging).await && asked;
            }
        }
    }

    async fn have_changed(&mut self) -> bool {
        let now = look(&self.seen).await;
        if now == self.seen {
            self.moving = None;
            return false;
        }
        let rests = self.moving.as_ref() == Some(&now);
        self.moving = Some(now);
        rests
    }

    /// Reads everything and takes it up or says what is wrong; `false` where it was changing
    /// meanwhile, so that one part may not belong to another.
    async fn reload(&mut self, app: &mut App, logging: &Logging) -> bool {
        let Some(Reading { files, tree, warnings, config, .. }) = self.read(app).await else {
            return true;
        };
        if look(&files).await != files {
            return false;
        }
        self.moving = None;
        let taken = match config {
            Ok(config) => {
                let files = to_follow(files.clone(), &config);
                app.take_up(config, &tree, logging).await.map(|()| files)
            }
            Err(problems) => Err(problems),
        };
        match taken {
            Ok(files) => {
                let number = app.generation();
                info!(generation = number, "configuration read again and in force");
                warn_of(&warnings);
                self.seen = files;
            }
            Err(problems) => {
                app.reloads.rejected(problems.all().iter().map(fault).collect());
                for problem in problems.all() {
                    let config::Problem { key, place, found, expected, hint } = problem;
                    let hint = hint.as_deref().unwrap_or_default();
                    error!(key, place, found, expected, hint, "problem of the configuration");
                }
                let (problems, number) = (problems.all().len(), app.generation());
                error!(problems, generation = number, "configuration is wrong; the last one stays");
                // What it would have named is not known where it cannot even be read.
                let known = look(&self.seen).await;
                self.seen = files.and(known);
            }
        }
        true
    }

    /// Elsewhere: connections should not wait for it to be accepted.
    async fn read(&self, app: &App) -> Option<Reading> {
        let (overrides, environment) = (self.overrides.clone(), self.environment.clone());
        let former = app.key_sources();
        let read = spawn_blocking(move || config::read(&overrides, &environment, &former)).await;
        read.inspect_err(|error| error!(%error, "the configuration was not read")).ok()
    }
}

/// Logs what of the configuration in force is legal and risky all the same.
pub fn warn_of(warnings: &[config::Warning]) {
    for warning in warnings {
        let config::Warning { key, place, found, why, hint } = warning;
        warn!(key, place, found, why, hint, "a risk of the configuration");
    }
}

fn fault(problem: &config::Problem) -> Fault {
    let config::Problem { key, place, found, expected, hint } = problem.clone();
    Fault { key, place, found, expected, hint }
}

/// The revocation list has a watch of its own, which needs no other configuration.
fn to_follow(files: Sights, config: &Config) -> Sights {
    match &config.revocation_watch {
        Some(watch) => files.without(watch.file()),
        None => files,
    }
}

async fn look(files: &Sights) -> Sights {
    let files = files.clone();
    // It has no panic, and where the program ends nothing is compared any more.
    spawn_blocking(move || files.again()).await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_file_that_is_being_written_is_left_alone_until_it_rests() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("airside.yaml");
        fs::write(&file, "whole").unwrap();
        let mut follower = Follower {
            overrides: Overrides::default(),
            environment: Environment::default(),
            seen: Sights::take([file.clone()]),
            moving: None,
        };
        for (content, changed) in [
            ("whole", false),
            ("", false),
            ("hal", false),
            ("half", false),
            ("half and half", false),
            ("half and half", true),
            ("whole", false),
            ("whole", false),
            ("another", false),
            ("another", true),
        ] {
            fs::write(&file, content).unwrap();
            assert_eq!(follower.have_changed().await, changed, "{content:?}");
        }
    }
}
