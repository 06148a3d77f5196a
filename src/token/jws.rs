//! A compact JWS (RFC 7515, section 7.1) taken apart, before anything in it is believed.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::json::Json;
use crate::rejection::{Reason, Rejection};

/// The three decoded parts of a token that looks like one.
#[derive(Debug)]
pub struct Parts {
    header: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl Parts {
    /// Splits and decodes the token: base64url without padding, other alphabets or loose bits.
    pub fn split(token: &str) -> Result<Self, Rejection> {
        let mut parts = token.splitn(MOST_PARTS + 1, '.');
        let (Some(header), Some(payload), Some(signature)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(Rejection::found_that(Reason::TokenMalformed, "fewer than three parts"));
        };
        match parts.count() {
            0 => {}
            2 => return Err(Reason::TokenEncrypted.into()),
            _ => {
                return Err(Rejection::found_that(Reason::TokenMalformed, "not three parts"));
            }
        }
        Ok(Self {
            header: decode(header, "header")?,
            payload: decode(payload, "claims")?,
            signature: decode(signature, "signature")?,
        })
    }

    /// What can be decoded of a text that is no token, by whatever alphabet, for who wants to look
    /// on: a part that is missing or cannot be decoded is empty.
    #[must_use]
    pub fn glimpse(text: &str) -> Self {
        let mut parts = text.splitn(MOST_PARTS + 1, '.');
        let mut next = || parts.next().and_then(|part| LENIENT.decode(plain(part)).ok());
        let (header, payload, signature) = (next(), next(), next());
        Self {
            header: header.unwrap_or_default(),
            payload: payload.unwrap_or_default(),
            signature: signature.unwrap_or_default(),
        }
    }

    /// The JOSE header, parsed and free of what is not supported.
    pub fn header(&self) -> Result<Header<'_>, Rejection> {
        let header = self.any_header()?;
        header.check()?;
        Ok(header)
    }

    /// The JOSE header, whatever it asks for.
    pub(super) fn any_header(&self) -> Result<Header<'_>, Rejection> {
        Ok(Header { members: object(&self.header, "header")? })
    }

    /// The claims as they stand, unverified.
    pub fn claims(&self) -> Result<Json<'_>, Rejection> {
        object(&self.payload, "claims")
    }

    /// The JOSE header's bytes.
    #[must_use]
    pub fn header_bytes(&self) -> &[u8] {
        &self.header
    }

    /// The signature bytes.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// The bytes that are signed: everything before the last dot (RFC 7515, section 5.2, step 8).
#[must_use]
pub fn signing_input(token: &str) -> &[u8] {
    token.rsplit_once('.').map_or(token, |(input, _)| input).as_bytes()
}

/// What the JOSE header says. `jwk`, `jku`, `x5u`, `x5c` and `x5t` are never looked at.
#[derive(Debug)]
pub struct Header<'a> {
    members: Json<'a>,
}

impl<'a> Header<'a> {
    /// Refuses what is not supported.
    pub(super) fn check(&self) -> Result<(), Rejection> {
        let members = &self.members;
        let unsupported = |what: &str| {
            Err(Rejection::found_that(Reason::HeaderUnsupported, format!("header member {what}")))
        };
        for name in ["crit", "b64", "zip", "cty"] {
            if members.member(name).is_some() {
                return unsupported(name);
            }
        }
        match members.member("typ").map(Json::text) {
            None => {}
            Some(Some(typ)) if TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known)) => {}
            Some(_) => return unsupported("typ"),
        }
        match members.member("kid").map(Json::text) {
            None => {}
            Some(Some(kid)) if kid.len() <= MAX_KID => {}
            Some(_) => return unsupported("kid, which is not a string of at most 256 bytes"),
        }
        Ok(())
    }

    /// A member, whatever its value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.members.member(name)
    }

    /// `alg`, where it is a string.
    #[must_use]
    pub fn algorithm(&self) -> Option<&str> {
        self.members.member("alg").and_then(Json::text)
    }

    /// `kid`, where present.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.members.member("kid").and_then(Json::text)
    }

    /// Whether a member of that name is present.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.members.member(name).is_some()
    }
}

/// Three parts are a JWS, five a JWE; there is no need to look further.
const MOST_PARTS: usize = 6;
/// Longer than any provider's; bounds what reaches a log or a map.
const MAX_KID: usize = 256;
/// Entra and Airflow write `JWT`, RFC 9068 asks for `at+jwt`.
const TYPES: [&str; 4] = ["JWT", "application/jwt", "at+jwt", "application/at+jwt"];

