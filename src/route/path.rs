//! A request path that can be read in one way only, and the questions that rules ask of it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::rejection::{Reason, Rejection};

/// A path in its forms: raw to open by, decoded to close by, each as it is and without the base
/// path. The decoded ones have no empty segments, which servers behind us may drop.
#[derive(Debug)]
pub(super) struct Path<'p> {
    raw: &'p str,
    raw_inner: Option<&'p str>,
    decoded: Cow<'p, [u8]>,
    inner_start: Option<usize>,
}

impl<'p> Path<'p> {
    /// Refuses what two programs could read differently: dot segments (also encoded, also with
    /// `;parameters`), backslashes, a leading `//`, control bytes, broken percent-encoding.
    pub(super) fn parse(raw: &'p str, base: &str) -> Result<Self, Rejection> {
        if !raw.starts_with('/') {
            return Err(Reason::RequestMalformed.into());
        }
        let ambiguous = |found| Err(Rejection::found_that(Reason::PathAmbiguous, found));
        if raw.starts_with("//") {
            return ambiguous("a leading double slash");
        }
        if raw.contains('\\') {
            return ambiguous("a backslash");
        }
        if has_broken_encoding(raw.as_bytes()) {
            return ambiguous("broken percent-encoding");
        }
        let decoded: Cow<'p, [u8]> = percent_decode_str(raw).into();
        if decoded.iter().any(u8::is_ascii_control) {
            return ambiguous("a control byte");
        }
        if decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(is_dot_segment) {
            return ambiguous("a dot segment");
        }
        let decoded = without_empty_segments(decoded);
        let raw_inner = inner(raw.as_bytes(), base).and_then(|start| raw.get(start..));
        let inner_start = inner(&decoded, base);
        Ok(Self { raw, raw_inner, decoded, inner_start })
    }

    /// Whether the raw bytes are exactly `path`: for opening.
    pub(super) fn is_exactly(&self, path: &str) -> bool {
        self.raw == path || self.raw_inner == Some(path)
    }

    /// Whether the raw bytes are `root` or below it: for opening.
    pub(super) fn begins_plainly_with(&self, root: &str) -> bool {
        self.is_exactly(root) || self.is_plainly_below(root)
    }

    /// Whether the raw bytes are below `root`: for opening.
    pub(super) fn is_plainly_below(&self, root: &str) -> bool {
        let below = |path: &str| path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
        below(self.raw) || self.raw_inner.is_some_and(below)
    }

    /// Whether the first segment of the raw bytes is one of these; the empty one stands for the
    /// root: for opening.
    pub(super) fn begins_plainly_with_one_of(&self, segments: &[&str]) -> bool {
        let path = self.raw_inner.unwrap_or(self.raw);
        let first = path.trim_start_matches('/').split('/').next();
        first.is_some_and(|segment| segments.contains(&segment))
    }

    /// Whether the decoded bytes are `root` or below it: for closing.
    pub(super) fn is_under(&self, root: &str) -> bool {
        self.decoded_forms().any(|path| {
            let rest = path.strip_prefix(root.as_bytes());
            rest.is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
        })
    }

    /// Whether the decoded bytes are `path`, with or without a slash at its end: for closing.
    pub(super) fn reads_as(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/').as_bytes();
        self.decoded_forms().any(|form| form == path)
    }

    /// The decoded segments below `root`, where the path is below it: for closing.
    pub(super) fn segments_below(&self, root: &str) -> Option<Vec<&[u8]>> {
        let forms = self.decoded_forms();
        let below = forms.filter_map(|form| form.strip_prefix(root.as_bytes())?.strip_prefix(b"/"));
        // The last form is the one without the base path, if there is one: what Airflow looks at.
        Some(below.last()?.split(|byte| *byte == b'/').collect())
    }

    fn decoded_forms(&self) -> impl Iterator<Item = &[u8]> {
        let inner = self.inner_start.and_then(|start| self.decoded.get(start..));
        std::iter::once(self.decoded.as_ref()).chain(inner)
    }
}

/// Where the path inside `base` begins.
fn inner(path: &[u8], base: &str) -> Option<usize> {
    let rest = path.strip_prefix(base.as_bytes()).filter(|_| !base.is_empty())?;
    matches!(rest, [] | [b'/', ..]).then_some(base.len())
}

/// `/a//b/` becomes `/a/b`.
fn without_empty_segments(path: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let has_empty = path.windows(2).any(|pair| pair == b"//");
    if !has_empty && (path.len() == 1 || !path.ends_with(b"/")) {
        return path;
    }
    let segments = path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty());
    let mut clean = Vec::with_capacity(path.len());
    for segment in segments {
        clean.push(b'/');
        clean.extend_from_slice(segment);
    }
    clean.into()
}

fn is_dot_segment(segment: &[u8]) -> bool {
    // Servlet containers cut `;parameters` off before they resolve dots.
    let name = segment.split(|byte| *byte == b';').next().unwrap_or(segment);
    matches!(name, b"." | b"..")
}

fn has_broken_encoding(raw: &[u8]) -> bool {
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        rest = rest.get(at + 1..).unwrap_or_default();
        match rest {
            [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {}
            _ => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_two_readings_is_refused() {
        for path in [
            "//api/v2/dags",
            "/api/../x",
            "/api/.",
            "/..",
            "/api/%2e%2e/x",
            "/api/%2E./x",
            "/api%2f..%2fx",
            "/api%5c..%5cx",
            "/api/..;/x",
            "/api/..;a=b/x",
            "/api\\x",
            "/api/%",
            "/api/%2",
            "/api/%zz",
            "/api/%u002f",
            "/api/%00",
            "/api/%0d%0ax",
            "/api/%7f",
        ] {
            let reason = Path::parse(path, "").unwrap_err().reason();
            assert_eq!(reason, Reason::PathAmbiguous, "{path}");
        }
        for path in ["*", "", "api", "http://x/"] {
            let reason = Path::parse(path, "").unwrap_err().reason();
            assert_eq!(reason, Reason::RequestMalformed, "{path}");
        }
    }

    #[test]
    fn what_airflow_writes_itself_is_not_ambiguous() {
        for path in [
            "/",
            "/api/v2/variables/a%2Fb",
            "/api/v2/variables/50%25",
            "/api/v2/variables/a//b",
            "/api/v2/variables/a%5Cb",
            "/api/v2/variables/.hidden",
            "/api/v2/variables/a..b",
            "/api/v2/dags/d/dagRuns/manual__2026-01-01T00:00:00+00:00/x",
            "/api/v2/dags/%C3%A9/x;y=z",
            "/api/v2/variables/%252e%252e",
        ] {
            assert!(Path::parse(path, "").is_ok(), "{path}");
        }
    }
}
