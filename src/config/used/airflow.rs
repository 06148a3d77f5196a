//! Airflow's side: what it is told, what of it is open, and what only airside may say to it.

use std::collections::HashSet;
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderValue, Method};

use super::super::lint::network;
use super::super::written;
use super::Builder;
use crate::handoff::airflow_token::Minter;
use crate::handoff::{Cookies, Handoff, IdentityHeaders};
use crate::route::{Access, Door, Ui};
use crate::sanitize::{Sanitizer, fold, is_forwarding, is_hop_by_hop};

impl Builder<'_, '_, '_> {
    pub(super) fn handoff(&mut self) -> Option<Handoff> {
        let written = self.written.handoff.as_ref()?;
        let secret = self.secret("handoff.secret_file", &written.secret_file);
        let headers = self.identity_headers(&written.headers);
        let lifetime = written.lifetime.0;
        if !(SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&lifetime) {
            let expected = "from 2s to 24h: it is a pass for one request, not for a session";
            self.findings.add("handoff.lifetime", format!("{lifetime:?}"), expected, None);
        }
        if written.audience == TASK_AUDIENCE {
            let hint = "airside never signs tokens that Airflow would take for a task's";
            self.findings.add("handoff.audience", TASK_AUDIENCE, "jwt_audience", Some(hint));
        }
        self.not_empty("handoff.audience", written.audience.len(), "[api_auth] jwt_audience");
        let (secret, headers) = (secret?, headers?);
        let (audience, issuer) = (written.audience.clone(), written.issuer.clone());
        Some(Handoff {
            minter: Minter::hs512(&secret, audience, issuer, lifetime),
            headers,
            cookies: match self.written.access.ui {
                written::Ui::Airflow => Cookies::Pass,
                written::Ui::Closed => Cookies::Remove,
            },
        })
    }

    fn identity_headers(&mut self, written: &written::Headers) -> Option<IdentityHeaders> {
        let mut seen = HashSet::new();
        let mut read = |key: &str, name: &str| {
            let key = format!("handoff.headers.{key}");
            let Ok(header) = HeaderName::try_from(name) else {
                self.findings.add(&key, format!("{name:?}"), "a header name", None);
                return None;
            };
            let taken = RESERVED.contains(&header.as_str())
                || is_hop_by_hop(header.as_str())
                || is_forwarding(header.as_str());
            if taken || !seen.insert(fold(header.as_str())) {
                let expected = "a header name that nothing else uses";
                self.findings.add(&key, format!("{name:?}"), expected, None);
                return None;
            }
            Some(header)
        };
        let user = read("user", &written.user);
        let roles = read("roles", &written.roles);
        let issuer = read("issuer", &written.issuer);
        let assertion = read("assertion", &written.assertion);
        Some(IdentityHeaders { user: user?, roles: roles?, issuer: issuer?, assertion: assertion? })
    }

    pub(super) fn sanitizer(&self, headers: &IdentityHeaders) -> Sanitizer {
        let trusted = self.written.forwarded.trusted.iter();
        let trusted = trusted.filter_map(|written| network(&written.0)).collect();
        Sanitizer::new(&headers.all(), trusted, self.written.limits.header_bytes as usize)
    }

    pub(super) fn access(&mut self) -> Option<Access> {
        let written = &self.written.access;
        let base_path = self.base_path();
        let mut public = Vec::new();
        for (index, entry) in written.public.iter().enumerate() {
            match endpoint(entry) {
                Some(endpoint) => public.push(endpoint),
                None => {
                    let key = format!("access.public[{index}]");
                    let hint = "for example GET /api/v2/monitor/health; no patterns, no query";
                    let found = format!("{entry:?}");
                    self.findings.add(&key, found, "METHOD /exact/path", Some(hint));
                }
            }
        }
        let ui = match written.ui {
            written::Ui::Airflow => Ui::Airflow,
            written::Ui::Closed => Ui::Closed,
        };
        let password_login = match (written.password_login, written.ui) {
            (Some(door), _) => self::door(door),
            (None, written::Ui::Airflow) => Door::Open,
            (None, written::Ui::Closed) => Door::Closed,
        };
        Some(Access {
            base_path: base_path?,
            ui,
            password_login,
            execution_api: match written.execution_api {
                written::ExecutionApi::Forward => Door::Open,
                written::ExecutionApi::Closed => Door::Closed,
            },
            docs: door(written.docs),
            preflight: match written.preflight {
                written::Preflight::Airflow => Door::Open,
                written::Preflight::Closed => Door::Closed,
            },
            public,
        })
    }

    fn base_path(&mut self) -> Option<String> {
        let written = self.written.upstream.as_ref()?.base_path.trim_end_matches('/');
        let plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.');
        let whole = written.is_empty() || (written.starts_with('/') && !written.contains("//"));
        if written == "/airside" || written.starts_with("/airside/") {
            let hint = "what is below /airside belongs to airside and never reaches Airflow";
            self.findings.add("upstream.base_path", written, "another path", Some(hint));
            return None;
        }
        if whole && written.bytes().all(plain) {
            return Some(written.to_owned());
        }
        let hint = "the path of [api] base_url, for example /airflow";
        self.findings.add("upstream.base_path", format!("{written:?}"), "a path", Some(hint));
        None
    }
}

const SHORTEST_TOKEN: Duration = Duration::from_secs(2);
const LONGEST_TOKEN: Duration = Duration::from_secs(24 * 3600);
/// `[execution_api] jwt_audience` of Airflow.
pub(super) const TASK_AUDIENCE: &str = "urn:airflow.apache.org:task";
/// Headers that mean something else already.
const RESERVED: [&str; 8] = [
    "authorization",
    "cookie",
    "host",
    "content-length",
    "content-type",
    "origin",
    "expect",
    "x-request-id",
];

/// `METHOD /exact/path`.
fn endpoint(written: &str) -> Option<(Method, String)> {
    let (method, path) = written.split_once(' ')?;
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    let known = matches!(
        method,
        Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::OPTIONS
    );
    let plain =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'%' | b'*' | b'\\');
    let exact =
        path.starts_with('/') && path.bytes().all(plain) && HeaderValue::from_str(path).is_ok();
    (known && exact).then(|| (method, path.to_owned()))
}

const fn door(written: written::Door) -> Door {
    match written {
        written::Door::Open => Door::Open,
        written::Door::Closed => Door::Closed,
    }
}
