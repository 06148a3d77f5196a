//! The configuration: [`layers`] puts file, environment and flags together into a [`tree`] that
//! knows where each value came from; [`lint`] holds it against the schema of [`written`];
//! [`used`] makes valid settings of it. All problems come in one list.

pub mod layers;
pub mod lint;
pub mod problem;
pub mod tree;
pub mod used;
pub mod written;

use std::path::PathBuf;

pub use layers::{Environment, Overrides};
pub use problem::{Findings, Problem, Problems};
use tree::Tree;
pub use used::{Config, KeySource};

use crate::watch::Sights;

/// What was read, and what was made of it.
#[derive(Debug)]
pub struct Reading {
    /// The file, and those that it names, as they were before they were read.
    pub files: Sights,
    /// The settings.
    pub config: Result<Config, Problems>,
}

/// Reads the configuration from `overrides` (the command line), the environment and the file that
/// they name, and makes valid settings of it. The keys of `former` sources live on where issuer,
/// address and schedule are the same.
#[must_use]
pub fn read(overrides: &Overrides, environment: &Environment, former: &[KeySource]) -> Reading {
    let files = Sights::take(overrides.file(environment));
    match layers::read(overrides, environment) {
        Ok(tree) => {
            let files = files.and(Sights::take(tree.files().map(PathBuf::from)));
            Reading { files, config: build(&tree, former) }
        }
        Err(problems) => Reading { files, config: Err(problems) },
    }
}

/// Reads the configuration to explain tokens by. Where it is in no file, issuers are enough: what
/// concerns Airflow alone is made up, since nothing is sent there.
pub fn read_to_explain(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<Config, Problems> {
    let mut tree = layers::read(overrides, environment)?;
    if overrides.file(environment).is_none() {
        if tree.root.get("issuers").is_none() {
            let mut findings = Findings::about(&tree);
            let hint = "name the configuration with -c FILE (or AIRSIDE_CONFIG), or the issuer with --entra-tenant GUID --entra-client-id GUID";
            findings.add("issuers", "nothing", "an issuer to hold the token against", Some(hint));
            return findings.conclude(None);
        }
        layers::make_up_airflow(&mut tree);
    }
    build(&tree, &[])
}

/// Makes valid settings of a tree.
pub fn from_tree(tree: &Tree) -> Result<Config, Problems> {
    build(tree, &[])
}

fn build(tree: &Tree, former: &[KeySource]) -> Result<Config, Problems> {
    let mut findings = Findings::about(tree);
    let written = lint::read(tree, &mut findings);
    let config = written.and_then(|written| used::build(&written, former, &mut findings));
    findings.conclude(config)
}
