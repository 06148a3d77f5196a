//! The embedded issuer: Entra's URL layout, key documents and token endpoints on loopback, and
//! the private endpoint behind `airside token`.
//!
//! Tokens carry the real issuers' names while the keys come from here, so the proxy is configured
//! as for Entra with nothing but another `authority`. The same issuer answers over plain HTTP and
//! over TLS, which Microsoft's clients insist on; its metadata names the endpoints by the scheme
//! and host that it was asked at. Left out on purpose: `x5c` in the keys, sign-in pages, and
//! refresh tokens.

use aws_lc_rs::error::Unspecified;
use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{Request, StatusCode};
use serde_json::{Map, Value, json};

use super::assertion::Credentials;
use super::directory::Directory;
use super::form::Form;
use super::key::SigningKey;
use super::mint::Version::{self, V1, V2};
use super::mint::{MintRequest, TENANT_ID};
use super::refusal::Refusal;
use super::serve::{Answer, bearer, json};
use super::signin::{Codes, authorize};
use super::{grant, managed_identity};
use crate::loopback::is_loopback_authority;

/// Below this path the issuer is an authority of the kind dSTS, of which MSAL believes what it says
/// of itself. About any other that it does not know, MSAL asks a host of Microsoft's, unless the
/// program tells it not to; so this is the authority for programs that cannot be changed.
pub const BELIEVED_PATH: &str = "/dstsv2";

/// The issuer with the keys of this run.
pub struct Issuer {
    directory: Directory,
    credentials: Credentials,
    codes: Codes,
    current: SigningKey,
    /// Published but unused: Entra always shows several keys.
    next: SigningKey,
}

impl Issuer {
    /// Makes the keys.
    pub fn new(directory: Directory, credentials: Credentials) -> Result<Self, Unspecified> {
        Ok(Self {
            directory,
            credentials,
            codes: Codes::default(),
            current: SigningKey::generate()?,
            next: SigningKey::generate()?,
        })
    }

    /// The answer to one request that came by `scheme`, at `now` (Unix seconds).
    pub fn answer(&self, scheme: &Scheme, request: &Request<Bytes>, now: u64) -> Answer {
        let Some(host) = loopback_host(request) else {
            let detail = "this issuer answers to names of this machine only";
            return failure(StatusCode::MISDIRECTED_REQUEST, detail);
        };
        let answer = self.route(&format!("{scheme}://{host}"), request, now);
        answer.unwrap_or_else(|refusal| refusal.answer())
    }

    /// `origin` is how the client addresses this issuer: scheme, host and port.
    fn route(&self, origin: &str, request: &Request<Bytes>, now: u64) -> Result<Answer, Refusal> {
        let path = request.uri().path();
        let (path, version_at_root) = match path.strip_prefix(BELIEVED_PATH) {
            // There MSAL looks for metadata where v1.0 has it, and speaks v2.0.
            Some(rest) => (rest, V2),
            None => (path, V1),
        };
        let path = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        let (tenant, rest) = path.unwrap_or_default();
        let endpoint = || format!("{origin}{}", request.uri().path());
        match (request.method().as_str(), rest) {
            ("POST", "token") if tenant == "airside-dev" => self.mint(request, now),
            ("GET", "metadata/identity/oauth2/token") => self.managed(tenant, request, now),
            _ if tenant.is_empty() => Ok(failure(StatusCode::NOT_FOUND, "not found")),
            _ if tenant != TENANT_ID => Err(unknown_tenant(tenant)),
            ("GET", "discovery/keys") => Ok(self.keys(V1)),
            ("GET", "discovery/v2.0/keys") => Ok(self.keys(V2)),
            ("GET", ".well-known/openid-configuration") => Ok(metadata(version_at_root, origin)),
            ("GET", "v2.0/.well-known/openid-configuration") => Ok(metadata(V2, origin)),
            ("GET", "oauth2/v2.0/authorize") => Ok(self.authorize(request, now)),
            ("POST", "oauth2/token") => self.token(V1, &endpoint(), request, now),
            ("POST", "oauth2/v2.0/token") => self.token(V2, &endpoint(), request, now),
            _ => Ok(failure(StatusCode::NOT_FOUND, "not found")),
        }
    }

    fn keys(&self, version: Version) -> Answer {
        let keys = [&self.next, &self.current].map(|key| key.jwk(version, &version.issuer()));
        json(StatusCode::OK, &json!({"keys": keys}))
    }

    /// `POST /airside-dev/token`: any token at all, for whoever can read the state file.
    fn mint(&self, request: &Request<Bytes>, now: u64) -> Result<Answer, Refusal> {
        if !self.credentials.secret.is(bearer(request.headers()).unwrap_or_default()) {
            return Ok(failure(StatusCode::UNAUTHORIZED, "wrong mint secret"));
        }
        match serde_json::from_slice::<MintRequest>(request.body()) {
            Ok(wanted) => {
                let (token, claims) = self.signed(&wanted, now)?;
                Ok(json(StatusCode::OK, &json!({"token": token, "claims": claims})))
            }
            Err(error) => Ok(failure(StatusCode::BAD_REQUEST, &error.to_string())),
        }
    }

