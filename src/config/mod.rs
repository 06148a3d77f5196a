//! The configuration: [`layers`] puts file, environment and flags together into a [`tree`] that
//! knows where each value came from; [`lint`] holds it against the schema of [`written`];
//! [`used`] makes valid settings of it. All problems come in one list.

mod effective;
pub mod layers;
pub mod lint;
pub mod problem;
#[cfg(test)]
mod reference;
pub mod schema;
pub mod tree;
pub mod used;
mod warnings;
pub mod written;

use std::path::PathBuf;

use layers::Layers;
pub use layers::{Environment, Overrides};
pub use problem::{Findings, Problem, Problems, Warning};
use tree::{Node, Tree};
pub use used::{Config, KeySource};
use written::{Access, Admin, Door, Ui, Written};

use crate::watch::Sights;

/// What was read, and what was made of it.
#[derive(Debug)]
pub struct Reading {
    /// The file, and those that it names, as they were before they were read.
    pub files: Sights,
    /// Where everything is written.
    pub tree: Tree,
    /// What is legal and risky all the same.
    pub warnings: Vec<Warning>,
    /// What is written, as far as it fits.
    pub written: Option<Written>,
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
        Ok(layers) => {
            let files = files.and(Sights::take(layers.tree.files().map(PathBuf::from)));
            let Layers { tree, problems } = layers;
            let Built { written, warnings, config } = build(&tree, problems, former);
            Reading { files, tree, warnings, written, config }
        }
        Err(problems) => {
            let (tree, warnings) = (Tree::empty("(no configuration file)"), Vec::new());
            Reading { files, tree, warnings, written: None, config: Err(problems) }
        }
    }
}

/// The settings in effect, as a file that says the same, each line with where it comes from.
pub fn effective(overrides: &Overrides, environment: &Environment) -> Result<String, Problems> {
    let Layers { tree, problems } = layers::read(overrides, environment)?;
    let Built { written, config, .. } = build(&tree, problems, &[]);
    config?;
    Ok(written.map(|mut written| effective::text(&tree, &mut written)).unwrap_or_default())
}

/// Where the admin listener is to be, as it is written: nothing else need be right for that.
pub fn admin_listen(overrides: &Overrides, environment: &Environment) -> Result<String, Problems> {
    let tree = layers::read(overrides, environment)?.tree;
    let written = tree.root.get("admin").and_then(|admin| admin.get("listen"));
    Ok(written.and_then(Node::text).map_or_else(|| Admin::default().listen.0, str::to_owned))
}

/// Reads the configuration to explain tokens by. Where it is in no file, issuers are enough: what
/// concerns Airflow alone is made up, since nothing is sent there.
pub fn read_to_explain(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<Config, Problems> {
    let Layers { mut tree, problems } = layers::read(overrides, environment)?;
    if overrides.file(environment).is_none() {
        if tree.root.get("issuers").is_none() {
            let mut findings = Findings::about(&tree);
            let hint = "name the configuration with -c FILE (or AIRSIDE_CONFIG), or the issuer with --entra-tenant GUID --entra-client-id GUID";
            findings.add("issuers", "nothing", "an issuer to hold the token against", Some(hint));
            return findings.conclude(None);
        }
        layers::make_up_airflow(&mut tree);
    }
    build(&tree, problems, &[]).config
}

/// Makes valid settings of a tree.
pub fn from_tree(tree: &Tree) -> Result<Config, Problems> {
    build(tree, Vec::new(), &[]).config
}

struct Built {
    written: Option<Written>,
    warnings: Vec<Warning>,
    config: Result<Config, Problems>,
}

fn build(tree: &Tree, problems: Vec<Problem>, former: &[KeySource]) -> Built {
    let mut findings = Findings::beginning_with(tree, problems);
    let written = lint::read(tree, &mut findings);
    let config = written.as_ref().and_then(|written| used::build(written, former, &mut findings));
    if let Some(written) = &written {
        warnings::look(written, &mut findings);
    }
    Built { warnings: findings.take_warnings(), config: findings.conclude(config), written }
}

/// Whether passwords are let through, where that depends on the interface.
const fn password_login(access: &Access) -> Door {
    match (access.password_login, access.ui) {
        (Some(door), _) => door,
        (None, Ui::Airflow) => Door::Open,
        (None, Ui::Closed) => Door::Closed,
    }
}
