//! How a token was sent, and what became of its form.

use super::Words;
use super::places::{CLIENT, GROUPS, MANIFEST, airside, fix, new_token};

/// How it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each has its sentences below")]
pub enum Sent {
    NothingSent,
    TokenEmpty,
    Placeholder { text: String },
    Broken { by: &'static str },
    Gap,
    ControlCharacter { character: char },
    CookieOfAirflow,
    Quoted,
    BearerTwice,
    SchemeMissing,
    SchemeForeign { scheme: String },
    WholeDocument { member: String },
    ForeignCharacter { place: usize, character: char },
    Trailing,
    TooLarge { bytes: usize, most: usize, groups: bool },
}

impl Sent {
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub(super) fn words(&self) -> Words {
        match self {
            Self::NothingSent => (
                "nothing_sent",
                "there is no token".into(),
                vec![fix(CLIENT, "send the header Authorization: Bearer TOKEN")],
            ),
            Self::TokenEmpty => (
                "token_empty",
                "there is nothing behind Bearer: the variable that should hold the token is empty"
                    .into(),
                vec![fix(
                    CLIENT,
                    "look why the command that fetches the token printed nothing; let scripts stop there (set -euo pipefail)",
                )],
            ),
            Self::Placeholder { text } => (
                "placeholder",
                format!("{text} stands in the place of the token"),
                vec![fix(
                    CLIENT,
                    "a variable was not expanded (single quotes?) or a tool printed its word for nothing (jq prints null): send the token itself",
                )],
            ),
            Self::Broken { by } => (
                "token_broken",
                format!("there is {by} in the token: a terminal, mail or YAML folding broke it up"),
                vec![fix(
                    CLIENT,
                    "send the token in one piece: base64 -w0, YAML's >- only without line breaks inside, secrets without wrapping",
                )],
            ),
            Self::Gap => (
                "gap_after_bearer",
                "between Bearer and the token is more than the one space that belongs there".into(),
                vec![fix(CLIENT, "write Bearer, one space, the token; a tab or a second space comes of a template or of joining strings")],
            ),
            Self::ControlCharacter { character } => (
                "control_character",
                format!("the control character {character:?} is in it, and none can stand in a header: a colour of a terminal, or bytes that are no text"),
                vec![fix(CLIENT, "take the token from a pipe or a file, without colours; the client's HTTP library will not even send this")],
            ),
            Self::CookieOfAirflow => (
                "cookie_of_airflow",
                "this is a cookie of Airflow's own (_token holds the token that its UI gives the browser), and not what the Authorization header is for".into(),
                vec![
                    fix(CLIENT, "in a script, get a token of its own: from Entra, or POST /auth/token"),
                    airside("access.ui", "airflow: browser sessions are passed on to Airflow, which judges their cookies itself"),
                ],
            ),
            Self::Quoted => (
                "token_quoted",
                "there are quotes around the token, and they are sent with it".into(),
                vec![fix(
                    CLIENT,
                    "take them away: jq -r instead of jq, az … --output tsv instead of json",
                )],
            ),
            Self::BearerTwice => (
                "bearer_twice",
                "the header says Bearer twice: the client library adds its own".into(),
                vec![fix(CLIENT, "give the library the token alone")],
            ),
            Self::SchemeMissing => (
                "scheme_missing",
                "the token stands in the header without Bearer before it".into(),
                vec![fix(CLIENT, "send Authorization: Bearer TOKEN")],
            ),
            Self::SchemeForeign { scheme } => (
                "scheme_foreign",
                format!("the scheme is {scheme}, not Bearer"),
                vec![
                    fix(CLIENT, "send Authorization: Bearer TOKEN"),
                    airside(
                        "access.delegate",
                        "basic: true or negotiate: true hands such credentials to Airflow's own backends",
                    ),
                ],
            ),
            Self::WholeDocument { member } => (
                "whole_document",
                format!(
                    "this is the whole answer of a token endpoint; the token is its member {member:?}"
                ),
                vec![fix(CLIENT, format!("send that member alone: … | jq -r .{member}"))],
            ),
            Self::ForeignCharacter { place, character } => (
                "foreign_character",
                format!(
                    "the character {character:?} at place {place} belongs to no token: it was shortened, masked or re-typed"
                ),
                vec![fix(CLIENT, "copy the token itself, not what a screen or a log shows of it")],
            ),
            Self::Trailing => (
                "trailing_character",
                "a comma or semicolon came along behind the token".into(),
                vec![fix(CLIENT, "send the token alone")],
            ),
            Self::TooLarge { bytes, most, groups } => (
                "token_too_large",
                format!(
                    "the token has {bytes} bytes, {most} are allowed{}",
                    if *groups { "; most of them are groups" } else { "" }
                ),
                vec![
                    fix(
                        GROUPS,
                        "emit app roles, or only groups assigned to the application (groupMembershipClaims: ApplicationGroup)",
                    ),
                    airside("limits.token_bytes", "allow more (and limits.header_bytes)"),
                ],
            ),
        }
    }
}

/// What became of its form.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each has its sentences below")]
pub enum Form {
    Opaque { looks_like: &'static str },
    PartMissing { found: usize },
    TooManyParts { found: usize },
    Encrypted,
    Rewrapped { part: &'static str, by: &'static str },
    Cut { part: &'static str },
    NotJson { part: &'static str },
    NotStrict { found: String },
    HeaderAsksForMore { found: String },
    TypForeign { typ: String },
    AssertionOfOurs,
}

impl Form {
    pub(super) fn words(&self) -> Words {
        let again = || {
            vec![new_token(
                "and pass it on unchanged: no truncating column, variable or log line on its way",
            )]
        };
        match self {
            Self::Opaque { looks_like } => (
                "token_opaque",
                format!("this is no JSON Web Token: it looks like {looks_like}"),
                vec![fix(CLIENT, "send the access_token that the token endpoint answers, for the scope of this API")],
            ),
            Self::PartMissing { found } => (
                "part_missing",
                format!("the token has {found} part{} instead of 3: its end was cut off, the signature with it", if *found == 1 { "" } else { "s" }),
                again(),
            ),
            Self::TooManyParts { found } => (
                "too_many_parts",
                format!("there are {found} parts instead of 3: two tokens, or a text that only looks like one"),
                again(),
            ),
            Self::Encrypted => (
                "token_encrypted",
                "the token has five parts: it is encrypted for the key that the API's registration names".into(),
                vec![fix(MANIFEST, "unset tokenEncryptionKeyId")],
            ),
            Self::Rewrapped { part, by } => (
                "token_rewrapped",
                format!("the {part} {by}: the token was decoded and encoded again on its way"),
                again(),
            ),
            Self::Cut { part } => (
                "token_cut",
                format!("the {part} ends in the middle: the token was cut, or characters were lost"),
                again(),
            ),
            Self::NotJson { part } => (
                "not_json",
                format!("the {part} is base64url, but not of a JSON object: characters were changed or lost"),
                again(),
            ),
            Self::NotStrict { found } => (
                "not_strict",
                format!("{found}: a member stands twice, nesting is too deep, or characters were changed"),
                vec![fix(CLIENT, "use a token as its issuer made it; an issuer that writes such JSON has to be mended")],
            ),
            Self::HeaderAsksForMore { found } => (
                "header_asks_for_more",
                format!("the JOSE header asks for what is not supported: {found}"),
                vec![fix(CLIENT, "use an ordinary access token, a signed JWT without crit, b64, zip or cty")],
            ),
            Self::TypForeign { typ } => (
                "typ_foreign",
                format!("typ is {typ:?}: this is a JWT for another purpose than calling an API"),
                vec![fix(CLIENT, "send the access token, not the proof, logout or event token beside it")],
            ),
            Self::AssertionOfOurs => (
                "assertion_of_airside",
                "this is the assertion that airside signs for Airflow, not a caller's token".into(),
                vec![fix(CLIENT, "send the token that you call airside with")],
            ),
        }
    }
}
