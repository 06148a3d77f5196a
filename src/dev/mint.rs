//! What a token says: the claim sets of Entra's v1.0 and v2.0 access tokens, for a person and for
//! an application.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The directory that the issuer imitates (an example id of Microsoft's documentation).
pub const TENANT_ID: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";

/// The app registration of the API, that is of Airflow behind airside.
pub const API_CLIENT_ID: &str = "11112222-bbbb-3333-cccc-4444dddd5555";

/// The application that `airside token --app` speaks for.
pub const APP_CLIENT_ID: &str = "00001111-aaaa-2222-bbbb-3333cccc4444";

/// The client that people sign in through, as Azure CLI would be.
pub(super) const PUBLIC_CLIENT_ID: &str = "22223333-cccc-4444-dddd-5555eeee6666";

/// Which token to mint: the body of `POST /airside-dev/token`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MintRequest {
    /// Who the token is for.
    pub caller: Caller,
    /// The values of `roles`; without any, the claim is absent, as in Entra.
    pub roles: Vec<String>,
    /// The token format.
    pub version: Version,
    /// Seconds until `exp`.
    #[serde(rename = "for")]
    pub lifetime: u64,
    /// `aud`, where it is not to be the API's usual one for the version.
    pub audience: Option<String>,
    /// Claims to put in last; null removes one.
    pub set: Map<String, Value>,
}

/// Who a token is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Caller {
    /// A person, by a short name or by user principal name (`alice@contoso.example`).
    User(String),
    /// An application, by client id, with a secret of its own.
    App(String),
}

/// The format of an access token. Entra takes it from the API's app registration: an untouched
/// one gets v1.0, whichever endpoint the client asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// `ver` 1.0, issued by `sts.windows.net`.
    #[default]
    V1,
    /// `ver` 2.0, issued by `login.microsoftonline.com`.
    V2,
}

impl Default for MintRequest {
    fn default() -> Self {
        Self {
            caller: Caller::User("dev".to_owned()),
            roles: Vec::new(),
            version: Version::default(),
            lifetime: 3600,
            audience: None,
            set: Map::new(),
        }
    }
}

impl Version {
    /// `iss`, byte for byte as the real one: v1 ends in a slash, v2 does not.
    pub fn issuer(self) -> String {
        match self {
            Version::V1 => format!("https://sts.windows.net/{TENANT_ID}/"),
            Version::V2 => format!("https://login.microsoftonline.com/{TENANT_ID}/v2.0"),
        }
    }

    fn audience(self) -> String {
        match self {
            Version::V1 => format!("api://{API_CLIENT_ID}"),
            Version::V2 => API_CLIENT_ID.to_owned(),
        }
    }
}

impl MintRequest {
    /// The claims at `now` (Unix seconds); fails only with the system's random source.
    pub(super) fn claims(&self, now: u64) -> Result<Map<String, Value>, Unspecified> {
        let mut claims = object(json!({
            "aud": self.audience.clone().unwrap_or_else(|| self.version.audience()),
            "iss": self.version.issuer(),
            "iat": now,
            "nbf": now,
            "exp": now.saturating_add(self.lifetime),
            "aio": random_id(48)?,
            "tid": TENANT_ID,
            "uti": random_id(16)?,
        }));
        if !self.roles.is_empty() {
            claims.insert("roles".to_owned(), json!(self.roles));
        }
        claims.extend(match &self.caller {
            Caller::User(name) => user_claims(name, self.version),
            Caller::App(client_id) => app_claims(client_id, self.version),
        });
        for (claim, value) in &self.set {
            match value {
                Value::Null => claims.remove(claim),
                _ => claims.insert(claim.clone(), value.clone()),
            };
        }
        Ok(claims)
    }
}

/// What a caller of the mint endpoint must know; made for one run, kept in the state file.
pub struct MintSecret(String);

impl MintSecret {
    /// A new secret of 256 random bits.
    pub fn generate() -> Result<Self, Unspecified> {
        random_id(32).map(Self)
    }

    /// The secret itself, for the state file.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is the secret, in time that does not tell how much of it fits.
    pub(super) fn is(&self, candidate: &str) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), candidate.as_bytes()).is_ok()
    }
}

fn app_claims(client_id: &str, version: Version) -> Map<String, Value> {
    let oid = object_id("app", client_id);
    object(match version {
        Version::V1 => json!({
            "ver": "1.0", "oid": oid, "sub": oid, "idtyp": "app",
            "appid": client_id, "appidacr": "1", "idp": version.issuer(),
        }),
        Version::V2 => json!({
            "ver": "2.0", "oid": oid, "sub": oid, "idtyp": "app",
            "azp": client_id, "azpacr": "1",
        }),
    })
}

