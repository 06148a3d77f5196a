//! How Airflow is told who is calling, and the keys that this takes.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use http::header::HeaderName;
use jsonwebtoken::jwk::Jwk;
use serde_json::Value;

use super::super::written::{self, AuthManager, HandoffType, Issuer, TASK_AUDIENCE};
use super::{Builder, Said};
use crate::handoff::airflow_token::Minter;
use crate::handoff::assertion::Asserter;
use crate::handoff::fab::Fab;
use crate::handoff::signing::{Ambiguous, Published, SigningKey, public_entry};
use crate::handoff::{Cookies, Handoff, IdentityHeaders, Token};
use crate::identity::{Held, Mapping};
use crate::sanitize::{fold, is_forwarding, is_hop_by_hop};
use crate::token_exchange::Terms;

impl Builder<'_, '_, '_> {
    /// The hand-off, and the key set that others verify it by; `prefix` is the path of
    /// `upstream.url`, and `mappings` say what the issuers' tokens mean.
    pub(super) fn handoff(
        &mut self,
        prefix: &str,
        mappings: &[Mapping],
    ) -> Option<(Handoff, Published)> {
        let written = self.written.handoff.as_ref()?;
        self.form_fits(written.form);
        let token_key = self.token_key(written);
        let assertion = self.assertion(written.assertion.as_ref(), prefix);
        let headers = self.identity_headers(&written.headers);
        self.token_fits(written);
        let fab = self.fab(written, headers.as_ref(), mappings);
        let ours = (token_key.as_ref().ok(), assertion.as_ref().ok());
        let published = self.published(
            written,
            ours.0.and_then(Option::as_ref),
            ours.1.and_then(Option::as_ref),
        );
        let (token_key, assertion, headers) = (token_key.ok()?, assertion.ok()?, headers?);
        let published = published?;
        let minter = token_key.map(|key| {
            let (audience, issuer) = (written.audience.clone(), written.issuer.clone());
            Minter::new(key, audience, issuer, written.lifetime.0)
        });
        let token = match (minter, fab.ok()?) {
            (None, _) => Token::None,
            (Some(minter), None) => Token::Simple(Box::new(minter)),
            (Some(minter), Some(settings)) => Token::Fab(Box::new(Fab::new(settings, minter))),
        };
        let cookies = match self.written.access.ui {
            written::Ui::Airflow => Cookies::Pass,
            written::Ui::Closed => Cookies::Remove,
        };
        Some((Handoff { token, asserter: assertion, headers, cookies }, published))
    }

    /// Airflow 2 has no path for a token to its API (`api_connexion/security.py`).
    fn form_fits(&mut self, form: HandoffType) {
        let airflow = self.written.upstream.as_ref().map(|upstream| upstream.airflow);
        if let (HandoffType::AirflowToken, Some(2)) = (form, airflow) {
            let hint = "Airflow 2 takes no tokens: write `type: headers` with `assertion`, and give Airflow config/airflow2/airside_auth_backend.py";
            let expected = "headers with upstream.airflow 2";
            self.findings.add("handoff.type", "airflow_token", expected, Some(hint));
        }
    }

    /// Which of a caller's roles Airflow can be told.
    pub(super) fn held(&self) -> Held {
        match self.written.handoff.as_ref().map(|handoff| (handoff.form, handoff.auth_manager)) {
            Some((HandoffType::Headers, _) | (HandoffType::AirflowToken, AuthManager::Fab)) => {
                Held::All
            }
            Some((HandoffType::AirflowToken, AuthManager::Simple)) | None => Held::Highest,
        }
    }

    /// What signs Airflow's tokens: the shared secret or a key of ours; `None` where none are made.
    fn token_key(&mut self, written: &written::Handoff) -> Result<Option<SigningKey>, Said> {
        let places = (&written.secret_file, &written.private_key_file);
        match (written.form, places) {
            (HandoffType::Headers, (None, None)) => Ok(None),
            (HandoffType::Headers, (secret, _)) => {
                let key = if secret.is_some() { "secret_file" } else { "private_key_file" };
                let hint = "it signs tokens of `type: airflow_token`; the key of the assertion is handoff.assertion.private_key_file";
                let place = format!("handoff.{key}");
                self.findings.add(&place, "a file", "nothing with `type: headers`", Some(hint));
                Err(Said)
            }
            (HandoffType::AirflowToken, (Some(file), None)) => {
                if written.kid.is_some() {
                    let expected = "nothing beside secret_file";
                    self.findings.add("handoff.kid", "a name", expected, None);
                }
                let secret = self.secret("handoff.secret_file", file).ok_or(Said)?;
                Ok(Some(SigningKey::shared(&secret)))
            }
            (HandoffType::AirflowToken, (None, Some(file))) => {
                let kid = written.kid.as_deref();
                self.private_key("handoff.private_key_file", file, kid).map(Some)
            }
            // What does not fit counts as none.
            (HandoffType::AirflowToken, _) if self.misfit("handoff", &CHOICE) => Err(Said),
            (HandoffType::AirflowToken, _) => {
                let hint = "what Airflow verifies by: its [api_auth] jwt_secret, or our key by way of trusted_jwks_url";
                let expected = "exactly one of secret_file, private_key_file";
                self.findings.add("handoff.secret_file", "neither or both", expected, Some(hint));
                Err(Said)
            }
        }
    }

    fn token_fits(&mut self, written: &written::Handoff) {
        let lifetime = written.lifetime.0;
        if !(SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&lifetime) {
            let expected = "from 2s to 24h: it is a pass for one request, not for a session";
            self.findings.add("handoff.lifetime", format!("{lifetime:?}"), expected, None);
        }
        self.not_for_tasks("handoff.audience", &written.audience, "jwt_audience");
        self.not_empty("handoff.audience", written.audience.len(), "[api_auth] jwt_audience");
    }

    fn not_for_tasks(&mut self, place: &str, audience: &str, expected: &str) {
        let of_tasks = |issuer: &Issuer| match issuer {
            Issuer::Airflow(airflow) => airflow.task_audiences.iter().any(|one| one == audience),
            Issuer::Entra(_) | Issuer::Oidc(_) => false,
        };
        let mut issuers = self.written.issuers.iter().flatten().flatten();
        if audience == TASK_AUDIENCE || issuers.any(of_tasks) {
            let hint = "airside never signs tokens that Airflow would take for a task's";
            self.findings.add(place, audience, expected, Some(hint));
        }
    }

    /// What tokens are given in exchange for others, if they are.
    pub(super) fn terms(&mut self) -> Option<Terms> {
        let (handoff, exchange) = (self.written.handoff.as_ref()?, &self.written.exchange);
        let lifetime = exchange.lifetime.0;
        if !(SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&lifetime) {
            let found = format!("{lifetime:?}");
            self.findings.add("exchange.lifetime", found, "from 2s to 24h", None);
        }
        if let (true, HandoffType::Headers) = (exchange.enabled, handoff.form) {
            let hint = "with `type: headers` airside has no key that Airflow takes tokens of; `handoff.type: airflow_token` has";
            self.findings.add("exchange.enabled", "true", "false", Some(hint));
        }
        // A form of some kilobytes comes as soon as a head does, or never.
        let patience = self.written.limits.header_timeout.0;
        Some(Terms { lifetime, audience: handoff.audience.clone(), patience })
    }

    fn assertion(
        &mut self,
        written: Option<&written::Assertion>,
        prefix: &str,
    ) -> Result<Option<Asserter>, Said> {
        let Some(written) = written else { return Ok(None) };
        let (place, kid) = ("handoff.assertion.private_key_file", written.kid.as_deref());
        let key = self.private_key(place, &written.private_key_file, kid);
        let lifetime = written.lifetime.0;
        if !(SHORTEST_TOKEN..=LONGEST_ASSERTION).contains(&lifetime) {
            let key = "handoff.assertion.lifetime";
            self.findings.add(key, format!("{lifetime:?}"), "from 2s to 300s", None);
        }
        let audience = written.audience.clone();
        let place = "handoff.assertion.audience";
        self.not_for_tasks(place, &audience, "a name of this Airflow");
        self.not_empty("handoff.assertion.audience", audience.len(), "a name of this Airflow");
        Ok(Some(Asserter::new(key?, audience, lifetime, prefix.to_owned())))
    }

    fn private_key(
        &mut self,
        place: &str,
        file: &str,
        kid: Option<&str>,
    ) -> Result<SigningKey, Said> {
        if kid.is_some_and(str::is_empty) {
            self.findings.add(place, "an empty kid", "a name, or none for its thumbprint", None);
        }
        let about = |error: &dyn std::fmt::Display| format!("{file}: {error}");
        let key = std::fs::read(Path::new(file))
            .map_err(|error| about(&error))
            .and_then(|pem| SigningKey::private(&pem, kid).map_err(|error| about(&error)));
        self.findings.take(place, key, "a private key, PEM").ok_or(Said)
    }

    fn published(
        &mut self,
        written: &written::Handoff,
        token_key: Option<&SigningKey>,
        assertion: Option<&Asserter>,
    ) -> Option<Published> {
        let mut published = Published::default();
        let ours = token_key.into_iter().chain(assertion.map(Asserter::key));
        let mut whole = true;
        for key in ours.filter_map(SigningKey::public) {
            whole &= self.distinct("handoff.assertion.kid", published.add(key));
        }
        for (index, further) in written.publish.iter().enumerate() {
            let place = format!("handoff.publish[{index}].public_key_file");
            let key = self.public_key(&place, &further.public_key_file, &further.kid);
            whole &= key.is_some_and(|key| self.distinct(&place, published.add(&key)));
        }
        if let Some(file) = &written.airflow_keys_file {
            let place = "handoff.airflow_keys_file";
            let entries = self.airflow_keys_file(place, file, written.airflow_kid.as_deref());
            whole &= entries.is_some();
            for entry in entries.unwrap_or_default() {
                whole &= self.distinct(place, published.add_entry(entry));
            }
        }
        whole.then_some(published)
    }

    fn distinct(&mut self, place: &str, added: Result<(), Ambiguous>) -> bool {
        let Err(Ambiguous { kid }) = added else { return true };
        let hint = "Airflow finds the key of a token by its kid: give each key a name of its own";
        let found = format!("two different keys with the kid {kid:?}");
        self.findings.add(place, found, "each kid once", Some(hint));
        false
    }

    fn public_key(&mut self, place: &str, file: &str, kid: &str) -> Option<Jwk> {
        let about = |error: &dyn std::fmt::Display| format!("{file}: {error}");
        let key = std::fs::read(file)
            .map_err(|error| about(&error))
            .and_then(|pem| public_entry(&pem, kid).map_err(|error| about(&error)));
        self.findings.take(place, key, "a public key, PEM")
    }

    /// The entries of Airflow's key set, or the one of its PEM.
    fn airflow_keys_file(
        &mut self,
        place: &str,
        file: &str,
        kid: Option<&str>,
    ) -> Option<Vec<Value>> {
        let text = std::fs::read(file).map_err(|error| format!("{file}: {error}"));
        let text = self.findings.take(place, text, "a JWK Set, or a public key in PEM")?;
        if !text.trim_ascii_start().starts_with(b"{") {
            let Some(kid) = kid.filter(|kid| !kid.is_empty()) else {
                let expected = "[api_auth] jwt_kid beside a PEM in airflow_keys_file";
                self.findings.add("handoff.airflow_kid", "nothing", expected, None);
                return None;
            };
            let key = self.public_key(place, file, kid)?;
            return Some(vec![serde_json::to_value(key).unwrap_or_default()]);
        }
        // The set is read as any issuer's is: that says what is wrong with it.
        self.keys_file(place, file)?;
        let document: Value = serde_json::from_slice(&text).unwrap_or_default();
        let entries = document.get("keys").and_then(Value::as_array).cloned().unwrap_or_default();
        let secret = |entry: &Value| entry.get("d").is_some() || entry.get("k").is_some();
        if entries.iter().any(secret) {
            let hint = "what stands in it would be published: take the private members out";
            self.findings.add(
                place,
                format!("{file} holds a private key"),
                "public keys",
                Some(hint),
            );
            return None;
        }
        Some(entries)
    }

    fn identity_headers(&mut self, written: &written::Headers) -> Option<IdentityHeaders> {
        let mut seen = HashSet::new();
        let mut read = |key: &str, name: &str| {
            let key = format!("handoff.headers.{key}");
            let Ok(header) = HeaderName::try_from(name) else {
                self.findings.add(&key, format!("{name:?}"), "a header name", None);
                return None;
            };
            if is_taken(&header) || !seen.insert(fold(header.as_str())) {
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
}

/// What says by which key Airflow's tokens are signed.
const CHOICE: [&str; 3] = ["type", "secret_file", "private_key_file"];

/// Whether the header means something else already.
pub(super) fn is_taken(header: &HeaderName) -> bool {
    RESERVED.contains(&header.as_str())
        || is_hop_by_hop(header.as_str())
        || is_forwarding(header.as_str())
}

const SHORTEST_TOKEN: Duration = Duration::from_secs(2);
const LONGEST_TOKEN: Duration = Duration::from_secs(24 * 3600);
/// What verifiers accept at the most.
const LONGEST_ASSERTION: Duration = Duration::from_secs(300);
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
