//! What Airflow's own answers say, in a few words.

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_TYPE;
use serde_json::Value;

/// The document in an answer.
#[must_use]
pub fn json(answer: &Response<Bytes>) -> Option<Value> {
    serde_json::from_slice(answer.body()).ok()
}

/// What an error of Airflow's API says.
#[must_use]
pub fn detail(answer: &Response<Bytes>) -> Option<String> {
    json(answer)?.get("detail")?.as_str().map(str::to_owned)
}

/// An answer for people: its status, and what it says or else what it is. Airflow 2 may have nothing
/// but a title to say.
#[must_use]
pub fn told(answer: &Response<Bytes>) -> String {
    let status = answer.status().as_u16();
    let title = || json(answer)?.get("title")?.as_str().map(str::to_owned);
    match (detail(answer).or_else(title), answer.headers().get(CONTENT_TYPE)) {
        (Some(said), _) => format!("{status}, {:?}", cut(&said)),
        (None, Some(kind)) => {
            format!("{status}, {}", cut(&String::from_utf8_lossy(kind.as_bytes())))
        }
        (None, None) => status.to_string(),
    }
}

/// So much of a text of Airflow's as says what is wrong.
#[must_use]
pub fn cut(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(MOST_TOLD).collect()
}

/// Major and minor version: `3.2.2`, `3.10.0rc1`, `3.3`.
#[must_use]
pub fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor: String = parts.next()?.chars().take_while(char::is_ascii_digit).collect();
    Some((major, minor.parse().ok()?))
}

const MOST_TOLD: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_by_what_it_says_or_what_it_is() {
        for (kind, body, expected) in [
            (
                "application/json",
                r#"{"detail": "Not authenticated"}"#,
                "401, \"Not authenticated\"",
            ),
            ("application/problem+json", r#"{"detail": null, "title": "No"}"#, "401, \"No\""),
            ("application/json", r#"{"detail": "a\nb\u001b[1m"}"#, "401, \"ab[1m\""),
            ("application/json", r#"{"detail": ["a list"]}"#, "401, application/json"),
            ("text/html", "<html>", "401, text/html"),
        ] {
            let answer = Response::builder().status(401).header(CONTENT_TYPE, kind);
            let answer = answer.body(Bytes::from_static(body.as_bytes())).unwrap();
            assert_eq!(told(&answer), expected, "{body}");
        }
        assert_eq!(told(&Response::new(Bytes::new())), "200");
        assert_eq!(cut(&"a".repeat(1000)).len(), MOST_TOLD);
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, expected) in [
            ("3.2.2", Some((3, 2))),
            ("3.10.0", Some((3, 10))),
            ("3.2.0rc1", Some((3, 2))),
            ("3.2rc1", Some((3, 2))),
            ("3.3.2+astro.1", Some((3, 3))),
            ("2.10.5", Some((2, 10))),
            ("3", None),
            ("three.two", None),
            ("", None),
        ] {
            assert_eq!(numbers(version), expected, "{version}");
        }
    }
}
