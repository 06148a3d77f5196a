//! What is known of a user in FAB, and whether a caller may be served on it: the decisions, which
//! ask nobody.
//!
//! FAB keeps roles per user, tokens carry them per token, and Airflow goes on for `[fab] cache_ttl`
//! with the roles it has read. So two questions stand before every token that is signed: which of
//! several tokens says what the user's roles are now (the one issued last), and whether everything
//! that Airflow may still grant is covered by the token at hand.

use std::time::Duration;

use super::api::Found;
use super::edition::Edition;
use super::roles::Roles;
use super::trouble::Trouble;
use crate::caller::Authenticated;
use crate::clock::Timestamp;
use crate::identity::Basis;

/// What a caller's token says.
#[derive(Debug)]
pub(super) struct Wanted<'c> {
    pub(super) username: &'c str,
    pub(super) roles: Roles,
    pub(super) issued_at: Timestamp,
}

impl<'c> Wanted<'c> {
    pub(super) fn of(caller: &'c Authenticated) -> Self {
        let principal = caller.principal();
        let roles = Roles::of(principal.roles());
        Self { username: principal.username(), roles, issued_at: caller.issued_at() }
    }
}

/// A user as FAB had it when it was last asked.
#[derive(Debug)]
pub(super) struct Known {
    id: String,
    created_on: Option<String>,
    roles: Roles,
    /// When the token was issued that said so.
    said_at: Timestamp,
    compared_at: Timestamp,
    shadow: Option<Shadow>,
    /// What the note said of it, which need not be waited for again.
    lowered_at: Option<Timestamp>,
    basis: Basis,
}

/// Roles that Airflow may still grant although FAB has taken them away.
#[derive(Clone, Debug)]
struct Shadow {
    /// Which; unknown where another airside lowered them.
    roles: Option<Roles>,
    until: Timestamp,
}

impl Known {
    /// The user after a comparison: `found` is what FAB had before it was changed, and the roles
    /// those that a token says that was issued then, see [`latest`].
    pub(super) fn compared(
        id: String,
        found: &Found,
        before: Option<&Self>,
        (roles, said_at): (&Roles, Timestamp),
        cache_ttl: Duration,
        now: Timestamp,
    ) -> Self {
        let unchanged = before.filter(|known| known.stays(found, roles));
        Self {
            basis: unchanged.map(|known| known.basis.clone()).unwrap_or_default(),
            shadow: Shadow::cast(found, before, roles, cache_ttl, now),
            lowered_at: found.note.lowered_at,
            said_at,
            created_on: found.created_on.clone(),
            compared_at: now,
            id,
            roles: roles.clone(),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) const fn compared_at(&self) -> Timestamp {
        self.compared_at
    }

    pub(super) const fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Ends every statement that was made on this.
    pub(super) fn end(&self) {
        self.basis.end();
    }

    /// Whether what was said on this may go on, now that FAB has this and the roles are to be those.
    pub(super) fn stays(&self, found: &Found, roles: &Roles) -> bool {
        self.is_row_of(found) && self.roles == *roles && found.roles == *roles
    }

    /// Whether it is the same row of FAB's table, so that the id is still its own: nobody can set
    /// when a user was created.
    pub(super) fn is_row_of(&self, found: &Found) -> bool {
        self.basis.holds() && self.created_on == found.created_on
    }

    /// The user's roles, as far as is known here, now that this token has come.
    fn roles_after<'r>(&'r self, wanted: &'r Wanted<'_>) -> &'r Roles {
        if wanted.issued_at < self.said_at { &self.roles } else { &wanted.roles }
    }

    /// Whether FAB need not be asked: the comparison is younger than `again_after`, and there is
    /// nothing to change.
    pub(super) fn answers(
        &self,
        wanted: &Wanted<'_>,
        now: Timestamp,
        again_after: Duration,
    ) -> bool {
        self.basis.holds()
            && now < self.compared_at.after(again_after)
            && *self.roles_after(wanted) == self.roles
    }

    /// Whether the token carries everything that Airflow may grant this user now.
    pub(super) fn grants(&self, wanted: &Wanted<'_>, now: Timestamp) -> Result<(), Trouble> {
        if !wanted.roles.cover(&self.roles) {
            return Err(Trouble::Outdated {
                carries: wanted.roles.clone(),
                roles: self.roles.clone(),
            });
        }
        let Some(shadow) = self.shadow.as_ref().filter(|shadow| now < shadow.until) else {
            return Ok(());
        };
        if shadow.roles.as_ref().is_some_and(|former| wanted.roles.cover(former)) {
            return Ok(());
        }
        Err(Trouble::Lowered {
            former: shadow.roles.clone(),
            roles: self.roles.clone(),
            seconds: shadow.until.unix() - now.unix(),
        })
    }
}

