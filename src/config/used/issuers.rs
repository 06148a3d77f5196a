//! Issuers: who may issue tokens, what their tokens must be, and where their keys come from.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::written::{self, Issuer};
use super::{Builder, KeySource, Said};
use crate::identity::roles::ValueMap;
use crate::identity::roles::{SIMPLE, is_visible};
use crate::identity::{AirflowRole, AirflowTeam, Held, Mapping, RoleMap, TeamMap};
use crate::jwks::document::DocumentError;
use crate::jwks::fetch::{Source, Url, is_loopback, place};
use crate::jwks::{KeySet, KeyStore, Schedule};
use crate::token::{self, Contested, Verifier};

/// An entry's issuer, how its claims name somebody, and where its keys come from.
pub(super) type Part = (token::Issuer, Mapping, Vec<KeySource>);

impl Builder<'_, '_, '_> {
    pub(super) fn issuers(&mut self) -> Option<(Vec<token::Issuer>, Vec<Mapping>, Vec<KeySource>)> {
        let written = self.written.issuers.as_ref()?;
        if written.is_empty() {
            let hint = "--entra-tenant and --entra-client-id make one";
            self.findings.add("issuers", "an empty list", "at least one issuer", Some(hint));
            return None;
        }
        let (mut issuers, mut mappings, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        let mut names = HashSet::new();
        let mut whole = true;
        for (index, issuer) in written.iter().enumerate() {
            let Some(issuer) = issuer else { continue };
            let key = format!("issuers[{index}]");
            let name = match issuer {
                Issuer::Entra(entra) => &entra.name,
                Issuer::Airflow(airflow) => &airflow.name,
                Issuer::Oidc(oidc) => &oidc.name,
            };
            self.name_fits(&format!("{key}.name"), name, &mut names);
            let part = match issuer {
                Issuer::Entra(entra) => self.entra(&key, entra),
                Issuer::Airflow(airflow) => self.airflow(&key, airflow),
                Issuer::Oidc(oidc) => self.oidc(&key, oidc),
            };
            match part {
                Some((issuer, mapping, sources)) => {
                    issuers.push(issuer);
                    mappings.push(mapping);
                    keys.extend(sources);
                }
                None => whole = false,
            }
        }
        whole.then_some((issuers, mappings, keys))
    }

    fn name_fits<'w>(&mut self, key: &str, name: &'w str, names: &mut HashSet<&'w str>) {
        if !is_visible(name) {
            self.findings.add(key, format!("{name:?}"), "visible ASCII without spaces", None);
        } else if !names.insert(name) {
            self.findings.add(key, format!("{name:?} again"), "a name of its own", None);
        }
    }

    pub(super) fn key_source(
        &mut self,
        entry: &str,
        name: &str,
        url: &str,
        ca_file: Option<&str>,
    ) -> Option<Source> {
        let url = self.secure(&format!("{entry}.{name}"), url)?;
        let source = Source::keys(url, ca_file.map(Path::new), self.written.keys.timeout.0);
        self.findings.take(&format!("{entry}.ca_file"), source, "PEM certificates")
    }

    /// An address from which keys may be fetched.
    pub(super) fn secure(&mut self, key: &str, url: &str) -> Option<Url> {
        let url = self.url(key, &written::WebAddress(url.to_owned()))?;
        if url.scheme() == "https" || is_loopback(&url) {
            return Some(url);
        }
        let hint = "over plain http anybody on the way can hand airside keys of their own";
        let expected = "https, unless the host is loopback";
        self.findings.add(key, place(&url), expected, Some(hint));
        None
    }

    pub(super) fn fetched(&self, name: &Arc<str>, source: Source) -> KeySource {
        let keys = &self.written.keys;
        let schedule = Schedule {
            refresh: keys.refresh.0,
            stale_for: keys.stale_for.0,
            unknown_kid_cooldown: keys.unknown_kid_cooldown.0,
            timeout: keys.timeout.0,
        };
        let cache = self.cache_dir.as_ref().map(|folder| folder.file(name, source.url()));
        let same_place = |old: &&KeySource| {
            old.store.issuer() == name
                && old.source.as_ref().is_some_and(|old| old.is_same_as(&source))
        };
        let former = self.former.iter().find(same_place);
        let unchanged =
            |old: &&KeySource| old.store.schedule() == Some(&schedule) && old.cache == cache;
        if let Some(same) = former.filter(unchanged) {
            return same.clone();
        }
        let store = KeyStore::fetched(Arc::clone(name), schedule);
        if let Some(former) = former {
            store.inherit(&former.store);
        }
        KeySource {
            store: Arc::new(store),
            source: Some(source),
            secret_file: None,
            cache,
            refresh: schedule.refresh,
        }
    }

    /// The keys of an issuer that stand in a file. A set without any is one: whoever takes the last
    /// key out wants nobody let in by it.
    pub(super) fn keys_in_file(
        &mut self,
        key: &str,
        file: &str,
        name: &Arc<str>,
    ) -> Option<KeySource> {
        let (name, expected) = (Arc::clone(name), "a file with a JWK Set");
        let text = std::fs::read(file).map_err(|error| format!("{file}: {error}"));
        let store = match KeySet::parse(&self.findings.take(key, text, expected)?) {
            Ok(keys) => KeyStore::fixed(name, keys),
            Err(DocumentError::Empty) => KeyStore::without_keys(name),
            Err(error) => {
                self.findings.add(key, format!("{file}: {error}"), expected, None);
                return None;
            }
        };
        Some(KeySource::given(Arc::new(store)))
    }

    pub(super) fn keys_file(&mut self, key: &str, file: &str) -> Option<KeySet> {
        let keys = std::fs::read(file)
            .map_err(|error| format!("{file}: {error}"))
            .and_then(|text| KeySet::parse(&text).map_err(|error| format!("{file}: {error}")));
        self.findings.take(key, keys, "a file with a JWK Set")
    }

    pub(super) fn pointer(&mut self, key: &str, pointer: &str) {
        if !pointer.starts_with('/') {
            let hint = "a JSON pointer begins with a slash: /roles";
            self.findings.add(key, format!("{pointer:?}"), "a JSON pointer", Some(hint));
        }
    }

    pub(super) fn verifier(
        &mut self,
        issuers: Vec<token::Issuer>,
        leeway: Duration,
    ) -> Option<Verifier> {
        let names: Vec<_> = issuers.iter().map(|issuer| Arc::clone(&issuer.name)).collect();
        let contested = |contested: Contested| {
            let Contested { first, second, iss } = contested;
            let name = |index: usize| names.get(index).map_or("", |name| name.as_ref());
            let iss = iss.map_or("tokens without iss".into(), |iss| format!("tokens of {iss}"));
            let found = format!("{} and {} both claim {iss}", name(first), name(second));
            let entry = self.written.issuers.iter().flatten().nth(second);
            let claim = match entry {
                Some(Some(Issuer::Entra(_))) => "tenant",
                _ => "issuer",
            };
            let key = format!("issuers[{second}].{claim}");
            self.findings.add(&key, found, "tokens that no other entry claims", None);
        };
        Verifier::new(issuers, leeway).map_err(contested).ok()
    }

    /// A map to roles that Airflow's auth manager can be told of.
    pub(super) fn role_map(&mut self, key: &str, written: &written::ValueMap) -> Option<RoleMap> {
        self.value_map(key, written, "role", Self::role)
    }

    /// The map to teams, if there is one.
    pub(super) fn teams(&mut self) -> Result<Option<TeamMap>, Said> {
        let Some(written) = &self.written.roles.teams else { return Ok(None) };
        self.value_map("roles.teams", written, "team", Self::team).map(Some).ok_or(Said)
    }

    fn value_map<T: Clone + PartialEq>(
        &mut self,
        key: &str,
        written: &written::ValueMap,
        what: &str,
        read: fn(&mut Self, &str, &str) -> Option<T>,
    ) -> Option<ValueMap<T>> {
        let expected = format!("token values with their Airflow {what}s");
        self.not_empty(key, written.0.len(), &expected);
        let mut rows = Vec::new();
        let mut whole = true;
        for (value, names) in &written.0 {
            self.not_empty(key, value.len(), "a token value before each colon");
            let key = format!("{key}.{value}");
            self.not_empty(&key, names.len(), &format!("at least one Airflow {what}"));
            let read: Vec<_> = names.iter().filter_map(|name| read(self, &key, name)).collect();
            whole &= read.len() == names.len();
            rows.push((value.clone(), read));
        }
        whole.then(|| ValueMap::new(rows))
    }

    fn team(&mut self, key: &str, name: &str) -> Option<AirflowTeam> {
        let team = AirflowTeam::new(name);
        if team.is_none() {
            let expected = "a team's name: visible ASCII without spaces";
            self.findings.add(key, format!("{name:?}"), expected, None);
        }
        team
    }

    fn role(&mut self, key: &str, name: &str) -> Option<AirflowRole> {
        let role = AirflowRole::new(name);
        match self.held() {
            Held::All if role.is_none() => {
                let expected = "a role's name: visible ASCII without comma or space";
                let hint = "the names travel in a header, joined by commas";
                self.findings.add(key, format!("{name:?}"), expected, Some(hint));
                None
            }
            Held::Highest if role.as_ref().is_none_or(|role| role.simple_rank().is_none()) => {
                let expected = format!("one of {}", SIMPLE.join(", "));
                let hint = "SimpleAuthManager has no other roles, and none may be guessed";
                self.findings.add(key, format!("{name:?}"), expected, Some(hint));
                None
            }
            Held::All | Held::Highest => role,
        }
    }
}

impl KeySource {
    pub(super) fn given(store: Arc<KeyStore>) -> Self {
        Self { store, source: None, secret_file: None, cache: None, refresh: Duration::MAX }
    }
}