    /// `GET /{secret}/metadata/identity/oauth2/token`.
    fn managed(&self, secret: &str, request: &Request<Bytes>, now: u64) -> Result<Answer, Refusal> {
        if !self.credentials.secret.is(secret) {
            return Ok(failure(
                StatusCode::UNAUTHORIZED,
                "the path does not begin with the secret",
            ));
        }
        match managed_identity::requested(request, &self.directory) {
            Ok(wanted) => {
                let (token, claims) = self.signed(&wanted, now)?;
                Ok(json(StatusCode::OK, &managed_identity::response(&token, &claims)))
            }
            Err(answer) => Ok(*answer),
        }
    }

    fn authorize(&self, request: &Request<Bytes>, now: u64) -> Answer {
        authorize(request, &self.directory, &self.credentials.secret, &self.codes, now)
    }

    /// Unlike Entra's, each endpoint issues the token version of its name, so that both can be
    /// tried without two registrations of the API.
    fn token(
        &self,
        version: Version,
        endpoint: &str,
        request: &Request<Bytes>,
        now: u64,
    ) -> Result<Answer, Refusal> {
        let form = Form::parse(request.body());
        let body = match (form.required("grant_type")?, version) {
            ("client_credentials", _) => {
                let known = (&self.directory, &self.credentials);
                let wanted = grant::client_credentials(version, &form, endpoint, known, now)?;
                let (token, claims) = self.signed(&wanted, now)?;
                grant::token_response(version, &token, &claims)
            }
            ("authorization_code", V2) => {
                let redeemed = grant::authorization_code(&form, &self.directory, &self.codes, now)?;
                let (token, claims) = self.signed(&redeemed.access, now)?;
                let id = redeemed.id.as_ref().map(|wanted| self.signed(wanted, now)).transpose()?;
                redeemed.response(&token, &claims, id.as_ref().map(|(token, _)| token.as_str()))
            }
            _ => {
                let text = "The app requested an unsupported grant type.";
                return Err(Refusal::new("unsupported_grant_type", 70_003, text));
            }
        };
        Ok(json(StatusCode::OK, &body))
    }

    fn signed(
        &self,
        wanted: &MintRequest,
        now: u64,
    ) -> Result<(String, Map<String, Value>), Unspecified> {
        let claims = wanted.claims(now)?;
        Ok((self.current.sign(wanted.version, &claims)?, claims))
    }
}