fn user_claims(name: &str, version: Version) -> Map<String, Value> {
    let (short, upn) = match name.split_once('@') {
        Some((short, _)) => (short, name.to_owned()),
        None => (name, format!("{name}@contoso.example")),
    };
    let oid = object_id("user", &upn);
    let pairwise = URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("sub:{upn}").as_bytes()));
    object(match version {
        Version::V1 => json!({
            "ver": "1.0", "oid": oid, "sub": pairwise, "scp": "access_as_user",
            "appid": PUBLIC_CLIENT_ID, "appidacr": "0", "acr": "1", "amr": ["pwd", "mfa"],
            "family_name": "Example", "given_name": short, "name": format!("{short} Example"),
            "ipaddr": "192.0.2.10", "unique_name": upn, "upn": upn,
        }),
        Version::V2 => json!({
            "ver": "2.0", "oid": oid, "sub": pairwise, "scp": "access_as_user",
            "azp": PUBLIC_CLIENT_ID, "azpacr": "0",
            "name": format!("{short} Example"), "preferred_username": upn,
        }),
    })
}

/// The directory's id of `name`: the same in every run, so that Airflow sees the same user again.
fn object_id(kind: &str, name: &str) -> String {
    let name = format!("airside-dev:{kind}:{}", name.to_lowercase());
    let hash = digest(&SHA256, name.as_bytes());
    let id = hash.as_ref().first_chunk().copied().map_or(0, u128::from_be_bytes);
    let hex = format!("{id:032x}");
    let part = |range| hex.get(range).unwrap_or_default();
    // The version and variant digits make it a well-formed UUID (RFC 9562, version 8).
    format!("{}-{}-8{}-a{}-{}", part(0..8), part(8..12), part(13..16), part(17..20), part(20..32))
}

/// This many random bytes, as base64url.
pub fn random_id(bytes: usize) -> Result<String, Unspecified> {
    let mut random = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut random)?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

/// The members of a value that is an object.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(caller: Caller, version: Version) -> Map<String, Value> {
        let roles = vec!["Op".to_owned()];
        MintRequest { caller, roles, version, ..MintRequest::default() }.claims(1_000).unwrap()
    }

    fn names(claims: &Map<String, Value>) -> Vec<&str> {
        claims.keys().map(String::as_str).collect()
    }

    #[test]
    fn each_kind_of_token_has_the_claims_of_the_real_one() {
        let app = || Caller::App(APP_CLIENT_ID.to_owned());
        let user = || Caller::User("alice".to_owned());
        let sorted = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (claims, expected) in [
            (
                claims(app(), Version::V1),
                "aio appid appidacr aud exp iat idp idtyp iss nbf oid roles sub tid uti ver",
            ),
            (
                claims(app(), Version::V2),
                "aio aud azp azpacr exp iat idtyp iss nbf oid roles sub tid uti ver",
            ),
            (
                claims(user(), Version::V1),
                "acr aio amr appid appidacr aud exp family_name given_name iat ipaddr iss name nbf \
                 oid roles scp sub tid unique_name upn uti ver",
            ),
            (
                claims(user(), Version::V2),
                "aio aud azp azpacr exp iat iss name nbf oid preferred_username roles scp sub tid \
                 uti ver",
            ),
        ] {
            let mut found = names(&claims);
            found.sort_unstable();
            assert_eq!(found, sorted(expected));
        }
    }

    #[test]
    fn a_user_keeps_the_object_id_and_an_app_has_it_as_subject() {
        let alice = |name: &str| claims(Caller::User(name.to_owned()), Version::V2)["oid"].clone();
        assert_eq!(alice("alice"), alice("alice@contoso.example"));
        assert_eq!(alice("alice"), json!("b53026e1-1e3d-8469-aca3-19a4752dca69"));
        assert_ne!(alice("alice"), alice("bob"));
        let app = claims(Caller::App("ci".to_owned()), Version::V1);
        assert_eq!(app["oid"], app["sub"]);
    }

    #[test]
    fn set_replaces_and_removes_claims_last() {
        let set = object(json!({"exp": 5, "tid": null, "extra": ["x"]}));
        let claims = MintRequest { set, ..MintRequest::default() }.claims(1_000).unwrap();
        assert_eq!((&claims["exp"], &claims["extra"]), (&json!(5), &json!(["x"])));
        assert!(!claims.contains_key("tid"));
        assert!(!claims.contains_key("roles"), "no role means no claim, not an empty one");
    }
}
