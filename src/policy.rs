//! Whether this caller may make this request. The proofs made here are what the hand-off takes.

use http::header::{HOST, HeaderName, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Method, Uri};
use hyper::body::Incoming;

use crate::caller::Authenticated;
use crate::credential::has_session_cookie;
use crate::identity::AirflowRole;
use crate::rejection::{Reason, Rejection};
use crate::route::{Class, EdgeRoute, ExchangeRoute, OpenRoute, ProtectedRoute, TaskRoute};
use crate::sanitize::{Inbound, WebSocket};
use crate::token::worker::{Scope, TaskId, VerifiedEdgeWorker, VerifiedTask};

/// Policy said yes to this request of this caller.
#[derive(Debug)]
pub struct Granted<B = Incoming> {
    request: Inbound<B>,
    caller: Authenticated,
    switch: Option<Switch>,
}

impl<B> Granted<B> {
    /// The request, its caller, and whether it may leave HTTP, for the hand-off.
    #[must_use]
    pub fn into_parts(self) -> (Inbound<B>, Authenticated, Option<Switch>) {
        (self.request, self.caller, self.switch)
    }
}

/// Permission to go on as a WebSocket, in which nothing is judged any more: for a verified caller
/// alone. A session is Airflow's to judge, and any page can open a WebSocket with it.
#[derive(Debug)]
pub struct Switch(WebSocket);

impl Switch {
    /// What the client asked for.
    #[must_use]
    pub fn into_inner(self) -> WebSocket {
        self.0
    }
}

/// A request whose credential is for Airflow to judge.
#[derive(Debug)]
pub struct Delegated<B = Incoming> {
    request: Inbound<B>,
    carrier: Carrier,
}

/// What brings a credential that is for Airflow to judge. A browser adds either by itself, whoever
/// made it send the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The cookie of a session.
    Cookie,
    /// The Authorization header: Basic or Negotiate.
    Authorization,
}

impl<B> Delegated<B> {
    /// The request and what brings its credential, for the hand-off.
    #[must_use]
    pub fn into_parts(self) -> (Inbound<B>, Carrier) {
        (self.request, self.carrier)
    }
}

/// A worker's request that its task may make.
#[derive(Debug)]
pub struct Errand<B = Incoming>(Inbound<B>);

impl<B> Errand<B> {
    /// The request, for the hand-off.
    #[must_use]
    pub fn into_inner(self) -> Inbound<B> {
        self.0
    }
}

/// Grants a request to a caller who holds a role. Absence of a role is never permission; only
/// callers whose token Airflow issued are judged by Airflow alone.
pub fn grant<B>(
    mut request: Inbound<B>,
    _route: &ProtectedRoute,
    caller: Authenticated,
) -> Result<Granted<B>, Rejection> {
    if !caller.principal().issued_by_airflow() {
        check_role(&caller)?;
    }
    let switch = request.take_websocket().map(Switch);
    Ok(Granted { request, caller, switch })
}

/// A caller who may have a token of Airflow's own form.
#[derive(Debug)]
pub struct Entitled(Authenticated);

impl Entitled {
    /// The caller, for the hand-off.
    #[must_use]
    pub const fn caller(&self) -> &Authenticated {
        &self.0
    }
}

/// Grants a token to a caller who holds a role; who has one of Airflow's gets no longer-lived one.
pub fn grant_token(_route: &ExchangeRoute, caller: Authenticated) -> Result<Entitled, Rejection> {
    if caller.principal().issued_by_airflow() {
        let found = "a token that Airflow issued: there is nothing to exchange it for";
        return Err(Rejection::found_that(Reason::TokenKind, found));
    }
    check_role(&caller)?;
    Ok(Entitled(caller))
}

fn check_role(caller: &Authenticated) -> Result<(), Rejection> {
    check_roles(caller.principal().roles(), caller.without_role())
}

