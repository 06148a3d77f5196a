//! The configuration: [`layers`] puts file, environment and flags together into a [`tree`] that
//! knows where each value came from; [`lint`] holds it against the schema of [`written`];
//! [`used`] makes valid settings of it. All problems come in one list.

mod effective;
pub mod layers;
pub mod lint;
pub mod problem;
pub mod schema;
pub mod tree;
pub mod used;
pub mod written;

use std::path::PathBuf;

pub use layers::{Environment, Overrides};
pub use problem::{Findings, Problem, Problems};
use tree::{Node, Tree};
pub use used::{Config, KeySource};
use written::Admin;

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

/// The settings in effect, as a file that says the same, each line with where it comes from.
pub fn effective(overrides: &Overrides, environment: &Environment) -> Result<String, Problems> {
    let tree = layers::read(overrides, environment)?;
    let mut findings = Findings::about(&tree);
    let mut written = lint::read(&tree, &mut findings);
    let config = written.as_ref().and_then(|written| used::build(written, &[], &mut findings));
    findings.conclude(config)?;
    Ok(written.as_mut().map(|written| effective::text(&tree, written)).unwrap_or_default())
}

/// Where the admin listener is to be, as it is written: nothing else need be right for that.
pub fn admin_listen(overrides: &Overrides, environment: &Environment) -> Result<String, Problems> {
    let tree = layers::read(overrides, environment)?;
    let written = tree.root.get("admin").and_then(|admin| admin.get("listen"));
    Ok(written.and_then(Node::text).map_or_else(|| Admin::default().listen.0, str::to_owned))
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
