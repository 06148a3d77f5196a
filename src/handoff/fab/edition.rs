//! Which role maps a note was made under: what a token was said to mean then says nothing about what
//! it means now.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;

use crate::identity::{AirflowRole, Mapping, Origin};

/// A short digest of the role maps of all issuers, as eight hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edition(u32);

impl Edition {
    /// Of these maps.
    #[must_use]
    pub fn of(mappings: &[Mapping]) -> Self {
        let maps = mappings.iter().filter_map(|mapping| match &mapping.origin {
            Origin::Mapped { pointer, roles } => {
                let rows = roles.rows().map(|(value, roles)| {
                    let roles: Vec<_> = roles.iter().map(AirflowRole::name).collect();
                    json!([value, roles])
                });
                Some(json!([*mapping.issuer, pointer, rows.collect::<Vec<_>>()]))
            }
            Origin::Airflow => None,
        });
        let written = maps.collect::<serde_json::Value>().to_string();
        let digest = digest(&SHA256, written.as_bytes());
        let first = digest.as_ref().first_chunk().copied();
        Self(u32::from_be_bytes(first.unwrap_or_default()))
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let plain = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        plain.then(|| u32::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::RoleMap;

    fn of(value: &str, role: &str) -> Edition {
        let roles = vec![AirflowRole::new(role).unwrap()];
        let roles = RoleMap::new(vec![(value.to_owned(), roles)]);
        Edition::of(&[Mapping {
            issuer: "entra".into(),
            username_claim: "oid".into(),
            username_prefix: String::new(),
            origin: Origin::Mapped { pointer: "/roles".into(), roles },
        }])
    }

    #[test]
    fn another_map_is_another_edition() {
        assert_eq!(of("a", "Op"), of("a", "Op"));
        assert_ne!(of("a", "Op"), of("a", "Viewer"));
        assert_ne!(of("a", "Op"), of("b", "Op"));
        assert_eq!(Edition::read(&of("a", "Op").to_string()), Some(of("a", "Op")));
        for text in ["", "1234567", "+1234567", "123456789", "1234567g"] {
            assert_eq!(Edition::read(text), None, "{text}");
        }
    }
}
