//! The verdict is that of the path of a request itself, from the route to the decision: this walks it
//! as `proxy` does, and stops where it would hand off.

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Request};
use std::net::{IpAddr, Ipv4Addr};

use super::input::Input;
use super::request::Asked;
use crate::caller::Authenticated;
use crate::clock::Timestamp;
use crate::credential::{self, Credential, Delegates};
use crate::policy;
use crate::proxy::Gate;
use crate::rejection::{Reason, Rejection};
use crate::route::{EdgeRoute, ProtectedRoute, Route, TaskRoute};
use crate::sanitize::{Inbound, Peer};

/// How a request goes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Passage {
    /// As this caller.
    Caller,
    /// With a token of Airflow's form, which is the answer.
    Token,
    /// As a worker, its token untouched.
    Worker,
    /// Untouched: Airflow judges its credential.
    Untouched,
    /// Without an identity: the path is open.
    Open,
    /// With a credential of a scheme that Airflow judges.
    Delegated,
}

/// Takes the request with this credential along its path.
pub(super) async fn judge(
    gate: &Gate,
    asked: &Asked,
    input: &Input,
    sent: Option<&str>,
    now: Timestamp,
) -> Result<Passage, Rejection> {
    let entrance = asked.entrance(&gate.access);
    let peer = Peer::new(IpAddr::V4(Ipv4Addr::LOCALHOST), entrance, &[]);
    let route = |path: &str| gate.access.route(entrance, &asked.method, path, false);
    let header = match route(asked.target.path()) {
        Ok(Route::Edge(_)) => sent.and(input.sent_bare()),
        // There it is a parameter of the form.
        Ok(Route::Exchange(_)) => None,
        _ => sent,
    };
    let request = request(asked, header)?;
    let id = HeaderValue::from_static("explain");
    let request = gate.sanitizer.sanitize(request, &peer, &id)?;
    match route(request.head().uri.path())? {
        Route::Open(route) => {
            policy::admit(&request, &route)?;
            Ok(Passage::Open)
        }
        Route::Untouched(_) => Ok(Passage::Untouched),
        Route::Task(route) => task(gate, request, &route, now).await,
        Route::Edge(route) => edge(gate, request, &route, now).await,
        Route::Exchange(route) => {
            let subject = sent.map(value_of_bearer).ok_or(Reason::CredentialMissing)?;
            let subject = credential::read_subject(subject, gate.token_bytes)?;
            let caller = gate.callers.recognise(&subject, now).await?;
            policy::grant_token(&route, caller).map(|_| Passage::Token)
        }
        Route::Protected(route) => protected(gate, request, &route, now).await,
    }
}

/// What stands behind `Bearer`, or all there is.
fn value_of_bearer(sent: &str) -> &str {
    match sent.split_at_checked("Bearer ".len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer ") => token,
        _ => sent,
    }
}

fn request(asked: &Asked, sent: Option<&str>) -> Result<Request<()>, Rejection> {
    let malformed = || Rejection::found_that(Reason::RequestMalformed, "no request can be of it");
    let mut request = Request::new(());
    *request.method_mut() = asked.method.clone();
    *request.uri_mut() = asked.target.clone();
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("airside"));
    if let Some(sent) = sent {
        // What cannot stand in a header at all, no client can send.
        let line = sent.replace(['\r', '\n'], " ");
        let value = HeaderValue::from_bytes(line.trim().as_bytes()).map_err(|_| malformed())?;
        headers.insert(AUTHORIZATION, value);
    }
    Ok(request)
}

async fn caller(
    gate: &Gate,
    request: &Inbound<()>,
    now: Timestamp,
) -> Result<Option<Authenticated>, Rejection> {
    let headers = &request.head().headers;
    match credential::read(headers, gate.token_bytes, gate.delegates)? {
        Some(Credential::Bearer(token)) => gate.callers.recognise(&token, now).await.map(Some),
        Some(Credential::Delegated) => Ok(None),
        None => Err(Reason::CredentialMissing.into()),
    }
}

async fn protected(
    gate: &Gate,
    request: Inbound<()>,
    route: &ProtectedRoute,
    now: Timestamp,
) -> Result<Passage, Rejection> {
    match caller(gate, &request, now).await? {
        Some(caller) => policy::grant(request, route, caller).map(|_| Passage::Caller),
        None if route.by_token_alone() => Err(Reason::CredentialMissing.into()),
        None => Ok(Passage::Delegated),
    }
}

async fn task(
    gate: &Gate,
    request: Inbound<()>,
    route: &TaskRoute,
    now: Timestamp,
) -> Result<Passage, Rejection> {
    let headers = &request.head().headers;
    let read = credential::read(headers, gate.token_bytes, Delegates::default())?;
    let Some(Credential::Bearer(token)) = read else {
        return Err(Reason::CredentialMissing.into());
    };
    let task = gate.callers.verifier().verify_task(&token, now).await?;
    policy::grant_task(request, route, &task).map(|_| Passage::Worker)
}

async fn edge(
    gate: &Gate,
    request: Inbound<()>,
    route: &EdgeRoute,
    now: Timestamp,
) -> Result<Passage, Rejection> {
    let token = credential::read_bare(&request.head().headers, gate.token_bytes)?;
    let token = token.ok_or(Reason::CredentialMissing)?;
    let worker = gate.callers.verifier().verify_edge(&token, now).await?;
    policy::grant_edge(request, route, &worker).map(|_| Passage::Worker)
}
