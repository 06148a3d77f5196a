//! What Airflow is told: the only place that makes an [`UpstreamRequest`], and it takes a proof for
//! each. Either policy granted the request to a caller, or the path is one that goes without an
//! identity of ours.

pub mod airflow_token;
pub mod answers;
pub mod assertion;
pub mod fab;
pub mod rehearsal;
pub mod signing;

use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::Incoming;

use crate::caller::Authenticated;
use crate::clock::Timestamp;
use crate::identity::Principal;
use crate::policy::{Carrier, Delegated, Entitled, Errand, Granted, Switch};
use crate::rejection::{Reason, Rejection};
use crate::route::{OpenRoute, UntouchedRoute};
use crate::sanitize::Inbound;
use crate::token::worker::Specimen;
use airflow_token::{Minter, Subject};
use assertion::Asserter;
use fab::Fab;
use signing::SigningKey;

/// A request that Airflow may see: it carries our statement, or none.
#[derive(Debug)]
pub struct UpstreamRequest<B = Incoming> {
    parts: Parts,
    body: B,
    bearer: Bearer,
    switch: Option<Switch>,
}

/// Under whose Authorization the request goes.
#[derive(Debug)]
pub enum Bearer {
    /// None: open, or a browser's session.
    None,
    /// The caller's own, of a scheme that Airflow judges, as it came.
    Delegated,
    /// One that Airflow issued, as it came.
    Airflows,
    /// One that we signed for this principal.
    Ours(Arc<Principal>),
    /// The caller's, which stayed here: our headers say who is calling.
    Removed,
}

impl<B> UpstreamRequest<B> {
    const fn new(parts: Parts, body: B, bearer: Bearer) -> Self {
        Self { parts, body, bearer, switch: None }
    }

    /// Head, body, whose bearer it carries, and permission to go on as a WebSocket if it has one,
    /// for the wire.
    #[must_use]
    pub fn into_parts(self) -> (Parts, B, Bearer, Option<Switch>) {
        (self.parts, self.body, self.bearer, self.switch)
    }
}

/// A token that a caller is given.
pub struct Issued {
    /// The compact JWS.
    pub token: String,
    /// How long it is good for.
    pub lifetime: Duration,
}

impl UpstreamRequest<Bytes> {
    /// A request of our own, under an identity of our own.
    const fn own(parts: Parts, body: Bytes) -> Self {
        Self::new(parts, body, Bearer::None)
    }
}

/// Airflow, for requests of our own.
pub trait Airflow {
    /// Sends the request and gives the whole answer, or why there is none.
    fn ask(
        &self,
        request: UpstreamRequest<Bytes>,
    ) -> impl Future<Output = Result<Response<Bytes>, Rejection>>;
}

/// How identities are handed to Airflow.
#[derive(Debug)]
pub struct Handoff {
    /// What takes the place of the caller's token.
    pub token: Token,
    /// Signs who is calling, for a verifier on Airflow's side.
    pub asserter: Option<Asserter>,
    /// The names of the identity headers.
    pub headers: IdentityHeaders,
    /// Whether browser sessions may reach Airflow.
    pub cookies: Cookies,
}

/// What takes the place of the caller's token.
#[derive(Debug)]
pub enum Token {
    /// Nothing: the headers alone say who is calling.
    None,
    /// One that Airflow with `SimpleAuthManager` accepts as its own.
    Simple(Box<Minter>),
    /// One that Airflow with FAB accepts as its own, for a user that FAB has.
    Fab(Box<Fab>),
}

/// The names of the headers that say who is calling.
#[derive(Clone, Debug)]
pub struct IdentityHeaders {
    /// The user name.
    pub user: HeaderName,
    /// The Airflow roles, joined by commas.
    pub roles: HeaderName,
    /// The name of the issuer's entry.
    pub issuer: HeaderName,
    /// The signed assertion.
    pub assertion: HeaderName,
}

impl IdentityHeaders {
    /// All four, for the sanitizer.
    #[must_use]
    pub fn all(&self) -> [HeaderName; 4] {
        [&self.user, &self.roles, &self.issuer, &self.assertion].map(HeaderName::clone)
    }
}

/// What becomes of cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookies {
    /// They go to Airflow where no Authorization counts.
    Pass,
    /// They are removed on every path.
    Remove,
}

impl Handoff {
    /// By what the keys that sign here are known again.
    #[must_use]
    pub fn specimens(&self) -> Vec<Specimen> {
        let minter = match &self.token {
            Token::None => None,
            Token::Simple(minter) => Some(minter.as_ref()),
            Token::Fab(fab) => Some(fab.minter()),
        };
        let keys = minter.map(Minter::key).into_iter();
        let keys = keys.chain(self.asserter.iter().map(Asserter::key));
        keys.filter_map(SigningKey::specimen).collect()
    }

    /// A granted request: under the caller's own token where Airflow issued it, otherwise under a
    /// statement of ours. Where Airflow has to know the caller first, it is asked.
    pub async fn as_caller<B>(
        &self,
        granted: Granted<B>,
        now: Timestamp,
        airflow: &impl Airflow,
    ) -> Result<UpstreamRequest<B>, Rejection> {
        let (request, caller, switch) = granted.into_parts();
        let (mut parts, body) = request.into_parts();
        let principal = caller.principal();
        let bearer = if principal.issued_by_airflow() {
            Bearer::Airflows
        } else {
            self.state(&mut parts, &caller, now, airflow).await?
        };
        parts.headers.remove(COOKIE);
        self.name(&mut parts.headers, principal);
        Ok(UpstreamRequest { parts, body, bearer, switch })
    }

