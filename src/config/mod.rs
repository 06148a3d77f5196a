//! The configuration: [`layers`] puts file, environment and flags together into a [`tree`] that
//! knows where each value came from; [`lint`] holds it against the schema of [`written`];
//! [`used`] makes valid settings of it. All problems come in one list.

pub mod layers;
pub mod lint;
pub mod problem;
pub mod tree;
pub mod used;
pub mod written;

pub use layers::{Environment, Overrides};
pub use problem::{Findings, Problem, Problems};
pub use used::Config;

/// Reads the configuration from `overrides` (the command line), the environment and the file that
/// they name, and makes valid settings of it.
pub fn load(overrides: &Overrides, environment: &Environment) -> Result<Config, Problems> {
    let layered = layers::read(overrides, environment)?;
    from_tree(&layered)
}

/// Makes valid settings of a tree.
pub fn from_tree(tree: &tree::Tree) -> Result<Config, Problems> {
    let mut findings = Findings::about(tree);
    let written = lint::read(tree, &mut findings);
    let config = written.and_then(|written| used::build(&written, &mut findings));
    findings.conclude(config)
}
