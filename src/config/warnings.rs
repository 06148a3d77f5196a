//! What is legal and risky all the same: said by `check`, and once by `serve` at the start and after
//! each change.

mod secrets;

use std::net::SocketAddr;

use super::lint::{UNIX, network};
use super::password_login;
use super::problem::Findings;
use super::written::{
    AuthManager, Door, Entra, ExecutionApi, Handoff, HandoffType, Issuer, Upstream,
    UpstreamAddress, Written,
};
use crate::jwks::fetch::{Url, is_loopback};

/// Adds a warning for everything of the kind.
pub(super) fn look(written: &Written, findings: &mut Findings<'_>) {
    let mut look = Look { written, findings };
    look.listeners();
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
mod tests {
    use super::super::lint;
    use super::super::problem::Warning;
    use super::super::tree::Tree;
    use super::*;

    const CLEAN: &str = "
listen: 0.0.0.0:8080
admin: {listen: '127.0.0.1:9090'}
upstream: {url: 'http://127.0.0.1:8081'}
issuers:
  - {name: entra, type: entra, tenant: t, client_id: c, username_claim: oid}
  - {name: airflow, type: airflow, secret_file: SECRET}
  - {name: o, type: oidc, issuer: 'https://o', audiences: [a], username_prefix: 'o:', roles: {a: [Op]}}
handoff: {type: airflow_token, secret_file: SECRET}
access: {password_login: closed, execution_api: forward}
proxy_protocol: false
forwarded: {trusted: [10.0.0.0/8]}
";

    /// What is warned of after each of these texts was replaced, with files of these names.
    fn warned(replaced: &[(&str, &str)]) -> Vec<Warning> {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let good = file("good", &"0123456789abcdef".repeat(4));
        let mut text = CLEAN.to_owned();
        for (from, to) in replaced {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let text = text.replace("SECRET", &good).replace("SHORT", &file("short", "abcdefgh12"));
        let tree = Tree::parse("a.yaml", &text).unwrap();
        let mut findings = Findings::about(&tree);
        let written = lint::read(&tree, &mut findings).unwrap();
        look(&written, &mut findings);
        let warnings = findings.take_warnings();
        assert_eq!(findings.conclude(Some(())), Ok(()), "{text}");
        warnings
    }

    #[test]
    fn a_clean_configuration_has_no_warning() {
        assert_eq!(warned(&[]), []);
    }

    #[test]
    fn every_risk_is_told_with_its_place_and_what_to_do() {
        let far = ("http://127.0.0.1:8081", "http://airflow:8080");
        let to_headers = (
            "{type: airflow_token, secret_file: SECRET}",
            "{type: headers, assertion: {private_key_file: k}}",
        );
        let unsigned = ("{type: airflow_token, secret_file: SECRET}", "{type: headers}");
        let airflow = "  - {name: airflow, type: airflow, secret_file: SECRET}\n";
        let adopt =
            "{type: airflow_token, auth_manager: fab, secret_file: SECRET, fab: {adopt: [a, '*']}}";
        let to_fab = (
            "{type: airflow_token, secret_file: SECRET}",
            "{type: airflow_token, auth_manager: fab, secret_file: SECRET, fab: {}}",
        );
        let own_key = (
            "{type: airflow_token, secret_file: SECRET}",
            "{type: airflow_token, private_key_file: k}",
        );
        let no_worker = ("execution_api: forward", "execution_api: closed");
        let cases: Vec<(Vec<(&str, &str)>, &[(&str, &str)])> = vec![
            (vec![("'127.0.0.1:9090'", "'0.0.0.0:9090'")], &[("admin.listen", "kubelet")]),
            (vec![("'127.0.0.1:9090'", "'[::]:9090'")], &[("admin.listen", "kubelet")]),
            (
                vec![("proxy_protocol: false", "proxy_protocol: true"), ("[10.0.0.0/8]", "[]")],
                &[("proxy_protocol", "nobody's header")],
            ),
            (vec![("proxy_protocol: false", "proxy_protocol: true")], &[]),
            (
                vec![("10.0.0.0/8", "10.1.2.3, 0.0.0.0/0")],
                &[("forwarded.trusted[1]", "every client")],
            ),
            (vec![far, no_worker], &[("upstream.url", "Airflow alone judges")]),
            (vec![far, no_worker, to_fab], &[("upstream.url", "remote_user_header")]),
            (vec![far, no_worker, to_headers], &[("upstream.url", "Airflow alone judges")]),
            (
                vec![far, no_worker, unsigned],
                &[("upstream.url", "identity headers"), ("handoff.assertion", "config/airflow2")],
            ),
            (
                vec![
                    ("url: 'http://127.0.0.1:8081'", "urls: ['unix:/a.sock', 'https://b']"),
                    no_worker,
                ],
                &[("upstream.urls[1]", "NetworkPolicy")],
            ),
            (
                vec![
                    (
                        "{url: 'http://127.0.0.1:8081'}",
                        "{url: 'https://b', client_cert_file: c, client_key_file: k}",
                    ),
                    no_worker,
                ],
                &[],
            ),
            (vec![("'http://127.0.0.1:8081'", "'http://[::1]:8081'")], &[]),
            (
                vec![far],
                &[("upstream.url", "Airflow alone"), ("access.execution_api", "execution_listen")],
            ),
            (
                vec![far, ("listen: 0.0.0.0:8080", "listen: 127.0.0.1:8080")],
                &[("upstream.url", "")],
            ),
            (
                vec![far, ("proxy_protocol", "execution_listen: 0.0.0.0:8082\nproxy_protocol")],
                &[("upstream.url", "")],
            ),
            (vec![("'o:'", "''")], &[("issuers[2].username_prefix", "same user")]),
            (vec![("claim: oid", "claim: upn")], &[("issuers[0].username_claim", "oid")]),
            (vec![unsigned], &[("handoff.assertion", "nothing signed")]),
            (vec![to_headers], &[]),
            (vec![(airflow, "")], &[("issuers", "airflowctl")]),
            (vec![(airflow, ""), to_headers], &[]),
            (vec![own_key], &[("handoff.airflow_keys_file", "tasks cannot run")]),
            (
                vec![("{type: airflow_token, secret_file: SECRET}", adopt)],
                &[("handoff.fab.adopt[1]", "administrators")],
            ),
            (
                vec![("password_login: closed", "password_login: open")],
                &[("access.password_login", "past Entra")],
            ),
            (vec![("password_login: closed, ", "")], &[("access.password_login", "past Entra")]),
            (vec![("password_login: closed", "ui: closed")], &[]),
            (
                vec![
                    ("password_login: closed, ", ""),
                    (
                        "  - {name: entra, type: entra, tenant: t, client_id: c, username_claim: oid}\n",
                        "",
                    ),
                ],
                &[],
            ),
            (
                vec![("secret_file: SECRET", "secret_file: SHORT")],
                &[("handoff.secret_file", "HS512")],
            ),
            (
                vec![(airflow, "  - {name: airflow, type: airflow, secret_file: SHORT}\n")],
                &[("issuers[1].secret_file", "HS512")],
            ),
        ];
        for (replaced, expected) in cases {
            let found = warned(&replaced);
            let keys: Vec<&str> = found.iter().map(|warning| warning.key.as_str()).collect();
            let wanted: Vec<&str> = expected.iter().map(|(key, _)| *key).collect();
            assert_eq!(keys, wanted, "{replaced:?}: {found:#?}");
            for (warning, (_, word)) in found.iter().zip(expected) {
                assert!(warning.to_string().contains(word), "{word}: {warning}");
                assert!(warning.place.starts_with("a.yaml"), "{warning}");
            }
        }
    }

    #[test]
    fn a_default_is_told_to_be_one() {
        let found = warned(&[("password_login: closed, ", "")]).remove(0);
        assert_eq!(found.found, "open, by default");
        let found = warned(&[("password_login: closed", "password_login: open")]).remove(0);
        assert_eq!(found.found, "open");
    }
}
