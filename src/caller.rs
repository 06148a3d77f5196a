//! Verified callers: a token is verified and identified once, then recognised until it expires,
//! its key goes, it is revoked, or memory is needed.
//!
//! A `Caller` in the cache proves nothing yet: only [`Callers::recognise`] makes an
//! [`Authenticated`], and it judges the times and the revocation list at that moment.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use moka::sync::Cache;

use crate::clock::Timestamp;
use crate::credential::BearerToken;
use crate::identity::{Directory, Principal};
use crate::jwks::KeyStamp;
use crate::rejection::Rejection;
use crate::revocation::Clearance;
use crate::token::Verifier;
use crate::token::claims::Validity;
use crate::token::jws::Parts;

/// What is known of a token that has been verified once.
#[derive(Debug)]
struct Caller {
    principal: Arc<Principal>,
    without_role: Option<Arc<str>>,
    validity: Validity,
    keys: KeyStamp,
    clearance: Clearance,
}

/// Proof that the token of this request is valid now, and whose it is.
#[derive(Clone, Debug)]
pub struct Authenticated {
    principal: Arc<Principal>,
    without_role: Option<Arc<str>>,
    expires: Timestamp,
    issued_at: Timestamp,
}

impl Authenticated {
    /// Who is calling.
    #[must_use]
    pub const fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// When the token of this request expires, leeway not counted.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// When the token was issued: of two, the later one says what is so now.
    #[must_use]
    pub const fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// Why the caller has no role, for the log.
    #[must_use]
    pub fn without_role(&self) -> Option<&str> {
        self.without_role.as_deref()
    }
}

/// Recognises callers by their tokens.
#[derive(Debug)]
pub struct Callers {
    verifier: Verifier,
    directory: Directory,
    known: Cache<[u8; 32], Arc<Caller>, foldhash::fast::RandomState>,
}

impl Callers {
    /// Callers of the issuers of `verifier`, mapped by `directory`.
    #[must_use]
    pub fn new(verifier: Verifier, directory: Directory) -> Self {
        let known = Cache::builder()
            .max_capacity(MOST_BYTES / BYTES_EACH)
            .build_with_hasher(foldhash::fast::RandomState::default());
        Self { verifier, directory, known }
    }

    /// What judges tokens that have not been seen yet.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// What turns claims into callers.
    #[must_use]
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Who presents this token, if it is valid at `now`.
    pub async fn recognise(
        &self,
        token: &BearerToken,
        now: Timestamp,
    ) -> Result<Authenticated, Rejection> {
        let name = fingerprint(token);
        if let Some(caller) = self.known.get(&name).filter(|caller| caller.keys.holds()) {
            let still = caller.validity.check(now);
            let still =
                still.and_then(|()| self.verifier.revocations().recheck(&caller.clearance, now));
            still.map_err(|rejection| rejection.of_token_from(caller.principal.issuer()))?;
            return Ok(caller.authenticated());
        }
        // Boxed: what is done once for a token must not make the state of every request larger.
        let caller = Box::pin(self.verify(token, now)).await?;
        let authenticated = caller.authenticated();
        self.known.insert(name, Arc::new(caller));
        Ok(authenticated)
    }

    /// Who presents this token, if Airflow issued it and it is valid at `now`. Costs nothing but a
    /// look for other issuers' tokens.
    pub async fn recognise_airflows(
        &self,
        token: &BearerToken,
        now: Timestamp,
    ) -> Option<Authenticated> {
        if !self.verifier.looks_like_airflows(token) {
            return None;
        }
        self.recognise(token, now).await.ok()
    }

    async fn verify(&self, token: &BearerToken, now: Timestamp) -> Result<Caller, Rejection> {
        let parts = Parts::split(token.expose())?;
        let verified = self.verifier.verify(token, &parts, now).await?;
        let identified = self.directory.identify(&verified).map_err(|rejection| {
            match self.verifier.issuer(verified.issuer()) {
                Some(issuer) => rejection.of_token_from(&issuer.name),
                None => rejection,
            }
        })?;
        Ok(Caller {
            principal: identified.principal,
            without_role: identified.without_role.map(Arc::from),
            validity: verified.validity(),
            keys: verified.keys().clone(),
            clearance: verified.into_clearance(),
        })
    }
}

