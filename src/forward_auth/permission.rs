//! A yes, and the headers that belong to it. A proxy adds them to the request of a client, who may have
//! written headers of the same names: so all of them are stated each time, those that the request must
//! not have as empty ones, or by the name under which Envoy removes them.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, HeaderName};
use http::{HeaderMap, HeaderValue, Response};

use super::clients::Clients;
use super::question::{Upgrade, malformed};
use super::{Protocol, Rules};
use crate::handoff::{Bearer, UpstreamRequest};
use crate::rejection::{Reason, Rejection};

/// What the request must go on with, and without: made of one that Airflow may see.
#[derive(Debug)]
pub(super) struct Permission {
    set: Vec<(HeaderName, HeaderValue)>,
    removed: Vec<HeaderName>,
    /// Whether who asks removes what it is told to.
    removes: bool,
}

impl Permission {
    /// The permission that this request is, unless it asks for more: to leave HTTP is for callers
    /// alone whose token was verified, as it is where airside forwards.
    pub(super) fn of(
        request: UpstreamRequest<()>,
        rules: &Rules,
        upgrade: Upgrade,
        clients: Clients,
        protocol: Protocol,
    ) -> Result<Self, Rejection> {
        let (parts, (), bearer, _no_switch) = request.into_parts();
        let verified = matches!(bearer, Bearer::Ours(_) | Bearer::Airflows | Bearer::Removed);
        if upgrade != Upgrade::None && !(verified && upgrade == Upgrade::WebSocket) {
            let found = "an Upgrade that is no WebSocket of a caller whose token was verified";
            return Err(Rejection::found_that(Reason::AccessClosed, found));
        }
        let (mut set, mut removed) = (Vec::new(), Vec::new());
        for name in [&AUTHORIZATION, &COOKIE].into_iter().chain(&rules.identity) {
            match parts.headers.get(name) {
                Some(value) => set.push((name.clone(), value.clone())),
                None => removed.push(name.clone()),
            }
        }
        let removes = matches!(protocol, Protocol::Envoy | Protocol::EnvoyGrpc);
        Self { set, removed, removes }.without(clients, protocol)
    }

    /// The same without what the client wrote, where who asks certainly removes or replaces it. A name of
    /// ours that the proxy's own file decides about is refused: no honest client sends one, and what
    /// that file forgets is then nobody's.
    fn without(mut self, clients: Clients, protocol: Protocol) -> Result<Self, Rejection> {
        let is_set = |name: &HeaderName| self.set.iter().any(|(set, _)| set == name);
        let stray = clients.identity.iter().find(|name| match protocol {
            // It copies what it is configured to.
            Protocol::Nginx | Protocol::Traefik => true,
            // It removes what it is told to, but sets what it is configured to.
            Protocol::Envoy => is_set(name),
            Protocol::EnvoyGrpc => false,
        });
        if let Some(stray) = stray {
            let found = format!("{stray} from a client, which only airside may write");
            return Err(malformed(found));
        }
        if self.removes {
            let unsaid: Vec<HeaderName> = clients
                .identity
                .into_iter()
                .chain(clients.forwarding)
                .filter(|name| !is_set(name) && !self.removed.contains(name))
                .collect();
            self.removed.extend(unsaid);
        }
        Ok(self)
    }

    /// The headers to put in the place of the client's.
    pub(super) fn set(&self) -> &[(HeaderName, HeaderValue)] {
        &self.set
    }

    /// Those to remove.
    pub(super) fn removed(&self) -> &[HeaderName] {
        &self.removed
    }

    /// The answer over HTTP. Envoy takes 200 alone for a yes.
    pub(super) fn answer(&self) -> Response<Bytes> {
        let mut answer = Response::new(Bytes::new());
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.set.iter().cloned());
        for name in &self.removed {
            headers.insert(name, HeaderValue::from_static(""));
        }
        if self.removes {
            self.list(headers);
        }
        answer
    }

    fn list(&self, headers: &mut HeaderMap) {
        let names: Vec<&str> = self.removed.iter().map(HeaderName::as_str).collect();
        if let Ok(names) = HeaderValue::try_from(names.join(",")) {
            headers.insert(X_ENVOY_AUTH_HEADERS_TO_REMOVE, names);
        }
    }
}

/// What Envoy removes before the request goes on (`ext_authz`, `external_auth.proto`).
const X_ENVOY_AUTH_HEADERS_TO_REMOVE: HeaderName =
    HeaderName::from_static("x-envoy-auth-headers-to-remove");
