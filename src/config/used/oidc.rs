//! Issuers of type `oidc`: any OpenID issuer.

use std::path::Path;
use std::sync::Arc;

use super::super::written;
use super::issuers::Part;
use super::{Builder, KeySource};
use crate::identity::roles::is_visible;
use crate::identity::{Mapping, Origin};
use crate::jwks::Algorithm;
use crate::jwks::fetch::Source;
use crate::token::{self, Rules, oidc};

impl Builder<'_, '_, '_> {
    pub(super) fn oidc(&mut self, key: &str, written: &written::Oidc) -> Option<Part> {
        let name: Arc<str> = written.name.as_str().into();
        let place = |name: &str| format!("{key}.{name}");
        self.not_empty(&place("audiences"), written.audiences.len(), "at least one audience");
        self.all_named(&place("audiences"), &written.audiences, "an audience");
        self.not_empty(&place("algorithms"), written.algorithms.len(), "at least one algorithm");
        self.pointer(&place("roles_claim"), &written.roles_claim);
        if !written.username_prefix.is_empty() && !is_visible(&written.username_prefix) {
            let found = format!("{:?}", written.username_prefix);
            self.findings.add(&place("username_prefix"), found, "visible ASCII", None);
        }
        if written.username_prefix.is_empty() && self.knows_by_name() {
            let hint = "FAB knows users by their names alone: without a prefix this issuer could name anybody's";
            let (key, expected) = (place("username_prefix"), "a prefix, with auth_manager fab");
            self.findings.add(&key, "nothing", expected, Some(hint));
        }
        self.somebodys(key, written);
        let roles = self.role_map(&place("roles"), &written.roles);
        let source = self.oidc_keys(key, written, &name);
        let (roles, source) = (roles?, source?);
        let rules = oidc::Rules {
            issuer: written.issuer.0.clone(),
            keys: Arc::clone(&source.store),
            required_claims: written.required_claims.clone().into_iter().collect(),
        };
        let algorithms = written.algorithms.iter().map(|algorithm| match algorithm {
            written::Algorithm::Rs256 => Algorithm::Rs256,
            written::Algorithm::Rs512 => Algorithm::Rs512,
            written::Algorithm::Es256 => Algorithm::Es256,
            written::Algorithm::EdDsa => Algorithm::EdDsa,
        });
        let mapping = Mapping {
            issuer: Arc::clone(&name),
            username_claim: written.username_claim.clone(),
            username_prefix: written.username_prefix.clone(),
            origin: Origin::Mapped { pointer: written.roles_claim.clone(), roles },
        };
        let issuer = token::Issuer {
            name,
            audiences: written.audiences.clone(),
            algorithms: algorithms.collect(),
            rules: Rules::Oidc(rules),
        };
        Some((issuer, mapping, vec![source]))
    }

    /// An issuer that gives tokens to everybody must be narrowed to somebody.
    fn somebodys(&mut self, key: &str, written: &written::Oidc) {
        for (claim, values) in &written.required_claims {
            let place = format!("{key}.required_claims.{claim}");
            self.not_empty(&place, values.len(), "at least one value");
            self.all_named(&place, values, "a value");
        }
        let public = PUBLIC_ISSUERS.iter().find(|public| written.issuer.0.starts_with(**public));
        if let Some(public) = public.filter(|_| written.required_claims.is_empty()) {
            let hint = "for example repository_owner, hd or namespace_path with your own";
            let expected = format!("claims that narrow {public} to your organisation");
            self.findings.add(&format!("{key}.required_claims"), "nothing", expected, Some(hint));
        }
    }

    fn oidc_keys(
        &mut self,
        key: &str,
        written: &written::Oidc,
        name: &Arc<str>,
    ) -> Option<KeySource> {
        let issuer = self.secure(&format!("{key}.issuer"), &written.issuer.0);
        let ca_file = written.ca_file.as_deref();
        if let Some(file) = &written.keys_file {
            let source = self.keys_in_file(&format!("{key}.keys_file"), file, name);
            return issuer.and(source);
        }
        if let Some(url) = &written.keys_url {
            let source = self.key_source(key, "keys_url", &url.0, ca_file)?;
            return issuer.map(|_| self.fetched(name, source));
        }
        let issuer = issuer?;
        // OpenID Connect Discovery 1.0, section 4.1: below the issuer, whatever path it has.
        let metadata =
            format!("{}/.well-known/openid-configuration", issuer.as_str().trim_end_matches('/'));
        let metadata = self.secure(&format!("{key}.issuer"), &metadata)?;
        let (ca_file, timeout) = (ca_file.map(Path::new), self.written.keys.timeout.0);
        let source = Source::discovered(written.issuer.0.clone(), metadata, ca_file, timeout);
        let source = self.findings.take(&format!("{key}.ca_file"), source, "PEM certificates")?;
        Some(self.fetched(name, source))
    }
}

/// Issuers that give a token to whoever asks.
const PUBLIC_ISSUERS: [&str; 3] = [
    "https://token.actions.githubusercontent.com",
    "https://accounts.google.com",
    "https://gitlab.com",
];