impl Caller {
    /// Only after its times and the revocation list have been judged.
    fn authenticated(&self) -> Authenticated {
        Authenticated {
            principal: Arc::clone(&self.principal),
            without_role: self.without_role.clone(),
            expires: self.validity.expires(),
            issued_at: self.validity.issued(),
        }
    }
}

/// The whole token decides, and no token is kept in memory.
fn fingerprint(token: &BearerToken) -> [u8; 32] {
    let mut name = [0; 32];
    name.copy_from_slice(digest(&SHA256, token.expose().as_bytes()).as_ref());
    name
}

/// What the cache may hold.
const MOST_BYTES: u64 = 32 << 20;
/// A caller, its digest and moka's entry, rounded up.
const BYTES_EACH: u64 = 512;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_lc_rs::hmac;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;
    use crate::credential;
    use crate::identity::{Held, Mapping, Origin};
    use crate::jwks::{Algorithm, Key, KeySet, KeyStore};
    use crate::rejection::Reason;
    use crate::secret::Secret;
    use crate::token::{Issuer, Rules, airflow};

    const SECRET: &[u8] = b"a secret of sixty-four bytes and more, for HS512 and for tests alone";
    const LEEWAY: Duration = Duration::from_secs(60);
    const DAY: u64 = 24 * 3600;

    fn callers() -> Callers {
        let keys = KeySet::single(Key::hs512(&Secret::new(SECRET)));
        let name: Arc<str> = "airflow".into();
        let keys = Arc::new(KeyStore::fixed(Arc::clone(&name), keys));
        let issuer = Issuer {
            name: Arc::clone(&name),
            audiences: vec!["apache-airflow".to_owned()],
            algorithms: vec![Algorithm::Hs512],
            rules: Rules::Airflow(airflow::Rules { issuer: None, keys, task_audiences: vec![] }),
        };
        let mapping = Mapping {
            issuer: name,
            username_claim: "sub".to_owned(),
            username_prefix: String::new(),
            origin: Origin::Airflow,
        };
        let verifier = Verifier::new(vec![issuer], LEEWAY).unwrap();
        Callers::new(verifier, Directory::new(vec![mapping], Held::Highest, None))
    }

    /// Good from 100,000 to 200,000.
    fn token() -> BearerToken {
        let claims = json!({
            "sub": "alice", "aud": "apache-airflow", "iat": 100_000, "nbf": 100_000, "exp": 200_000,
        });
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(json!({"alg": "HS512"})), part(claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, SECRET), input.as_bytes());
        let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag));
        credential::read_subject(&token, usize::MAX).unwrap()
    }

    /// The clock goes on, is set forward by a day, and back by two.
    #[tokio::test]
    async fn a_remembered_caller_is_judged_by_the_clock_of_each_use() {
        let (callers, token) = (callers(), token());
        for (now, expected) in [
            (150_000, None),
            (200_059, None),
            (200_060, Some(Reason::TokenExpired)),
            (150_000 + DAY, Some(Reason::TokenExpired)),
            (150_000, None),
            (150_000 - DAY, Some(Reason::TokenNotYetValid)),
            (99_939, Some(Reason::TokenNotYetValid)),
            (99_940, None),
            (0, Some(Reason::TokenNotYetValid)),
            (u64::MAX, Some(Reason::TokenExpired)),
            (150_000, None),
        ] {
            let verdict = callers.recognise(&token, Timestamp::from_unix(now)).await;
            assert_eq!(verdict.err().map(|r| r.reason()), expected, "{now}");
            callers.known.run_pending_tasks();
            assert_eq!(callers.known.entry_count(), 1, "remembered all the while");
        }
    }
}
