//! What is legal and risky all the same: said by `check`, and once by `serve` at the start and after
//! each change.

mod secrets;

use std::net::SocketAddr;

use super::lint::{UNIX, network};
use super::password_login;
use super::problem::Findings;
use super::written::{
    AdminStatus, AuthManager, Door, Entra, ExecutionApi, ForwardAuth, Handoff, HandoffType,
    Headers, Issuer, Upstream, UpstreamAddress, Written,
};
use crate::jwks::fetch::{Url, is_loopback};

/// Adds a warning for everything of the kind.
pub(super) fn look(written: &Written, findings: &mut Findings<'_>) {
    let mut look = Look { written, findings };
    look.listeners();
    look.forward_auth();
    look.upstream();
    look.issuers();
    look.handoff();
    look.access();
    secrets::look(written, look.findings);
}

struct Look<'w, 'f, 't> {
    written: &'w Written,
    findings: &'f mut Findings<'t>,
}

impl Look<'_, '_, '_> {
    fn listeners(&mut self) {
        let listen = &self.written.admin.listen.0;
        let bound = listen.parse::<SocketAddr>().ok();
        if bound.is_some_and(|bound| bound.ip().is_unspecified()) {
            let why =
                "whoever reaches this machine or pod reads metrics and the state of keys there";
            let hint = "a kubelet needs it; keep the port out of the Service that callers use, or bind it to 127.0.0.1";
            self.findings.warn("admin.listen", listen, why, hint);
        }
        if self.written.admin.status == AdminStatus::Open {
            let why =
                "whoever reaches admin.listen reads who was refused: addresses, paths, issuers";
            let hint = "local, and `kubectl port-forward` for those who may look";
            self.findings.warn("admin.status", "open", why, hint);
        }
        let trusted = &self.written.forwarded.trusted;
        if self.written.proxy_protocol && trusted.is_empty() {
            let found = "true, with an empty forwarded.trusted";
            let why =
                "nobody's header is believed, and a connection that begins with one is refused";
            let hint = "the addresses of the load balancer in forwarded.trusted";
            self.findings.warn("proxy_protocol", found, why, hint);
        }
        for (index, peer) in trusted.iter().enumerate() {
            if network(&peer.0).is_some_and(|network| network.prefix_len() == 0) {
                let why = "every client is believed whose address it names: limits, logs and same-site checks go by it";
                let hint = "the addresses of the proxies in front of airside alone";
                self.findings.warn(&format!("forwarded.trusted[{index}]"), &peer.0, why, hint);
            }
        }
    }

    /// Whoever may ask for somebody else is believed what it says of the request.
    fn forward_auth(&mut self) {
        let ForwardAuth { listen, trusted, protocol } = &self.written.forward_auth;
        if listen.is_none() {
            return;
        }
        if trusted.is_empty() {
            let why = "nobody may ask there: every question is answered with 403 caller_untrusted";
            let hint = "the addresses of the proxy that asks";
            self.findings.warn("forward_auth.trusted", "nothing", why, hint);
        }
        for (index, peer) in trusted.iter().enumerate() {
            if network(&peer.0).is_some_and(|network| network.prefix_len() == 0) {
                let why = "whoever reaches forward_auth.listen is given tokens for Airflow in the place of theirs, and is believed which client sent them";
                let hint = "the addresses of the proxy that asks alone";
                self.findings.warn(&format!("forward_auth.trusted[{index}]"), &peer.0, why, hint);
            }
        }
        if protocol.is_none() {
            let why = "a proxy that loses a header of its own leaves it to its clients to tell which request is judged";
            let hint = "the one that asks: nginx, traefik, envoy or envoy_grpc";
            self.findings.warn("forward_auth.protocol", "nothing", why, hint);
        }
        self.copied_headers();
    }

    /// Proxies copy the headers that their files name.
    fn copied_headers(&mut self) {
        let Some(handoff) = &self.written.handoff else {
            return;
        };
        let (headers, usual) = (&handoff.headers, Headers::default());
        let fab = handoff.fab.as_ref().map(|fab| {
            ("handoff.fab.remote_user_header", &fab.remote_user_header, "X-Remote-User".to_owned())
        });
        let names = [
            ("handoff.headers.user", &headers.user, usual.user),
            ("handoff.headers.roles", &headers.roles, usual.roles),
            ("handoff.headers.issuer", &headers.issuer, usual.issuer),
            ("handoff.headers.assertion", &headers.assertion, usual.assertion),
        ];
        for (place, name, usual) in names.into_iter().chain(fab) {
            if !name.eq_ignore_ascii_case(&usual) {
                let why = format!(
                    "the files in config/forward-auth copy {usual}: a proxy with one of them does not hand this header on"
                );
                let hint = "this name wherever the proxy's file has the other one";
                self.findings.warn(place, name, &why, hint);
            }
        }
    }

    /// Who passes airside by is judged by nobody, or by Airflow alone.
    fn upstream(&mut self) {
        let (Some(upstream), Some(handoff)) = (&self.written.upstream, &self.written.handoff)
        else {
            return;
        };
        if upstream.client_cert_file.is_some() {
            return;
        }
        let why = match (handoff.form, handoff.auth_manager, &handoff.assertion) {
            (HandoffType::AirflowToken, AuthManager::Fab, _) => {
                "if others reach it, FAB logs them in as whomever they name in handoff.fab.remote_user_header"
            }
            (HandoffType::Headers, _, None) => {
                "if others reach it, they write the identity headers themselves"
            }
            _ => {
                "if others reach it, Airflow alone judges them: by its passwords, sessions and workers' tokens"
            }
        };
        let hint = "a NetworkPolicy or firewall that lets airside alone through; or 127.0.0.1, a unix socket, or TLS with upstream.client_cert_file";
        for (key, url) in addresses(upstream).filter(|(_, url)| !is_near(url)) {
            self.findings.warn(&key, &url.0, why, hint);
        }
    }

    fn issuers(&mut self) {
        for (index, issuer) in self.written.issuers.iter().flatten().enumerate() {
            match issuer {
                Some(Issuer::Oidc(oidc)) if oidc.username_prefix.is_empty() => {
                    let key = format!("issuers[{index}].username_prefix");
                    let why = "a name that this issuer gives is the same user as that name from another, Airflow's own users included";
                    let hint = "a prefix of its own, such as \"github:\"";
                    self.findings.warn(&key, "\"\"", why, hint);
                }
                Some(Issuer::Entra(entra)) => self.username_claim(index, entra),
                _ => {}
            }
        }
    }

    fn username_claim(&mut self, index: usize, entra: &Entra) {
        if MUTABLE.contains(&entra.username_claim.as_str()) {
            let key = format!("issuers[{index}].username_claim");
            let why =
                "it can change and be given to somebody else, who is then this user of Airflow";
            self.findings.warn(&key, &entra.username_claim, why, "oid, which never changes hands");
        }
    }

    fn handoff(&mut self) {
        let Some(handoff) = &self.written.handoff else { return };
        match handoff.form {
            HandoffType::Headers if handoff.assertion.is_none() => {
                let why = "nothing signed tells what airside says from what anybody else sends to Airflow";
                let hint = "handoff.assertion, with the verifier of config/airflow2 or config/airflow3 on Airflow's side";
                self.findings.warn("handoff.assertion", "nothing", why, hint);
            }
            HandoffType::Headers => {}
            HandoffType::AirflowToken => self.airflow_token(handoff),
        }
        let adopted = handoff.fab.iter().flat_map(|fab| &fab.adopt);
        if let Some(index) = adopted.into_iter().position(|name| name == "*") {
            let key = format!("handoff.fab.adopt[{index}]");
            let why = "whoever has the name of a user of FAB at an issuer becomes that user, administrators included";
            self.findings.warn(
                &key,
                "\"*\"",
                why,
                "the names of those users whose roles are airside's to set",
            );
        }
    }

    fn airflow_token(&mut self, handoff: &Handoff) {
        let mut issuers = self.written.issuers.iter().flatten().flatten();
        if !issuers.any(|issuer| matches!(issuer, Issuer::Airflow(_))) {
            let why = "tokens that Airflow issued itself are refused: those of airflowctl, of password logins, and of the interface of Airflow 3.0";
            let hint = "{name: airflow, type: airflow, secret_file: …}, or leave it so if nobody has such tokens";
            self.findings.warn("issuers", "no entry of type airflow", why, hint);
        }
        if handoff.private_key_file.is_some() && handoff.airflow_keys_file.is_none() {
            let why = "with trusted_jwks_url Airflow verifies everything by our /jwks.json: without its own public key there its logins fail, and tasks cannot run";
            let hint = "the public half of [api_auth] jwt_private_key_path, unless trusted_jwks_url is a set of yours with both";
            self.findings.warn("handoff.airflow_keys_file", "nothing", why, hint);
        }
    }

    fn access(&mut self) {
        let access = &self.written.access;
        let mut issuers = self.written.issuers.iter().flatten().flatten();
        let from_entra = issuers.any(|issuer| matches!(issuer, Issuer::Entra(_)));
        let open = password_login(access) == Door::Open;
        if open && from_entra {
            let key = "access.password_login";
            let found = self.findings.said(key, "open");
            let why = "whoever has a password of Airflow's gets in past Entra: past its conditional access, and after Entra has shut them out";
            self.findings.warn(key, found, why, "closed, unless somebody still needs a password");
        }
        if access.execution_api == ExecutionApi::Forward && self.is_gateway() {
            let why = "callers of this gateway reach the API of workers: with one worker's token it gives away connections and variables";
            let hint = "closed if no worker comes by here; otherwise verify, or execution_listen for a port that callers do not reach";
            let found = self.findings.said("access.execution_api", "forward");
            self.findings.warn("access.execution_api", found, why, hint);
        }
    }

    /// Whether callers come from elsewhere, and Airflow is elsewhere, too.
    fn is_gateway(&self) -> bool {
        let listen = self.written.listen.0.parse::<SocketAddr>().ok();
        let open = listen.is_some_and(|bound| !bound.ip().is_loopback());
        let upstream = self.written.upstream.as_ref();
        let mut all = upstream.into_iter().flat_map(addresses);
        let apart = self.written.execution_listen.is_some();
        open && !apart && all.any(|(_, url)| !is_near(url))
    }
}

fn addresses(upstream: &Upstream) -> impl Iterator<Item = (String, &UpstreamAddress)> {
    let one = upstream.url.iter().map(|url| ("upstream.url".to_owned(), url));
    let many = upstream.urls.iter().flatten().enumerate();
    one.chain(many.map(|(index, url)| (format!("upstream.urls[{index}]"), url)))
}

/// Whether only this machine, or this pod, gets there.
fn is_near(url: &UpstreamAddress) -> bool {
    url.0.starts_with(UNIX) || Url::parse(&url.0).is_ok_and(|url| is_loopback(&url))
}

/// Claims of Entra that are not for good (entra/identity-platform/access-token-claims-reference).
const MUTABLE: [&str; 5] = ["upn", "preferred_username", "email", "unique_name", "name"];

#[cfg(test)]
mod tests;
