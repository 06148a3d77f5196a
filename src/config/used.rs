//! Valid settings: what is written, checked against itself and against the files it names, and
//! turned into the parts' own types. After this nobody looks at the configuration again.

mod airflow;
mod airflow_issuer;
mod entra;
mod fab;
mod handoff;
mod issuers;
mod oidc;
mod revocation;
mod telemetry;
mod tls;
mod upstream;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing_subscriber::filter::LevelFilter;

pub(super) use entra::default_audiences;

use super::problem::Findings;
use super::written::{self, Written};
use crate::admin::viewers::Viewers;
use crate::caller::Callers;
use crate::credential::Delegates;
use crate::downstream::connection;
use crate::failures::Failures;
use crate::identity::Directory;
use crate::jwks::KeyStore;
use crate::jwks::disk::{CacheDir, CacheFile};
use crate::jwks::fetch::{Source, Url};
use crate::proxy::Gate;
use crate::revocation::Revocations;
use crate::revocation::watch::Watch;
use crate::secret::Secret;
use crate::telemetry::logging::Format;
use crate::telemetry::trace::export::Collector;

/// Settings that hold together.
#[derive(Debug)]
pub struct Config {
    /// Where callers connect.
    pub listen: SocketAddr,
    /// Where workers connect, if that is not the same.
    pub execution: Option<SocketAddr>,
    /// Where other proxies ask, if any do.
    pub forward_auth: Option<SocketAddr>,
    /// Where probes and scrapes connect.
    pub admin: SocketAddr,
    /// Who may see the status page there.
    pub viewers: Viewers,
    /// Whether readiness needs keys of every issuer.
    pub ready_needs_keys: bool,
    /// Everything that decides about requests.
    pub gate: Gate,
    /// Where Airflow is.
    pub upstream: crate::upstream::Settings,
    /// How a connection begins.
    pub welcome: connection::Welcome,
    /// What a connection may take.
    pub limits: connection::Limits,
    /// How many connections may be open.
    pub connections: u64,
    /// Where each issuer's keys come from.
    pub keys: Vec<KeySource>,
    /// The key set that others verify us by.
    pub published: Bytes,
    /// The list of revoked tokens that the gate asks.
    pub revocations: Arc<Revocations>,
    /// What follows its file, if there is one.
    pub revocation_watch: Option<Watch>,
    /// How long the end may take.
    pub drain: Drain,
    /// How many cores serve requests; `None`: one for each processor.
    pub threads: Option<NonZeroUsize>,
    /// How log lines look.
    pub log_format: Format,
    /// From which level on is logged.
    pub log_level: LevelFilter,
    /// Whether there is a line for each request.
    pub access_log: bool,
    /// Who collects traces, if anybody.
    pub collector: Option<Collector>,
}

/// A key store and how it is filled.
#[derive(Clone, Debug)]
pub struct KeySource {
    /// What the cores read.
    pub store: Arc<KeyStore>,
    /// Where keys are fetched; `None` for keys that are given.
    pub source: Option<Source>,
    /// The file with the secret, where that is the key.
    pub secret_file: Option<PathBuf>,
    /// Where the last good ones are kept.
    pub cache: Option<CacheFile>,
    /// The age at which they are fetched again.
    pub refresh: Duration,
}

/// How long the end may take.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// Not ready, still serving.
    pub delay: Duration,
    /// To finish what runs.
    pub timeout: Duration,
}

/// Makes settings of what is written, and adds what is wrong with it to `findings`.
/// The keys of `former` sources live on where issuer, address and schedule are the same.
pub(super) fn build(
    written: &Written,
    former: &[KeySource],
    findings: &mut Findings<'_>,
) -> Option<Config> {
    Builder { findings, written, former, cache_dir: None }.config()
}

struct Builder<'f, 't, 'w> {
    findings: &'f mut Findings<'t>,
    written: &'w Written,
    former: &'w [KeySource],
    cache_dir: Option<CacheDir>,
}

/// What is wrong has been added to the findings.
struct Said;

