//! What was pasted, as it would stand in the Authorization header, and the token in it once all is
//! removed that came with it by accident. That something had to be removed is a finding of its own.

use serde_json::Value;

/// A pasted credential.
#[derive(Clone, PartialEq, Eq)]
pub struct Input {
    sent: Option<String>,
    token: String,
    flaws: Vec<Flaw>,
    bare: bool,
}

/// What does not belong to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A line break in it.
    LineBreak,
    /// A blank in it.
    Blank,
    /// Quotes around it.
    Quotes,
    /// `Bearer Bearer`.
    SchemeTwice,
    /// An Authorization header without `Bearer`.
    NoScheme,
    /// A comma or semicolon behind it.
    Separator,
    /// It is the member of this name of a JSON document.
    Document(String),
}

/// No byte of a token is printed by accident.
impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("flaws", &self.flaws).finish_non_exhaustive()
    }
}

impl Input {
    /// Reads a token, a header line or the value of one.
    #[must_use]
    pub fn read(pasted: &str) -> Self {
        let line = header_line(pasted.trim());
        let (value, is_header) = match strip_word(line, "authorization:") {
            Some(value) => (value, true),
            None => (line, false),
        };
        if value.is_empty() {
            return Self { sent: None, token: String::new(), flaws: Vec::new(), bare: true };
        }
        if let Some((member, token)) = in_document(value) {
            let sent = Some(format!("Bearer {value}"));
            return Self { sent, token, flaws: vec![Flaw::Document(member)], bare: true };
        }
        let schemed = strip_word(value, "bearer").is_some() || names_scheme(value);
        let sent = if schemed || is_header { value.to_owned() } else { format!("Bearer {value}") };
        let mut flaws = Vec::new();
        let bearer = strip_word(value, "bearer");
        if bearer.is_none() && is_header && !schemed {
            flaws.push(Flaw::NoScheme);
        }
        let other = || value.split_once(char::is_whitespace).filter(|_| schemed);
        let behind = bearer.or_else(|| other().map(|(_, rest)| rest)).unwrap_or(value);
        let token = clean(behind, &mut flaws);
        Self { sent: Some(sent), token, flaws, bare: !schemed && !is_header }
    }

    /// The value of the Authorization header; `None` without one.
    #[must_use]
    pub fn sent(&self) -> Option<&str> {
        self.sent.as_deref()
    }

    /// The value where a token stands in the header without a scheme, as Edge workers send it.
    #[must_use]
    pub fn sent_bare(&self) -> Option<&str> {
        let bare = |sent| if self.bare { self.token.as_str() } else { sent };
        self.sent().map(bare)
    }

    /// The token alone.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// What had to be removed.
    #[must_use]
    pub fn flaws(&self) -> &[Flaw] {
        &self.flaws
    }

    /// The header as it should have been sent.
    #[must_use]
    pub fn mended(&self) -> String {
        format!("Bearer {}", self.token)
    }
}

/// Without what a shell or a tool puts around a header line: `-H 'Authorization: …'`.
fn header_line(text: &str) -> &str {
    let bare = text.strip_prefix("-H").or_else(|| text.strip_prefix("--header"));
    let bare = bare.map_or(text, |rest| rest.trim_start_matches('=').trim());
    let inner = unquoted(bare).map_or(bare, str::trim);
    let is_line = strip_word(inner, "authorization:").is_some();
    if is_line || strip_word(inner, "bearer").is_some() { inner } else { bare }
}

/// What follows the word, whatever its case, where that is nothing or something apart.
fn strip_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    let apart = word.ends_with(':') || rest.is_empty() || rest.starts_with(char::is_whitespace);
    (start.eq_ignore_ascii_case(word) && apart).then(|| rest.trim())
}

fn unquoted(text: &str) -> Option<&str> {
    ['"', '\'', '`'].iter().find_map(|quote| {
        text.strip_prefix(*quote)?.strip_suffix(*quote).filter(|inner| !inner.is_empty())
    })
}

/// Whether it begins with a scheme other than `Bearer`: one word of letters, and something behind.
fn names_scheme(value: &str) -> bool {
    let first = value.split_whitespace().next().unwrap_or_default();
    let short = first.len() <= 12 && first.bytes().all(|byte| byte.is_ascii_alphabetic());
    short && value.len() > first.len() && !value.contains('.') || is_bound_scheme(first)
}

