//! `traceparent` (W3C Trace Context, section 3.2): where in which trace a request stands.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A trace, and whose child in it a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    trace: [u8; 16],
    parent: Option<SpanId>,
    flags: u8,
}

/// The name of a span within its trace; never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

impl SpanId {
    /// One that nobody has.
    pub(super) fn random() -> Option<Self> {
        random().map(Self)
    }

    /// Its bytes, as OTLP has them.
    #[must_use]
    pub const fn bytes(self) -> [u8; 8] {
        self.0
    }
}

impl Context {
    /// The context that a request came with; none where there is no header, several, or one that
    /// does not say what the standard says. A version later than ours is read by its first four
    /// fields (section 3.2.4).
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(TRACEPARENT).iter();
        let field = fields.next().filter(|_| fields.next().is_none())?.as_bytes();
        let (head, rest) = field.split_at_checked(LENGTH)?;
        let [version, trace, parent, flags] = parts(head)?;
        let version = byte(version)?;
        let fits = match version {
            0 => rest.is_empty(),
            INVALID_VERSION => false,
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        let trace = bytes(trace).filter(|trace| *trace != [0; 16])?;
        let parent = bytes(parent).filter(|parent| *parent != [0; 8])?;
        let flags = byte(flags)? & KNOWN_FLAGS;
        fits.then_some(Self { trace, parent: Some(SpanId(parent)), flags })
    }

    /// A trace that begins here.
    pub(super) fn new() -> Option<Self> {
        Some(Self { trace: random()?, parent: None, flags: KNOWN_FLAGS })
    }

    /// Whether its caller records it.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The trace's id.
    #[must_use]
    pub const fn trace(&self) -> [u8; 16] {
        self.trace
    }

    /// The same as it is written.
    pub(super) fn trace_id(&self) -> String {
        let mut text = String::with_capacity(2 * self.trace.len());
        hex(&mut text, &self.trace);
        text
    }

    /// The span that it continues.
    #[must_use]
    pub const fn parent(&self) -> Option<SpanId> {
        self.parent
    }

    /// The flags, as they are passed on.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// The header that continues the trace below this span.
    pub(super) fn child(&self, span: SpanId) -> Option<HeaderValue> {
        let mut text = String::with_capacity(LENGTH);
        text.push_str("00-");
        hex(&mut text, &self.trace);
        text.push('-');
        hex(&mut text, &span.0);
        text.push('-');
        hex(&mut text, &[self.flags]);
        HeaderValue::try_from(text).ok()
    }
}

/// `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LENGTH: usize = 55;
const INVALID_VERSION: u8 = 0xff;
const SAMPLED: u8 = 0b01;
/// Sampled, and that the trace's id is random (Trace Context, level 2); others are not passed on.
const KNOWN_FLAGS: u8 = 0b11;

fn parts(head: &[u8]) -> Option<[&[u8]; 4]> {
    let mut parts = head.split(|byte| *byte == b'-');
    let four = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(four)
}

fn byte(digits: &[u8]) -> Option<u8> {
    bytes::<1>(digits).map(|[byte]| byte)
}

/// Lower-case digits alone (section 3.2.2).
fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}

fn hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
}

/// Random bytes that are not all zeros; none where the system gives none.
fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    (bytes != [0; N]).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(values: &[&str]) -> Option<Context> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        Context::of(&headers)
    }

    #[test]
    fn what_the_standard_allows_is_continued() {
        let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (value, sampled) in [
            (GOOD.to_owned(), true),
            (GOOD.replace("-01", "-00"), false),
            (GOOD.replace("-01", "-ff"), true),
            (GOOD.replace("-01", "-02"), false),
            (later.to_owned(), true),
            (format!("{later}-what-the-future-brings"), true),
        ] {
            let context = read(&[&value]).unwrap_or_else(|| panic!("{value} is refused"));
            assert_eq!(context.is_sampled(), sampled, "{value}");
            let child = context.child(SpanId([0x11; 8])).unwrap();
            let (trace, flags) = (&value[3..35], context.flags());
            let expected = format!("00-{trace}-1111111111111111-{flags:02x}");
            assert_eq!(child, expected, "{value}");
        }
    }

    #[test]
    fn what_it_does_not_allow_begins_a_trace_anew() {
        for value in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319cb7ad6b7169203331--01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.x",
            "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(read(&[value]), None, "{value}");
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[GOOD, GOOD]), None, "two");
        assert!(Context::new().unwrap().is_sampled());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_back_as_it_was_or_not_at_all(value in "[ -~]{0,60}") {
            if let Some(context) = read(&[&value]) {
                let again = context.child(context.parent().unwrap()).unwrap();
                prop_assert_eq!(&value[3..52], &again.to_str().unwrap()[3..52]);
            }
        }
    }
}
