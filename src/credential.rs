//! The caller's credential, before anything in it is believed: exactly one, well formed,
//! unprintable.
//!
//! What is not a bearer token is refused, unless its scheme is one that Airflow's own backends are
//! to judge.

use std::fmt;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue};

use crate::rejection::{Reason, Rejection};

/// A bearer token (RFC 6750, section 2.1), as text that has not been looked at. It shares the
/// bytes of the header it came in.
#[derive(Clone)]
pub struct BearerToken {
    header: HeaderValue,
    start: usize,
}

impl BearerToken {
    fn new(header: HeaderValue, start: usize, largest: usize) -> Result<Self, Rejection> {
        let token = header.as_bytes().get(start..).unwrap_or_default();
        if token.is_empty() || !is_token68(token) {
            return Err(Reason::CredentialMalformed.into());
        }
        if token.len() > largest {
            let found = format!("{} bytes, at most {largest} are allowed", token.len());
            return Err(Rejection::found_that(Reason::TokenTooLarge, found));
        }
        Ok(Self { header, start })
    }

    /// The token's text: the one accessor, named so that its uses can be searched for.
    #[must_use]
    pub fn expose(&self) -> &str {
        // The constructor saw to it that there is nothing but ASCII from `start` on.
        let token = self.header.as_bytes().get(self.start..).unwrap_or_default();
        std::str::from_utf8(token).unwrap_or_default()
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(..)")
    }
}

/// What an Authorization header brings.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A token, which is judged here.
    Bearer(BearerToken),
    /// Something that Airflow's own backends judge. It stays in its header.
    Delegated,
}

/// The schemes that Airflow's own backends judge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delegates {
    /// `Basic` (RFC 7617).
    pub basic: bool,
    /// `Negotiate` (RFC 4559).
    pub negotiate: bool,
}

impl Delegates {
    /// What a 401 offers beside `Bearer`; the one that sends no password first.
    #[must_use]
    pub const fn challenges(self) -> &'static [&'static str] {
        match (self.negotiate, self.basic) {
            (true, true) => &[NEGOTIATE_CHALLENGE, BASIC_CHALLENGE],
            (true, false) => &[NEGOTIATE_CHALLENGE],
            (false, true) => &[BASIC_CHALLENGE],
            (false, false) => &[],
        }
    }

    fn include(self, scheme: &[u8]) -> bool {
        (self.basic && scheme.eq_ignore_ascii_case(b"basic"))
            || (self.negotiate && scheme.eq_ignore_ascii_case(b"negotiate"))
    }
}

const NEGOTIATE_CHALLENGE: &str = "Negotiate";
const BASIC_CHALLENGE: &str = "Basic realm=\"airflow\"";

/// The credential of the request: `None` without an Authorization header, an error for every other
/// one than a single well-formed one of a scheme that counts here. Tokens have at most `largest`
/// bytes.
pub fn read(
    headers: &HeaderMap,
    largest: usize,
    delegates: Delegates,
) -> Result<Option<Credential>, Rejection> {
    let Some(header) = authorization(headers)? else {
        return Ok(None);
    };
    let value = header.as_bytes();
    let end_of_scheme = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end_of_scheme);
    let token = rest.get(1..).unwrap_or_default();
    if scheme.is_empty() || !scheme.iter().copied().all(is_scheme_char) {
        return Err(Reason::CredentialMalformed.into());
    }
    let delegated = delegates.include(scheme);
    if !delegated && !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(Rejection::found_that(Reason::SchemeUnsupported, known_scheme(scheme)));
    }
    if delegated && is_token68(token) && !token.is_empty() {
        return Ok(Some(Credential::Delegated));
    }
    let start = value.len() - token.len();
    BearerToken::new(header.clone(), start, largest).map(|token| Some(Credential::Bearer(token)))
}

/// The token of an Edge worker, which stands in the header without a scheme.
pub fn read_bare(headers: &HeaderMap, largest: usize) -> Result<Option<BearerToken>, Rejection> {
    let header = authorization(headers)?.cloned();
    header.map(|header| BearerToken::new(header, 0, largest)).transpose()
}

