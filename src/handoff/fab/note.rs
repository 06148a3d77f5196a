//! What stands in FAB as the last name of a user that airside created: the one place where several
//! airsides before one Airflow can tell each other something about a user.
//!
//! Whoever writes something else there gains nothing: a token is only ever served while it carries
//! all roles that FAB has ([`grants`](super::standing::Known::grants)).

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use humantime::{format_rfc3339_seconds, parse_rfc3339};

use crate::clock::Timestamp;

/// `(airside: roles of TIME)` or `(airside: roles of TIME, lowered TIME)`, in RFC 3339.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Note {
    /// When the token was issued that says which roles the user has.
    pub(super) said_at: Option<Timestamp>,
    /// When airside last took a role away.
    pub(super) lowered_at: Option<Timestamp>,
}

impl Note {
    /// Everything else says nothing.
    pub(super) fn read(last_name: &str) -> Self {
        let inside = last_name.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
        let (said, lowered) = match inside.map(|times| times.split_once(LOWERED)) {
            Some(Some((said, lowered))) => (Some(said), Some(lowered)),
            Some(None) => (inside, None),
            None => (None, None),
        };
        Self { said_at: said.and_then(read), lowered_at: lowered.and_then(read) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written =
            |time: Timestamp| format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(time.unix()));
        // Without it the rest would be no time, and say nothing.
        let said_at = self.said_at.unwrap_or_else(|| Timestamp::from_unix(0));
        write!(f, "{BEGIN}{}", written(said_at))?;
        if let Some(lowered_at) = self.lowered_at {
            write!(f, "{LOWERED}{}", written(lowered_at))?;
        }
        f.write_str(END)
    }
}

const BEGIN: &str = "(airside: roles of ";
const LOWERED: &str = ", lowered ";
const END: &str = ")";

fn read(text: &str) -> Option<Timestamp> {
    let since = parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_unix(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_airside_writes_another_reads() {
        let at = |seconds| Some(Timestamp::from_unix(seconds));
        for (said_at, lowered_at, text) in [
            (at(1_795_000_000), None, "(airside: roles of 2026-11-18T11:06:40Z)"),
            (
                at(1_795_000_000),
                at(1_795_000_060),
                "(airside: roles of 2026-11-18T11:06:40Z, lowered 2026-11-18T11:07:40Z)",
            ),
        ] {
            let note = Note { said_at, lowered_at };
            assert_eq!((note.to_string(), Note::read(text)), (text.to_owned(), note));
        }
    }

    #[test]
    fn what_somebody_else_wrote_says_nothing() {
        for text in
            ["", "-", "Example", "(airside)", "(airside: roles of )", "(airside: roles of 9)"]
        {
            assert_eq!(Note::read(text), Note::default(), "{text}");
        }
    }
}
