//! What a stranger chooses, as it may be shown. Clients put tokens where none belong, into a path or
//! the name of a method; who reads logs is not whom they were for.
//!
//! Access lines, the latest refusals and traces show requests through here.

use std::borrow::Cow;

use http::Method;

/// The method, if its name is one that HTTP has (RFC 9110, section 9; RFC 5789). Any other may be
/// anything.
#[must_use]
pub fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => OTHER_METHOD,
    }
}

/// As OpenTelemetry's conventions call what is none of them.
pub const OTHER_METHOD: &str = "_OTHER";

/// In the place of what looks like a token.
pub const MARK: &str = "[token]";

/// About so many bytes of `text`, without tokens. Of a longer text no more than [`LOOKED_AT`] bytes
/// are looked at, because whoever sends it pays for nothing.
#[must_use]
pub fn shown(text: &str, most: usize) -> Cow<'_, str> {
    let looked_at = cut(text, LOOKED_AT);
    match tokens(&looked_at) {
        Cow::Borrowed(_) => cut(text, most),
        Cow::Owned(shown) => Cow::Owned(cut(&shown, most).into_owned()),
    }
}

/// Not more of it than this, with a sign that there was.
#[must_use]
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.get(..text.floor_char_boundary(most)) {
        Some(start) if start.len() < text.len() => Cow::Owned(format!("{start}…")),
        _ => Cow::Borrowed(text),
    }
}

/// `text` with [`MARK`] where it has what looks like a token, percent-encoded or not: from `eyJ`, as
/// base64url begins where JSON does, to the end of what may belong to it; or three parts of base64url
/// and dots of which the last looks like a signature. What follows may be more of a token that was
/// broken up, so less is shown of it.
fn tokens(text: &str) -> Cow<'_, str> {
    let mut shown: Option<String> = None;
    let (mut kept, mut at) = (0, 0);
    while let Some(run) =
        next_run(text, at, if shown.is_none() { SHORTEST } else { SHORTEST_PIECE })
    {
        at = run.end;
        let start = if shown.is_none() { run.token() } else { run.token().or_else(|| run.piece()) };
        let Some(start) = start else { continue };
        let shown = shown.get_or_insert_with(|| String::with_capacity(text.len()));
        shown.push_str(text.get(kept..start).unwrap_or_default());
        shown.push_str(MARK);
        kept = run.end;
    }
    match shown {
        None => Cow::Borrowed(text),
        Some(shown) => Cow::Owned(shown + text.get(kept..).unwrap_or_default()),
    }
}

/// Whether there is something in `text` that looks like a token.
#[must_use]
pub fn has_token(text: &str) -> bool {
    matches!(tokens(text), Cow::Owned(_))
}

/// Four times what is shown at the most: a letter takes three bytes where it is percent-encoded.
const LOOKED_AT: usize = 4096;
/// Of a token that was broken up by line breaks or the like.
const SHORTEST_PIECE: usize = 8;
/// The shortest token there can be: a header of 15 bytes. Most of what a path has is shorter.
const SHORTEST: usize = 20;
/// Of a signature that was cut, too.
const SHORTEST_SIGNATURE: usize = 20;
/// Of header and claims beside such a signature.
const SHORTEST_PART: usize = 10;
/// What `{"` is in base64url.
const JSON_BEGINS: &[u8] = b"eyJ";

/// Characters of base64url, dots and padding in a row.
struct Run {
    /// Decoded, with the place of each.
    letters: Vec<(u8, usize)>,
    end: usize,
}

/// The next that is long enough.
fn next_run(text: &str, from: usize, shortest: usize) -> Option<Run> {
    let bytes = text.as_bytes();
    let mut at = from;
    while bytes.len().saturating_sub(at) >= shortest {
        let (length, end) = measure(bytes, at);
        if length >= shortest {
            return Some(Run { letters: letters(bytes, at, end), end });
        }
        // What ended the run begins none.
        at = end + decoded(bytes, end).map_or(1, |(_, width)| width);
    }
    None
}

