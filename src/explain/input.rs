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
    lifted: bool,
}

/// What does not belong to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A line break in it.
    LineBreak,
    /// A blank in it.
    Blank,
    /// More than one space between it and `Bearer`.
    Gap,
    /// Quotes around it.
    Quotes,
    /// `Bearer Bearer`.
    SchemeTwice,
    /// An Authorization header without `Bearer`.
    NoScheme,
    /// A comma or semicolon behind it.
    Separator,
    /// It is a cookie, or several.
    Cookie,
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
    /// Reads a token, a header line or the value of one, or a text with such a line in it.
    #[must_use]
    pub fn read(pasted: &str) -> Self {
        match embedded(header_line(pasted.trim())) {
            Some(line) => Self { lifted: true, ..Self::read_line(line) },
            None => Self::read_line(pasted),
        }
    }

    fn read_line(pasted: &str) -> Self {
        let line = header_line(pasted.trim());
        let (value, is_header) = match strip_word(line, AUTHORIZATION) {
            Some(value) => (value, true),
            None => (line, false),
        };
        if value.is_empty() {
            return Self::default();
        }
        if let Some((member, token)) = in_document(value) {
            let sent = Some(format!("Bearer {value}"));
            return Self { sent, token, flaws: vec![Flaw::Document(member)], ..Self::default() };
        }
        if let Some(token) = in_cookie(value) {
            let sent = Some(if is_header { value.to_owned() } else { format!("Bearer {value}") });
            return Self { sent, token, flaws: vec![Flaw::Cookie], ..Self::default() };
        }
        let schemed = strip_word(value, "bearer").is_some() || names_scheme(value);
        let sent = if schemed || is_header { value.to_owned() } else { format!("Bearer {value}") };
        let mut flaws = Vec::new();
        let bearer = strip_word(value, "bearer");
        if bearer.is_none() && is_header && !schemed {
            flaws.push(Flaw::NoScheme);
        }
        flaws.extend(gap(value).filter(|_| bearer.is_some()));
        let other = || value.split_once(char::is_whitespace).filter(|_| schemed);
        let behind = bearer.or_else(|| other().map(|(_, rest)| rest)).unwrap_or(value);
        let token = clean(behind, &mut flaws);
        Self { sent: Some(sent), token, flaws, bare: !schemed && !is_header, lifted: false }
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

    /// Whether it is a cookie, which can look like a credential all the same.
    #[must_use]
    pub fn is_cookie(&self) -> bool {
        self.flaws.contains(&Flaw::Cookie)
    }

    /// Whether it was taken out of a longer text, such as a whole command line.
    #[must_use]
    pub const fn is_lifted(&self) -> bool {
        self.lifted
    }

    /// The header as it should have been sent.
    #[must_use]
    pub fn mended(&self) -> String {
        format!("Bearer {}", self.token)
    }
}

/// Nothing was pasted.
impl Default for Input {
    fn default() -> Self {
        Self { sent: None, token: String::new(), flaws: Vec::new(), bare: true, lifted: false }
    }
}

/// The header inside of a longer text: a command line, a head, source code.
fn embedded(text: &str) -> Option<&str> {
    let lower = text.to_ascii_lowercase();
    let apart = |at: &usize| *at == 0 || text.get(..*at).is_some_and(|it| it.ends_with(BEFORE));
    let place = |name: &&str| lower.match_indices(name).map(|(at, _)| at).find(apart);
    let found = [AUTHORIZATION, COOKIE, TOKEN_COOKIE].iter().find_map(place);
    let (before, rest) = text.split_at_checked(found.filter(|at| *at > 0)?)?;
    let quote = before.chars().next_back().filter(|last| QUOTES.contains(last));
    let end = rest.find(quote.unwrap_or('\n')).unwrap_or(rest.len());
    rest.get(..end)
}

const AUTHORIZATION: &str = "authorization:";
const COOKIE: &str = "cookie:";
const QUOTES: [char; 3] = ['"', '\'', '`'];
/// What may stand before the name of a header.
const BEFORE: [char; 7] = ['"', '\'', '`', ' ', '\t', '\r', '\n'];

