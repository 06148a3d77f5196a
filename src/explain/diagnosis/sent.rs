//! Credentials that are no token yet.

use super::{Facts, shown};
use crate::explain::cause::{Cause, Sent};
use crate::explain::input::{Flaw, Input};

/// Why a header is not `Bearer`, one space, token.
pub(super) fn malformed(input: &Input) -> Cause {
    if let Some(cause) = input.flaws().iter().find_map(of_flaw) {
        return cause;
    }
    let token = input.token();
    if token.is_empty() || token.eq_ignore_ascii_case("bearer") {
        return Cause::Sent(Sent::TokenEmpty);
    }
    if is_placeholder(token) {
        return Cause::Sent(Sent::Placeholder { text: shown(token) });
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
        Flaw::Quotes => Cause::Sent(Sent::Quoted),
        Flaw::SchemeTwice => Cause::Sent(Sent::BearerTwice),
        Flaw::NoScheme => return None,
        Flaw::Separator => Cause::Sent(Sent::Trailing),
        Flaw::Document(member) => Cause::Sent(Sent::WholeDocument { member: member.clone() }),
    })
}

/// A word that a shell, a template or a tool left where the token should be.
fn is_placeholder(token: &str) -> bool {
    let word = token.trim_matches(['<', '>', '{', '}', '$', '(', ')', '%', '[', ']']);
    let marked = word.len() < token.len() && token.len() < 64;
    marked || ["null", "undefined", "none", "token", "nil"].contains(&&*word.to_ascii_lowercase())
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

/// What is not even a word of a token's alphabet, though it can stand in a header: `null`.
pub(super) fn placeholder(token: &str) -> Option<Cause> {
    is_placeholder(token).then(|| Cause::Sent(Sent::Placeholder { text: shown(token) }))
}

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
}
