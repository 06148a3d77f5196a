//! From the values of a token to Airflow's roles and teams: by exact whole value, never by part.

use std::fmt;

use serde::Serialize;

/// The name of an Airflow role that can stand in a header: visible ASCII without a comma.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AirflowRole(String);

impl AirflowRole {
    /// Takes the name if it is safe to pass on.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        (is_visible(name) && !name.contains(',')).then(|| Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The place among the four roles of Airflow's `SimpleAuthManager`, Viewer first; `None` for
    /// any other role.
    #[must_use]
    pub fn simple_rank(&self) -> Option<usize> {
        SIMPLE.iter().position(|role| *role == self.0)
    }
}

impl fmt::Display for AirflowRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a team of Airflow's (`[core] multi_team`): visible ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct AirflowTeam(String);

impl AirflowTeam {
    /// Takes the name if it is safe to pass on.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        is_visible(name).then(|| Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// `SimpleAuthManagerRole` of airflow-core, lowest first.
pub const SIMPLE: [&str; 4] = ["Viewer", "User", "Op", "Admin"];

/// The roles that every Airflow with FAB begins with (`EXISTING_ROLES` of the FAB provider's
/// security manager); those of `SimpleAuthManager` are among them.
const BUILT_IN: [&str; 5] = ["Admin", "Op", "User", "Viewer", "Public"];

/// Which of a caller's roles Airflow can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// All of them.
    All,
    /// The highest of the four that `SimpleAuthManager` knows.
    Highest,
}

/// Which token value gives what of Airflow's, in the order written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueMap<T>(Vec<(String, Vec<T>)>);

/// Which token value gives which Airflow roles.
pub type RoleMap = ValueMap<AirflowRole>;

/// Which token value gives which Airflow teams.
pub type TeamMap = ValueMap<AirflowTeam>;

impl<T: Clone + PartialEq> ValueMap<T> {
    /// A map of these rows.
    #[must_use]
    pub const fn new(rows: Vec<(String, Vec<T>)>) -> Self {
        Self(rows)
    }

    /// The token values that mean something.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(value, _)| value.as_str())
    }

    /// The rows, in the order written.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &[T])> {
        self.0.iter().map(|(value, mapped)| (value.as_str(), mapped.as_slice()))
    }

    /// What `values` give, in the map's order, each once.
    #[must_use]
    pub fn resolve(&self, values: &[&str]) -> Vec<T> {
        let mut found: Vec<T> = Vec::new();
        for (_, mapped) in self.0.iter().filter(|(value, _)| values.contains(&value.as_str())) {
            for one in mapped {
                if !found.contains(one) {
                    found.push(one.clone());
                }
            }
        }
        found
    }
}

impl RoleMap {
    /// The map used where an Entra entry has none: each of Airflow's own roles is itself.
    #[must_use]
    pub fn identity() -> Self {
        let row = |name: &&str| (String::from(*name), vec![AirflowRole(String::from(*name))]);
        Self(BUILT_IN.iter().map(row).collect())
    }

    /// Those of the Airflow roles of `values` that are held.
    #[must_use]
    pub fn resolve_held(&self, values: &[&str], held: Held) -> Vec<AirflowRole> {
        let roles = self.resolve(values);
        match held {
            Held::All => roles,
            Held::Highest => {
                let ranked = roles.into_iter().filter(|role| role.simple_rank().is_some());
                ranked.max_by_key(AirflowRole::simple_rank).into_iter().collect()
            }
        }
    }
}

/// Whether the text is one or more visible ASCII characters (VCHAR of RFC 5234): no space, no
/// control, nothing that a header or a log could be split at.
#[must_use]
pub fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(rows: &[(&str, &[&str])]) -> RoleMap {
        let roles = |names: &[&str]| names.iter().map(|n| AirflowRole::new(n).unwrap()).collect();
        RoleMap::new(
            rows.iter().map(|(value, names)| ((*value).to_owned(), roles(names))).collect(),
        )
    }

    fn names(roles: &[AirflowRole]) -> Vec<&str> {
        roles.iter().map(AirflowRole::name).collect()
    }

    #[test]
    fn roles_come_in_the_maps_order_each_once() {
        let map = map(&[("b", &["Op", "Viewer"]), ("a", &["Viewer", "Admin"])]);
        assert_eq!(names(&map.resolve(&["a", "b"])), ["Op", "Viewer", "Admin"]);
        assert_eq!(names(&map.resolve(&["a", "unmapped"])), ["Viewer", "Admin"]);
    }

    #[test]
    fn only_the_exact_whole_value_is_mapped() {
        let map = map(&[("airflow_admin", &["Admin"])]);
        for value in ["Airflow_admin", "airflow_admin ", "airflow", "airflow_admin,x", ""] {
            assert!(map.resolve(&[value]).is_empty(), "{value:?}");
        }
    }

    #[test]
    fn the_highest_role_counts_for_simple_and_all_for_others() {
        let map = RoleMap::identity();
        for (values, highest, all) in [
            (&["Viewer", "Op"][..], &["Op"][..], &["Op", "Viewer"][..]),
            (&["Admin", "User"], &["Admin"], &["Admin", "User"]),
            (&["Public"], &[], &["Public"]),
            (&["admin"], &[], &[]),
            (&[], &[], &[]),
        ] {
            assert_eq!(names(&map.resolve_held(values, Held::Highest)), highest, "{values:?}");
            assert_eq!(names(&map.resolve_held(values, Held::All)), all, "{values:?}");
        }
    }

    #[test]
    fn a_role_that_could_split_a_header_is_none() {
        for name in ["", "a b", "a,b", "a\nb", "a\0", "é"] {
            assert_eq!(AirflowRole::new(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_team_that_is_not_visible_ascii_is_none() {
        for name in ["", "a b", "a\n", "\u{e9}quipe"] {
            assert_eq!(AirflowTeam::new(name), None, "{name:?}");
        }
        assert!(AirflowTeam::new("team_a").is_some());
    }
}
