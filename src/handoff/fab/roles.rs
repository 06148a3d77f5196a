//! Sets of FAB's roles, and which of two gives more.

use std::collections::BTreeSet;
use std::fmt;

use crate::identity::AirflowRole;

/// Roles of a user in FAB, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Roles(BTreeSet<String>);

impl Roles {
    pub(super) fn of(roles: &[AirflowRole]) -> Self {
        roles.iter().map(|role| role.name().to_owned()).collect()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(super) fn union(&self, others: &Self) -> Self {
        Self(&self.0 | &others.0)
    }

    /// Whether these give every right that `others` give. FAB's own roles are a ladder, and Admin
    /// has every right there is; of any other role nothing is known but its name.
    pub(super) fn cover(&self, others: &Self) -> bool {
        let rung = |name: &str| LADDER.iter().position(|role| *role == name);
        let highest = self.names().filter_map(rung).max();
        highest == rung("Admin")
            || others.names().all(|name| {
                self.0.contains(name) || rung(name).is_some_and(|rung| Some(rung) <= highest)
            })
    }
}

impl FromIterator<String> for Roles {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names().collect();
        f.write_str(if names.is_empty() { "no role".to_owned() } else { names.join(", ") }.as_str())
    }
}

/// As FAB sets them up, each with the rights of those before it (`security_manager/constants.py`).
const LADDER: [&str; 5] = ["Public", "Viewer", "User", "Op", "Admin"];

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(names: &[&str]) -> Roles {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn more_is_a_higher_rung_or_the_same_names_and_others() {
        for (these, others, expected) in [
            (&["Viewer"][..], &["Viewer"][..], true),
            (&["Op"], &["Viewer"], true),
            (&["Viewer"], &["Op"], false),
            (&["Viewer", "Op"], &["User"], true),
            (&["Admin"], &["Op", "Data"], true),
            (&["Op"], &["Data"], false),
            (&["Op", "Data"], &["Data", "Viewer"], true),
            (&["Data"], &["Viewer"], false),
            (&["Viewer"], &["Public"], true),
            (&["Public"], &["Viewer"], false),
            (&["viewer"], &["Viewer"], false),
            (&["Viewer"], &[], true),
            (&[], &[], true),
            (&[], &["Viewer"], false),
        ] {
            assert_eq!(roles(these).cover(&roles(others)), expected, "{these:?} {others:?}");
        }
    }
}
