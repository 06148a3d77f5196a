//! The registered claims (RFC 7519, section 4.1) and their rules: an absent claim and one of the
//! wrong type are different refusals, and neither is ever taken for "not asked for".

use std::time::Duration;

use super::json::Json;
use crate::clock::Timestamp;
use crate::rejection::{Reason, Rejection};

/// The claims of a token as the rules read them. That they can be believed is what
/// [`super::VerifiedClaims`] proves.
#[derive(Debug)]
pub struct Claims<'a>(Json<'a>);

impl<'a> Claims<'a> {
    pub(super) const fn of(claims: Json<'a>) -> Self {
        Self(claims)
    }

    /// Whether the claim is there, whatever its value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.member(name).is_some()
    }

    /// The claim, whatever its value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.0.member(name)
    }

    /// The value at a JSON pointer.
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&Json<'a>> {
        self.0.pointer(pointer)
    }

    /// A claim that must be a string where it is present.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Rejection> {
        match self.0.member(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(other) => Err(invalid(name, "a string", other)),
        }
    }

    /// A claim that must be there and a string.
    pub fn required_text(&self, name: &str) -> Result<&str, Rejection> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// Whether `aud` (a string, or an array of strings) names one of `accepted`, exactly.
    pub fn check_audience(&self, accepted: &[String]) -> Result<(), Rejection> {
        let claim = self.0.member("aud").ok_or_else(|| missing("aud"))?;
        let audiences = strings(claim)
            .ok_or_else(|| invalid("aud", "a string or an array of strings", claim))?;
        if audiences.iter().any(|audience| accepted.iter().any(|ours| ours == audience)) {
            return Ok(());
        }
        let found = format!("aud is {audiences:?}, accepted are {accepted:?}");
        Err(Rejection::found_that(Reason::AudienceMismatch, found))
    }

    /// Whether `sub` and `jti` are strings where they are present (RFC 7519, sections 4.1.2 and
    /// 4.1.7), needed here or not: two readers of the token must not name it differently.
    pub fn check_names(&self) -> Result<(), Rejection> {
        for name in ["sub", "jti"] {
            self.text(name)?;
        }
        Ok(())
    }

    /// The times of the token. `exp` is always needed; `iat` and `nbf` as `needed` says, and they
    /// count wherever they are.
    pub fn validity(&self, needed: Needed, leeway: Duration) -> Result<Validity, Rejection> {
        let start = |name, needed| match self.time(name)? {
            Some(time) => Ok(time),
            None if needed => Err(missing(name)),
            None => Ok(Timestamp::from_unix(0)),
        };
        Ok(Validity {
            expires: self.time("exp")?.ok_or_else(|| missing("exp"))?,
            starts: start("nbf", needed == Needed::All)?,
            issued: start("iat", needed != Needed::ExpiryAlone)?,
            leeway,
        })
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, Rejection> {
        match self.0.member(name) {
            None => Ok(None),
            Some(Json::Number(seconds)) if (0.0..TOO_LATE).contains(seconds) => {
                Ok(Some(Timestamp::from_unix(whole(*seconds))))
            }
            Some(other) => Err(invalid(name, "a number of seconds from 0 to 2^53", other)),
        }
    }
}

/// Which times a token must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// `exp`, `iat` and `nbf`: Entra and Airflow always write them.
    All,
    /// `exp` and `iat`: what Airflow asks of the tokens of its tasks.
    ExpiryAndIssue,
    /// `exp`: all that every OpenID issuer writes of them.
    ExpiryAlone,
}

/// When a token may be used; kept with a verified caller, because time passes.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    expires: Timestamp,
    starts: Timestamp,
    issued: Timestamp,
    leeway: Duration,
}

impl Validity {
    /// `exp`, without the leeway.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// When the token was issued; the epoch where it does not say.
    #[must_use]
    pub const fn issued(&self) -> Timestamp {
        self.issued
    }

    /// Judges the times at `now`, giving both clocks the leeway.
    pub fn check(&self, now: Timestamp) -> Result<(), Rejection> {
        if now >= self.expires.after(self.leeway) {
            let ago = now.unix() - self.expires.unix();
            return Err(Rejection::found_that(Reason::TokenExpired, format!("{ago} s ago")));
        }
        let start = self.starts.max(self.issued);
        if now < start.before(self.leeway) {
            let ahead = start.unix() - now.unix();
            return Err(Rejection::found_that(
                Reason::TokenNotYetValid,
                format!("{ahead} s ahead"),
            ));
        }
        Ok(())
    }
}

/// A string, or an array of strings; anything else is `None`.
#[must_use]
pub fn strings<'j>(value: &'j Json<'_>) -> Option<Vec<&'j str>> {
    match value {
        Json::Text(text) => Some(vec![text]),
        Json::List(items) => items.iter().map(Json::text).collect(),
        _ => None,
    }
}

pub(super) fn missing(name: &str) -> Rejection {
    Rejection::found_that(Reason::ClaimMissing, format!("claim {name} is absent"))
}

pub(super) fn invalid(name: &str, expected: &str, found: &Json<'_>) -> Rejection {
    let found = match found {
        Json::Number(_) => "a number out of range",
        other => other.kind(),
    };
    let what = format!("claim {name} should be {expected}, found {found}");
    Rejection::found_that(Reason::ClaimInvalid, what)
}

