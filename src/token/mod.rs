//! From a bearer token to [`VerifiedClaims`], in the order in which reasons are given: shape,
//! header, issuer, algorithm, kid, signature, kind, tenant, audience, times, revocation, client.
//!
//! [`jws`] takes the token apart, [`json`] reads it strictly, [`claims`] has the registered claims,
//! [`entra`], [`airflow`] and [`oidc`] have the rules of the kinds of issuer. Those of workers are
//! credentials of another kind, with rules of their own ([`worker`]), and nobody's identity.
//! [`inspection`] goes through the same checks past the first that fails, for who wants to know.

pub mod airflow;
pub mod claims;
pub mod entra;
pub mod inspection;
pub mod json;
pub mod jws;
pub mod oidc;
pub mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::credential::BearerToken;
use crate::jwks::{Algorithm, Key, KeyStamp, KeyStore};
use crate::rejection::{Reason, Rejection};
use crate::revocation::{Clearance, Revocations};
use claims::{Claims, Needed, Validity};
use json::Json;
use jws::{Header, Parts};
use worker::Specimen;

/// One configured issuer: who it is, what it signs with, and the rules for its tokens.
#[derive(Debug)]
pub struct Issuer {
    /// The name of the configuration entry.
    pub name: Arc<str>,
    /// The accepted `aud` values.
    pub audiences: Vec<String>,
    /// The accepted signature algorithms.
    pub algorithms: Vec<Algorithm>,
    /// The rules of its kind.
    pub rules: Rules,
}

/// What a token of this issuer must be.
#[derive(Debug)]
pub enum Rules {
    /// Microsoft Entra ID.
    Entra(entra::Rules),
    /// Airflow itself.
    Airflow(airflow::Rules),
    /// Any OpenID issuer.
    Oidc(oidc::Rules),
}

impl Rules {
    const fn needed_times(&self) -> Needed {
        match self {
            Self::Entra(_) | Self::Airflow(_) => Needed::All,
            Self::Oidc(_) => Needed::ExpiryAlone,
        }
    }

    /// Whether it is a token for calling an API with.
    fn check_kind(&self, claims: &Claims<'_>) -> Result<(), Rejection> {
        match self {
            Self::Entra(_) => entra::check_kind(claims),
            Self::Airflow(_) => airflow::check_kind(claims),
            Self::Oidc(_) => oidc::Rules::check_kind(claims),
        }
    }

    /// Whether it is of the tenant that `iss` named, or of those to whom an issuer of everybody's is
    /// narrowed.
    fn check_origin(
        &self,
        claims: &Claims<'_>,
        tenant: &str,
        key_issuer: Option<&str>,
    ) -> Result<(), Rejection> {
        match self {
            Self::Entra(rules) => rules.check_tenant(claims, tenant, key_issuer),
            Self::Airflow(_) => Ok(()),
            Self::Oidc(rules) => rules.check_required(claims),
        }
    }

    fn check_client(&self, claims: &Claims<'_>) -> Result<(), Rejection> {
        match self {
            Self::Entra(rules) => rules.check_client(claims),
            Self::Airflow(_) | Self::Oidc(_) => Ok(()),
        }
    }
}

/// Claims of which signature, algorithm, issuer, audience, times and revocation have been checked.
#[derive(Debug)]
pub struct VerifiedClaims<'a> {
    issuer: usize,
    claims: Claims<'a>,
    validity: Validity,
    keys: KeyStamp,
    clearance: Clearance,
}

impl<'a> VerifiedClaims<'a> {
    /// The place of the issuer in the configuration.
    #[must_use]
    pub const fn issuer(&self) -> usize {
        self.issuer
    }

    /// The claims.
    #[must_use]
    pub const fn claims(&self) -> &Claims<'a> {
        &self.claims
    }

    /// When the token may be used.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The key set that verified it.
    #[must_use]
    pub const fn keys(&self) -> &KeyStamp {
        &self.keys
    }

    /// What it takes to ask again whether the token has been revoked.
    #[must_use]
    pub fn into_clearance(self) -> Clearance {
        self.clearance
    }
}

/// Judges tokens against the configured issuers.
#[derive(Debug)]
pub struct Verifier {
    issuers: Vec<Issuer>,
    by_iss: HashMap<String, Claimant>,
    without_iss: Option<Claimant>,
    leeway: Duration,
    revocations: Arc<Revocations>,
    ours: Vec<Specimen>,
}

/// What a signature vouches for, before any claim has been looked at.
struct Signed<'v, 'p> {
    claimant: &'v Claimant,
    issuer: &'v Issuer,
    header: Header<'p>,
    claims: Claims<'p>,
    key_issuer: Option<String>,
    keys: KeyStamp,
}

/// Who claims a token: an issuer entry, and for Entra which tenant of it and which keys.
#[derive(Clone, Debug)]
struct Claimant {
    issuer: usize,
    tenant: Arc<str>,
    keys: Arc<KeyStore>,
}

