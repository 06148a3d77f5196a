//! The list of revoked tokens, as it is at the start.

use std::path::PathBuf;
use std::sync::Arc;

use super::Builder;
use crate::identity::Mapping;
use crate::revocation::watch::{self, Watch};
use crate::revocation::{Revocations, Watched, document};

impl Builder<'_, '_, '_> {
    /// The list, and what follows its file. Without `issuers`, because something is wrong with them,
    /// at least the rest of the file is looked at.
    pub(super) fn revocations(
        &mut self,
        issuers: Option<&[Mapping]>,
    ) -> Option<(Arc<Revocations>, Option<Watch>)> {
        let Some(file) = &self.written.revocation.file else {
            return Some((Arc::new(Revocations::none()), None));
        };
        let watched: Option<Vec<_>> = issuers.map(|all| all.iter().map(watched).collect());
        let key = "revocation.file";
        let path = PathBuf::from(file);
        let bytes = watch::read(&path).map_err(|error| format!("{file}: {error}"));
        let bytes = self.findings.take(key, bytes, "a file with a list; an empty one is []")?;
        let list = document::parse(&bytes, watched.as_deref());
        let list = list.map_err(|faults| format!("{file}: {faults}"));
        let list = self.findings.take(key, list, "a list of revoked tokens")?;
        let revocations = Arc::new(Revocations::new(list, watched?));
        let watch = Watch::new(path, &bytes, Arc::clone(&revocations));
        Some((revocations, Some(watch)))
    }
}

fn watched(mapping: &Mapping) -> Watched {
    let username_claim = mapping.username_claim.clone();
    Watched { name: Arc::clone(&mapping.issuer), username_claim }
}