fn is_bound_scheme(word: &str) -> bool {
    ["dpop", "pop", "basic", "negotiate"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// The token of an answer of a token endpoint, or of a tool such as `az account get-access-token`.
fn in_document(text: &str) -> Option<(String, String)> {
    let document: Value = serde_json::from_str(text).ok().filter(Value::is_object)?;
    let named = |name: &&str| document.get(*name).and_then(Value::as_str);
    let name = TOKEN_MEMBERS.iter().find(|name| named(name).is_some())?;
    Some(((*name).to_owned(), named(name)?.to_owned()))
}

const TOKEN_MEMBERS: [&str; 4] = ["access_token", "accessToken", "token", "id_token"];

fn clean(text: &str, flaws: &mut Vec<Flaw>) -> String {
    let mut note = |flaw: Flaw| {
        if !flaws.contains(&flaw) {
            flaws.push(flaw);
        }
    };
    let mut text = text.trim();
    loop {
        if let Some(inner) = strip_word(text, "bearer").filter(|inner| !inner.is_empty()) {
            note(Flaw::SchemeTwice);
            text = inner;
        } else if let Some(inner) = unquoted(text) {
            note(Flaw::Quotes);
            text = inner.trim();
        } else if let Some(inner) = text.strip_suffix([',', ';']) {
            note(Flaw::Separator);
            text = inner.trim();
        } else {
            break;
        }
    }
    let broken = text.contains(['\n', '\r']);
    if broken {
        note(Flaw::LineBreak);
    } else if text.contains(char::is_whitespace) {
        note(Flaw::Blank);
    }
    text.split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_found_in_whatever_was_pasted() {
        for (pasted, sent, token, flaws) in [
            ("a.b.c", "Bearer a.b.c", "a.b.c", &[][..]),
            ("  a.b.c\r\n", "Bearer a.b.c", "a.b.c", &[]),
            ("Bearer a.b.c", "Bearer a.b.c", "a.b.c", &[]),
            ("Authorization: Bearer a.b.c\n", "Bearer a.b.c", "a.b.c", &[]),
            ("authorization:bearer a.b.c", "bearer a.b.c", "a.b.c", &[]),
            ("-H 'Authorization: Bearer a.b.c'", "Bearer a.b.c", "a.b.c", &[]),
            ("\"Authorization: Bearer a.b.c\"", "Bearer a.b.c", "a.b.c", &[]),
            ("a.b\n.c", "Bearer a.b\n.c", "a.b.c", &[Flaw::LineBreak]),
            ("Bearer a.b .c", "Bearer a.b .c", "a.b.c", &[Flaw::Blank]),
            ("\"a.b.c\"", "Bearer \"a.b.c\"", "a.b.c", &[Flaw::Quotes]),
            ("Bearer 'a.b.c'", "Bearer 'a.b.c'", "a.b.c", &[Flaw::Quotes]),
            ("Bearer Bearer a.b.c", "Bearer Bearer a.b.c", "a.b.c", &[Flaw::SchemeTwice]),
            ("Authorization: a.b.c", "a.b.c", "a.b.c", &[Flaw::NoScheme]),
            ("a.b.c,", "Bearer a.b.c,", "a.b.c", &[Flaw::Separator]),
            ("Basic YTpi", "Basic YTpi", "YTpi", &[]),
            ("DPoP a.b.c", "DPoP a.b.c", "a.b.c", &[]),
        ] {
            let input = Input::read(pasted);
            assert_eq!(input.sent(), Some(sent), "{pasted:?}");
            assert_eq!(input.token(), token, "{pasted:?}");
            assert_eq!(input.flaws(), flaws, "{pasted:?}");
        }
        for nothing in ["", " \n", "Authorization:", "Authorization: "] {
            assert_eq!(Input::read(nothing).sent(), None, "{nothing:?}");
        }
        assert_eq!(Input::read("Bearer ").sent(), Some("Bearer"));
    }

    #[test]
    fn the_answer_of_a_token_endpoint_is_looked_into() {
        let input = Input::read(r#"{"token_type": "Bearer", "access_token": "a.b.c"}"#);
        assert_eq!(input.token(), "a.b.c");
        assert_eq!(input.flaws(), [Flaw::Document("access_token".into())]);
    }

    proptest! {
        #[test]
        fn whatever_is_pasted_becomes_one_word_or_nothing(
            start in prop_oneof![
                Just(""), Just("Bearer "), Just("Authorization: "), Just("-H '"), Just("{\"token\":\"")
            ],
            rest in ".{0,40}",
        ) {
            let input = Input::read(&format!("{start}{rest}"));
            let document = matches!(input.flaws(), [Flaw::Document(_)]);
            prop_assert!(document || !input.token().contains(char::is_whitespace));
            prop_assert!(input.sent().is_some() || input.token().is_empty());
        }
    }

    #[test]
    fn a_pasted_token_does_not_print() {
        assert!(!format!("{:?}", Input::read("s3cret.b.c")).contains("s3cret"));
    }
}
