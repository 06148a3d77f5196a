//! Issuers of type `entra`: Microsoft Entra ID.

use std::sync::Arc;

use super::super::written;
use super::issuers::Part;
use super::{Builder, KeySource};
use crate::identity::{Mapping, Origin, RoleMap};
use crate::jwks::{Algorithm, KeyStore};
use crate::token::{self, Rules, entra};

impl Builder<'_, '_, '_> {
    pub(super) fn entra(&mut self, key: &str, written: &written::Entra) -> Option<Part> {
        let name: Arc<str> = written.name.as_str().into();
        let client_id = self.guid(&format!("{key}.client_id"), &written.client_id);
        let tenants = self.tenants(&format!("{key}.tenant"), &written.tenant);
        self.not_empty(&format!("{key}.versions"), written.versions.len(), "v1, v2 or both");
        self.all_named(&format!("{key}.audiences"), &written.audiences, "an audience");
        self.all_named(&format!("{key}.clients"), &written.clients, "a client id");
        self.pointer(&format!("{key}.roles_claim"), &written.roles_claim);
        let (roles_key, map) = match &written.roles {
            Some(map) => (format!("{key}.roles"), Some(map)),
            None => ("roles.map".to_owned(), self.written.roles.map.as_ref()),
        };
        let roles = match map {
            Some(map) => self.role_map(&roles_key, map),
            None => Some(RoleMap::identity()),
        };
        let cloud = written.cloud.into();
        let known = tenants.as_deref().unwrap_or_default();
        let keys = self.entra_keys(key, written, cloud, &name, known);
        let (client_id, _, roles) = (client_id?, tenants?, roles?);
        let (tenants, sources) = keys?;
        let versions = written.versions.iter().map(|version| match version {
            written::Version::V1 => entra::Version::V1,
            written::Version::V2 => entra::Version::V2,
        });
        let rules = entra::Rules {
            tenants,
            cloud,
            versions: versions.collect(),
            client_id: client_id.as_str().into(),
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
            username_prefix: String::new(),
            origin: Origin::Mapped { pointer: written.roles_claim.clone(), roles },
        };
        let algorithms = vec![Algorithm::Rs256];
        let rules = Rules::Entra(rules);
        Some((token::Issuer { name, audiences, algorithms, rules }, mapping, sources))
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
            let source = self.keys_in_file(&format!("{key}.keys_file"), file, name)?;
            return Some((of_tenants(&source.store), vec![source]));
        }
        if let Some(url) = &written.keys_url {
            let source = self.key_source(key, "keys_url", &url.0, written.ca_file.as_deref())?;
            let source = self.fetched(name, source);
            return Some((of_tenants(&source.store), vec![source]));
        }
        let authority = written.authority.as_ref().map_or(cloud.authority(), |url| url.0.as_str());
        self.secure(&format!("{key}.authority"), authority)?;
        let (mut all, mut sources) = (Vec::new(), Vec::new());
        for id in tenants {
            let url = format!("{}/{id}/discovery/v2.0/keys", authority.trim_end_matches('/'));
            let source = self.key_source(key, "authority", &url, written.ca_file.as_deref())?;
            let source = self.fetched(name, source);
            all.push(entra::Tenant { id: Arc::clone(id), keys: Arc::clone(&source.store) });
            sources.push(source);
        }
        Some((all, sources))
    }
}

impl From<written::Cloud> for entra::Cloud {
    fn from(written: written::Cloud) -> Self {
        match written {
            written::Cloud::Global => Self::Global,
            written::Cloud::UsGov => Self::UsGov,
            written::Cloud::China => Self::China,
        }
    }
}

/// What Entra may write into `aud` for one API: v1 tokens carry the identifier URI as the client
/// asked for it, v2 tokens the client id (learn.microsoft.com/entra/identity-platform/access-token-claims-reference).
pub(in crate::config) fn default_audiences(client_id: &str) -> Vec<String> {
    let bare = [client_id.to_owned(), format!("api://{client_id}")];
    bare.iter().flat_map(|audience| [audience.clone(), format!("{audience}/")]).collect()
}