/// Two entries would claim the same token.
#[derive(Debug, PartialEq, Eq)]
pub struct Contested {
    /// The entry that came first.
    pub first: usize,
    /// The entry that claims the same.
    pub second: usize,
    /// The `iss` both claim; `None` for tokens without one.
    pub iss: Option<String>,
}

impl Verifier {
    /// A verifier of `issuers`; `leeway` is given on every time claim.
    pub fn new(issuers: Vec<Issuer>, leeway: Duration) -> Result<Self, Contested> {
        let mut verifier = Self {
            issuers: Vec::new(),
            by_iss: HashMap::new(),
            without_iss: None,
            leeway,
            revocations: Arc::new(Revocations::none()),
            ours: Vec::new(),
        };
        for (index, issuer) in issuers.iter().enumerate() {
            for (iss, tenant, keys) in claimed(&issuer.rules) {
                verifier.register(iss, Claimant { issuer: index, tenant, keys })?;
            }
        }
        verifier.issuers = issuers;
        Ok(verifier)
    }

    /// Refuses what is on this list, whose issuers are in the order of the verifier's.
    #[must_use]
    pub fn watching(self, revocations: Arc<Revocations>) -> Self {
        Self { revocations, ..self }
    }

    /// Takes nothing that these keys of our own signed for the token of a task, wherever Airflow
    /// has been told to trust them.
    #[must_use]
    pub fn without(self, ours: Vec<Specimen>) -> Self {
        Self { ours, ..self }
    }

    /// The list of what is refused although it verifies.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    fn register(&mut self, iss: Option<String>, claimant: Claimant) -> Result<(), Contested> {
        let second = claimant.issuer;
        let earlier = match &iss {
            Some(iss) => self.by_iss.insert(iss.clone(), claimant),
            None => self.without_iss.replace(claimant),
        };
        match earlier {
            None => Ok(()),
            Some(earlier) => Err(Contested { first: earlier.issuer, second, iss }),
        }
    }

    /// The issuer at a place in the configuration.
    #[must_use]
    pub fn issuer(&self, index: usize) -> Option<&Issuer> {
        self.issuers.get(index)
    }

    /// The issuers, in the order of the configuration.
    #[must_use]
    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// What clocks may differ by.
    #[must_use]
    pub const fn leeway(&self) -> Duration {
        self.leeway
    }

    /// Whether the token says it is one that Airflow issued; nothing is verified.
    #[must_use]
    pub fn looks_like_airflows(&self, token: &BearerToken) -> bool {
        let claims_airflow = |parts: Parts| -> Result<bool, Rejection> {
            let claims = parts.claims()?;
            let issuer = self.issuer(self.claimant(&claims)?.issuer);
            Ok(issuer.is_some_and(|issuer| matches!(issuer.rules, Rules::Airflow(_))))
        };
        Parts::split(token.expose()).and_then(claims_airflow).unwrap_or(false)
    }

    /// Verifies the token. Waits for the network only where its `kid` is unknown and a fetch is
    /// allowed.
    pub async fn verify<'p>(
        &self,
        token: &BearerToken,
        parts: &'p Parts,
        now: Timestamp,
    ) -> Result<VerifiedClaims<'p>, Rejection> {
        let signed = self.signed(token, parts, |_| Ok(()), |_| true).await?;
        let issuer = &signed.issuer.name;
        self.accept(signed, now).map_err(|rejection| rejection.of_token_from(issuer))
    }

    /// Kind, tenant, audience, times, revocation and client.
    fn accept<'p>(
        &self,
        signed: Signed<'_, 'p>,
        now: Timestamp,
    ) -> Result<VerifiedClaims<'p>, Rejection> {
        let Signed { claimant, issuer, header, claims, key_issuer, keys } = signed;
        issuer.rules.check_kind(&claims)?;
        issuer.rules.check_origin(&claims, &claimant.tenant, key_issuer.as_deref())?;
        claims.check_audience(&issuer.audiences)?;
        let validity = self.check_times(issuer, &claims, now)?;
        let clearance = self.clear(claimant, &claims, &header, now)?;
        issuer.rules.check_client(&claims)?;
        Ok(VerifiedClaims { issuer: claimant.issuer, claims, validity, keys, clearance })
    }

    fn check_times(
        &self,
        issuer: &Issuer,
        claims: &Claims<'_>,
        now: Timestamp,
    ) -> Result<Validity, Rejection> {
        let validity = claims.validity(issuer.rules.needed_times(), self.leeway)?;
        validity.check(now)?;
        Ok(validity)
    }

    /// That the token has not been revoked, by names that are what they should be.
    fn clear(
        &self,
        claimant: &Claimant,
        claims: &Claims<'_>,
        header: &Header<'_>,
        now: Timestamp,
    ) -> Result<Clearance, Rejection> {
        claims.check_names()?;
        let text = |name: &str| claims.text(name).ok().flatten();
        self.revocations.clear(claimant.issuer, text, header.kid(), now)
    }

    /// Header, issuer, algorithm, kid and signature: `issuer_fits` and `key_fits` say whether they
    /// are of use here.
    async fn signed<'p>(
        &self,
        token: &BearerToken,
        parts: &'p Parts,
        issuer_fits: impl Fn(&Issuer) -> Result<(), Rejection>,
        key_fits: impl Fn(&Key) -> bool,
    ) -> Result<Signed<'_, 'p>, Rejection> {
        let header = parts.header()?;
        let claims = parts.claims()?;
        let claimant = self.claimant(&claims)?;
        let Some(issuer) = self.issuer(claimant.issuer) else {
            return Err(Reason::IssuerUnknown.into());
        };
        let judged = async {
            issuer_fits(issuer)?;
            issuer.refuse_graph(&header)?;
            let algorithm = issuer.algorithm(&header)?;
            let message = jws::signing_input(token.expose());
            let judged = claimant.keys.judge(header.kid(), |keys| {
                signed_by(keys, algorithm, message, parts.signature(), &key_fits)
            });
            judged.await
        };
        let judged = judged.await.map_err(|rejection| rejection.of_token_from(&issuer.name));
        let (key_issuer, keys) = judged?;
        let claims = Claims::of(claims);
        Ok(Signed { claimant, issuer, header, claims, key_issuer, keys })
    }

    /// The entry that the unverified `iss` names; never a place to fetch anything from.
    fn claimant(&self, claims: &Json<'_>) -> Result<&Claimant, Rejection> {
        let (claimant, found) = match claims.member("iss") {
            Some(Json::Text(iss)) => (self.by_iss.get(iss.as_ref()), format!("iss {iss:?}")),
            // Airflow 3.0 writes an empty list (airflow-core, api_fastapi/auth/tokens.py).
            None => (self.without_iss.as_ref(), "no iss".into()),
            Some(Json::List(items)) if items.is_empty() => {
                (self.without_iss.as_ref(), "iss []".into())
            }
            Some(other) => (None, format!("iss is {}", other.kind())),
        };
        claimant.ok_or_else(|| Rejection::found_that(Reason::IssuerUnknown, found))
    }
}