/// Airflow's token among cookies, empty where there is none; `None` where it is no cookie at all.
fn in_cookie(value: &str) -> Option<String> {
    let named = strip_word(value, COOKIE);
    let pairs = named.or_else(|| value.starts_with(TOKEN_COOKIE).then_some(value))?;
    let mut pairs = pairs.split(';').map(str::trim);
    let token = pairs.find_map(|pair| pair.strip_prefix(TOKEN_COOKIE)).unwrap_or_default();
    Some(clean(token.split_whitespace().next().unwrap_or_default(), &mut Vec::new()))
}

/// The cookie in which Airflow 3 keeps the token of a browser.
const TOKEN_COOKIE: &str = "_token=";

/// What there is between the scheme and the token beside the one space.
fn gap(value: &str) -> Option<Flaw> {
    let behind = value.trim_start_matches(|c: char| !c.is_whitespace());
    let blanks = behind.get(..behind.len() - behind.trim_start().len())?;
    match blanks {
        "" | " " => None,
        blanks if blanks.contains(['\n', '\r']) => Some(Flaw::LineBreak),
        _ => Some(Flaw::Gap),
    }
}

/// Without what a shell or a tool puts around a header line: `-H 'Authorization: …'`.
fn header_line(text: &str) -> &str {
    let bare = text.strip_prefix("-H").or_else(|| text.strip_prefix("--header"));
    let bare = bare.map_or(text, |rest| rest.trim_start_matches('=').trim());
    let inner = unquoted(bare).map_or(bare, str::trim);
    let is_line = [AUTHORIZATION, COOKIE].iter().any(|name| strip_word(inner, name).is_some());
    if is_line || strip_word(inner, "bearer").is_some() { inner } else { bare }
}

/// What follows the word, whatever its case, where that is nothing or something apart.
fn strip_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    let apart = word.ends_with(':') || rest.is_empty() || rest.starts_with(char::is_whitespace);
    (start.eq_ignore_ascii_case(word) && apart).then(|| rest.trim())
}

fn unquoted(text: &str) -> Option<&str> {
    QUOTES.iter().find_map(|quote| {
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
            ("Bearer  a.b.c", "Bearer  a.b.c", "a.b.c", &[Flaw::Gap]),
            ("Authorization: Bearer\ta.b.c", "Bearer\ta.b.c", "a.b.c", &[Flaw::Gap]),
            ("Bearer \na.b.c", "Bearer \na.b.c", "a.b.c", &[Flaw::LineBreak]),
            ("_token=a.b.c", "Bearer _token=a.b.c", "a.b.c", &[Flaw::Cookie]),
            (
                "-H 'Cookie: x=y; _token=a.b.c'",
                "Bearer Cookie: x=y; _token=a.b.c",
                "a.b.c",
                &[Flaw::Cookie],
            ),
            ("Cookie: session=x", "Bearer Cookie: session=x", "", &[Flaw::Cookie]),
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

    #[test]
    fn the_header_is_taken_out_of_a_longer_text() {
        for (pasted, sent, flaws) in [
            ("curl -H 'Authorization: Bearer a.b.c' https://x/api", "Bearer a.b.c", &[][..]),
            ("curl https://x --header \"authorization: Bearer a.b.c\"", "Bearer a.b.c", &[]),
            (
                "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a.b.c\r\nA: b",
                "Bearer a.b.c",
                &[],
            ),
            ("curl -H 'Authorization: Bearer  a.b.c' x", "Bearer  a.b.c", &[Flaw::Gap]),
            ("curl -H 'Authorization: Basic YTpi' x", "Basic YTpi", &[]),
            ("curl -b '_token=a.b.c' https://x", "Bearer _token=a.b.c", &[Flaw::Cookie]),
            ("curl -H 'Cookie: _token=a.b.c' x", "Bearer Cookie: _token=a.b.c", &[Flaw::Cookie]),
        ] {
            let input = Input::read(pasted);
            assert_eq!((input.sent(), input.flaws()), (Some(sent), flaws), "{pasted:?}");
            assert!(input.is_lifted(), "{pasted:?}");
        }
        for alone in
            ["Authorization: Bearer a.b.c", "a.b.c", "Bearer a.b.c\nx", "proxy-authorization: x"]
        {
            assert!(!Input::read(alone).is_lifted(), "{alone:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_pasted_becomes_one_word_or_nothing(
            start in prop_oneof![
                Just(""), Just("Bearer "), Just("Authorization: "), Just("-H '"), Just("Cookie: _token="),
                Just("curl -H \"Authorization: "), Just("{\"token\":\"")
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
