//! What of Airflow is open, and what only airside may say to it.

use http::header::HeaderName;
use http::{HeaderValue, Method};
use ipnet::IpNet;

use super::super::lint::network;
use super::super::password_login;
use super::super::written::{self, ForwardAuthProtocol, Network};
use super::Builder;
use crate::forward_auth::{Protocol, Rules};
use crate::handoff::IdentityHeaders;
use crate::route::{AIRFLOW_2, AIRFLOW_3, Access, Door, Execution, LoginPage, Ui};
use crate::sanitize::Sanitizer;

impl Builder<'_, '_, '_> {
    pub(super) fn sanitizer(&self, headers: &IdentityHeaders) -> Sanitizer {
        let trusted = networks(&self.written.forwarded.trusted);
        let ours = self.names_of_ours(headers);
        Sanitizer::new(&ours, trusted, self.written.limits.header_bytes as usize)
    }

    pub(super) fn forward_auth(&self, headers: &IdentityHeaders) -> Rules {
        let written = &self.written.forward_auth;
        let protocol = written.protocol.map(|protocol| match protocol {
            ForwardAuthProtocol::Nginx => Protocol::Nginx,
            ForwardAuthProtocol::Traefik => Protocol::Traefik,
            ForwardAuthProtocol::Envoy => Protocol::Envoy,
            ForwardAuthProtocol::EnvoyGrpc => Protocol::EnvoyGrpc,
        });
        let trusted = networks(&written.trusted);
        Rules { trusted, protocol, identity: self.names_of_ours(headers) }
    }

    /// The headers that only airside may write: Airflow believes them.
    fn names_of_ours(&self, headers: &IdentityHeaders) -> Vec<HeaderName> {
        let mut ours = headers.all().to_vec();
        let fab = self.written.handoff.as_ref().and_then(|handoff| handoff.fab.as_ref());
        ours.extend(fab.and_then(|fab| HeaderName::try_from(&fab.remote_user_header).ok()));
        ours
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
        let password_login = door(password_login(written));
        Some(Access {
            airflow: match self.written.upstream.as_ref()?.airflow {
                2 => &AIRFLOW_2,
                _ => &AIRFLOW_3,
            },
            base_path: base_path?,
            ui,
            password_login,
            login_page: if self.signs_for_fab() { LoginPage::Token } else { LoginPage::Everyone },
            execution_api: match written.execution_api {
                written::ExecutionApi::Forward => Execution::Forward,
                written::ExecutionApi::Verify => Execution::Verify,
                written::ExecutionApi::Closed => Execution::Closed,
            },
            workers_apart: self.written.execution_listen.is_some(),
            exchange: if self.written.exchange.enabled { Door::Open } else { Door::Closed },
            docs: door(written.docs),
            preflight: match written.preflight {
                written::Preflight::Airflow => Door::Open,
                written::Preflight::Closed => Door::Closed,
            },
            public,
        })
    }

    /// The tokens of tasks are judged by Airflow's keys, so these must be known.
    pub(super) fn tasks_have_an_issuer(&mut self) {
        let mut issuers = self.written.issuers.iter().flatten().flatten();
        let known = issuers.any(|issuer| matches!(issuer, written::Issuer::Airflow(_)));
        if self.written.access.execution_api == written::ExecutionApi::Verify && !known {
            let hint = "an entry of `issuers` with `type: airflow` says what Airflow signs with";
            let expected = "forward or closed, without an issuer of type airflow";
            self.findings.add("access.execution_api", "verify", expected, Some(hint));
        }
    }

    pub(super) fn base_path(&mut self) -> Option<String> {
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

/// What is none has been said by the lint.
fn networks(written: &[Network]) -> Vec<IpNet> {
    written.iter().filter_map(|written| network(&written.0)).collect()
}

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
