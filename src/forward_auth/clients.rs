//! What the client of a proxy wrote that must not reach Airflow as it is. Airside forwards nothing here,
//! so it can only have the proxy remove it, or refuse the request.

use http::HeaderMap;
use http::header::{HeaderName, PROXY_AUTHORIZATION};

use super::{Protocol, stated};
use crate::sanitize::{self, Sanitizer};

/// Headers of a question that no honest client's request has.
#[derive(Debug)]
pub(super) struct Clients {
    /// Names that airside states, in any spelling, and all others that are its own. A proxy should put
    /// airside's in their place, but whether its file does so for each, airside cannot see.
    pub(super) identity: Vec<HeaderName>,
    /// Those by which a client speaks for a proxy, or that change what is asked for.
    pub(super) forwarding: Vec<HeaderName>,
}

impl Clients {
    /// Those among these headers of a question.
    pub(super) fn of(headers: &HeaderMap, sanitizer: &Sanitizer) -> Self {
        let (mut identity, mut forwarding) = (Vec::new(), Vec::new());
        for name in headers.keys() {
            if sanitizer.is_identity(name.as_str()) {
                identity.push(name.clone());
            } else if speaks_for_a_proxy(name) {
                forwarding.push(name.clone());
            }
        }
        Self { identity, forwarding }
    }
}

/// Whether Envoy must not pass this on from a client. Three it writes itself: in that spelling they
/// are its own.
fn speaks_for_a_proxy(name: &HeaderName) -> bool {
    let is_envoys =
        matches!(name.as_str(), "x-forwarded-for" | "x-forwarded-proto" | "x-request-id");
    !is_envoys
        && (sanitize::is_forwarding(name.as_str())
            || sanitize::fold(name.as_str()) == "x-scheme"
            || *name == PROXY_AUTHORIZATION)
}

/// Traefik passes on whatever its client calls the request. The question need not be understood for
/// that: where it is told of in Traefik's words, the id is nobody's.
pub(super) fn forget_request_id(headers: &mut HeaderMap, spoken: Option<Protocol>) {
    if spoken.map_or_else(|| stated::is_traefiks(headers), |spoken| spoken == Protocol::Traefik) {
        headers.remove(X_REQUEST_ID);
    }
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