    /// Puts our statement about the caller in the place of the caller's token.
    async fn state(
        &self,
        parts: &mut Parts,
        caller: &Authenticated,
        now: Timestamp,
        airflow: &impl Airflow,
    ) -> Result<Bearer, Rejection> {
        let principal = caller.principal();
        if let Some(asserter) = &self.asserter {
            let assertion = asserter.assertion(principal, parts, now)?;
            parts.headers.insert(&self.headers.assertion, assertion);
        }
        let authorization = match &self.token {
            Token::None => {
                parts.headers.remove(AUTHORIZATION);
                return Ok(Bearer::Removed);
            }
            Token::Simple(minter) => minter.authorization(principal, now)?,
            Token::Fab(fab) => fab.authorization(caller, now, airflow).await?,
        };
        parts.headers.insert(AUTHORIZATION, authorization);
        Ok(Bearer::Ours(Arc::clone(principal)))
    }

    /// A token for the caller to show Airflow: it lasts as long as the one it was given for, and no
    /// longer than `longest`.
    pub async fn issue(
        &self,
        entitled: &Entitled,
        longest: Duration,
        now: Timestamp,
        airflow: &impl Airflow,
    ) -> Result<Issued, Rejection> {
        let caller = entitled.caller();
        let expires = caller.expires().min(now.after(longest));
        if expires <= now {
            // Within the leeway it still opens a request, but another token would be born dead.
            return Err(Rejection::found_that(Reason::TokenExpired, "it ends now"));
        }
        let token = match &self.token {
            Token::None => {
                return Err(Rejection::found_that(Reason::HandoffFailed, "no key signs tokens"));
            }
            Token::Simple(minter) => {
                minter.sign(&Subject::of(caller.principal())?, now, expires)?
            }
            Token::Fab(fab) => fab.token(caller, now, expires, airflow).await?,
        };
        Ok(Issued { token, lifetime: Duration::from_secs(expires.unix() - now.unix()) })
    }

    /// A request with a credential for Airflow to judge. Where that is not the session, there is
    /// none beside it: it would say something else.
    #[must_use]
    pub fn delegated<B>(&self, delegated: Delegated<B>) -> UpstreamRequest<B> {
        let (request, carrier) = delegated.into_parts();
        if carrier == Carrier::Cookie {
            return self.with_cookies(request, Bearer::None);
        }
        let (mut parts, body) = request.into_parts();
        parts.headers.remove(COOKIE);
        UpstreamRequest::new(parts, body, Bearer::Delegated)
    }

    /// A request on an open path. Its bearer is removed, unless `airflows` proves that Airflow
    /// issued it: logging out, for one, is done with the token that it ends.
    #[must_use]
    pub fn open<B>(
        &self,
        request: Inbound<B>,
        _route: &OpenRoute,
        airflows: Option<&Authenticated>,
    ) -> UpstreamRequest<B> {
        let issued_by_airflow = |caller: &Authenticated| caller.principal().issued_by_airflow();
        if airflows.is_some_and(issued_by_airflow) {
            let (mut parts, body) = request.into_parts();
            parts.headers.remove(COOKIE);
            return UpstreamRequest::new(parts, body, Bearer::Airflows);
        }
        let mut request = self.with_cookies(request, Bearer::None);
        request.parts.headers.remove(AUTHORIZATION);
        request
    }

    /// A request of a worker: its credential and everything else as it came.
    #[must_use]
    pub fn untouched<B>(&self, request: Inbound<B>, _route: &UntouchedRoute) -> UpstreamRequest<B> {
        self.with_cookies(request, Bearer::None)
    }

    /// A request of a worker whose task has been verified: as it came, under the token alone.
    #[must_use]
    pub fn errand<B>(&self, errand: Errand<B>) -> UpstreamRequest<B> {
        let (mut parts, body) = errand.into_inner().into_parts();
        parts.headers.remove(COOKIE);
        UpstreamRequest::new(parts, body, Bearer::Airflows)
    }

    fn with_cookies<B>(&self, request: Inbound<B>, bearer: Bearer) -> UpstreamRequest<B> {
        let (mut parts, body) = request.into_parts();
        match self.cookies {
            Cookies::Remove => {
                parts.headers.remove(COOKIE);
            }
            Cookies::Pass => join_cookies(&mut parts.headers),
        }
        UpstreamRequest::new(parts, body, bearer)
    }

    fn name(&self, headers: &mut HeaderMap, principal: &Principal) {
        headers.insert(&self.headers.user, principal.username_header().clone());
        if let Ok(issuer) = HeaderValue::from_str(principal.issuer()) {
            headers.insert(&self.headers.issuer, issuer);
        }
        if let Some(roles) = principal.roles_header() {
            headers.insert(&self.headers.roles, roles.clone());
        }
    }
}

/// HTTP/2 may split cookies over several fields; HTTP/1.1 servers expect one (RFC 9113, section
/// 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut fields = headers.get_all(COOKIE).iter();
    if fields.next().is_none() || fields.next().is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// 32 hexadecimal digits: Airflow's table of revoked tokens has room for no more
/// (`models/revoked_token.py`).
fn random_id() -> Option<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    let mut id = String::with_capacity(32);
    for byte in bytes {
        write!(id, "{byte:02x}").ok()?;
    }
    Some(id)
}