fn measure(bytes: &[u8], from: usize) -> (usize, usize) {
    let (mut length, mut at) = (0, from);
    while let Some((_, width)) = letter(bytes, at) {
        (length, at) = (length + 1, at + width);
    }
    (length, at)
}

fn letters(bytes: &[u8], from: usize, end: usize) -> Vec<(u8, usize)> {
    let (mut letters, mut at) = (Vec::new(), from);
    while at < end
        && let Some((byte, width)) = letter(bytes, at)
    {
        letters.push((byte, at));
        at += width;
    }
    letters
}

/// A letter that a token may have, and how many bytes it takes.
fn letter(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=+".contains(&byte);
    decoded(bytes, at).filter(|(byte, _)| may(*byte))
}

/// The byte that is meant there, and how many bytes that takes.
fn decoded(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    match *bytes.get(at)? {
        b'%' => Some((hex(*bytes.get(at + 1)?)? << 4 | hex(*bytes.get(at + 2)?)?, 3)),
        byte => Some((byte, 1)),
    }
}

fn hex(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

impl Run {
    /// Where it begins, if it may be a piece of one: words are in lower case.
    fn piece(&self) -> Option<usize> {
        let mixed = |(byte, _): &(u8, usize)| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        let (_, place) = self.letters.first().filter(|_| self.letters.iter().any(mixed))?;
        Some(*place)
    }

    /// Where a token begins in it.
    fn token(&self) -> Option<usize> {
        let bytes: Vec<u8> = self.letters.iter().map(|(byte, _)| *byte).collect();
        let windows = bytes.windows(JSON_BEGINS.len());
        let mut json = windows.take(bytes.len().saturating_sub(SHORTEST - 1));
        let json = json.position(|window| window == JSON_BEGINS);
        // Claims may begin like this behind a header that does not.
        let in_first = |at: &usize| bytes.iter().take(*at).all(|byte| *byte != b'.');
        let start = json.filter(in_first);
        let start = start.or_else(|| has_three_parts(&bytes).then_some(0)).or(json)?;
        self.letters.get(start).map(|(_, place)| *place)
    }
}

/// A name with dots in it has no part that is as long and as mixed as a signature.
fn has_three_parts(bytes: &[u8]) -> bool {
    let parts: Vec<&[u8]> = bytes.split(|byte| *byte == b'.').collect();
    parts.windows(3).any(|window| match window {
        [header, claims, signature] => {
            header.len() >= SHORTEST_PART
                && claims.len() >= SHORTEST_PART
                && looks_like_signature(signature)
        }
        _ => false,
    })
}

fn looks_like_signature(part: &[u8]) -> bool {
    part.len() >= SHORTEST_SIGNATURE
        && part.iter().any(u8::is_ascii_uppercase)
        && part.iter().any(u8::is_ascii_lowercase)
        && part.iter().any(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "eyJhbGciOiJSUzI1NiJ9";
    const CLAIMS: &str = "eyJzdWIiOiJhbGljZSJ9";
    const SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    #[test]
    fn what_looks_like_a_token_is_not_shown() {
        let whole = format!("{HEADER}.{CLAIMS}.{SIGNATURE}");
        let odd_header = format!("ewogImFsZyI6Ik5PTkUifQ.{CLAIMS}.{SIGNATURE}");
        let nothing_of_json = format!("{SIGNATURE}.{SIGNATURE}.{SIGNATURE}");
        let padded = format!("{HEADER}==.{CLAIMS}=.{SIGNATURE}=");
        let dots_encoded = whole.replace('.', "%2E");
        let letters_encoded = whole.replace("eyJ", "%65%79J");
        let five_parts = format!("{HEADER}.{SIGNATURE}.{SIGNATURE}.{SIGNATURE}.{SIGNATURE}");
        for token in [
            whole.as_str(),
            &odd_header,
            &nothing_of_json,
            &padded,
            &dots_encoded,
            &letters_encoded,
            &five_parts,
            &format!("{HEADER}.{CLAIMS}."),
            &format!("{HEADER}.{CLAIMS}"),
            &format!("{HEADER}.{CLAIMS}.dBj"),
            HEADER,
        ] {
            for (before, after) in
                [("/", ""), ("/api/v2/dags/", "/runs"), ("/é%3D/", "%20é"), ("/a%2F", "%2fa")]
            {
                let text = format!("{before}{token}{after}");
                assert_eq!(tokens(&text), format!("{before}{MARK}{after}"), "{text}");
            }
            assert_eq!(tokens(&format!("/{token}/{token}")), format!("/{MARK}/{MARK}"));
            let named = tokens(&format!("/token={token}")).into_owned();
            assert!(named.ends_with(MARK) && named.len() <= "/token=".len() + MARK.len());
        }
        assert_eq!(tokens(&format!("/token%3D{whole}")), format!("/token%3D{MARK}"));
    }

    #[test]
    fn nothing_of_a_token_that_was_broken_up_is_shown() {
        let whole = format!("{HEADER}.{CLAIMS}.{SIGNATURE}");
        let base64 = whole.replace('_', "+").replace('-', "/");
        let (first, second) = whole.split_at(whole.len() - 21);
        for broken in [
            whole.replace('.', "%252E"),
            format!("{first}%0A{second}"),
            format!("{first}%20%20{second}"),
            format!("{first}\\n{second}"),
            format!("{HEADER}.{CLAIMS}/{SIGNATURE}"),
            base64,
        ] {
            let text = format!("/api/v2/dags/{broken}/runs");
            let shown = tokens(&text);
            let pieces = SIGNATURE.as_bytes().windows(SHORTEST_PIECE);
            for piece in pieces.map(|piece| str::from_utf8(piece).unwrap()) {
                assert!(!shown.contains(piece), "{text}: {shown}");
            }
            assert!(shown.starts_with("/api/v2/dags/[token]"), "{text}: {shown}");
            assert!(shown.ends_with("/runs"), "{text}: {shown}");
        }
    }

    #[test]
    fn what_is_shown_is_bounded_and_has_no_part_of_a_token_at_its_end() {
        let token = format!("{HEADER}.{CLAIMS}.{SIGNATURE}");
        let long = format!("/{}{token}", "a/".repeat(20));
        assert_eq!(shown(&long, 50), format!("/{}{MARK}", "a/".repeat(20)));
        assert_eq!(shown(&long, 11), "/a/a/a/a/a/…");
        assert_eq!(shown(&"é".repeat(9), 5), "éé…");
        assert_eq!(shown(&"é".repeat(9), 18), "é".repeat(9));
        assert_eq!(shown(&token, 6), "[token…");
        let longer = format!("/{token}/{}", "a/".repeat(LOOKED_AT));
        let longer = shown(&longer, LOOKED_AT);
        assert!(longer.starts_with(&format!("/{MARK}/a/")), "what is looked at is shown");
        assert!(longer.ends_with('…'), "with a sign that it is not all");
    }

    #[test]
    fn what_airflow_names_things_is_shown() {
        for text in [
            "",
            "/",
            "/api/v2/dags/etl%2Fdaily/dagRuns/manual__2026-01-01T00:00:00+00:00/taskInstances",
            "/static/main.4f3e2a1b9c8d7e6f5a4b.bundle.min.js",
            "/api/v2/dags/team.with_a_long_name.and_a_pipeline.of_many_words_in_lower_case_2026",
            "/api/v2/dags/an_id_of_two_hundred_and_fifty_letters_is_what_airflow_allows_at_most",
            "/api/v2/assets/019af2c4-7b1d-7c55-9a52-6f0f3b1f9d10",
            "/api/v2/variables/keyJson",
            "/assets/index-DkX9f2aQ.js",
            "/%E2%82%AC%zz%",
            "/é/日本語の名前はここにあります",
        ] {
            assert!(matches!(tokens(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn only_methods_that_http_has_are_named() {
        assert_eq!(method(&Method::PATCH), "PATCH");
        for other in ["get", "PROPFIND", "METHOD1", &format!("{HEADER}.{CLAIMS}.{SIGNATURE}")] {
            assert_eq!(method(&other.parse().unwrap()), OTHER_METHOD, "{other}");
        }
    }
}
