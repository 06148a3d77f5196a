//! The configuration as it is written: every key, its type, its default and what it is for. The
//! JSON Schema that files are held against is derived from here.

mod airflow;
mod issuers;
mod values;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use airflow::{
    Access, Assertion, AuthManager, Delegate, Door, ExecutionApi, Fab, Handoff, HandoffType,
    Headers, Preflight, PublishedKey, Ui, Upstream,
};
pub use issuers::{
    Airflow, Algorithm, Cloud, Entra, Issuer, Oidc, Roles, TASK_AUDIENCE, ValueMap, Version,
};
pub(in crate::config) use values::format;
pub use values::{Lapse, Network, OneOrMany, SocketAddress, UpstreamAddress, WebAddress};

/// The configuration of airside.
// What is required in the file is optional here: what is missing or does not fit has been said by the
// lint, and the rest is still looked at.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Where callers connect.
    #[serde(default = "listen")]
    pub listen: SocketAddress,
    /// Where workers connect, if that is not the same: `/execution/` and `/edge_worker/` are served
    /// there alone.
    #[serde(default)]
    pub execution_listen: Option<SocketAddress>,
    /// Probes and metrics.
    #[serde(default)]
    pub admin: Admin,
    /// TLS of `listen`, `execution_listen` and `forward_auth.listen`; without it they are plain.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Whether peers in `forwarded.trusted` begin each connection with a header of the PROXY
    /// protocol, version 1 or 2. Nobody else's is believed.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Airflow.
    #[schemars(with = "Upstream")]
    pub upstream: Option<Upstream>,
    /// Who may issue tokens.
    #[schemars(with = "Vec<Issuer>")]
    pub issuers: Option<Vec<Option<Issuer>>>,
    /// What `exp`, `nbf` and `iat` are given for clocks that differ; at most 300s.
    #[serde(default = "leeway")]
    pub leeway: Lapse,
    /// From token values to Airflow roles and teams.
    #[serde(default)]
    pub roles: Roles,
    /// How Airflow is told who is calling.
    #[schemars(with = "Handoff")]
    pub handoff: Option<Handoff>,
    /// What is open without a token of ours.
    #[serde(default)]
    pub access: Access,
    /// When keys are fetched.
    #[serde(default)]
    pub keys: Keys,
    /// Tokens that are refused although they verify.
    #[serde(default)]
    pub revocation: Revocation,
    /// Tokens in exchange for tokens.
    #[serde(default)]
    pub exchange: Exchange,
    /// What a client may take.
    #[serde(default)]
    pub limits: Limits,
    /// Proxies in front of airside.
    #[serde(default)]
    pub forwarded: Forwarded,
    /// Another proxy that asks before it forwards to Airflow itself.
    #[serde(default)]
    pub forward_auth: ForwardAuth,
    /// The end in good order.
    #[serde(default)]
    pub drain: Drain,
    /// How many cores serve requests; by default one per processor that airside may use.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u16>,
    /// What is logged.
    #[serde(default)]
    pub log: Log,
    /// What is traced.
    #[serde(default)]
    pub telemetry: Telemetry,
}

/// Probes and metrics.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where probes and scrapes connect.
    pub listen: SocketAddress,
    /// Who may see the status page.
    pub status: AdminStatus,
    /// Whether readiness also needs keys of every issuer; a sidecar should not ask for it.
    pub ready_needs_keys: bool,
}

/// Who may see the status page.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum AdminStatus {
    /// Peers on this machine.
    Local,
    /// Everybody who reaches `admin.listen`.
    Open,
}

/// TLS towards clients.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// A file with our certificate and those between it and its authority, PEM.
    pub cert_file: String,
    /// A file with its key, PEM, without a passphrase.
    pub key_file: String,
    /// A file with the authorities whose certificates clients must show, PEM; by default they need
    /// none.
    #[serde(default)]
    pub client_ca_file: Option<String>,
}

/// When keys are fetched.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// The age at which keys are fetched again.
    pub refresh: Lapse,
    /// How long keys serve after the last good fetch.
    pub stale_for: Lapse,
    /// The pause between two fetches for an unknown `kid`.
    pub unknown_kid_cooldown: Lapse,
    /// A folder in which the last good keys survive a restart.
    pub cache_dir: Option<String>,
    /// The longest a fetch may take.
    pub timeout: Lapse,
}

