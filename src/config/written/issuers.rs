//! `issuers` and `roles`: who may issue tokens, and what the roles in them mean.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::airflow::airflow_audience;
use super::values::{OneOrMany, WebAddress};

/// Who issues tokens.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
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
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
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
    pub roles: Option<ValueMap>,
    /// Further certificate authorities for fetching keys, PEM.
    #[serde(default)]
    pub ca_file: Option<String>,
}

/// Tokens that Airflow issued itself. Exactly one of `secret_file`, `public_key_file`, `keys_url`
/// and `keys_file` says what they are signed with.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
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
    /// Accepted `aud` values of the tokens of tasks, with `access.execution_api: verify`:
    /// `[execution_api] jwt_audience`.
    #[serde(default = "task_audiences")]
    pub task_audiences: Vec<String>,
    /// `[api_auth] jwt_issuer`, where that is set.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Further certificate authorities for fetching keys, PEM.
    #[serde(default)]
    pub ca_file: Option<String>,
}

/// Any OpenID issuer.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
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
    pub roles: ValueMap,
    /// Claims that must have, or hold, one of these values; needed for issuers that serve everybody.
    #[serde(default)]
    pub required_claims: BTreeMap<String, Vec<String>>,
    /// Further certificate authorities for fetching keys, PEM.
    #[serde(default)]
    pub ca_file: Option<String>,
}

/// A signature algorithm with a public key.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// `ver` 1.0: what an untouched registration gets.
    V1,
    /// `ver` 2.0: with `requestedAccessTokenVersion` 2.
    V2,
}

/// From token values to Airflow roles and teams.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Roles {
    /// Token value to Airflow roles; without it a value that is exactly Admin, Op, User, Viewer
    /// or Public maps to itself.
    pub map: Option<ValueMap>,
    /// Token value to Airflow teams, for an Airflow with `[core] multi_team`.
    pub teams: Option<ValueMap>,
}

/// Token value to names of Airflow's, in the order written.
#[derive(Debug, JsonSchema)]
pub struct ValueMap(
    #[schemars(with = "BTreeMap<String, Vec<String>>")] pub Vec<(String, Vec<String>)>,
);

impl<'de> Deserialize<'de> for ValueMap {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        // serde_json keeps the order here (feature `preserve_order`).
        let map = serde_json::Map::deserialize(source)?;
        let row = |(value, names)| Ok((value, Vec::<String>::deserialize(names)?));
        map.into_iter()
            .map(row)
            .collect::<Result<_, serde_json::Error>>()
            .map(Self)
            .map_err(de::Error::custom)
    }
}

impl Serialize for ValueMap {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        sink.collect_map(self.0.iter().map(|(value, names)| (value, names)))
    }
}

/// `[execution_api] jwt_audience` of Airflow by default.
pub const TASK_AUDIENCE: &str = "urn:airflow.apache.org:task";

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

fn task_audiences() -> Vec<String> {
    vec![TASK_AUDIENCE.into()]
}

fn airflow_audiences() -> Vec<String> {
    vec![airflow_audience()]
}
