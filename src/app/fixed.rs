//! What cannot change while airside runs: its sockets, and what its threads and its log are made of.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use crate::config::tree::Tree;
use crate::config::{Config, Findings, Problems};
use crate::telemetry::logging::Format;

/// What a running airside is bound to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed {
    listen: SocketAddr,
    execution: Option<SocketAddr>,
    forward_auth: Option<SocketAddr>,
    admin: SocketAddr,
    threads: Option<NonZeroUsize>,
    log_format: Format,
}

impl Fixed {
    pub(super) const fn of(config: &Config) -> Self {
        let Config { listen, execution, forward_auth, admin, threads, log_format, .. } = config;
        Self {
            listen: *listen,
            execution: *execution,
            forward_auth: *forward_auth,
            admin: *admin,
            threads: *threads,
            log_format: *log_format,
        }
    }

    /// Lists what `config`, written in `tree`, would change of it. A configuration is in force as a
    /// whole or not at all, so one of them is enough to refuse it.
    pub(super) fn allow(self, config: &Config, tree: &Tree) -> Result<(), Problems> {
        let other = Self::of(config);
        let absent = |text: Option<String>| text.unwrap_or_else(|| "nothing".to_owned());
        let address = |one: Option<SocketAddr>| absent(one.map(|one| one.to_string()));
        let threads = |one: Option<NonZeroUsize>| absent(one.map(|one| one.to_string()));
        let format = |one: Format| format!("{one:?}").to_lowercase();
        let all = [
            ("listen", self.listen.to_string(), other.listen.to_string()),
            ("execution_listen", address(self.execution), address(other.execution)),
            ("forward_auth.listen", address(self.forward_auth), address(other.forward_auth)),
            ("admin.listen", self.admin.to_string(), other.admin.to_string()),
            ("threads", threads(self.threads), threads(other.threads)),
            ("log.format", format(self.log_format), format(other.log_format)),
        ];
        let changed = all.into_iter().filter(|(_, before, after)| before != after);
        let mut findings = Findings::about(tree);
        for (key, before, after) in changed {
            let expected = format!("{before}, as at the start");
            findings.add(key, after, expected, Some("restart airside to change it"));
        }
        findings.conclude(Some(()))
    }
}