/// 2^53: from here on a double no longer holds every whole number.
const TOO_LATE: f64 = 9_007_199_254_740_992.0;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to lie within [0, 2^53); a fraction is cut off"
)]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEEWAY: Duration = Duration::from_secs(60);

    fn validity(claims: &str) -> Result<Validity, Reason> {
        let claims = Claims::of(Json::parse(claims.as_bytes()).unwrap());
        claims.validity(Needed::All, LEEWAY).map_err(|rejection| rejection.reason())
    }

    #[test]
    fn times_are_numbers_within_range() {
        for value in ["\"1\"", "true", "null", "[]", "{}", "-1", "1e300", "9007199254740992"] {
            let claims = format!(r#"{{"exp":{value},"iat":0,"nbf":0}}"#);
            assert_eq!(validity(&claims).err(), Some(Reason::ClaimInvalid), "{value}");
        }
        for absent in [r#"{"iat":0,"nbf":0}"#, r#"{"exp":1,"nbf":0}"#, r#"{"exp":1,"iat":0}"#] {
            assert_eq!(validity(absent).err(), Some(Reason::ClaimMissing), "{absent}");
        }
        assert!(validity(r#"{"exp":1.5,"iat":0,"nbf":-0}"#).is_ok());
    }

    #[test]
    fn what_need_not_be_there_counts_where_it_is() {
        use Needed::{ExpiryAlone, ExpiryAndIssue};
        let validity = |claims: &str, needed| {
            let claims = Claims::of(Json::parse(claims.as_bytes()).unwrap());
            let validity = claims.validity(needed, LEEWAY);
            validity.and_then(|validity| validity.check(Timestamp::from_unix(1000)))
        };
        for (claims, needed, expected) in [
            (r#"{"exp":2000}"#, ExpiryAlone, None),
            (r#"{"exp":2000,"nbf":1500}"#, ExpiryAlone, Some(Reason::TokenNotYetValid)),
            (r#"{"exp":2000,"iat":"x"}"#, ExpiryAlone, Some(Reason::ClaimInvalid)),
            (r#"{"iat":1,"nbf":1}"#, ExpiryAlone, Some(Reason::ClaimMissing)),
            (r#"{"exp":2000,"iat":1}"#, ExpiryAndIssue, None),
            (r#"{"exp":2000,"iat":1,"nbf":1500}"#, ExpiryAndIssue, Some(Reason::TokenNotYetValid)),
            (r#"{"exp":2000,"nbf":1}"#, ExpiryAndIssue, Some(Reason::ClaimMissing)),
        ] {
            let verdict = validity(claims, needed).err().map(|rejection| rejection.reason());
            assert_eq!(verdict, expected, "{claims}");
        }
    }

    #[test]
    fn subject_and_id_are_strings_or_absent() {
        for value in ["1", "true", "null", "[]", "{}", r#"["x"]"#] {
            for name in ["sub", "jti"] {
                let text = format!(r#"{{"{name}":{value}}}"#);
                let claims = Claims::of(Json::parse(text.as_bytes()).unwrap());
                let verdict = claims.check_names();
                assert_eq!(verdict.err().map(|r| r.reason()), Some(Reason::ClaimInvalid), "{text}");
            }
        }
        for text in ["{}", r#"{"sub":"alice","jti":""}"#] {
            let claims = Claims::of(Json::parse(text.as_bytes()).unwrap());
            assert!(claims.check_names().is_ok(), "{text}");
        }
    }

    #[test]
    fn both_ends_have_the_leeway_and_no_more() {
        let validity = validity(r#"{"exp":2000,"iat":1000,"nbf":1000}"#).unwrap();
        for (now, expected) in [
            (939, Some(Reason::TokenNotYetValid)),
            (940, None),
            (2059, None),
            (2060, Some(Reason::TokenExpired)),
        ] {
            let verdict = validity.check(Timestamp::from_unix(now));
            assert_eq!(verdict.err().map(|r| r.reason()), expected, "{now}");
        }
    }

    #[test]
    fn an_audience_matches_exactly_or_not_at_all() {
        let accepted = ["api://a".to_owned()];
        for (aud, expected) in [
            (r#""api://a""#, None),
            (r#"["x","api://a"]"#, None),
            (r#""api://a/""#, Some(Reason::AudienceMismatch)),
            (r#""API://A""#, Some(Reason::AudienceMismatch)),
            ("[]", Some(Reason::AudienceMismatch)),
            (r#"["api://a",1]"#, Some(Reason::ClaimInvalid)),
            ("1", Some(Reason::ClaimInvalid)),
            ("null", Some(Reason::ClaimInvalid)),
            (r#"[["api://a"]]"#, Some(Reason::ClaimInvalid)),
        ] {
            let text = format!(r#"{{"aud":{aud}}}"#);
            let claims = Claims::of(Json::parse(text.as_bytes()).unwrap());
            let verdict = claims.check_audience(&accepted);
            assert_eq!(verdict.err().map(|r| r.reason()), expected, "{aud}");
        }
    }
}
