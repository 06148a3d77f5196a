//! The configuration as it is written: every key, its type, its default and what it is for. The
//! JSON Schema that files are held against is derived from here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer};

/// The configuration of airside. What is required in the file is optional here: what is missing or
/// does not fit has been said by the lint, and the rest is still looked at.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Where callers connect.
    #[serde(default = "listen")]
    pub listen: SocketAddress,
    /// Probes and metrics.
    #[serde(default)]
    pub admin: Admin,
    /// Airflow.
    #[schemars(with = "Upstream")]
    pub upstream: Option<Upstream>,
    /// Who may issue tokens.
    #[schemars(with = "Vec<Issuer>")]
    pub issuers: Option<Vec<Option<Issuer>>>,
    /// What `exp`, `nbf` and `iat` are given for clocks that differ; at most 300s.
    #[serde(default = "leeway")]
    pub leeway: Lapse,
    /// From token values to Airflow roles.
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
    /// What a client may take.
    #[serde(default)]
    pub limits: Limits,
    /// Proxies in front of airside.
    #[serde(default)]
    pub forwarded: Forwarded,
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
}

/// Probes and metrics.
#[derive(Debug, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdminStatus {
    /// Peers on this machine.
    Local,
}

/// Airflow.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Where Airflow listens; a path here is prepended to every request's.
    pub url: WebAddress,
    /// The major version: which route table applies.
    #[serde(default = "airflow_version")]
    #[schemars(range(min = 3, max = 3))]
    pub airflow: u8,
    /// The path of Airflow's `[api] base_url`, if any.
    #[serde(default)]
    pub base_path: String,
    /// To be connected.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Lapse,
    /// From the end of the request body to the head of the answer.
    #[serde(default = "response_header_timeout")]
    pub response_header_timeout: Lapse,
    /// Without a byte either way.
    #[serde(default = "upstream_idle_timeout")]
    pub idle_timeout: Lapse,
}

/// Who issues tokens.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Issuer {
    /// Microsoft Entra ID.
    Entra(Box<Entra>),
    /// Airflow itself.
    Airflow(Box<Airflow>),
    /// Any OpenID issuer: GitHub Actions, Google, Keycloak, a Kubernetes cluster.
    Oidc(Box<Oidc>),
}

/// Microsoft Entra ID.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entra {
    /// A name for logs, metrics and the issuer header.
    pub name: String,
    /// The directory (tenant) id, a GUID; or a list of them.
    pub tenant: OneOrMany,
    /// The application (client) id of the API's registration, a GUID.
    pub client_id: String,
    /// Accepted `aud` values; by default `client_id` and `api://client_id`, each with and without
    /// a trailing slash.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The Microsoft cloud, which decides the expected issuers.
    #[serde(default)]
    pub cloud: Cloud,
    /// Where keys come from; by the cloud unless given. Never changes the expected issuers.
    #[serde(default)]
    pub authority: Option<WebAddress>,
    /// The address of the key set, in place of the authority's.
    #[serde(default)]
    pub keys_url: Option<WebAddress>,
    /// A file with the key set, in place of an address.
    #[serde(default)]
    pub keys_file: Option<String>,
    /// Accepted token versions.
    #[serde(default = "versions")]
    pub versions: Vec<Version>,
    /// Client applications that may call; empty: any of the tenant that holds a role.
    #[serde(default)]
    pub clients: Vec<String>,
    /// The claim that names the user; `oid` is what Airflow's own Azure login uses.
    #[serde(default = "oid")]
    pub username_claim: String,
    /// Where the role values are: a JSON pointer to a string or an array of strings.
    #[serde(default = "roles_pointer")]
    pub roles_claim: String,
    /// A role map for this entry alone.
    #[serde(default)]
    pub roles: Option<RoleMap>,
    /// Further certificate authorities for fetching keys, PEM.
    #[serde(default)]
    pub ca_file: Option<String>,
}

/// Tokens that Airflow issued itself. Exactly one of `secret_file`, `public_key_file`, `keys_url`
/// and `keys_file` says what they are signed with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Airflow {
    /// A name for logs, metrics and the issuer header.
    pub name: String,
    /// The file with `[api_auth] jwt_secret`: HS512.
    #[serde(default)]
    pub secret_file: Option<String>,
    /// The public half of `[api_auth] jwt_private_key_path`, PEM: RS256, RS512, ES256 or
    /// `EdDSA`.
    #[serde(default)]
    pub public_key_file: Option<String>,
    /// The `kid` of that key, `[api_auth] jwt_kid`; without it any `kid` will do.
    #[serde(default)]
    pub kid: Option<String>,
    /// The address of a key set.
    #[serde(default)]
    pub keys_url: Option<WebAddress>,
    /// A file with a key set.
    #[serde(default)]
    pub keys_file: Option<String>,
    /// Accepted `aud` values: `[api_auth] jwt_audience`.
    #[serde(default = "airflow_audiences")]
    pub audiences: Vec<String>,
    /// `[api_auth] jwt_issuer`, where that is set.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Further certificate authorities for fetching keys, PEM.
    #[serde(default)]
    pub ca_file: Option<String>,
}

