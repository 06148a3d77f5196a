//! Who there is in the imitated directory: applications, and the roles they hold.

use super::refusal::Refusal;

/// The applications of the directory by client id, each with the Airflow role that it holds.
const APPLICATIONS: [(&str, Option<&str>); 5] = [
    ("00001111-aaaa-2222-bbbb-333344440001", Some("Admin")),
    ("00001111-aaaa-2222-bbbb-333344440002", Some("Op")),
    ("00001111-aaaa-2222-bbbb-333344440003", Some("User")),
    ("00001111-aaaa-2222-bbbb-333344440004", Some("Viewer")),
    ("00001111-aaaa-2222-bbbb-333344440005", None),
];

/// The application that is meant where none is named: may do what pipelines do.
pub const USUAL_APPLICATION: &str = "00001111-aaaa-2222-bbbb-333344440002";

/// The members with the values of `roles` that their tokens carry.
pub struct Directory(Vec<Member>);

struct Member {
    client_id: &'static str,
    roles: Vec<String>,
}

impl Directory {
    /// `value_for` names the value of `roles` that stands for an Airflow role, where there is one.
    pub fn new<'a>(value_for: impl Fn(&'static str) -> Option<&'a str>) -> Self {
        let members = APPLICATIONS.map(|(client_id, role)| {
            let value = role.and_then(&value_for).map(str::to_owned);
            Member { client_id, roles: value.into_iter().collect() }
        });
        Self(members.into())
    }

    /// The roles of the application with this client id.
    pub(super) fn application(&self, id: &str) -> Result<&[String], Refusal> {
        let found = self.0.iter().find(|member| member.client_id == id);
        found.map(|member| &*member.roles).ok_or_else(|| Refusal::unknown_application(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_carry_the_values_that_the_role_map_gives_their_roles() {
        let plain = Directory::new(Some);
        assert_eq!(plain.application(USUAL_APPLICATION).unwrap(), ["Op"]);
        let mapped = Directory::new(|role| (role == "Admin").then_some("airflow_admins"));
        let admin = "00001111-aaaa-2222-bbbb-333344440001";
        assert_eq!(mapped.application(admin).unwrap(), ["airflow_admins"]);
        assert!(mapped.application(USUAL_APPLICATION).unwrap().is_empty(), "no value makes an Op");
    }

    #[test]
    fn nobody_else_is_there() {
        let directory = Directory::new(Some);
        assert_eq!(directory.application("alice").unwrap_err().code(), 700_016);
    }
}