impl Builder<'_, '_, '_> {
    /// Every part is read, so that every problem is found; `None` as soon as one has none.
    fn config(mut self) -> Option<Config> {
        let written = self.written;
        let listen = self.socket("listen", &written.listen);
        let admin = self.socket("admin.listen", &written.admin.listen);
        let execution = written.execution_listen.as_ref();
        let execution = execution.and_then(|address| self.socket("execution_listen", address));
        let forward_auth = written.forward_auth.listen.as_ref();
        let forward_auth =
            forward_auth.and_then(|address| self.socket("forward_auth.listen", address));
        let upstream = self.upstream();
        let welcome = self.welcome();
        self.cache_dir = self.cache_dir();
        let issuers = self.issuers();
        let teams = self.teams();
        let mappings = issuers.as_ref().map(|(_, mappings, _)| mappings.as_slice());
        let revocations = self.revocations(mappings);
        let access = self.access();
        let prefix = upstream.as_ref().map_or("", |upstream| upstream.prefix.as_str());
        let handoff = self.handoff(prefix, mappings.unwrap_or_default());
        let terms = self.terms();
        let collector = self.collector();
        let sanitizer = handoff.as_ref().map(|(handoff, _)| self.sanitizer(&handoff.headers));
        let rules = handoff.as_ref().map(|(handoff, _)| self.forward_auth(&handoff.headers));
        self.tasks_have_an_issuer();
        self.drain_fits();
        self.spans_are_positive();
        let leeway = self.at_most("leeway", written.leeway.0, MOST_LEEWAY);
        let (issuers, mappings, keys) = issuers?;
        let teams = teams.ok()?;
        let verifier = self.verifier(issuers, leeway);
        let (revocations, revocation_watch) = revocations?;
        let (handoff, published) = handoff?;
        let limits = &written.limits;
        Some(Config {
            listen: listen?,
            execution,
            forward_auth,
            admin: admin?,
            viewers: match written.admin.status {
                written::AdminStatus::Local => Viewers::Local,
                written::AdminStatus::Open => Viewers::Open,
            },
            ready_needs_keys: written.admin.ready_needs_keys,
            gate: Gate {
                sanitizer: sanitizer?,
                sessions: written.access.ui == written::Ui::Airflow,
                delegates: Delegates {
                    basic: written.access.delegate.basic,
                    negotiate: written.access.delegate.negotiate,
                },
                access: access?,
                callers: Callers::new(
                    verifier?.watching(Arc::clone(&revocations)).without(handoff.specimens()),
                    Directory::new(mappings, self.held(), teams),
                ),
                handoff,
                terms: terms?,
                token_bytes: limits.token_bytes as usize,
                in_flight: u64::from(limits.in_flight),
                failures: Failures::new(limits.failing_per_client.and_then(NonZeroU32::new)),
                forward_auth: rules?,
            },
            welcome: welcome?,
            limits: connection::Limits {
                header_timeout: limits.header_timeout.0,
                idle_timeout: limits.idle_timeout.0,
                header_bytes: limits.header_bytes as usize,
                unread_timeout: upstream.as_ref()?.idle_timeout,
                answer_timeout: upstream.as_ref()?.response_header_timeout,
            },
            upstream: upstream?,
            connections: u64::from(limits.connections),
            keys,
            published: published.document().into(),
            revocations,
            revocation_watch,
            drain: Drain { delay: written.drain.delay.0, timeout: written.drain.timeout.0 },
            threads: written.threads.and_then(|count| NonZeroUsize::new(count.into())),
            log_format: match written.log.format {
                written::LogFormat::Text => Format::Text,
                written::LogFormat::Json => Format::Json,
            },
            log_level: level(written.log.level),
            access_log: written.log.access,
            collector: collector.ok()?,
        })
    }

    fn socket(&mut self, key: &str, address: &written::SocketAddress) -> Option<SocketAddr> {
        self.findings.take(key, address.0.parse(), "an address and port")
    }

    /// A folder that does not work is found now, not when the identity provider is down.
    fn cache_dir(&mut self) -> Option<CacheDir> {
        let written = self.written.keys.cache_dir.as_deref()?;
        if written.is_empty() {
            self.findings.add("keys.cache_dir", "nothing", "a folder", None);
            return None;
        }
        let unusable = |error| {
            let hint = "give the folder to the user that airside runs as; in a container, mount a volume there";
            let found = format!("{written}: {error}");
            self.findings.add("keys.cache_dir", found, "a folder to write to", Some(hint));
        };
        CacheDir::open(Path::new(written)).map_err(unusable).ok()
    }

    fn url(&mut self, key: &str, address: &written::WebAddress) -> Option<Url> {
        self.findings.take(key, Url::parse(&address.0), "an http or https address")
    }

    fn drain_fits(&mut self) {
        let drain = &self.written.drain;
        let together = drain.delay.0.saturating_add(drain.timeout.0);
        if together > MOST_DRAIN {
            let found = format!("{together:?} with drain.delay");
            self.findings.add("drain.timeout", found, format!("at most {MOST_DRAIN:?}"), None);
        }
    }

    /// A time limit of nothing would refuse everything, and a pause of nothing flood the issuer.
    fn spans_are_positive(&mut self) {
        let (keys, limits) = (&self.written.keys, &self.written.limits);
        let mut spans = vec![
            ("keys.refresh", keys.refresh),
            ("keys.stale_for", keys.stale_for),
            ("keys.unknown_kid_cooldown", keys.unknown_kid_cooldown),
            ("keys.timeout", keys.timeout),
            ("limits.header_timeout", limits.header_timeout),
            ("limits.idle_timeout", limits.idle_timeout),
        ];
        if let Some(upstream) = &self.written.upstream {
            spans.push(("upstream.connect_timeout", upstream.connect_timeout));
            spans.push(("upstream.response_header_timeout", upstream.response_header_timeout));
            spans.push(("upstream.idle_timeout", upstream.idle_timeout));
        }
        for (key, span) in spans {
            if span.0 < SHORTEST_SPAN {
                let expected = format!("at least {SHORTEST_SPAN:?}");
                self.findings.add(key, format!("{:?}", span.0), expected, None);
            }
        }
    }

    fn at_most(&mut self, key: &str, span: Duration, most: Duration) -> Duration {
        if span > most {
            self.findings.add(key, format!("{span:?}"), format!("at most {most:?}"), None);
        }
        span
    }

    /// Whether one of these keys of a section has a value that does not fit.
    fn misfit(&self, section: &str, names: &[&str]) -> bool {
        names.iter().any(|name| self.findings.has_problem(&format!("{section}.{name}")))
    }

    fn not_empty(&mut self, key: &str, length: usize, expected: &str) {
        if length == 0 {
            self.findings.add(key, "nothing", expected, None);
        }
    }

    /// An empty text is what a variable leaves that nobody set: never a name that a token may bear.
    fn all_named(&mut self, key: &str, names: &[String], expected: &str) {
        for (index, name) in names.iter().enumerate() {
            self.not_empty(&format!("{key}[{index}]"), name.len(), expected);
        }
    }

    fn guid(&mut self, key: &str, text: &str) -> Option<String> {
        let lower = text.to_ascii_lowercase();
        let groups: Vec<&str> = lower.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        let hex = groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if hex && lengths == [8, 4, 4, 4, 12] {
            return Some(lower);
        }
        let hint =
            "the id from the overview of the app registration in Entra, not a name or `common`";
        self.findings.add(key, format!("{text:?}"), "a GUID", Some(hint));
        None
    }

    fn secret(&mut self, key: &str, file: &str) -> Option<Secret> {
        let expected = "a file with Airflow's [api_auth] jwt_secret";
        match Secret::load(Path::new(file)) {
            Ok(secret) if secret.is_empty() => {
                self.findings.add(key, format!("{file} is empty"), expected, None);
                None
            }
            Ok(secret) => Some(secret),
            Err(error) => {
                self.findings.add(key, format!("{file}: {error}"), expected, None);
                None
            }
        }
    }
}

/// What clocks may differ by; more would make a stolen token useful for longer.
const MOST_LEEWAY: Duration = Duration::from_secs(300);
/// Shorter than anything on a network takes.
const SHORTEST_SPAN: Duration = Duration::from_millis(10);
/// Longer than any orchestrator waits.
const MOST_DRAIN: Duration = Duration::from_secs(3600);

const fn level(written: written::LogLevel) -> LevelFilter {
    match written {
        written::LogLevel::Off => LevelFilter::OFF,
        written::LogLevel::Error => LevelFilter::ERROR,
        written::LogLevel::Warn => LevelFilter::WARN,
        written::LogLevel::Info => LevelFilter::INFO,
        written::LogLevel::Debug => LevelFilter::DEBUG,
        written::LogLevel::Trace => LevelFilter::TRACE,
    }
}
