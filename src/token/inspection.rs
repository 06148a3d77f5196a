//! The checks of [`Verifier::verify`] one by one, past the first that fails: for whoever wants to
//! know what else is wrong with a token. Nothing here is a proof, and nothing is let in by it.

use std::sync::Arc;

use super::claims::Claims;
use super::jws::{self, Header, Parts};
use super::{Claimant, Issuer, Rules, Verifier, claimed, signed_by};
use crate::clock::Timestamp;
use crate::jwks::{Algorithm, KeyStore};
use crate::rejection::{Reason, Rejection};

/// One of the checks, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Three parts, strictly encoded.
    Shape,
    /// The JOSE header asks for nothing that is not supported.
    Header,
    /// An entry of the configuration claims it.
    Issuer,
    /// It is not made for Microsoft Graph.
    Graph,
    /// The entry takes this signature algorithm.
    Algorithm,
    /// The issuer has the key.
    Key,
    /// The key made the signature.
    Signature,
    /// It is an access token, and no other kind.
    Kind,
    /// `tid`, `iss`, `ver` and the key agree.
    Tenant,
    /// It has what narrows an issuer of everybody's.
    RequiredClaims,
    /// It is for this API.
    Audience,
    /// It holds now.
    Times,
    /// It has not been revoked.
    Revocation,
    /// Its client may call.
    Client,
}

/// How a check ended.
#[derive(Debug)]
pub enum Outcome {
    /// Well.
    Held,
    /// Badly.
    Failed(Rejection),
    /// It cannot be said, and why.
    Unjudged(&'static str),
}

/// What was found of a token.
#[derive(Debug)]
pub struct Inspection<'p> {
    /// The checks in their order.
    pub steps: Vec<(Check, Outcome)>,
    /// The JOSE header, where it can be read.
    pub header: Option<Header<'p>>,
    /// The claims, where they can be read, verified or not.
    pub claims: Option<Claims<'p>>,
    /// The entry that claims it, or else the one that seems to be meant.
    pub entry: Option<Entry>,
}

/// An entry of the configuration, against which a token was held.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place in the configuration.
    pub issuer: usize,
    /// Its keys for this token.
    pub keys: Arc<KeyStore>,
    /// Whether `iss` names it; otherwise it seems to be meant.
    pub named: bool,
}

/// Whose token it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// A caller's: all checks.
    Caller,
    /// A worker's: the checks up to the signature.
    Worker,
}

impl Inspection<'_> {
    /// How this check ended, if it was one of them.
    #[must_use]
    pub fn outcome(&self, check: Check) -> Option<&Outcome> {
        self.steps.iter().find(|(name, _)| *name == check).map(|(_, outcome)| outcome)
    }

    /// Whether the signature is that of a key of the entry, so that header and claims can be
    /// believed.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        matches!(self.outcome(Check::Signature), Some(Outcome::Held))
    }
}

impl Outcome {
    /// The same once more: a refusal belongs to whoever answers with it.
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Held => Self::Held,
            Self::Failed(rejection) => Self::Failed(rejection.again()),
            Self::Unjudged(why) => Self::Unjudged(why),
        }
    }
}

impl From<Result<(), Rejection>> for Outcome {
    fn from(verdict: Result<(), Rejection>) -> Self {
        match verdict {
            Ok(()) => Self::Held,
            Err(rejection) => Self::Failed(rejection),
        }
    }
}

impl Verifier {
    /// The entry that claims the token, or seems to be meant by it; nothing is verified.
    #[must_use]
    pub fn entry(&self, parts: &Parts) -> Option<Entry> {
        let json = parts.claims().ok()?;
        let named = self.claimant(&json).ok().cloned();
        let is_named = named.is_some();
        let claimant = named.or_else(|| {
            let header = parts.any_header().ok();
            self.presumed(&Claims::of(json), header.as_ref())
        })?;
        Some(Entry { issuer: claimant.issuer, keys: claimant.keys, named: is_named })
    }

