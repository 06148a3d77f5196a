//! `upstream`, `handoff` and `access`: where Airflow is, what it is told, and what of it is open.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{Lapse, UpstreamAddress};

/// Airflow.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Where Airflow listens: `http://`, `https://` or `unix:/path.sock`; the path of a URL is
    /// prepended to every request's.
    #[serde(default)]
    pub url: Option<UpstreamAddress>,
    /// Where several Airflows on one database listen, in place of `url`: they share the load.
    #[serde(default)]
    pub urls: Option<Vec<UpstreamAddress>>,
    /// The major version: which route table applies.
    #[serde(default = "airflow_version")]
    #[schemars(range(min = 2, max = 3))]
    pub airflow: u8,
    /// The path of Airflow's `[api] base_url`, if any.
    #[serde(default)]
    pub base_path: String,
    /// With https: the certificate authorities, in PEM, that vouch for Airflow in place of the public
    /// ones.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// With https: the certificate, in PEM, that airside shows an Airflow that asks for one.
    #[serde(default)]
    pub client_cert_file: Option<String>,
    /// The key of that certificate, in PEM.
    #[serde(default)]
    pub client_key_file: Option<String>,
    /// To be connected, TLS included.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Lapse,
    /// From the end of the request body to the head of the answer.
    #[serde(default = "response_header_timeout")]
    pub response_header_timeout: Lapse,
    /// Without a byte either way.
    #[serde(default = "upstream_idle_timeout")]
    pub idle_timeout: Lapse,
}

/// How Airflow is told who is calling.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Handoff {
    /// The form.
    #[serde(rename = "type")]
    pub form: HandoffType,
    /// Airflow's auth manager.
    #[serde(default)]
    pub auth_manager: AuthManager,
    /// The file with `[api_auth] jwt_secret`; this or `private_key_file` for `airflow_token`.
    #[serde(default)]
    pub secret_file: Option<String>,
    /// The file with a private key in PEM (RSA, P-256 or Ed25519) whose public half Airflow takes
    /// from our `/jwks.json` (`[api_auth] trusted_jwks_url`).
    #[serde(default)]
    pub private_key_file: Option<String>,
    /// The name of that key; by default its thumbprint (RFC 7638).
    #[serde(default)]
    pub kid: Option<String>,
    /// Further public keys in our `/jwks.json`: the next one, an hour before it signs, and the
    /// last one, until its tokens have ended.
    #[serde(default)]
    pub publish: Vec<PublishedKey>,
    /// The public half of the key that Airflow signs with (`jwt_private_key_path`), for our
    /// `/jwks.json`: a JWK Set, or PEM with `airflow_kid`.
    #[serde(default)]
    pub airflow_keys_file: Option<String>,
    /// `[api_auth] jwt_kid`, where `airflow_keys_file` is PEM.
    #[serde(default)]
    pub airflow_kid: Option<String>,
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
    /// The signed assertion beside the identity headers; without it there is none.
    #[serde(default)]
    pub assertion: Option<Assertion>,
    /// How FAB's users are managed; needed with `auth_manager: fab`.
    #[serde(default)]
    pub fab: Option<Fab>,
}

/// How FAB's users are managed.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fab {
    /// The header by which FAB logs somebody in: `AUTH_REMOTE_USER_ENV_VAR` of Airflow's
    /// `webserver_config.py`, without `HTTP_` and with dashes. Removed from every request.
    pub remote_user_header: String,
    /// The id of a user of FAB with the role Admin, by whose rights the others are managed.
    pub admin_user_id: String,
    /// `[fab] cache_ttl`: how long Airflow goes on with the roles that a user had.
    pub cache_ttl: Lapse,
    /// Users that airside did not create and whose roles it sets all the same; `*` for all.
    pub adopt: Vec<String>,
}

/// A public key that is published and not signed with.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishedKey {
    /// The file with it, in PEM.
    pub public_key_file: String,
    /// Its name.
    pub kid: String,
}

/// The signed assertion.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// The file with the private key in PEM: Ed25519, P-256 or RSA.
    pub private_key_file: String,
    /// The name of that key; by default its thumbprint (RFC 7638).
    #[serde(default)]
    pub kid: Option<String>,
    /// For whom it is: `AIRSIDE_ASSERTION_AUDIENCE` on Airflow's side.
    #[serde(default = "assertion_audience")]
    pub audience: String,
    /// How long it is valid; it is made for one request.
    #[serde(default = "assertion_lifetime")]
    pub lifetime: Lapse,
}

/// The form of the hand-off.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HandoffType {
    /// A token that Airflow takes for its own.
    AirflowToken,
    /// Identity headers, for a verifier on Airflow's side.
    Headers,
}

/// Airflow's auth manager.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthManager {
    /// `SimpleAuthManager`: the four roles, no database.
    #[default]
    Simple,
    /// `FabAuthManager`: roles and users in the database.
    Fab,
}

/// The names of the identity headers.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Headers {
    /// The user name.
    pub user: String,
    /// The Airflow roles, joined by commas.
    pub roles: String,
    /// The name of the issuer's entry.
    pub issuer: String,
    /// The signed assertion.
    pub assertion: String,
}

/// What is open without a token of ours.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ui {
    /// Airflow's to judge.
    Airflow,
    /// Nobody's: pages are protected like anything else.
    Closed,
}

/// Open or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// Forwarded.
    Open,
    /// Not.
    Closed,
}

/// The API of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionApi {
    /// Forwarded untouched: Airflow judges the tokens of its tasks.
    Forward,
    /// Forwarded when the token of the task verifies here too.
    Verify,
    /// Refused for everyone.
    Closed,
}

/// CORS preflights.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preflight {
    /// Protected like anything else.
    Closed,
    /// Forwarded to Airflow without identity.
    Airflow,
}

/// Schemes handed to Airflow's own backends unjudged.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Delegate {
    /// `Basic`.
    pub basic: bool,
    /// `Negotiate`.
    pub negotiate: bool,
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

impl Default for Fab {
    fn default() -> Self {
        Self {
            remote_user_header: "X-Remote-User".into(),
            admin_user_id: "1".into(),
            cache_ttl: Lapse::seconds(30),
            adopt: Vec::new(),
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

fn assertion_audience() -> String {
    "airflow".into()
}

const fn assertion_lifetime() -> Lapse {
    Lapse::seconds(30)
}

pub(super) fn airflow_audience() -> String {
    "apache-airflow".into()
}
