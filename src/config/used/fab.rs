//! How FAB's users are managed.

use std::time::Duration;

use http::header::HeaderName;

use super::super::written::{self, AuthManager, HandoffType};
use super::handoff::is_taken;
use super::{Builder, Said};
use crate::handoff::IdentityHeaders;
use crate::handoff::fab::{Edition, Settings};
use crate::identity::Mapping;
use crate::identity::roles::is_visible;
use crate::sanitize::fold;

impl Builder<'_, '_, '_> {
    /// Whether tokens are made for users that FAB has.
    pub(super) fn signs_for_fab(&self) -> bool {
        self.written.handoff.as_ref().is_some_and(signs_for_fab)
    }

    /// Whether Airflow knows users by their names alone, wherever they come from.
    pub(super) fn knows_by_name(&self) -> bool {
        let manager = self.written.handoff.as_ref().map(|handoff| handoff.auth_manager);
        matches!(manager, Some(AuthManager::Fab))
    }

    /// What FAB is spoken to by, where tokens are made for its users.
    pub(super) fn fab(
        &mut self,
        written: &written::Handoff,
        headers: Option<&IdentityHeaders>,
        mappings: &[Mapping],
    ) -> Result<Option<Settings>, Said> {
        let Some(fab) = &written.fab else {
            return if signs_for_fab(written) { Err(self.fab_is_missing()) } else { Ok(None) };
        };
        let remote_user_header = self.remote_user_header(&fab.remote_user_header, headers);
        self.admin_user_id(&fab.admin_user_id);
        if !(SHORTEST_TTL..=LONGEST_TTL).contains(&fab.cache_ttl.0) {
            let found = format!("{:?}", fab.cache_ttl.0);
            self.findings.add("handoff.fab.cache_ttl", found, "from 1s to 1h", None);
        }
        for (index, name) in fab.adopt.iter().enumerate().filter(|(_, name)| !is_visible(name)) {
            let key = format!("handoff.fab.adopt[{index}]");
            self.findings.add(&key, format!("{name:?}"), "a user name", None);
        }
        let settings = Settings {
            remote_user_header: remote_user_header.ok_or(Said)?,
            admin_user_id: fab.admin_user_id.clone(),
            cache_ttl: fab.cache_ttl.0,
            adopt: fab.adopt.iter().cloned().collect(),
            base_path: self.base_path().ok_or(Said)?,
            edition: Edition::of(mappings),
        };
        Ok(signs_for_fab(written).then_some(settings))
    }

    fn fab_is_missing(&mut self) -> Said {
        let expected = "remote_user_header, admin_user_id and cache_ttl, as Airflow has them";
        let hint =
            "`fab: {}` where the defaults fit; docs/fab.md says what has to be set in Airflow";
        self.findings.add("handoff.fab", "nothing", expected, Some(hint));
        Said
    }

    fn admin_user_id(&mut self, id: &str) {
        if (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit()) {
            return;
        }
        let hint = "it is the `sub` of the token that this user gets from POST /auth/token";
        let expected = "the id of a user with the role Admin, a number";
        let key = "handoff.fab.admin_user_id";
        self.findings.add(key, format!("{id:?}"), expected, Some(hint));
    }

    /// Airflow can only be told of a header with dashes: WSGI makes underscores of them.
    fn remote_user_header(
        &mut self,
        name: &str,
        headers: Option<&IdentityHeaders>,
    ) -> Option<HeaderName> {
        let ours = headers.map(IdentityHeaders::all).into_iter().flatten();
        let mut ours = ours.map(|header| fold(header.as_str()));
        let header = HeaderName::try_from(name).ok();
        let header = header.filter(|header| !is_taken(header) && *header == *fold(name));
        let header = header.filter(|header| ours.all(|ours| *header != *ours));
        if header.is_none() {
            let expected = "a header name with dashes that nothing else uses";
            let key = "handoff.fab.remote_user_header";
            self.findings.add(key, format!("{name:?}"), expected, None);
        }
        header
    }
}

fn signs_for_fab(written: &written::Handoff) -> bool {
    let form = (written.form, written.auth_manager);
    matches!(form, (HandoffType::AirflowToken, AuthManager::Fab))
}

/// The digits of a 64-bit number.
const LONGEST_ID: usize = 19;
/// Airflow counts in whole seconds.
const SHORTEST_TTL: Duration = Duration::from_secs(1);
/// Whose role was lowered waits for as long.
const LONGEST_TTL: Duration = Duration::from_secs(3600);