    /// Goes through all checks of `text`, of which these are the parts, as far as they can be told
    /// apart.
    pub async fn inspect<'p>(
        &self,
        text: &str,
        parts: &'p Parts,
        bearer: Bearer,
        now: Timestamp,
    ) -> Inspection<'p> {
        let shape = Parts::split(text).map(drop);
        let whole = shape.is_ok();
        let header = parts.any_header();
        let mut steps = vec![(Check::Shape, shape.into())];
        let json = parts.claims();
        steps.push((Check::Header, header_outcome(header.as_ref(), json.as_ref().err(), whole)));
        let header = header.ok();
        let issuer = match &json {
            Ok(json) => self.claimant(json).map(drop).into(),
            Err(_) => Outcome::Unjudged("the claims cannot be read"),
        };
        let named = json.as_ref().ok().and_then(|json| self.claimant(json).ok()).cloned();
        let is_named = named.is_some();
        steps.push((Check::Issuer, issuer));
        let claims = json.ok().map(Claims::of);
        let presume = || self.presumed(claims.as_ref()?, header.as_ref());
        let Some(claimant) = named.or_else(presume) else {
            steps.extend(rest(bearer, "there is no entry to hold it against"));
            return Inspection { steps, header, claims, entry: None };
        };
        let entry =
            Entry { issuer: claimant.issuer, keys: Arc::clone(&claimant.keys), named: is_named };
        if let (Some(issuer), Some(claims)) = (self.issuer(claimant.issuer), &claims) {
            let against = Against { verifier: self, claimant: &claimant, issuer, named: is_named };
            let key_issuer =
                against.signature(text, parts, header.as_ref(), whole, &mut steps).await;
            if bearer == Bearer::Caller {
                against.claims(claims, header.as_ref(), key_issuer.as_deref(), now, &mut steps);
            }
        }
        Inspection { steps, header, claims, entry: Some(entry) }
    }

    /// The entry that a token of nobody's seems to be meant for.
    fn presumed(&self, claims: &Claims<'_>, header: Option<&Header<'_>>) -> Option<Claimant> {
        let iss = claims.text("iss").ok().flatten();
        let algorithm = header.and_then(Header::algorithm).unwrap_or_default();
        let entras = claims.has("tid") || iss.is_some_and(is_microsofts);
        let airflows = algorithm.starts_with("HS") || iss.is_none();
        let fits = |issuer: &&Issuer| match issuer.rules {
            Rules::Entra(_) => entras,
            Rules::Airflow(_) => airflows && !entras,
            Rules::Oidc(_) => false,
        };
        let index = self.issuers.iter().position(|issuer| fits(&issuer))?;
        let tid = claims.text("tid").ok().flatten();
        let all = claimed(&self.issuer(index)?.rules);
        let own = all.iter().find(|(_, tenant, _)| Some(tenant.as_ref()) == tid);
        let (_, tenant, keys) = own.or_else(|| all.first())?.clone();
        Some(Claimant { issuer: index, tenant, keys })
    }
}

/// The entry that a token is held against.
struct Against<'v> {
    verifier: &'v Verifier,
    claimant: &'v Claimant,
    issuer: &'v Issuer,
    named: bool,
}

