//! What stands in FAB as the last name of a user that airside created: the one place where several
//! airsides before one Airflow can tell each other something about a user.
//!
//! Users may change their own last name there (FAB gives every role `can_edit` on "My Profile").
//! A token is still only served while it carries all roles that FAB has
//! ([`grants`](super::standing::Known::grants)). But who erases the note ends the wait for lowered
//! roles at an airside that does not remember it, and lets an older token of the same user set the
//! roles there, until that token expires; and who writes a time to come puts a change of roles off,
//! by 5 minutes at most.

use std::time::{Duration, UNIX_EPOCH};

use humantime::{format_rfc3339_seconds, parse_rfc3339};

use super::edition::Edition;
use crate::clock::Timestamp;

/// What was read there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Note {
    /// When the token was issued that says which roles the user has.
    pub(super) said_at: Option<Timestamp>,
    /// By which role maps it said so.
    pub(super) edition: Option<Edition>,
    /// When airside last took a role away.
    pub(super) lowered_at: Option<Timestamp>,
}

impl Note {
    /// Everything else says nothing.
    pub(super) fn read(last_name: &str) -> Self {
        // Earlier builds wrote nothing but this.
        if let Some(lowered) = last_name.strip_prefix(FORMER) {
            return Self { lowered_at: time(lowered), ..Self::default() };
        }
        let inside = last_name.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
        let Some(inside) = inside else { return Self::default() };
        let (said, lowered) = parted(inside, LOWERED);
        let (said, edition) = parted(said, EDITION);
        Self {
            said_at: time(said),
            edition: edition.and_then(Edition::read),
            lowered_at: lowered.and_then(time),
        }
    }
}

/// `(airside: roles of TIME by map DIGEST)` or, where airside has taken a role away,
/// `(airside: roles of TIME by map DIGEST, lowered TIME)`; times in RFC 3339, to the second.
pub(super) fn written(
    said_at: Timestamp,
    edition: Edition,
    lowered_at: Option<Timestamp>,
) -> String {
    let time = |at: Timestamp| format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at.unix()));
    let lowered = lowered_at.map(|at| format!("{LOWERED}{}", time(at))).unwrap_or_default();
    format!("{BEGIN}{}{EDITION}{edition}{lowered}{END}", time(said_at))
}

const BEGIN: &str = "(airside: roles of ";
const EDITION: &str = " by map ";
const LOWERED: &str = ", lowered ";
const END: &str = ")";
const FORMER: &str = "(airside: roles lowered) ";

fn parted<'t>(text: &'t str, by: &str) -> (&'t str, Option<&'t str>) {
    text.split_once(by).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn time(text: &str) -> Option<Timestamp> {
    let since = parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_unix(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: u64 = 1_795_000_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    #[test]
    fn what_one_airside_writes_another_reads() {
        let edition = Edition::read("00c0ffee").unwrap();
        for (lowered_at, text) in [
            (None, "(airside: roles of 2026-11-18T11:06:40Z by map 00c0ffee)"),
            (
                Some(at(SAID + 60)),
                "(airside: roles of 2026-11-18T11:06:40Z by map 00c0ffee, \
                 lowered 2026-11-18T11:07:40Z)",
            ),
        ] {
            assert_eq!(written(at(SAID), edition, lowered_at), text);
            let note = Note { said_at: Some(at(SAID)), edition: Some(edition), lowered_at };
            assert_eq!(Note::read(text), note);
        }
    }

    #[test]
    fn what_earlier_builds_wrote_is_read_as_far_as_it_goes() {
        let (said_at, lowered_at) = (Some(at(SAID)), Some(at(SAID + 60)));
        for (text, said_at, lowered_at) in [
            ("(airside: roles lowered) 2026-11-18T11:07:40Z", None, lowered_at),
            ("(airside: roles of 2026-11-18T11:06:40Z)", said_at, None),
            (
                "(airside: roles of 2026-11-18T11:06:40Z, lowered 2026-11-18T11:07:40Z)",
                said_at,
                lowered_at,
            ),
        ] {
            let note = Note { said_at, edition: None, lowered_at };
            assert_eq!(Note::read(text), note, "{text}");
        }
    }

    #[test]
    fn what_somebody_else_wrote_says_nothing() {
        for text in [
            "",
            "-",
            "Example",
            "(airside)",
            "(airside: roles of )",
            "(airside: roles of 9)",
            "(airside: roles lowered) 9",
        ] {
            assert_eq!(Note::read(text), Note::default(), "{text}");
        }
    }
}