/// One role is enough, and none is too little, for this reason.
pub fn check_roles(roles: &[AirflowRole], without_role: Option<&str>) -> Result<(), Rejection> {
    if !roles.is_empty() {
        return Ok(());
    }
    let found = without_role.unwrap_or("no role").to_owned();
    Err(Rejection::found_that(Reason::RoleMissing, found))
}

/// Lets a request onto an open path, unless another site would log a browser in that has a session.
pub fn admit<B>(request: &Inbound<B>, route: &OpenRoute) -> Result<(), Rejection> {
    let head = request.head();
    let logs_in = route.class() == Class::Password && has_session_cookie(&head.headers);
    if logs_in && is_cross_site(&head.headers) { Err(Reason::CrossSite.into()) } else { Ok(()) }
}

/// Lets a credential through that Airflow judges, unless another site is behind an unsafe request:
/// Airflow's API has no CSRF token, only `SameSite=Lax`, and nothing at all for Authorization.
pub fn delegate<B>(
    request: Inbound<B>,
    _route: &ProtectedRoute,
    carrier: Carrier,
) -> Result<Delegated<B>, Rejection> {
    let head = request.head();
    if !is_safe(&head.method) && is_cross_site(&head.headers) {
        return Err(Reason::CrossSite.into());
    }
    Ok(Delegated { request, carrier })
}

/// Grants a worker's request to its task, as Airflow itself does: a token that begins work does
/// nothing else, and no task speaks for another.
pub fn grant_task<B>(
    request: Inbound<B>,
    route: &TaskRoute,
    task: &VerifiedTask,
) -> Result<Errand<B>, Rejection> {
    if task.scope() == Scope::Workload && !route.takes_workloads() {
        let found = "scope is workload: a token that only begins work";
        return Err(Rejection::found_that(Reason::TokenKind, found));
    }
    if route.own().is_some_and(|own| TaskId::parse(own) != Some(task.id())) {
        let found = format!("sub is {}, the path is that of another", task.id());
        return Err(Rejection::found_that(Reason::ClaimInvalid, found));
    }
    Ok(Errand(request))
}

/// Grants an Edge worker's request: its token is for one path.
pub fn grant_edge<B>(
    request: Inbound<B>,
    route: &EdgeRoute,
    worker: &VerifiedEdgeWorker,
) -> Result<Errand<B>, Rejection> {
    if worker.path() == route.called() {
        return Ok(Errand(request));
    }
    let found = "claim method is another path than the one that is called";
    Err(Rejection::found_that(Reason::ClaimInvalid, found))
}

/// Whether the method only reads (RFC 9110, section 9.2.1).
#[must_use]
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// `Sec-Fetch-Site` decides where the browser sends it (W3C Fetch Metadata), otherwise `Origin`
/// against the host that the browser asked for.
fn is_cross_site(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(&SEC_FETCH_SITE) {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let origin: Option<Uri> = origin.to_str().ok().and_then(|origin| origin.parse().ok());
    let origin_host = origin.as_ref().and_then(Uri::authority).map(Authority::as_str);
    // The sanitizer has left only what a trusted peer says of the host, or the Host itself.
    let host = headers.get(&X_FORWARDED_HOST).or_else(|| headers.get(HOST));
    let host = host.and_then(|host| host.to_str().ok());
    match (origin_host, host) {
        (Some(origin), Some(host)) => !origin.eq_ignore_ascii_case(host),
        _ => true,
    }
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_site_is_told_by_fetch_metadata_or_else_by_origin() {
        for (fields, expected) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")], false),
            (&[("origin", "https://airflow.example")], false),
            (&[("origin", "https://AIRFLOW.example")], false),
            (&[("origin", "https://airflow.example:8443")], true),
            (&[("origin", "https://evil.example")], true),
            (&[("origin", "null")], true),
            (&[("origin", "https://pub.example"), ("x-forwarded-host", "pub.example")], false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "airflow.example".parse().unwrap());
            for (name, value) in fields {
                headers.insert(HeaderName::from_static(name), value.parse().unwrap());
            }
            assert_eq!(is_cross_site(&headers), expected, "{fields:?}");
        }
    }
}