impl Against<'_> {
    /// From the header to the signature; gives the issuer that the key names.
    async fn signature(
        &self,
        text: &str,
        parts: &Parts,
        header: Option<&Header<'_>>,
        whole: bool,
        steps: &mut Vec<(Check, Outcome)>,
    ) -> Option<String> {
        let Some(header) = header else {
            for check in [Check::Algorithm, Check::Key, Check::Signature] {
                steps.push((check, Outcome::Unjudged("the header cannot be read")));
            }
            return None;
        };
        if let Rules::Entra(_) = self.issuer.rules {
            steps.push((Check::Graph, self.issuer.refuse_graph(header).into()));
        }
        let algorithm = self.issuer.algorithm(header);
        let known = algorithm.as_ref().ok().copied();
        steps.push((Check::Algorithm, algorithm.map(drop).into()));
        let message = jws::signing_input(text);
        let verdict = match known.filter(|_| whole) {
            Some(algorithm) => {
                self.by_key(header.kid(), algorithm, message, parts.signature()).await
            }
            None => self.key_alone(header.kid()).await.map(|()| None),
        };
        let unjudged =
            if whole { "the algorithm is not allowed" } else { "the token is not whole" };
        let (key, signature) = match &verdict {
            Ok(_) if known.is_none() || !whole => (Outcome::Held, Outcome::Unjudged(unjudged)),
            Ok(_) => (Outcome::Held, Outcome::Held),
            Err(rejection) if rejection.reason() == Reason::SignatureInvalid => {
                (Outcome::Held, Outcome::Failed(rejection.again()))
            }
            Err(rejection) => {
                (Outcome::Failed(rejection.again()), Outcome::Unjudged("there is no key for it"))
            }
        };
        steps.extend([(Check::Key, key), (Check::Signature, signature)]);
        verdict.ok().flatten()
    }

    async fn by_key(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<Option<String>, Rejection> {
        let judge = |keys: &mut dyn Iterator<Item = &_>| {
            signed_by(keys, algorithm, message, signature, |_| true)
        };
        self.claimant.keys.judge(kid, judge).await.map(|(of_key, _)| of_key)
    }

    async fn key_alone(&self, kid: Option<&str>) -> Result<(), Rejection> {
        self.claimant.keys.judge(kid, |_| Ok(())).await.map(drop)
    }

    fn claims(
        &self,
        claims: &Claims<'_>,
        header: Option<&Header<'_>>,
        key_issuer: Option<&str>,
        now: Timestamp,
        steps: &mut Vec<(Check, Outcome)>,
    ) {
        let rules = &self.issuer.rules;
        steps.push((Check::Kind, rules.check_kind(claims).into()));
        let origin = match rules {
            Rules::Entra(_) => Some(Check::Tenant),
            Rules::Oidc(_) => Some(Check::RequiredClaims),
            Rules::Airflow(_) => None,
        };
        if let Some(check) = origin {
            let verdict = || rules.check_origin(claims, &self.claimant.tenant, key_issuer).into();
            let outcome = if self.named { verdict() } else { Outcome::Unjudged(NOT_NAMED) };
            steps.push((check, outcome));
        }
        steps.push((Check::Audience, claims.check_audience(&self.issuer.audiences).into()));
        let times = self.verifier.check_times(self.issuer, claims, now);
        steps.push((Check::Times, times.map(drop).into()));
        let cleared = match header {
            Some(header) if self.named => {
                self.verifier.clear(self.claimant, claims, header, now).map(drop).into()
            }
            _ => Outcome::Unjudged(NOT_NAMED),
        };
        steps.push((Check::Revocation, cleared));
        if let Rules::Entra(_) = rules {
            steps.push((Check::Client, rules.check_client(claims).into()));
        }
    }
}

const NOT_NAMED: &str = "the issuer is not the entry's";

/// Hosts at which Microsoft's tokens are issued.
fn is_microsofts(iss: &str) -> bool {
    ["sts.windows.net", "login.microsoftonline.", "sts.chinacloudapi.cn"]
        .iter()
        .any(|host| iss.contains(host))
}

/// A part that cannot be read is the first step's failure where that did not say so: it looks at the
/// encoding alone.
fn header_outcome(
    header: Result<&Header<'_>, &Rejection>,
    claims: Option<&Rejection>,
    whole: bool,
) -> Outcome {
    match (header, claims) {
        (Ok(header), None) => header.check().into(),
        (Ok(header), Some(unreadable)) => match header.check() {
            Ok(()) if whole => Outcome::Failed(unreadable.again()),
            Ok(()) => Outcome::Held,
            Err(rejection) => Outcome::Failed(rejection),
        },
        (Err(unreadable), _) if whole => Outcome::Failed(unreadable.again()),
        (Err(_), _) => Outcome::Unjudged("the header cannot be read"),
    }
}

fn rest(bearer: Bearer, why: &'static str) -> impl Iterator<Item = (Check, Outcome)> {
    let signature = [Check::Algorithm, Check::Key, Check::Signature];
    let claims = [Check::Kind, Check::Audience, Check::Times];
    let claims = claims.into_iter().filter(move |_| bearer == Bearer::Caller);
    signature.into_iter().chain(claims).map(move |check| (check, Outcome::Unjudged(why)))
}