/// The metadata of an issuer that is asked at `origin`.
fn metadata(version: Version, origin: &str) -> Answer {
    let tenant = format!("{origin}/{TENANT_ID}");
    let (keys, oauth2) = match version {
        V1 => ("discovery/keys", "oauth2"),
        V2 => ("discovery/v2.0/keys", "oauth2/v2.0"),
    };
    let document = json!({
        "issuer": version.issuer(),
        "jwks_uri": format!("{tenant}/{keys}"),
        "token_endpoint": format!("{tenant}/{oauth2}/token"),
        "authorization_endpoint": format!("{tenant}/oauth2/v2.0/authorize"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "response_modes_supported": ["query", "form_post"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "tenant_region_scope": "EU",
        "cloud_instance_name": "microsoftonline.com",
    });
    json(StatusCode::OK, &document)
}

fn failure(status: StatusCode, error: &str) -> Answer {
    json(status, &json!({"error": error}))
}

fn unknown_tenant(tenant: &str) -> Refusal {
    let text = format!("Tenant '{tenant}' not found; the one here is {TENANT_ID}.");
    Refusal::new("invalid_tenant", 90_002, text)
}

/// Host, if it and the target, where that names one, mean this machine. A page of another site
/// whose name was rebound to 127.0.0.1 still sends that site's name.
fn loopback_host(request: &Request<Bytes>) -> Option<&str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return None;
    };
    let target = request.uri().authority().map(Authority::as_str);
    let host = host.to_str().ok().filter(|host| is_loopback_authority(host))?;
    target.is_none_or(is_loopback_authority).then_some(host)
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};

    use super::super::mint::{API_CLIENT_ID, MintSecret};
    use super::super::serve::opened;
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn issuer() -> Issuer {
        let credentials = Credentials::generate(MintSecret::generate().unwrap()).unwrap();
        Issuer::new(Directory::new(Some), credentials).unwrap()
    }

    fn request(path: &str, host: &str) -> Request<Bytes> {
        Request::get(path).header(HOST, host).body(Bytes::new()).unwrap()
    }

    fn get(issuer: &Issuer, path: &str) -> (u16, Value) {
        opened(issuer.answer(&Scheme::HTTP, &request(path, "127.0.0.1:1"), NOW))
    }

    fn post(issuer: &Issuer, path: &str, bearer: &str, body: String) -> (u16, Value) {
        let request = Request::post(path)
            .header(HOST, "[::1]:1")
            .header(AUTHORIZATION, format!("Bearer {bearer}"))
            .body(Bytes::from(body))
            .unwrap();
        opened(issuer.answer(&Scheme::HTTP, &request, NOW))
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
            let (status, minted) = mint(&issuer, issuer.credentials.secret.expose(), &wanted);
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
        let secret = issuer.credentials.secret.expose();
        assert_eq!(mint(&issuer, secret, &json!({})).0, 200);
        assert_eq!(mint(&issuer, secret, &json!({"role": "Admin"})).0, 400);
    }

    #[test]
    fn a_name_of_another_machine_is_refused_everywhere() {
        let issuer = issuer();
        let path = format!("/{TENANT_ID}/discovery/keys");
        let status = |request| issuer.answer(&Scheme::HTTP, &request, NOW).status().as_u16();
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
    fn metadata_names_the_real_issuer_and_endpoints_where_it_was_asked() {
        let issuer = issuer();
        let (v1, v2) = (V1.issuer(), V2.issuer());
        let well_known = ".well-known/openid-configuration";
        for (scheme, host, path, name, token) in [
            ("http", "127.0.0.1:8082", format!("/{TENANT_ID}/{well_known}"), &v1, "oauth2/token"),
            (
                "https",
                "localhost:8443",
                format!("/{TENANT_ID}/v2.0/{well_known}"),
                &v2,
                "oauth2/v2.0/token",
            ),
            (
                "https",
                "[::1]:8443",
                format!("/dstsv2/{TENANT_ID}/{well_known}"),
                &v2,
                "oauth2/v2.0/token",
            ),
        ] {
            let scheme = Scheme::try_from(scheme).unwrap();
            let ask = |path: &str| opened(issuer.answer(&scheme, &request(path, host), NOW)).1;
            let metadata = ask(&path);
            let origin = format!("{scheme}://{host}");
            assert_eq!(metadata["issuer"], json!(name));
            let endpoint = format!("{origin}/{TENANT_ID}/{token}");
            assert_eq!(metadata["token_endpoint"], json!(endpoint));
            let keys = metadata["jwks_uri"].as_str().unwrap();
            let keys = ask(keys.strip_prefix(&origin).unwrap());
            assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
        }
        assert_eq!(get(&issuer, "/else").0, 404);
        assert_eq!(get(&issuer, &format!("/{TENANT_ID}/else")).0, 404);
        assert_eq!(get(&issuer, "/common/discovery/keys").1["error_codes"], json!([90_002]));
    }

    #[test]
    fn client_credentials_are_judged_as_by_entra() {
        let issuer = issuer();
        let secret = issuer.credentials.secret.expose();
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
            ("client_secret", "secret", 401, 7_000_218),
            ("%2F.default", "", 400, 1_002_012),
            ("11112222", "deadbeef", 400, 500_011),
        ] {
            let (answered, body) = post("oauth2/v2.0/token", good.replacen(from, to, 1));
            assert_eq!((answered, &body["error_codes"]), (status, &json!([code])), "{to}");
        }
    }

    #[test]
    fn what_proved_the_application_stands_in_its_token() {
        let issuer = issuer();
        let secret = issuer.credentials.secret.expose();
        let token = issuer.credentials.federation.token(NOW).unwrap();
        let assertion = format!(
            "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer\
             &client_assertion={token}"
        );
        for (proof, expected) in [(format!("client_secret={secret}"), "1"), (assertion, "2")] {
            let form = format!(
                "grant_type=client_credentials&client_id=00001111-aaaa-2222-bbbb-333344440001\
                 &scope={API_CLIENT_ID}/.default&resource={API_CLIENT_ID}&{proof}"
            );
            for (endpoint, claim) in [("oauth2/token", "appidacr"), ("oauth2/v2.0/token", "azpacr")]
            {
                let path = format!("/{TENANT_ID}/{endpoint}");
                let (_, body) = post(&issuer, &path, "", form.clone());
                let token = body["access_token"].as_str().unwrap();
                let claims = verified(&issuer, "discovery/keys", token);
                assert_eq!(claims[claim], json!(expected), "{endpoint}");
            }
        }
    }

    #[test]
    fn a_managed_identity_is_for_those_who_know_the_secret() {
        let issuer = issuer();
        let ask = |secret: &str| {
            let path = format!("/{secret}/metadata/identity/oauth2/token?resource={API_CLIENT_ID}");
            let mut request = request(&path, "localhost:8082");
            request.headers_mut().insert("metadata", "true".parse().unwrap());
            opened(issuer.answer(&Scheme::HTTP, &request, NOW))
        };
        let (status, body) = ask(issuer.credentials.secret.expose());
        assert_eq!((status, &body["expires_in"]), (200, &json!("86399")));
        let token = body["access_token"].as_str().unwrap();
        assert_eq!(verified(&issuer, "discovery/keys", token)["roles"], json!(["Op"]));
        assert_eq!(ask("guess").0, 401);
    }
}