/// The user's roles, now that this token has come, and when the token was issued that says so: the
/// one issued last, whichever airside it came to.
pub(super) fn latest<'r>(
    before: Option<&'r Known>,
    found: &'r Found,
    wanted: &'r Wanted<'_>,
    edition: Edition,
    now: Timestamp,
) -> (&'r Roles, Timestamp) {
    let here = before.map(|known| (&known.roles, known.said_at));
    let here = here.filter(|(_, said_at)| wanted.issued_at < *said_at);
    let (roles, said_at) = here.unwrap_or((&wanted.roles, wanted.issued_at));
    // A time that is still to come would make every token an older one.
    let noted = found.note.said_at.filter(|noted| *noted <= now.after(MOST_AHEAD));
    let Some(noted) = noted.filter(|noted| *noted > said_at) else { return (roles, said_at) };
    // By other maps the token of that time may mean less today, which nobody can tell from the note:
    // so an older one may lower the roles as it is read now, but still not raise them.
    let lowers = found.note.edition != Some(edition) && found.roles.cover(roles);
    (if lowers { roles } else { &found.roles }, noted)
}

impl Shadow {
    /// What `roles`, now in force, do not cover of those that were.
    fn cast(
        found: &Found,
        before: Option<&Known>,
        roles: &Roles,
        cache_ttl: Duration,
        now: Timestamp,
    ) -> Option<Self> {
        let lasts = cache_ttl + MARGIN;
        let earlier = before.and_then(|known| known.shadow.clone());
        // Who was not asked when another airside lowered the roles cannot know which they were.
        let told = found.note.lowered_at;
        let told = told.filter(|_| before.is_none_or(|known| known.lowered_at != told));
        let told = told.map(|then| Self { roles: None, until: then.min(now).after(lasts) });
        let earlier = match (earlier, told) {
            (Some(earlier), Some(told)) if told.until > earlier.until => Some(told),
            (earlier, told) => earlier.or(told),
        };
        let earlier = earlier.filter(|shadow| now < shadow.until);
        let former = before.map_or_else(Roles::default, |known| known.roles.clone());
        let former = former.union(&found.roles);
        if !roles.cover(&former) {
            let roles = match earlier {
                Some(earlier) => earlier.roles.map(|still| former.union(&still)),
                None => Some(former),
            };
            return Some(Self { roles, until: now.after(lasts) });
        }
        earlier
    }
}