/// Any OpenID issuer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// A name for logs, metrics and the issuer header.
    pub name: String,
    /// The expected `iss`, exactly; also where its metadata is found.
    pub issuer: WebAddress,
    /// Accepted `aud` values.
    pub audiences: Vec<String>,
    /// The address of the key set, in place of discovery.
    #[serde(default)]
    pub keys_url: Option<WebAddress>,
    /// A file with the key set, in place of an address.
    #[serde(default)]
    pub keys_file: Option<String>,
    /// Accepted signature algorithms.
    #[serde(default = "oidc_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// The claim that names the user.
    #[serde(default = "sub")]
    pub username_claim: String,
    /// Put in front of the user name, so that no two issuers can mean the same user; may be empty.
    pub username_prefix: String,
    /// Where the role values are: a JSON pointer to a string or an array of strings.
    #[serde(default = "roles_pointer")]
    pub roles_claim: String,
    /// Token value to Airflow roles.
    pub roles: RoleMap,
    /// Claims that must have, or hold, one of these values; needed for issuers that serve everybody.
    #[serde(default)]
    pub required_claims: BTreeMap<String, Vec<String>>,
    /// Further certificate authorities for fetching keys, PEM.
    #[serde(default)]
    pub ca_file: Option<String>,
}

/// A signature algorithm with a public key.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// RSA with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSA with SHA-512.
    #[serde(rename = "RS512")]
    Rs512,
    /// ECDSA on P-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// The Microsoft cloud.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cloud {
    /// The worldwide one.
    #[default]
    Global,
    /// Azure for US Government.
    UsGov,
    /// Azure operated by 21Vianet.
    China,
}

/// A version of Entra's access tokens.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// `ver` 1.0: what an untouched registration gets.
    V1,
    /// `ver` 2.0: with `requestedAccessTokenVersion` 2.
    V2,
}

/// From token values to Airflow roles.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Roles {
    /// Token value to Airflow roles; without it a value that is exactly Admin, Op, User or Viewer
    /// maps to itself.
    pub map: Option<RoleMap>,
}

/// Token value to Airflow roles, in the order written.
#[derive(Debug, JsonSchema)]
pub struct RoleMap(
    #[schemars(with = "BTreeMap<String, Vec<String>>")] pub Vec<(String, Vec<String>)>,
);

impl<'de> Deserialize<'de> for RoleMap {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        // serde_json keeps the order here (feature `preserve_order`).
        let map = serde_json::Map::deserialize(source)?;
        let row = |(value, roles)| Ok((value, Vec::<String>::deserialize(roles)?));
        map.into_iter()
            .map(row)
            .collect::<Result<_, serde_json::Error>>()
            .map(Self)
            .map_err(de::Error::custom)
    }
}

/// How Airflow is told who is calling.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Handoff {
    /// The form.
    #[serde(rename = "type")]
    pub form: HandoffType,
    /// Airflow's auth manager.
    #[serde(default)]
    pub auth_manager: AuthManager,
    /// The file with `[api_auth] jwt_secret`.
    pub secret_file: String,
    /// `[api_auth] jwt_audience`.
    #[serde(default = "airflow_audience")]
    pub audience: String,
    /// `[api_auth] jwt_issuer`, where that is set.
    #[serde(default)]
    pub issuer: Option<String>,
    /// How long a handed-on token is valid; it is renewed at half of it.
    #[serde(default = "handoff_lifetime")]
    pub lifetime: Lapse,
    /// The names of the identity headers.
    #[serde(default)]
    pub headers: Headers,
}

/// The form of the hand-off.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HandoffType {
    /// A token that Airflow takes for its own.
    AirflowToken,
}

/// Airflow's auth manager.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthManager {
    /// `SimpleAuthManager`: the four roles, no database.
    #[default]
    Simple,
}

/// The names of the identity headers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Headers {
    /// The user name.
    pub user: String,
    /// The Airflow roles, joined by commas.
    pub roles: String,
    /// The name of the issuer's entry.
    pub issuer: String,
    /// Reserved; always removed from requests.
    pub assertion: String,
}

/// What is open without a token of ours.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Browser sessions.
    pub ui: Ui,
    /// Where passwords are exchanged; by default open with `ui: airflow`, otherwise closed.
    pub password_login: Option<Door>,
    /// The API of workers.
    pub execution_api: ExecutionApi,
    /// API documentation.
    pub docs: Door,
    /// CORS preflights.
    pub preflight: Preflight,
    /// Schemes handed to Airflow's own backends unjudged.
    pub delegate: Delegate,
    /// Further `METHOD /exact/path` without a token.
    pub public: Vec<String>,
}

/// Browser sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ui {
    /// Airflow's to judge.
    Airflow,
    /// Nobody's: pages are protected like anything else.
    Closed,
}

