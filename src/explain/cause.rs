//! Why a token is refused, more closely than its reason says: each cause with what is so and what to
//! change, in the words of the place where it is changed. A cause stands beside its words, in the
//! group that it belongs to.

mod caller;
mod form;
mod issuer;
mod places;
mod purpose;
mod signature;

pub use caller::{Keys, Request, Whose};
pub use form::{Form, Sent};
pub use issuer::Issued;
pub use purpose::{Audience, Kind, Times};
pub use signature::Signature;

/// A cause, and what of this token shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// How it was sent.
    Sent(Sent),
    /// What became of its form.
    Form(Form),
    /// Who issued it.
    Issued(Issued),
    /// Its algorithm, key and signature.
    Signature(Signature),
    /// What it is.
    Kind(Kind),
    /// Whom it is for, and other claims.
    Audience(Audience),
    /// Its times.
    Times(Times),
    /// Whose it is.
    Whose(Whose),
    /// The request.
    Request(Request),
    /// The keys.
    Keys(Keys),
}

/// Something to change, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// The place: a blade of Entra's, a key of airflow.cfg, a key of airside's.
    pub place: String,
    /// What to do there.
    pub what: String,
}

/// A cause in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Says {
    /// The stable name.
    pub name: &'static str,
    /// What is so.
    pub what: String,
    /// What to change, the likeliest first.
    pub fixes: Vec<Fix>,
}

/// The stable name, what is so, and what to change.
type Words = (&'static str, String, Vec<Fix>);

impl Cause {
    /// The cause in words.
    #[must_use]
    pub fn says(&self) -> Says {
        let (name, what, fixes) = match self {
            Self::Sent(cause) => cause.words(),
            Self::Form(cause) => cause.words(),
            Self::Issued(cause) => cause.words(),
            Self::Signature(cause) => cause.words(),
            Self::Kind(cause) => cause.words(),
            Self::Audience(cause) => cause.words(),
            Self::Times(cause) => cause.words(),
            Self::Whose(cause) => cause.words(),
            Self::Request(cause) => cause.words(),
            Self::Keys(cause) => cause.words(),
        };
        Says { name, what, fixes }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_cause_is_tried_on_the_wire_and_stands_in_the_documentation_and_once_in_the_table() {
        let table = concat!(
            include_str!("cause/caller.rs"),
            include_str!("cause/form.rs"),
            include_str!("cause/issuer.rs"),
            include_str!("cause/purpose.rs"),
            include_str!("cause/signature.rs"),
        );
        let tried = concat!(
            include_str!("../../tests/it/explain/claims.rs"),
            include_str!("../../tests/it/explain/form.rs"),
            include_str!("../../tests/it/explain/requests.rs"),
            include_str!("../../tests/it/explain/signatures.rs"),
        );
        let documented = include_str!("../../docs/troubleshooting.md");
        // The first of what stands behind an arrow.
        let name = |(before, line): (&str, &'static str)| {
            let first = before.trim() == "(" || before.ends_with("=> (");
            let line = first.then_some(line)?;
            let name = line.trim().strip_prefix('"')?.strip_suffix("\",")?;
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            name.bytes().all(plain).then_some(name)
        };
        let mut names: Vec<&str> =
            table.lines().zip(table.lines().skip(1)).filter_map(name).collect();
        assert!(names.len() > 80, "{}", names.len());
        for name in names.iter().filter(|name| **name != "request_odd") {
            assert!(documented.contains(&format!("`{name}`")), "{name}");
            assert!(tried.contains(&format!("\"{name}\"")), "{name}");
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