/// For what Airflow was just reading when the roles changed, and for whole seconds being cut off.
const MARGIN: Duration = Duration::from_secs(2);
/// How far an issuer's clock may be ahead: the most that `leeway` can be.
const MOST_AHEAD: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::super::note::Note;
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    fn roles(names: &[&str]) -> Roles {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn wants(names: &[&str], issued_at: u64) -> Wanted<'static> {
        Wanted { username: "alice", roles: roles(names), issued_at: at(issued_at) }
    }

    fn found(names: &[&str]) -> Found {
        Found { roles: roles(names), created_on: Some("once".into()), ..Found::default() }
    }

    fn known(found: &Found, before: Option<&Known>, wanted: &Wanted<'_>, now: u64) -> Known {
        let latest = latest(before, found, wanted, Edition::default(), at(now));
        Known::compared("7".into(), found, before, latest, TTL, at(now))
    }

    fn noted_by(edition: Edition, said_at: Option<u64>, found: Found) -> Found {
        let edition = Some(edition);
        Found { note: Note { said_at: said_at.map(at), edition, lowered_at: None }, ..found }
    }

    fn refusal(known: &Known, wanted: &Wanted<'_>, now: u64) -> Option<&'static str> {
        known.grants(wanted, at(now)).err().map(|trouble| match trouble {
            Trouble::Lowered { .. } => "lowered",
            Trouble::Outdated { .. } => "outdated",
            _ => "another",
        })
    }

    #[test]
    fn lowered_roles_are_not_served_before_airflow_has_forgotten_the_former() {
        for (had, has, waits) in [
            (&["Op"][..], &["Viewer"][..], true),
            (&["Viewer"], &["Op"], false),
            (&["Viewer"], &["Viewer"], false),
            (&["Viewer", "Data"], &["Viewer"], true),
            (&["Viewer"], &["Viewer", "Data"], false),
            (&["Data"], &["Admin"], false),
            (&[], &["Viewer"], false),
        ] {
            let wanted = wants(has, 5);
            let known = known(&found(had), None, &wanted, 100);
            let expected = waits.then_some("lowered");
            assert_eq!(refusal(&known, &wanted, 131), expected, "{had:?} to {has:?}");
            assert_eq!(refusal(&known, &wanted, 132), None, "{had:?} to {has:?}");
        }
    }

    #[test]
    fn a_role_taken_away_by_hand_or_by_another_airside_is_waited_for_as_well() {
        let wanted = wants(&["Viewer"], 5);
        let first = known(&found(&["Viewer"]), None, &wants(&["Viewer"], 5), 100);
        // Somebody gave it Op by hand; the comparison has taken it away again.
        let second = known(&found(&["Op", "Viewer"]), Some(&first), &wanted, 130);
        assert_eq!(refusal(&second, &wanted, 131), Some("lowered"));
        // FAB already has what the newer token says, but had Op when it was last asked.
        let op = known(&found(&["Op"]), None, &wants(&["Op"], 5), 100);
        let wanted = wants(&["Viewer"], 6);
        let lowered = known(&found(&["Viewer"]), Some(&op), &wanted, 130);
        assert_eq!(refusal(&lowered, &wanted, 131), Some("lowered"));
    }

    #[test]
    fn the_wait_survives_a_restart_by_what_stands_in_fab() {
        let wanted = wants(&["Viewer"], 5);
        for (lowered_at, now, expected) in [
            (Some(90), 100, Some("lowered")),
            (Some(67), 100, None),
            (None, 100, None),
            // A clock that is ahead makes nobody wait for longer.
            (Some(1_000_000), 131, Some("lowered")),
            (Some(1_000_000), 132, None),
        ] {
            let note = Note { lowered_at: lowered_at.map(at), ..Note::default() };
            let found = Found { note, ..found(&["Viewer"]) };
            let known = known(&found, None, &wanted, 100);
            assert_eq!(refusal(&known, &wanted, now), expected, "{lowered_at:?}");
        }
    }

    #[test]
    fn roles_that_another_airside_raised_and_lowered_are_waited_for_whatever_was_known_before() {
        let viewer = wants(&["Viewer"], 5);
        let lowered = |lowered_at: u64, names: &[&str]| {
            let note = Note { lowered_at: Some(at(lowered_at)), ..Note::default() };
            Found { note, ..found(names) }
        };
        let stale = known(&found(&["Viewer"]), None, &viewer, 60);
        let told = known(&lowered(90, &["Viewer"]), Some(&stale), &viewer, 100);
        assert_eq!(refusal(&told, &viewer, 121), Some("lowered"));
        assert_eq!(refusal(&told, &viewer, 122), None);
        // The same word is not waited for again, though it lie in the future.
        let ahead = known(&lowered(1_000_000, &["Viewer"]), Some(&stale), &viewer, 100);
        let again = known(&lowered(1_000_000, &["Viewer"]), Some(&ahead), &viewer, 131);
        assert_eq!(refusal(&again, &viewer, 131), Some("lowered"));
        assert_eq!(refusal(&again, &viewer, 132), None);
        // Another one ends later than the wait for what was lowered here.
        let here = known(&found(&["Op"]), None, &viewer, 100);
        let later = known(&lowered(110, &["Viewer"]), Some(&here), &viewer, 120);
        assert_eq!(refusal(&later, &viewer, 141), Some("lowered"));
        assert_eq!(refusal(&later, &viewer, 142), None);
        // Which roles those were stays unknown when less is taken away here.
        let op = known(&lowered(110, &["Op"]), None, &wants(&["Viewer"], 6), 120);
        let back = wants(&["Op"], 7);
        let back_now = known(&lowered(120, &["Viewer"]), Some(&op), &back, 121);
        assert_eq!(refusal(&back_now, &back, 130), Some("lowered"));
    }

    #[test]
    fn the_former_roles_back_need_not_wait() {
        let first = known(&found(&["Op"]), None, &wants(&["Viewer"], 5), 100);
        let op = wants(&["Op"], 6);
        let back = known(&found(&["Viewer"]), Some(&first), &op, 105);
        assert_eq!(refusal(&back, &op, 106), None);
        // But what is less than the former has to, however often the roles change meanwhile.
        let user = wants(&["User"], 7);
        let user_now = known(&found(&["Op"]), Some(&back), &user, 110);
        assert_eq!(refusal(&user_now, &user, 141), Some("lowered"));
    }

    #[test]
    fn the_token_issued_last_says_which_roles_a_user_has() {
        let known = known(&found(&["Viewer"]), None, &wants(&["Viewer"], 50), 100);
        for (names, issued_at, expected, refused) in [
            (&["Op"][..], 51, &["Op"][..], None),
            (&["Op"], 50, &["Op"], None),
            // An older one changes nothing: it is served with less than it carries, never more.
            (&["Op"], 49, &["Viewer"], None),
            (&["Data"], 49, &["Viewer"], Some("outdated")),
        ] {
            let wanted = wants(names, issued_at);
            assert_eq!(*known.roles_after(&wanted), roles(expected), "{names:?} {issued_at}");
            if issued_at < 50 {
                assert_eq!(refusal(&known, &wanted, 101), refused, "{names:?} {issued_at}");
            }
        }
    }

    #[test]
    fn a_token_that_came_to_another_airside_counts_as_well() {
        for (noted, issued_at, expected, refused) in [
            // What another has been told counts, though it never came here.
            (Some(50), 49, &["Viewer"][..], None),
            (Some(50), 50, &["Op"], None),
            (Some(50), 51, &["Op"], None),
            (None, 49, &["Op"], None),
            // Nobody has been told what is still to come.
            (Some(1_000_000), 49, &["Op"], None),
        ] {
            let found = noted_by(Edition::default(), noted, found(&["Viewer"]));
            let wanted = wants(&["Op"], issued_at);
            let (roles_now, said_at) = latest(None, &found, &wanted, Edition::default(), at(100));
            assert_eq!(*roles_now, roles(expected), "{noted:?} {issued_at}");
            let known = known(&found, None, &wanted, 100);
            assert_eq!((&known.roles, known.said_at), (roles_now, said_at));
            assert_eq!(refusal(&known, &wanted, 101), refused, "{noted:?} {issued_at}");
        }
        // And one that was told more here than is noted goes on with that.
        let here = known(&found(&["Op"]), None, &wants(&["Op"], 60), 100);
        let found = noted_by(Edition::default(), Some(50), found(&["Viewer"]));
        let data = wants(&["Data"], 40);
        let latest = latest(Some(&here), &found, &data, Edition::default(), at(130));
        assert_eq!(latest.0, &roles(&["Op"]));
    }

    #[test]
    fn a_note_made_by_other_maps_keeps_an_older_token_from_raising_and_not_from_lowering() {
        let (now, then) = (Edition::default(), Edition::read("00c0ffee").unwrap());
        for (edition, has, carries, expected) in [
            (now, "Op", "Viewer", "Op"),
            (then, "Op", "Viewer", "Viewer"),
            (then, "Viewer", "Op", "Viewer"),
            (then, "Viewer", "Data", "Viewer"),
        ] {
            let found = noted_by(edition, Some(50), found(&[has]));
            let wanted = wants(&[carries], 49);
            let latest = latest(None, &found, &wanted, now, at(100));
            // And what was noted goes on counting, as it is read now.
            assert_eq!(latest, (&roles(&[expected]), at(50)), "{edition} {has} {carries}");
        }
    }

    #[test]
    fn fab_is_asked_again_after_a_while_or_for_other_roles_or_when_airflow_refused() {
        let wanted = wants(&["Viewer"], 50);
        let known = known(&found(&["Viewer"]), None, &wanted, 100);
        assert!(known.answers(&wanted, at(129), TTL));
        assert!(!known.answers(&wanted, at(130), TTL));
        assert!(!known.answers(&wants(&["Op"], 50), at(101), TTL));
        assert!(known.answers(&wants(&["Op"], 49), at(101), TTL));
        assert!(known.is_row_of(&found(&["Op"])));
        assert!(!known.is_row_of(&Found { created_on: Some("again".into()), ..found(&[]) }));
        known.end();
        assert!(!known.answers(&wanted, at(101), TTL));
        assert!(!known.is_row_of(&found(&["Viewer"])));
    }

    #[test]
    fn what_was_said_holds_on_until_the_roles_change() {
        let wanted = wants(&["Viewer"], 50);
        let first = known(&found(&["Viewer"]), None, &wanted, 100);
        let same = known(&found(&["Viewer"]), Some(&first), &wanted, 130);
        first.end();
        assert!(!same.basis().holds(), "one basis while nothing changes");
        let other = known(&found(&["Viewer"]), Some(&first), &wants(&["Op"], 51), 160);
        assert!(other.basis().holds());
        // Also where another airside has changed them, or the user was made anew.
        let viewer = known(&found(&["Viewer"]), None, &wanted, 100);
        assert!(viewer.stays(&found(&["Viewer"]), &roles(&["Viewer"])));
        assert!(!viewer.stays(&found(&["Op"]), &roles(&["Op"])));
        assert!(!viewer.stays(&found(&["Op"]), &roles(&["Viewer"])));
        let anew = Found { created_on: Some("again".into()), ..found(&["Viewer"]) };
        assert!(!viewer.stays(&anew, &roles(&["Viewer"])));
    }
}
