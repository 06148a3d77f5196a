//! The embedded issuer: Entra's URL layout, key documents and token endpoints on loopback, and
//! the private endpoint behind `airside token`.
//!
//! Tokens carry the real issuers' names while the keys come from here, so the proxy is configured
//! as for Entra with nothing but another `authority`. Left out on purpose: `x5c` in the keys,
//! sign-in pages, and TLS.

use aws_lc_rs::error::Unspecified;
use bytes::Bytes;
use http::header::HOST;
use http::uri::Authority;
use http::{Request, StatusCode};
use serde_json::{Map, Value, json};

use super::grant::{self, Refusal};
use super::key::SigningKey;
use super::loopback::is_loopback_authority;
use super::mint::Version::{self, V1, V2};
use super::mint::{MintRequest, MintSecret, TENANT_ID};
use super::serve::{Answer, bearer, json};

/// The issuer with the keys of this run.
pub struct Issuer {
    base_url: String,
    mint_secret: MintSecret,
    current: SigningKey,
    /// Published but unused: Entra always shows several keys.
    next: SigningKey,
}

impl Issuer {
    /// Makes the keys; `base_url` is where this issuer is reached (`http://127.0.0.1:8082`).
    pub fn new(base_url: &str, mint_secret: MintSecret) -> Result<Self, Unspecified> {
        Ok(Self {
            base_url: base_url.to_owned(),
            mint_secret,
            current: SigningKey::generate()?,
            next: SigningKey::generate()?,
        })
    }

    /// The answer to one request at `now` (Unix seconds).
    pub fn answer(&self, request: &Request<Bytes>, now: u64) -> Answer {
        if !addressed_to_loopback(request) {
            let detail = "this issuer answers to names of this machine only";
            return failure(StatusCode::MISDIRECTED_REQUEST, detail);
        }
        let path = request.uri().path().strip_prefix('/');
        let (tenant, rest) = path.and_then(|path| path.split_once('/')).unwrap_or_default();
        let answer = match (request.method().as_str(), rest) {
            ("POST", "token") if tenant == "airside-dev" => return self.mint(request, now),
            ("GET", "discovery/keys") => self.keys(V1),
            ("GET", "discovery/v2.0/keys") => self.keys(V2),
            ("GET", ".well-known/openid-configuration") => self.metadata(V1),
            ("GET", "v2.0/.well-known/openid-configuration") => self.metadata(V2),
            ("POST", "oauth2/token") => self.client_credentials(V1, request, now),
            ("POST", "oauth2/v2.0/token") => self.client_credentials(V2, request, now),
            _ => return failure(StatusCode::NOT_FOUND, "not found"),
        };
        if tenant == TENANT_ID { answer } else { unknown_tenant(tenant) }
    }

    fn keys(&self, version: Version) -> Answer {
        let keys = [&self.next, &self.current].map(|key| key.jwk(version, &version.issuer()));
        json(StatusCode::OK, &json!({"keys": keys}))
    }

    fn metadata(&self, version: Version) -> Answer {
        let tenant = format!("{}/{TENANT_ID}", self.base_url);
        let (keys, oauth2) = match version {
            V1 => ("discovery/keys", "oauth2"),
            V2 => ("discovery/v2.0/keys", "oauth2/v2.0"),
        };
        let document = json!({
            "issuer": version.issuer(),
            "jwks_uri": format!("{tenant}/{keys}"),
            "token_endpoint": format!("{tenant}/{oauth2}/token"),
            "authorization_endpoint": format!("{tenant}/{oauth2}/authorize"),
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "tenant_region_scope": "EU",
            "cloud_instance_name": "microsoftonline.com",
        });
        json(StatusCode::OK, &document)
    }