/// The token in a form.
pub fn read_subject(text: &str, largest: usize) -> Result<BearerToken, Rejection> {
    let header = HeaderValue::from_str(text).map_err(|_| Reason::CredentialMalformed)?;
    BearerToken::new(header, 0, largest)
}

/// The one Authorization header, if there is one.
fn authorization(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Rejection> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let first = fields.next();
    match fields.next() {
        Some(_) => Err(Reason::CredentialAmbiguous.into()),
        None => Ok(first),
    }
}

/// Whether the browser brings a session of Airflow's: `_token` is the API's cookie (Airflow 3,
/// `api_fastapi/auth/managers/base_auth_manager.py`), `session` Flask's.
#[must_use]
pub fn has_session_cookie(headers: &HeaderMap) -> bool {
    let mut names = headers.get_all(COOKIE).iter().flat_map(|field| {
        let pairs = field.as_bytes().split(|byte| *byte == b';');
        pairs.filter_map(|pair| pair.trim_ascii().split(|byte| *byte == b'=').next())
    });
    names.any(is_session_cookie)
}

/// Whether a cookie of this name is a session of Airflow's.
#[must_use]
pub fn is_session_cookie(name: &[u8]) -> bool {
    matches!(name, b"_token" | b"session")
}

/// The scheme for the log, where it is a known one: a bare token is a scheme of its own.
fn known_scheme(scheme: &[u8]) -> &'static str {
    let known = KNOWN_SCHEMES.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(scheme));
    known.copied().unwrap_or("no scheme that is known: a token without Bearer before it?")
}

/// Of the HTTP Authentication Scheme Registry (IANA), and Entra's `PoP`.
const KNOWN_SCHEMES: [&str; 7] = ["Basic", "Digest", "DPoP", "HOBA", "Mutual", "Negotiate", "PoP"];

/// `token` of RFC 9110, section 5.6.2, as far as schemes use it.
const fn is_scheme_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+' | b'!' | b'#' | b'$')
}

/// Whether all is `token68` of RFC 9110, section 11.2. Tokens are long: without an early end the
/// compiler looks at many bytes at once.
fn is_token68(text: &[u8]) -> bool {
    text.iter().fold(true, |good, byte| good & is_token_char(*byte))
}

const fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() | matches!(byte, b'-'..=b'/' | b'_' | b'~' | b'+' | b'=')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: Delegates = Delegates { basic: false, negotiate: false };
    const BOTH: Delegates = Delegates { basic: true, negotiate: true };

    fn credential(values: &[&[u8]], delegates: Delegates) -> Result<Option<Credential>, Reason> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        super::read(&headers, 16, delegates).map_err(|rejection| rejection.reason())
    }

    /// The bearer token, with no scheme delegated.
    fn read(values: &[&[u8]]) -> Result<Option<String>, Reason> {
        Ok(credential(values, NONE)?.map(|credential| match credential {
            Credential::Bearer(token) => token.expose().to_owned(),
            Credential::Delegated => panic!("no scheme is delegated"),
        }))
    }

    #[test]
    fn exactly_one_well_formed_bearer_counts() {
        assert_eq!(read(&[]), Ok(None));
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER a.b.c"] {
            assert_eq!(read(&[value.as_bytes()]), Ok(Some("a.b.c".into())), "{value}");
        }
        for (value, expected) in [
            (&b""[..], Reason::CredentialMalformed),
            (b"Bearer", Reason::CredentialMalformed),
            (b"Bearer ", Reason::CredentialMalformed),
            (b"Bearer  a.b.c", Reason::CredentialMalformed),
            (b"Bearer\ta.b.c", Reason::CredentialMalformed),
            (b"Bearer a.b.c d", Reason::CredentialMalformed),
            (b"Bearer a.b.c, Bearer d.e.f", Reason::CredentialMalformed),
            (b"Bearer \"a.b.c\"", Reason::CredentialMalformed),
            (b"Bearer a.b.c\xa0", Reason::CredentialMalformed),
            (b"Bearer, a.b.c", Reason::CredentialMalformed),
            (b"Basic YTpi", Reason::SchemeUnsupported),
            (b"DPoP a.b.c", Reason::SchemeUnsupported),
            (b"a.b.c", Reason::SchemeUnsupported),
            (b"Bearer aaaaaaaaaaaaaaaaa", Reason::TokenTooLarge),
        ] {
            assert_eq!(read(&[value]), Err(expected), "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn a_delegated_scheme_counts_where_it_is_well_formed() {
        let basic = Delegates { basic: true, ..NONE };
        let negotiate = Delegates { negotiate: true, ..NONE };
        for (value, delegates, expected) in [
            (&b"Basic YTpi"[..], basic, Ok(())),
            (b"bAsIc YTpi", BOTH, Ok(())),
            (b"Basic YTpi", negotiate, Err(Reason::SchemeUnsupported)),
            (b"Negotiate YIIC", basic, Err(Reason::SchemeUnsupported)),
            (b"Negotiate YIIC==", negotiate, Ok(())),
            // Tickets are long, and the limit is that of tokens.
            (b"Negotiate YIICaaaaaaaaaaaaaaaaaaaaaa", negotiate, Ok(())),
            (b"Basic", basic, Err(Reason::CredentialMalformed)),
            (b"Basic ", basic, Err(Reason::CredentialMalformed)),
            (b"Basic YTpi, Bearer a.b.c", BOTH, Err(Reason::CredentialMalformed)),
            (b"Digest YTpi", BOTH, Err(Reason::SchemeUnsupported)),
        ] {
            let label = String::from_utf8_lossy(value);
            match credential(&[value], delegates) {
                Ok(Some(Credential::Delegated)) => assert_eq!(expected, Ok(()), "{label}"),
                Ok(other) => panic!("{label}: {other:?}"),
                Err(reason) => assert_eq!(expected, Err(reason), "{label}"),
            }
        }
        let two = credential(&[b"Basic YTpi", b"Bearer a"], BOTH);
        assert_eq!(two.unwrap_err(), Reason::CredentialAmbiguous);
    }

    #[test]
    fn two_authorization_headers_are_ambiguous_in_any_order() {
        for values in
            [[&b"Bearer a"[..], b"Bearer b"], [b"Basic a", b"Bearer b"], [b"Bearer a", b""]]
        {
            assert_eq!(read(&values), Err(Reason::CredentialAmbiguous));
        }
    }

    #[test]
    fn a_token_does_not_print() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer s3cret"));
        let token = super::read(&headers, 16, NONE).unwrap().unwrap();
        assert!(!format!("{token:?}").contains("s3cret"));
    }

    #[test]
    fn a_session_is_found_by_its_whole_name() {
        for (cookie, expected) in [
            ("_token=x", true),
            ("a=b; _token=x", true),
            ("a=b;session=x", true),
            ("a_token=x", false),
            ("a=_token", false),
            ("_tokens=x", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_static(cookie));
            assert_eq!(has_session_cookie(&headers), expected, "{cookie}");
        }
    }

    proptest! {
        #[test]
        fn what_is_exposed_is_exactly_the_token(
            scheme in "[Bb][Ee][Aa][Rr][Ee][Rr]", token in "[A-Za-z0-9._~+/=-]{1,16}",
        ) {
            let read = read(&[format!("{scheme} {token}").as_bytes()]);
            prop_assert_eq!(read, Ok(Some(token)));
        }

        #[test]
        fn any_header_is_read_or_refused(
            start in prop_oneof![Just(""), Just("Bearer"), Just("Bearer "), Just("basic ")],
            // What a field value can hold (RFC 9110, section 5.5).
            rest in prop::collection::vec(prop_oneof![Just(b'\t'), b' '..=b'~', 128..=255_u8], 0..24),
        ) {
            let value = [start.as_bytes(), &rest].concat();
            if let Ok(Some(token)) = read(&[&value]) {
                prop_assert_eq!(&value[value.len() - token.len()..], token.as_bytes());
                prop_assert!(value[..7].eq_ignore_ascii_case(b"bearer "));
                prop_assert_eq!(value.len(), token.len() + 7);
            }
        }
    }
}