/// For [`Parts::glimpse`] alone.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The part in the alphabet of URLs.
fn plain(part: &str) -> String {
    part.replace('+', "-").replace('/', "_")
}

fn decode(part: &str, which: &'static str) -> Result<Vec<u8>, Rejection> {
    let malformed = |_| {
        Rejection::found_that(
            Reason::TokenMalformed,
            format!("the {which} is not strict base64url"),
        )
    };
    URL_SAFE_NO_PAD.decode(part).map_err(malformed)
}

fn object<'a>(text: &'a [u8], which: &'static str) -> Result<Json<'a>, Rejection> {
    let malformed =
        |why: String| Rejection::found_that(Reason::TokenMalformed, format!("the {which} {why}"));
    match Json::parse(text) {
        Ok(value @ Json::Object(_)) => Ok(value),
        Ok(other) => Err(malformed(format!("should be a JSON object, not {}", other.kind()))),
        // serde_json's messages may quote the text: say where, not what.
        Err(error) => Err(malformed(format!(
            "is not a strict JSON object (line {}, column {})",
            error.line(),
            error.column()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    fn reason(token: &str) -> Option<Reason> {
        let judge = || {
            let parts = Parts::split(token)?;
            parts.header()?;
            parts.claims().map(|_| ())
        };
        judge().err().map(|rejection: Rejection| rejection.reason())
    }

    #[test]
    fn only_three_strictly_encoded_parts_are_a_token() {
        let good = token("{}", "{}");
        assert_eq!(reason(&good), None);
        for (text, expected) in [
            (String::new(), Reason::TokenMalformed),
            ("a.b".into(), Reason::TokenMalformed),
            ("a.b.c.d".into(), Reason::TokenMalformed),
            ("a.b.c.d.e".into(), Reason::TokenEncrypted),
            ("a.b.c.d.e.f".into(), Reason::TokenMalformed),
            (".".repeat(100_000), Reason::TokenMalformed),
            (format!("{good}="), Reason::TokenMalformed),
            (format!("{good}\n"), Reason::TokenMalformed),
            (format!(" {good}"), Reason::TokenMalformed),
            // `e30` is `{}`; `e31` decodes to the same bytes with loose bits set.
            ("e31.e30.c2ln".into(), Reason::TokenMalformed),
            ("e30.e30.c2l+".into(), Reason::TokenMalformed),
            (token("[]", "{}"), Reason::TokenMalformed),
            (token("{}", "null"), Reason::TokenMalformed),
            (token(r#"{"alg":"a","alg":"b"}"#, "{}"), Reason::TokenMalformed),
        ] {
            assert_eq!(
                reason(&text),
                Some(expected),
                "{}",
                text.chars().take(80).collect::<String>()
            );
        }
    }

    #[test]
    fn what_is_no_token_can_be_glimpsed_as_far_as_it_goes() {
        let good = token("{}", r#"{"iss":"x"}"#);
        let (whole, glimpsed) = (Parts::split(&good).unwrap(), Parts::glimpse(&good));
        assert_eq!(whole.payload, glimpsed.payload);
        assert_eq!(whole.signature, glimpsed.signature);
        let padded = Parts::glimpse("e30=.e31.c2+/");
        assert_eq!((&padded.header[..], &padded.payload[..]), (&b"{}"[..], &b"{}"[..]));
        assert_eq!(padded.signature.len(), 3);
        for nothing in ["", "..", "a", "e3~.e30", "\u{2026}"] {
            let parts = Parts::glimpse(nothing);
            assert!(parts.header.is_empty() && parts.signature.is_empty(), "{nothing}");
        }
    }

    #[test]
    fn a_header_that_asks_for_more_is_refused() {
        for header in [
            r#"{"crit":[]}"#,
            r#"{"crit":["exp"],"exp":1}"#,
            r#"{"b64":false}"#,
            r#"{"zip":"DEF"}"#,
            r#"{"cty":"JWT"}"#,
            r#"{"typ":"dpop+jwt"}"#,
            r#"{"typ":null}"#,
            r#"{"kid":7}"#,
        ] {
            assert_eq!(reason(&token(header, "{}")), Some(Reason::HeaderUnsupported), "{header}");
        }
        let long = format!(r#"{{"kid":"{}"}}"#, "k".repeat(MAX_KID + 1));
        assert_eq!(reason(&token(&long, "{}")), Some(Reason::HeaderUnsupported));
        for header in [r#"{"typ":"jwt","jku":"https://evil.example"}"#, r#"{"typ":"at+JWT"}"#] {
            assert_eq!(reason(&token(header, "{}")), None, "{header}");
        }
    }
}