/// Open or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// Forwarded.
    Open,
    /// Not.
    Closed,
}

/// The API of workers.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionApi {
    /// Forwarded untouched: Airflow judges the tokens of its tasks.
    Forward,
    /// Refused for everyone.
    Closed,
}

/// CORS preflights.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preflight {
    /// Protected like anything else.
    Closed,
    /// Forwarded to Airflow without identity.
    Airflow,
}

/// Schemes handed to Airflow's own backends unjudged.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Delegate {
    /// `Basic`.
    #[schemars(extend("const" = false))]
    pub basic: bool,
    /// `Negotiate`.
    #[schemars(extend("const" = false))]
    pub negotiate: bool,
}

/// When keys are fetched.
#[derive(Debug, Deserialize, JsonSchema)]
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
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Revocation {
    /// A YAML file with the list of them; followed when it changes.
    pub file: Option<String>,
}

/// What a client may take.
#[derive(Debug, Deserialize, JsonSchema)]
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
}

/// Proxies in front of airside.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Forwarded {
    /// Addresses or CIDRs whose `X-Forwarded-*` and `Forwarded` are believed; empty: nobody's.
    pub trusted: Vec<Network>,
}

/// The end in good order.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// Not ready, still serving: load balancers notice.
    pub delay: Lapse,
    /// To finish what runs.
    pub timeout: Lapse,
}

/// What is logged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// From which level on; access lines do not depend on it.
    pub level: LogLevel,
    /// One line per request.
    pub access: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// `key=value` after the message.
    Text,
    /// One JSON object per line.
    Json,
}

/// From which level on something is logged.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
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

impl Default for Headers {
    fn default() -> Self {
        Self {
            user: "X-Airside-User".into(),
            roles: "X-Airside-Roles".into(),
            issuer: "X-Airside-Issuer".into(),
            assertion: "X-Airside-Assertion".into(),
        }
    }
}

impl Default for Access {
    fn default() -> Self {
        Self {
            ui: Ui::Airflow,
            password_login: None,
            execution_api: ExecutionApi::Forward,
            docs: Door::Closed,
            preflight: Preflight::Closed,
            delegate: Delegate::default(),
            public: Vec::new(),
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

const fn airflow_version() -> u8 {
    3
}

const fn connect_timeout() -> Lapse {
    Lapse::seconds(2)
}

const fn response_header_timeout() -> Lapse {
    Lapse::seconds(120)
}

const fn upstream_idle_timeout() -> Lapse {
    Lapse::seconds(15 * 60)
}

const fn handoff_lifetime() -> Lapse {
    Lapse::seconds(5 * 60)
}

fn versions() -> Vec<Version> {
    vec![Version::V1, Version::V2]
}

fn oidc_algorithms() -> Vec<Algorithm> {
    vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa]
}

fn sub() -> String {
    "sub".into()
}

fn oid() -> String {
    "oid".into()
}

fn roles_pointer() -> String {
    "/roles".into()
}

fn airflow_audience() -> String {
    "apache-airflow".into()
}

fn airflow_audiences() -> Vec<String> {
    vec![airflow_audience()]
}

/// A span of time: `5m`, `90s`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lapse(pub Duration);

impl Lapse {
    const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl<'de> Deserialize<'de> for Lapse {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(source)?;
        humantime::parse_duration(&text).map(Self).map_err(de::Error::custom)
    }
}

/// An address and a port to listen on: `0.0.0.0:8080`, `[::]:8080`.
#[derive(Clone, Debug, Deserialize)]
pub struct SocketAddress(pub String);

/// An http or https address.
#[derive(Clone, Debug, Deserialize)]
pub struct WebAddress(pub String);

/// An address or a CIDR.
#[derive(Clone, Debug, Deserialize)]
pub struct Network(pub String);

/// One text or a list of them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// The names of text formats that the lint knows; see [`super::lint`].
pub(super) mod format {
    pub(in crate::config) const LAPSE: &str = "airside-duration";
    pub(in crate::config) const SOCKET: &str = "airside-socket-address";
    pub(in crate::config) const WEB: &str = "airside-web-address";
    pub(in crate::config) const NETWORK: &str = "airside-network";
}

fn formatted(format: &str, example: &str) -> Schema {
    json_schema!({ "type": "string", "format": format, "examples": [example] })
}

impl JsonSchema for Lapse {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        formatted(format::LAPSE, "5m")
    }
}

impl JsonSchema for SocketAddress {
    fn schema_name() -> Cow<'static, str> {
        "SocketAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        formatted(format::SOCKET, "0.0.0.0:8080")
    }
}

impl JsonSchema for WebAddress {
    fn schema_name() -> Cow<'static, str> {
        "WebAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        formatted(format::WEB, "http://127.0.0.1:8081")
    }
}

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        formatted(format::NETWORK, "10.0.0.0/8")
    }
}
