//! Issuers: who may issue tokens, what their tokens must be, and where their keys come from.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::written::{self, Issuer, RoleMap as WrittenRoles};
use super::airflow::TASK_AUDIENCE;
use super::{Builder, KeySource};
use crate::identity::roles::{SIMPLE, is_visible};
use crate::identity::{AirflowRole, Mapping, Origin, RoleMap};
use crate::jwks::fetch::{Source, is_loopback};
use crate::jwks::{Key, KeySet, KeyStore, Schedule};
use crate::token::{self, Contested, Rules, Verifier, airflow, entra};

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
            };
            self.name_fits(&format!("{key}.name"), name, &mut names);
            let part = match issuer {
                Issuer::Entra(entra) => self.entra(&key, entra),
                Issuer::Airflow(airflow) => self.airflow(&key, airflow),
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

    fn entra(
        &mut self,
        key: &str,
        written: &written::Entra,
    ) -> Option<(token::Issuer, Mapping, Vec<KeySource>)> {
        let name: Arc<str> = written.name.as_str().into();
        let client_id = self.guid(&format!("{key}.client_id"), &written.client_id);
        let tenants = self.tenants(&format!("{key}.tenant"), &written.tenant);
        self.not_empty(&format!("{key}.versions"), written.versions.len(), "v1, v2 or both");
        if !written.roles_claim.starts_with('/') {
            let hint = "a JSON pointer begins with a slash: /roles";
            let found = format!("{:?}", written.roles_claim);
            self.findings.add(&format!("{key}.roles_claim"), found, "a JSON pointer", Some(hint));
        }
        let (roles_key, map) = match &written.roles {
            Some(map) => (format!("{key}.roles"), Some(map)),
            None => ("roles.map".to_owned(), self.written.roles.map.as_ref()),
        };
        let roles = match map {
            Some(map) => self.role_map(&roles_key, map),
            None => Some(RoleMap::identity()),
        };
        let cloud = match written.cloud {
            written::Cloud::Global => entra::Cloud::Global,
            written::Cloud::UsGov => entra::Cloud::UsGov,
            written::Cloud::China => entra::Cloud::China,
        };
        let (client_id, tenants, roles) = (client_id?, tenants?, roles?);
        let (tenants, sources) = self.entra_keys(key, written, cloud, &name, &tenants)?;
        let versions = written.versions.iter().map(|version| match version {
            written::Version::V1 => entra::Version::V1,
            written::Version::V2 => entra::Version::V2,
        });
        let rules = entra::Rules {
            tenants,
            cloud,
            versions: versions.collect(),
            clients: written.clients.clone(),
        };
        let audiences = if written.audiences.is_empty() {
            default_audiences(&client_id)
        } else {
            written.audiences.clone()
        };
        let mapping = Mapping {
            issuer: Arc::clone(&name),
            username_claim: written.username_claim.clone(),
            origin: Origin::Mapped { pointer: written.roles_claim.clone(), roles },
        };
        Some((token::Issuer { name, audiences, rules: Rules::Entra(rules) }, mapping, sources))
    }

    fn tenants(&mut self, key: &str, written: &written::OneOrMany) -> Option<Vec<Arc<str>>> {
        self.not_empty(key, written.all().len(), "the directory (tenant) id");
        let several = matches!(written, written::OneOrMany::Many(_));
        let read = |(index, tenant): (usize, &String)| {
            let key = if several { format!("{key}[{index}]") } else { key.to_owned() };
            self.guid(&key, tenant).map(Arc::from)
        };
        let tenants: Vec<_> = written.all().iter().enumerate().map(read).collect();
        tenants.into_iter().collect()
    }

    /// One key set for the entry where its place is given, otherwise one for each tenant.
    fn entra_keys(
        &mut self,
        key: &str,
        written: &written::Entra,
        cloud: entra::Cloud,
        name: &Arc<str>,
        tenants: &[Arc<str>],
    ) -> Option<(Vec<entra::Tenant>, Vec<KeySource>)> {
        let of_tenants = |store: &Arc<KeyStore>| {
            let tenant =
                |id: &Arc<str>| entra::Tenant { id: Arc::clone(id), keys: Arc::clone(store) };
            tenants.iter().map(tenant).collect()
        };
        if let Some(file) = &written.keys_file {
            let keys = self.keys_file(&format!("{key}.keys_file"), file)?;
            let store = Arc::new(KeyStore::fixed(Arc::clone(name), keys));
            return Some((of_tenants(&store), vec![KeySource::given(store)]));
        }
        if let Some(url) = &written.keys_url {
            let source = self.key_source(&format!("{key}.keys_url"), key, written, &url.0)?;
            let source = self.fetched(name, source);
            return Some((of_tenants(&source.store), vec![source]));
        }
        let authority = written.authority.as_ref().map_or(cloud.authority(), |url| url.0.as_str());
        let (mut all, mut sources) = (Vec::new(), Vec::new());
        for id in tenants {
            let url = format!("{}/{id}/discovery/v2.0/keys", authority.trim_end_matches('/'));
            let source = self.key_source(&format!("{key}.authority"), key, written, &url)?;
            let source = self.fetched(name, source);
            all.push(entra::Tenant { id: Arc::clone(id), keys: Arc::clone(&source.store) });
            sources.push(source);
        }
        Some((all, sources))
    }

    fn key_source(
        &mut self,
        place: &str,
        entry: &str,
        written: &written::Entra,
        url: &str,
    ) -> Option<Source> {
        let url = self.url(place, &written::WebAddress(url.to_owned()))?;
        if url.scheme() != "https" && !is_loopback(&url) {
            let hint = "over plain http anybody on the way can hand airside keys of their own";
            self.findings.add(
                place,
                url.as_str(),
                "https, unless the host is loopback",
                Some(hint),
            );
            return None;
        }
        let ca_file = written.ca_file.as_deref().map(Path::new);
        let source = Source::new(url, ca_file, self.written.keys.timeout.0);
        self.findings.take(&format!("{entry}.ca_file"), source, "PEM certificates")
    }

    fn fetched(&self, name: &Arc<str>, source: Source) -> KeySource {
        let keys = &self.written.keys;
        let schedule = Schedule {
            refresh: keys.refresh.0,
            stale_for: keys.stale_for.0,
            unknown_kid_cooldown: keys.unknown_kid_cooldown.0,
            timeout: keys.timeout.0,
        };
        KeySource {
            store: Arc::new(KeyStore::fetched(Arc::clone(name), schedule)),
            source: Some(source),
            refresh: schedule.refresh,
        }
    }

    fn keys_file(&mut self, key: &str, file: &str) -> Option<KeySet> {
        let keys = std::fs::read(file)
            .map_err(|error| format!("{file}: {error}"))
            .and_then(|text| KeySet::parse(&text).map_err(|error| format!("{file}: {error}")));
        self.findings.take(key, keys, "a file with a JWK Set")
    }

    fn airflow(
        &mut self,
        key: &str,
        written: &written::Airflow,
    ) -> Option<(token::Issuer, Mapping, Vec<KeySource>)> {
        let name: Arc<str> = written.name.as_str().into();
        self.not_empty(&format!("{key}.audiences"), written.audiences.len(), "jwt_audience");
        if written.audiences.iter().any(|audience| audience == TASK_AUDIENCE) {
            let hint = "tokens of tasks have no business on the REST API";
            let found = format!("{TASK_AUDIENCE:?}");
            self.findings.add(&format!("{key}.audiences"), found, "jwt_audience", Some(hint));
        }
        let secret = self.secret(&format!("{key}.secret_file"), &written.secret_file)?;
        let keys = KeySet::single(Key::hs512(&secret));
        let store = Arc::new(KeyStore::fixed(Arc::clone(&name), keys));
        let rules = airflow::Rules { issuer: written.issuer.clone(), keys: Arc::clone(&store) };
        let mapping = Mapping {
            issuer: Arc::clone(&name),
            username_claim: "sub".into(),
            origin: Origin::Airflow,
        };
        let audiences = written.audiences.clone();
        let issuer = token::Issuer { name, audiences, rules: Rules::Airflow(rules) };
        Some((issuer, mapping, vec![KeySource::given(store)]))
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
            let key = format!("issuers[{second}]");
            self.findings.add(&key, found, "tokens that no other entry claims", None);
        };
        Verifier::new(issuers, leeway).map_err(contested).ok()
    }

    /// A map for `SimpleAuthManager`, which knows four roles.
    fn role_map(&mut self, key: &str, written: &WrittenRoles) -> Option<RoleMap> {
        self.not_empty(key, written.0.len(), "token values with their Airflow roles");
        let mut rows = Vec::new();
        let mut whole = true;
        for (value, names) in &written.0 {
            let key = format!("{key}.{value}");
            self.not_empty(&key, names.len(), "at least one Airflow role");
            let mut roles = Vec::new();
            for name in names {
                match AirflowRole::new(name).filter(|role| role.simple_rank().is_some()) {
                    Some(role) => roles.push(role),
                    None => {
                        let expected = format!("one of {}", SIMPLE.join(", "));
                        let hint = "SimpleAuthManager has no other roles, and none may be guessed";
                        self.findings.add(&key, format!("{name:?}"), expected, Some(hint));
                        whole = false;
                    }
                }
            }
            rows.push((value.clone(), roles));
        }
        whole.then(|| RoleMap::new(rows))
    }
}

impl KeySource {
    fn given(store: Arc<KeyStore>) -> Self {
        Self { store, source: None, refresh: Duration::MAX }
    }
}

/// What Entra may write into `aud` for one API: v1 tokens carry the identifier URI as the client
/// asked for it, v2 tokens the client id (learn.microsoft.com/entra/identity-platform/access-token-claims-reference).
fn default_audiences(client_id: &str) -> Vec<String> {
    let bare = [client_id.to_owned(), format!("api://{client_id}")];
    bare.iter().flat_map(|audience| [audience.clone(), format!("{audience}/")]).collect()
}