/// Tokens that are refused although they verify.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Revocation {
    /// A YAML file with the list of them; followed when it changes.
    pub file: Option<String>,
}

/// Tokens in exchange for tokens: `POST /airside/token` (RFC 8693).
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Exchange {
    /// Whether they are given.
    pub enabled: bool,
    /// The longest that one lasts; never longer than the one it is given for.
    pub lifetime: Lapse,
}

/// What a client may take.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest request head.
    #[schemars(range(min = 1024, max = 1_048_576))]
    pub header_bytes: u32,
    /// The largest token.
    #[schemars(range(min = 256, max = 1_048_576))]
    pub token_bytes: u32,
    /// The largest request body; by default as large as Airflow takes.
    pub body_bytes: Option<u64>,
    /// Open connections.
    #[schemars(range(min = 1))]
    pub connections: u32,
    /// Requests being served.
    #[schemars(range(min = 1))]
    pub in_flight: u32,
    /// From the first byte of a head to its last.
    pub header_timeout: Lapse,
    /// Between two requests of a connection.
    pub idle_timeout: Lapse,
    /// Credentials that fail, by client address and minute; by default all are told what is wrong.
    #[schemars(range(min = 1))]
    pub failing_per_client: Option<u32>,
}

/// Proxies in front of airside.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Forwarded {
    /// Addresses or CIDRs whose `X-Forwarded-*` and `Forwarded` are believed; empty: nobody's.
    pub trusted: Vec<Network>,
}

/// Another proxy that asks before it forwards to Airflow itself: nginx, Traefik or Envoy.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ForwardAuth {
    /// Where it asks; by default nobody can.
    pub listen: Option<SocketAddress>,
    /// Addresses or CIDRs of those who may ask, and are believed what they tell of requests; empty:
    /// nobody.
    pub trusted: Vec<Network>,
    /// Which proxy that is; by default any, as long as each question is in the words of one.
    pub protocol: Option<ForwardAuthProtocol>,
}

/// How another proxy asks.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForwardAuthProtocol {
    /// nginx and ingress-nginx: `auth_request`.
    Nginx,
    /// Traefik: `ForwardAuth`.
    Traefik,
    /// Envoy: `ext_authz` over HTTP.
    Envoy,
    /// Envoy: `ext_authz` over gRPC.
    EnvoyGrpc,
}

/// The end in good order.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// Not ready, still serving: load balancers notice.
    pub delay: Lapse,
    /// To finish what runs.
    pub timeout: Lapse,
}

/// What is logged.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// From which level on; access lines do not depend on it.
    pub level: LogLevel,
    /// One line per request.
    pub access: bool,
}

/// What is traced.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// A collector's address, to which `/v1/traces` is added: spans are posted there as protobuf
    /// (OTLP over HTTP); by default there are none.
    pub otlp_endpoint: Option<WebAddress>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// `key=value` after the message.
    Text,
    /// One JSON object per line.
    Json,
}

/// From which level on something is logged.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Nothing but access lines.
    Off,
    /// What needs somebody's hand.
    Error,
    /// What may.
    Warn,
    /// What happened.
    Info,
    /// Also what strangers can cause at will.
    Debug,
    /// Everything.
    Trace,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddress("127.0.0.1:9090".into()),
            status: AdminStatus::Local,
            ready_needs_keys: false,
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            refresh: Lapse::seconds(3600),
            stale_for: Lapse::seconds(24 * 3600),
            unknown_kid_cooldown: Lapse::seconds(60),
            cache_dir: None,
            timeout: Lapse::seconds(5),
        }
    }
}

impl Default for Exchange {
    fn default() -> Self {
        Self { enabled: false, lifetime: Lapse::seconds(5 * 60) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 65536,
            token_bytes: 32768,
            body_bytes: None,
            connections: 10_000,
            in_flight: 10_000,
            header_timeout: Lapse::seconds(10),
            idle_timeout: Lapse::seconds(75),
            failing_per_client: None,
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Lapse::seconds(5), timeout: Lapse::seconds(20) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: LogLevel::Info, access: true }
    }
}

fn listen() -> SocketAddress {
    SocketAddress("0.0.0.0:8080".into())
}

const fn leeway() -> Lapse {
    Lapse::seconds(60)
}
