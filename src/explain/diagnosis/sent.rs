//! Credentials that are no token yet.

use super::{Facts, shown};
use crate::explain::cause::{Cause, Sent};
use crate::explain::input::{Flaw, Input};

/// What was sent instead, where that is no token at all.
pub(super) fn instead(input: &Input) -> Option<Cause> {
    if !input.token().is_empty() && !input.is_cookie() {
        return None;
    }
    let nothing = input.sent().is_none();
    Some(if nothing { Cause::Sent(Sent::NothingSent) } else { malformed(input) })
}

/// The first character that cannot stand in a header at all (RFC 9110, section 5.5).
pub(super) fn control(input: &Input) -> Option<char> {
    input.sent()?.chars().find(|c| c.is_ascii_control() && !c.is_ascii_whitespace())
}

/// Why a header is not `Bearer`, one space, token.
pub(super) fn malformed(input: &Input) -> Cause {
    if let Some(cause) = input.flaws().iter().find_map(of_flaw) {
        return cause;
    }
    let token = input.token();
    if token.is_empty() || token.eq_ignore_ascii_case("bearer") {
        return Cause::Sent(Sent::TokenEmpty);
    }
    if let Some(cause) = placeholder(token) {
        return cause;
    }
    let odd = |(_, c): &(usize, char)| !c.is_ascii_alphanumeric() && !"-._~+/=".contains(*c);
    match token.chars().enumerate().find(odd) {
        Some((at, character)) => Cause::Sent(Sent::ForeignCharacter { place: at + 1, character }),
        None => Cause::Sent(Sent::Broken { by: "something that does not belong" }),
    }
}

fn of_flaw(flaw: &Flaw) -> Option<Cause> {
    Some(match flaw {
        Flaw::LineBreak => Cause::Sent(Sent::Broken { by: "a line break" }),
        Flaw::Blank => Cause::Sent(Sent::Broken { by: "a blank" }),
        Flaw::Gap => Cause::Sent(Sent::Gap),
        Flaw::Quotes => Cause::Sent(Sent::Quoted),
        Flaw::SchemeTwice => Cause::Sent(Sent::BearerTwice),
        Flaw::NoScheme => return None,
        Flaw::Separator => Cause::Sent(Sent::Trailing),
        Flaw::Cookie => Cause::Sent(Sent::CookieOfAirflow),
        Flaw::Document(member) => Cause::Sent(Sent::WholeDocument { member: member.clone() }),
    })
}

/// Which scheme it is instead.
pub(super) fn scheme(input: &Input) -> Cause {
    if input.flaws().contains(&Flaw::NoScheme) {
        return Cause::Sent(Sent::SchemeMissing);
    }
    let first = input.sent().and_then(|sent| sent.split_whitespace().next());
    Cause::Sent(Sent::SchemeForeign { scheme: shown(first.unwrap_or_default()) })
}

/// A token above the limit, and whether groups are to blame.
pub(super) fn too_large(facts: &Facts<'_>) -> Cause {
    let groups = facts.claim("groups").is_some();
    let bytes = facts.input.token().len();
    Cause::Sent(Sent::TooLarge { bytes, most: facts.token_bytes, groups })
}

/// A word that a shell, a template or a tool left where the token should be: `null`, `${TOKEN}`.
pub(super) fn placeholder(token: &str) -> Option<Cause> {
    let word = token.trim_matches(['<', '>', '{', '}', '$', '(', ')', '%', '[', ']']);
    let marked = word.len() < token.len() && token.len() < 64;
    let known = ["null", "undefined", "none", "token", "nil"];
    if !marked && !known.contains(&&*word.to_ascii_lowercase()) {
        return None;
    }
    // A password may have such marks too: only what can be nothing but a name is repeated.
    let is_name = word.bytes().all(|byte| byte.is_ascii_alphabetic() || b"_.-".contains(&byte));
    let text = if is_name { format!("{token:?}") } else { UNNAMED.to_owned() };
    Some(Cause::Sent(Sent::Placeholder { text }))
}

const UNNAMED: &str = "text in brackets, or with a `$`,";

#[cfg(test)]
mod tests {
    use super::*;

    fn name(pasted: &str) -> &'static str {
        malformed(&Input::read(pasted)).says().name
    }

    #[test]
    fn what_is_wrong_with_a_header_is_named() {
        for (pasted, expected) in [
            ("Bearer a.b\n.c", "token_broken"),
            ("Bearer \"a.b.c\"", "token_quoted"),
            ("Bearer Bearer a.b.c", "bearer_twice"),
            ("Bearer", "token_empty"),
            ("Bearer $TOKEN", "placeholder"),
            ("Bearer {{token}}", "placeholder"),
            ("Bearer <access_token>", "placeholder"),
            ("Bearer a.b.c,", "trailing_character"),
            ("Bearer  a.b.c", "gap_after_bearer"),
            ("Cookie: session=x; _token=a.b.c", "cookie_of_airflow"),
            ("eyJ0…fQ", "foreign_character"),
            ("eyJ0***fQ", "foreign_character"),
            (r#"{"access_token":"a.b.c"}"#, "whole_document"),
        ] {
            assert_eq!(name(pasted), expected, "{pasted}");
        }
        for (pasted, expected) in
            [("Authorization: a.b.c", "scheme_missing"), ("Basic YTpi", "scheme_foreign")]
        {
            assert_eq!(scheme(&Input::read(pasted)).says().name, expected, "{pasted}");
        }
        for (token, expected) in [("null", true), ("None", true), ("a.b.c", false)] {
            assert_eq!(placeholder(token).is_some(), expected, "{token}");
        }
    }

    #[test]
    fn of_what_may_be_a_password_nothing_is_repeated() {
        for (token, repeated) in [
            ("${ACCESS_TOKEN}", true),
            ("<your.token-here>", true),
            ("%TOKEN%", true),
            ("$ecr3tPassw0rd", false),
            ("hunter+two)", false),
            ("[p4ss]", false),
        ] {
            let what = placeholder(token).unwrap().says().what;
            assert_eq!(what.contains(token), repeated, "{what}");
            assert!(repeated || what.starts_with("text in brackets"), "{what}");
        }
    }

    #[test]
    fn without_a_token_that_is_what_is_said_and_not_what_it_looks_like() {
        for (pasted, expected) in [
            ("", "nothing_sent"),
            ("Authorization:", "nothing_sent"),
            ("Bearer", "token_empty"),
            ("Cookie: session=x", "cookie_of_airflow"),
            ("_token=a.b.c", "cookie_of_airflow"),
        ] {
            let found = instead(&Input::read(pasted)).unwrap();
            assert_eq!(found.says().name, expected, "{pasted}");
        }
        assert_eq!(instead(&Input::read("Bearer a.b.c")), None);
    }

    #[test]
    fn a_control_character_is_found_and_blanks_are_none() {
        assert_eq!(control(&Input::read("\u{1b}[32ma.b.c")), Some('\u{1b}'));
        assert_eq!(control(&Input::read("a.b\t\n.c")), None);
        assert_eq!(control(&Input::read("")), None);
    }
}
