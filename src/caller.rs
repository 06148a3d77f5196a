//! Verified callers: a token is verified and identified once, then recognised until it expires,
//! its key goes, it is revoked, or memory is needed.
//!
//! A `Caller` in the cache proves nothing yet: only [`Callers::recognise`] makes an
//! [`Authenticated`], and it judges the times and the revocation list at that moment.

use std::sync::Arc;
use std::time::Duration;

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
}

impl Authenticated {
    /// Who is calling.
    #[must_use]
    pub const fn principal(&self) -> &Arc<Principal> {
        &self.principal
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
            .time_to_idle(FORGET_AFTER)
            .build_with_hasher(foldhash::fast::RandomState::default());
        Self { verifier, directory, known }
    }

    /// Who presents this token, if it is valid at `now`.
    pub async fn recognise(
        &self,
        token: &BearerToken,
        now: Timestamp,
    ) -> Result<Authenticated, Rejection> {
        let name = fingerprint(token);
        if let Some(caller) = self.known.get(&name).filter(|caller| caller.keys.holds()) {
            caller.validity.check(now)?;
            self.verifier.revocations().recheck(&caller.clearance, now)?;
            return Ok(caller.authenticated());
        }
        let caller = self.verify(token, now).await?;
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
        let identified = self.directory.identify(&verified)?;
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
        let principal = Arc::clone(&self.principal);
        Authenticated { principal, without_role: self.without_role.clone() }
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
/// A token that has not been seen for so long is verified again: a few microseconds.
const FORGET_AFTER: Duration = Duration::from_secs(3600);
