//! Who there is in the imitated directory: applications and people, and the roles they hold.

use super::refusal::Refusal;

/// The applications of the directory by client id, and its people by name; each line with the
/// Airflow role that both hold, the last with none.
const MEMBERS: [(&str, &str, Option<&str>); 5] = [
    ("00001111-aaaa-2222-bbbb-333344440001", "alice", Some("Admin")),
    ("00001111-aaaa-2222-bbbb-333344440002", "olivia", Some("Op")),
    ("00001111-aaaa-2222-bbbb-333344440003", "ursula", Some("User")),
    ("00001111-aaaa-2222-bbbb-333344440004", "victor", Some("Viewer")),
    ("00001111-aaaa-2222-bbbb-333344440005", "mallory", None),
];

/// The application that is meant where none is named: may do what pipelines do.
pub const USUAL_APPLICATION: &str = "00001111-aaaa-2222-bbbb-333344440002";

/// The domain of everybody's user principal name.
const DOMAIN: &str = "contoso.example";

/// The members with the values of `roles` that their tokens carry.
pub struct Directory(Vec<Member>);

struct Member {
    client_id: &'static str,
    person: &'static str,
    roles: Vec<String>,
}

impl Directory {
    /// `value_for` names the value of `roles` that stands for an Airflow role, where there is one.
    pub fn new<'a>(value_for: impl Fn(&'static str) -> Option<&'a str>) -> Self {
        let members = MEMBERS.map(|(client_id, person, role)| {
            let value = role.and_then(&value_for).map(str::to_owned);
            Member { client_id, person, roles: value.into_iter().collect() }
        });
        Self(members.into())
    }

    /// The roles of the application with this client id.
    pub(super) fn application(&self, id: &str) -> Result<&[String], Refusal> {
        let found = self.0.iter().find(|member| member.client_id == id);
        found.map(|member| &*member.roles).ok_or_else(|| Refusal::unknown_application(id))
    }

    /// The roles of the person with this name (`alice`, or `alice@contoso.example`).
    pub(super) fn person(&self, name: &str) -> Result<&[String], Refusal> {
        let name = name.to_ascii_lowercase();
        let short = name.strip_suffix(DOMAIN).and_then(|rest| rest.strip_suffix('@'));
        let found = self.0.iter().find(|member| member.person == short.unwrap_or(&name));
        found.map(|member| &*member.roles).ok_or_else(|| {
            let text = format!("The user account {name} does not exist in the directory.");
            Refusal::new("invalid_grant", 50_034, text)
        })
    }

    /// The names of the people.
    pub(super) fn people(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|member| member.person)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_carry_the_values_that_the_role_map_gives_their_roles() {
        let plain = Directory::new(Some);
        assert_eq!(plain.application(USUAL_APPLICATION).unwrap(), ["Op"]);
        assert_eq!(plain.person("alice").unwrap(), ["Admin"]);
        assert_eq!(plain.person("Victor@Contoso.example").unwrap(), ["Viewer"]);
        assert!(plain.person("mallory").unwrap().is_empty());
        let mapped = Directory::new(|role| (role == "Admin").then_some("airflow_admins"));
        assert_eq!(mapped.person("alice").unwrap(), ["airflow_admins"]);
        assert!(mapped.application(USUAL_APPLICATION).unwrap().is_empty(), "no value makes an Op");
    }

    #[test]
    fn nobody_else_is_there() {
        let directory = Directory::new(Some);
        for name in ["", "bob", "alice@", "alice@evil.example", "@contoso.example"] {
            assert_eq!(directory.person(name).unwrap_err().code(), 50_034, "{name}");
        }
        assert_eq!(directory.application("alice").unwrap_err().code(), 700_016);
    }
}