/// The `iss` values that an issuer's tokens may carry, each with its tenant and keys.
fn claimed(rules: &Rules) -> Vec<(Option<String>, Arc<str>, Arc<KeyStore>)> {
    match rules {
        Rules::Entra(rules) => rules
            .issuers()
            .map(|(iss, tenant)| (Some(iss), Arc::clone(&tenant.id), Arc::clone(&tenant.keys)))
            .collect(),
        Rules::Airflow(rules) => {
            vec![(rules.issuer.clone(), Arc::default(), Arc::clone(&rules.keys))]
        }
        Rules::Oidc(rules) => {
            vec![(Some(rules.issuer.clone()), Arc::default(), Arc::clone(&rules.keys))]
        }
    }
}

impl Issuer {
    /// The accepted `aud` values of the tokens of its tasks; none where it has no tasks.
    fn task_audiences(&self) -> &[String] {
        match &self.rules {
            Rules::Airflow(rules) => &rules.task_audiences,
            Rules::Entra(_) | Rules::Oidc(_) => &[],
        }
    }

    /// A token of Entra's for Graph is known by its header.
    fn refuse_graph(&self, header: &Header<'_>) -> Result<(), Rejection> {
        match self.rules {
            Rules::Entra(_) => entra::refuse_graph(header),
            Rules::Airflow(_) | Rules::Oidc(_) => Ok(()),
        }
    }

    /// The algorithm that the header names, if it is on the list; by exact case.
    fn algorithm(&self, header: &Header<'_>) -> Result<Algorithm, Rejection> {
        let found = header.algorithm();
        let allowed = self.algorithms.iter().find(|allowed| Some(allowed.name()) == found);
        allowed.copied().ok_or_else(|| {
            let what = format!("alg {found:?}, allowed are {:?}", self.algorithms);
            Rejection::found_that(Reason::AlgorithmNotAllowed, what)
        })
    }
}

/// The `issuer` that the key which made the signature names, if any.
fn signed_by(
    keys: &mut dyn Iterator<Item = &Key>,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
    key_fits: impl Fn(&Key) -> bool,
) -> Result<Option<String>, Rejection> {
    let mut fits = false;
    for key in keys {
        fits |= key.fits(algorithm);
        if key.verifies(algorithm, message, signature) {
            if key_fits(key) {
                return Ok(key.issuer().map(str::to_owned));
            }
            let found = "signed with a key of airside's own";
            return Err(Rejection::found_that(Reason::KeyUnknown, found));
        }
    }
    if fits {
        return Err(Reason::SignatureInvalid.into());
    }
    let found = format!("the key is not for {}", algorithm.name());
    Err(Rejection::found_that(Reason::AlgorithmNotAllowed, found))
}