    /// `POST /airside-dev/token`: any token at all, for whoever can read the state file.
    fn mint(&self, request: &Request<Bytes>, now: u64) -> Answer {
        if !self.mint_secret.is(bearer(request.headers()).unwrap_or_default()) {
            return failure(StatusCode::UNAUTHORIZED, "wrong mint secret");
        }
        match serde_json::from_slice::<MintRequest>(request.body()) {
            Ok(wanted) => {
                self.signed(&wanted, now, |token, claims| json!({"token": token, "claims": claims}))
            }
            Err(error) => failure(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }

    /// The client credentials grant. Unlike Entra's, each endpoint issues the token version of
    /// its name, so that both can be tried without two registrations of the API.
    fn client_credentials(&self, version: Version, request: &Request<Bytes>, now: u64) -> Answer {
        match grant::requested(version, request.body(), &self.mint_secret) {
            Ok(wanted) => self.signed(&wanted, now, |token, claims| {
                grant::token_response(version, token, claims)
            }),
            Err(refusal) => refusal.answer(),
        }
    }

    fn signed(
        &self,
        wanted: &MintRequest,
        now: u64,
        body: impl FnOnce(&str, &Map<String, Value>) -> Value,
    ) -> Answer {
        let signed = wanted.claims(now).and_then(|claims| {
            let token = self.current.sign(wanted.version, &claims)?;
            Ok(json(StatusCode::OK, &body(&token, &claims)))
        });
        signed.unwrap_or_else(|Unspecified| {
            failure(StatusCode::INTERNAL_SERVER_ERROR, "signing failed")
        })
    }
}

fn failure(status: StatusCode, error: &str) -> Answer {
    json(status, &json!({"error": error}))
}

fn unknown_tenant(tenant: &str) -> Answer {
    let text = format!("Tenant '{tenant}' not found; the one here is {TENANT_ID}.");
    Refusal::new("invalid_tenant", 90_002, text).answer()
}

/// Whether Host, and the target where it names one, mean this machine. A page of another site
/// whose name was rebound to 127.0.0.1 still sends that site's name.
fn addressed_to_loopback(request: &Request<Bytes>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let target = request.uri().authority().map(Authority::as_str);
    host.to_str().is_ok_and(is_loopback_authority) && target.is_none_or(is_loopback_authority)
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};

    use super::super::mint::API_CLIENT_ID;
    use super::super::serve::opened;
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const BASE_URL: &str = "http://127.0.0.1:8082";

    fn issuer() -> Issuer {
        Issuer::new(BASE_URL, MintSecret::generate().unwrap()).unwrap()
    }

    fn request(path: &str, host: &str) -> Request<Bytes> {
        Request::get(path).header(HOST, host).body(Bytes::new()).unwrap()
    }

    fn get(issuer: &Issuer, path: &str) -> (u16, Value) {
        opened(issuer.answer(&request(path, "127.0.0.1:1"), NOW))
    }

    fn post(issuer: &Issuer, path: &str, bearer: &str, body: String) -> (u16, Value) {
        let request = Request::post(path)
            .header(HOST, "[::1]:1")
            .header(AUTHORIZATION, format!("Bearer {bearer}"))
            .body(Bytes::from(body))
            .unwrap();
        opened(issuer.answer(&request, NOW))
    }

    fn mint(issuer: &Issuer, secret: &str, body: &Value) -> (u16, Value) {
        post(issuer, "/airside-dev/token", secret, body.to_string())
    }

    /// Verifies as a stranger would: with the published keys, found by `kid`.
    fn verified(issuer: &Issuer, keys: &str, token: &str) -> Value {
        let kid = decode_header(token).unwrap().kid.unwrap();
        let (_, set) = get(issuer, &format!("/{TENANT_ID}/{keys}"));
        let keys = set["keys"].as_array().unwrap();
        let key = keys.iter().find(|key| key["kid"] == kid.as_str()).unwrap();
        assert!(key.get("alg").is_none(), "Entra's keys carry no alg");
        let key = DecodingKey::from_rsa_components(
            key["n"].as_str().unwrap(),
            key["e"].as_str().unwrap(),
        );
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_exp = false;
        validation.validate_aud = false;
        decode::<Value>(token, &key.unwrap(), &validation).unwrap().claims
    }

    #[test]
    fn minted_tokens_verify_with_the_published_keys() {
        let issuer = issuer();
        for (version, keys) in [("v1", "discovery/keys"), ("v2", "discovery/v2.0/keys")] {
            let wanted = json!({"roles": ["Admin"], "version": version, "for": 60,
                "caller": {"user": "alice"}, "set": {"nbf": null}});
            let (status, minted) = mint(&issuer, issuer.mint_secret.expose(), &wanted);
            assert_eq!(status, 200);
            let claims = verified(&issuer, keys, minted["token"].as_str().unwrap());
            assert_eq!(claims, minted["claims"]);
            assert_eq!(claims["exp"], NOW + 60);
        }
    }

    #[test]
    fn minting_needs_the_secret_and_a_request_that_it_understands() {
        let issuer = issuer();
        assert_eq!(mint(&issuer, "guess", &json!({})).0, 401);
        let secret = issuer.mint_secret.expose();
        assert_eq!(mint(&issuer, secret, &json!({})).0, 200);
        assert_eq!(mint(&issuer, secret, &json!({"role": "Admin"})).0, 400);
    }

    #[test]
    fn a_name_of_another_machine_is_refused_everywhere() {
        let issuer = issuer();
        let path = format!("/{TENANT_ID}/discovery/keys");
        let status = |request| issuer.answer(&request, NOW).status().as_u16();
        assert_eq!(status(request(&path, "localhost:8082")), 200);
        assert_eq!(status(request(&path, "rebound.example:8082")), 421);
        let absolute = format!("http://rebound.example{path}");
        assert_eq!(status(request(&absolute, "localhost")), 421);
        let mut twice = request(&path, "localhost");
        twice.headers_mut().append(HOST, "localhost".parse().unwrap());
        assert_eq!(status(twice), 421);
        assert_eq!(status(Request::get(&path).body(Bytes::new()).unwrap()), 421);
    }

    #[test]
    fn metadata_names_the_real_issuer_and_local_endpoints() {
        let issuer = issuer();
        for (prefix, name) in [
            ("", format!("https://sts.windows.net/{TENANT_ID}/")),
            ("/v2.0", format!("https://login.microsoftonline.com/{TENANT_ID}/v2.0")),
        ] {
            let path = format!("/{TENANT_ID}{prefix}/.well-known/openid-configuration");
            let (_, metadata) = get(&issuer, &path);
            assert_eq!(metadata["issuer"], name);
            let keys = metadata["jwks_uri"].as_str().unwrap();
            let (status, set) = get(&issuer, keys.strip_prefix(BASE_URL).unwrap());
            assert_eq!((status, set["keys"].as_array().unwrap().len()), (200, 2));
        }
        assert_eq!(get(&issuer, "/else").0, 404);
        assert_eq!(get(&issuer, "/common/discovery/keys").1["error_codes"], json!([90_002]));
    }

    #[test]
    fn client_credentials_are_judged_as_by_entra() {
        let issuer = issuer();
        let secret = issuer.mint_secret.expose();
        let post = |endpoint: &str, form: String| {
            post(&issuer, &format!("/{TENANT_ID}/{endpoint}"), "", form)
        };
        let good = format!(
            "grant_type=client_credentials&client_id=00001111-aaaa-2222-bbbb-333344440002\
             &client_secret={secret}&scope=api%3A%2F%2F{API_CLIENT_ID}%2F.default\
             &resource=api://{API_CLIENT_ID}/"
        );
        let as_spelt = format!("api://{API_CLIENT_ID}/");
        for (endpoint, keys, audience, expires_in) in [
            ("oauth2/token", "discovery/keys", as_spelt.as_str(), json!("3599")),
            ("oauth2/v2.0/token", "discovery/v2.0/keys", API_CLIENT_ID, json!(3599)),
        ] {
            let (status, body) = post(endpoint, good.clone());
            assert_eq!((status, &body["expires_in"]), (200, &expires_in));
            let claims = verified(&issuer, keys, body["access_token"].as_str().unwrap());
            assert_eq!((&claims["roles"], &claims["aud"]), (&json!(["Op"]), &json!(audience)));
        }
        for (from, to, status, code) in [
            ("=client_credentials", "=password", 400, 70_003),
            ("grant_type=", "grant=", 400, 900_144),
            ("333344440002", "333344449999", 400, 700_016),
            (secret, "guess", 401, 7_000_215),
            ("%2F.default", "", 400, 1_002_012),
            ("11112222", "deadbeef", 400, 500_011),
        ] {
            let (answered, body) = post("oauth2/v2.0/token", good.replacen(from, to, 1));
            assert_eq!((answered, &body["error_codes"]), (status, &json!([code])), "{to}");
        }
    }
}
