//! The token endpoints' grants as Entra judges them: client credentials, and the code of a person
//! who has signed in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::assertion::Credentials;
use super::directory::Directory;
use super::form::Form;
use super::mint::{
    API_CLIENT_ID, Caller, MintRequest, PUBLIC_CLIENT_ID, TENANT_ID, Version, object,
};
use super::refusal::Refusal;
use super::signin::Codes;

/// The token that the form asks for with an application's own credentials; `endpoint` is the URL
/// that it was sent to.
pub(super) fn client_credentials(
    version: Version,
    form: &Form,
    endpoint: &str,
    (directory, credentials): (&Directory, &Credentials),
    now: u64,
) -> Result<MintRequest, Refusal> {
    let id = form.required("client_id")?;
    let roles = directory.application(id)?;
    let proof = credentials.judge(form, id, endpoint, now)?;
    let resource = requested_resource(version, form)?;
    let (acr, audience) = match version {
        // A v1 audience is the resource as the client spelt it; a v2 audience never is.
        Version::V1 => ("appidacr", Some(resource)),
        Version::V2 => ("azpacr", None),
    };
    Ok(MintRequest {
        caller: Caller::App(id.to_owned()),
        roles: roles.to_vec(),
        version,
        audience,
        set: object(json!({acr: proof.claim()})),
        ..MintRequest::default()
    })
}

/// The success body: v1 spells its numbers as strings.
pub(super) fn token_response(version: Version, token: &str, claims: &Map<String, Value>) -> Value {
    match version {
        Version::V1 => json!({
            "token_type": "Bearer", "expires_in": "3599", "ext_expires_in": "3599",
            "expires_on": claims.get("exp").map(Value::to_string),
            "not_before": claims.get("nbf").map(Value::to_string),
            "resource": claims.get("aud"), "access_token": token,
        }),
        Version::V2 => json!({
            "token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599,
            "access_token": token,
        }),
    }
}

/// What a person's application gets for a code.
pub(super) struct Redeemed {
    /// The token for the API.
    pub(super) access: MintRequest,
    /// The token that tells the application who has signed in, where it asked for one (`openid`).
    pub(super) id: Option<MintRequest>,
    scope: String,
    wants_client_info: bool,
}

/// Redeems the code in the form; only the public client has people sign in, and it has no secret.
pub(super) fn authorization_code(
    form: &Form,
    directory: &Directory,
    codes: &Codes,
    now: u64,
) -> Result<Redeemed, Refusal> {
    let id = form.required("client_id")?;
    if form.get("client_secret").or(form.get("client_assertion")).is_some() {
        let text = "Client is public so neither 'client_assertion' nor 'client_secret' should be \
                    presented.";
        return Err(Refusal::new("invalid_client", 700_025, text));
    }
    let redirect_uri = form.required("redirect_uri")?;
    let verifier = form.required("code_verifier")?;
    let sign_in = codes.redeem(form.required("code")?, now)?;
    let refused = |code, text: &str| Err(Refusal::new("invalid_grant", code, text));
    if sign_in.client_id != id {
        return refused(70_000, "Provided grant is invalid: it was issued to another application.");
    }
    if sign_in.redirect_uri != redirect_uri {
        return refused(500_112, "The reply URL does not match that of the authorization request.");
    }
    if !sign_in.is_verified_by(verifier) {
        let text = "The Code_Verifier does not match the code_challenge supplied in the \
                    authorization request.";
        return refused(501_481, text);
    }
    let access = MintRequest {
        caller: Caller::User(sign_in.person.clone()),
        roles: directory.person(&sign_in.person)?.to_vec(),
        version: Version::V2,
        ..MintRequest::default()
    };
    let asks_who = sign_in.scope.split(' ').any(|scope| scope == "openid");
    Ok(Redeemed {
        id: asks_who.then(|| id_token(&access, sign_in.nonce.as_deref())),
        access,
        scope: sign_in.scope,
        wants_client_info: form.get("client_info") == Some("1"),
    })
}

impl Redeemed {
    /// The success body. `client_info`, by which MSAL keeps accounts apart, is not in the protocol's
    /// documents; it names the person and the tenant.
    pub(super) fn response(
        &self,
        access: &str,
        claims: &Map<String, Value>,
        id: Option<&str>,
    ) -> Value {
        let mut body = object(token_response(Version::V2, access, claims));
        body.insert("scope".to_owned(), json!(self.scope));
        if let Some(id) = id {
            body.insert("id_token".to_owned(), json!(id));
        }
        if self.wants_client_info {
            let who = json!({"uid": claims.get("oid"), "utid": TENANT_ID}).to_string();
            body.insert("client_info".to_owned(), json!(URL_SAFE_NO_PAD.encode(who)));
        }
        Value::Object(body)
    }
}

/// Refuses a resource that is not the API of this directory.
pub(super) fn judge_resource(resource: &str) -> Result<(), Refusal> {
    let identifier = resource.strip_suffix('/').unwrap_or(resource);
    if identifier.strip_prefix("api://").unwrap_or(identifier) == API_CLIENT_ID {
        return Ok(());
    }
    let text = format!("The resource principal named {resource} was not found in the tenant.");
    Err(Refusal::new("invalid_resource", 500_011, text))
}

/// An ID token says who has signed in, to the application: no permission and no role at the API.
fn id_token(access: &MintRequest, nonce: Option<&str>) -> MintRequest {
    MintRequest {
        audience: Some(PUBLIC_CLIENT_ID.to_owned()),
        roles: Vec::new(),
        set: object(json!({"scp": null, "azp": null, "azpacr": null, "nonce": nonce})),
        ..access.clone()
    }
}

/// The API that the client asks a token for, by `resource` (v1) or `scope` (v2).
fn requested_resource(version: Version, form: &Form) -> Result<String, Refusal> {
    let resource = match version {
        Version::V1 => form.required("resource")?,
        Version::V2 => {
            let scope = form.required("scope")?;
            scope.strip_suffix("/.default").ok_or_else(|| {
                let text = format!("Client credential flows need {scope} to end in /.default.");
                Refusal::new("invalid_scope", 1_002_012, text)
            })?
        }
    };
    judge_resource(resource)?;
    Ok(resource.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::signin::tests::{NOW, REDIRECT_URI, VERIFIER, code_of_alice};
    use super::*;

    fn redeemed(code: &str, codes: &Codes, from: &str, to: &str) -> Result<Redeemed, Refusal> {
        let form = format!(
            "client_id={PUBLIC_CLIENT_ID}&code={code}&redirect_uri={REDIRECT_URI}\
             &code_verifier={VERIFIER}&client_info=1"
        );
        let form = form.replacen(from, to, 1);
        authorization_code(&Form::parse(form.as_bytes()), &Directory::new(Some), codes, NOW)
    }

    #[test]
    fn a_code_is_redeemed_by_whom_and_as_it_was_asked_for_and_only_once() {
        for (from, to, expected) in [
            (VERIFIER, "another", 501_481),
            ("code_verifier=", "verifier=", 900_144),
            ("callback", "elsewhere", 500_112),
            (PUBLIC_CLIENT_ID, "00001111-aaaa-2222-bbbb-333344440001", 70_000),
            ("client_info=1", "client_secret=guess", 700_025),
            ("client_info=1", "client_assertion=a.b.c", 700_025),
            ("code=", "code=un", 70_000),
        ] {
            let (codes, code) = code_of_alice(None);
            let refusal = redeemed(&code, &codes, from, to).err().unwrap();
            assert_eq!(refusal.code(), expected, "{to}");
        }
        let (codes, code) = code_of_alice(None);
        assert!(redeemed(&code, &codes, "", "").is_ok());
        assert_eq!(redeemed(&code, &codes, "", "").err().unwrap().code(), 54_005);
    }

    #[test]
    fn a_failed_try_uses_the_code_up() {
        let (codes, code) = code_of_alice(None);
        assert!(redeemed(&code, &codes, VERIFIER, "a guess").is_err());
        assert_eq!(redeemed(&code, &codes, "", "").err().unwrap().code(), 54_005);
    }

    #[test]
    fn the_person_gets_a_token_for_the_api_and_the_application_one_that_opens_nothing() {
        let (codes, code) = code_of_alice(None);
        let redeemed = redeemed(&code, &codes, "", "").unwrap();
        let access = redeemed.access.claims(NOW).unwrap();
        assert_eq!(
            (&access["scp"], &access["roles"]),
            (&json!("access_as_user"), &json!(["Admin"]))
        );
        let id = redeemed.id.as_ref().unwrap().claims(NOW).unwrap();
        assert_eq!((&id["aud"], &id["nonce"]), (&json!(PUBLIC_CLIENT_ID), &json!("n")));
        assert!(["scp", "roles", "azp"].iter().all(|claim| !id.contains_key(*claim)));
        let body = redeemed.response("access", &access, Some("id"));
        let info = URL_SAFE_NO_PAD.decode(body["client_info"].as_str().unwrap()).unwrap();
        let info: Value = serde_json::from_slice(&info).unwrap();
        assert_eq!(info, json!({"uid": access["oid"], "utid": TENANT_ID}));
    }

    #[test]
    fn an_application_that_does_not_ask_who_signed_in_is_not_told() {
        let (codes, code) = code_of_alice(Some(&format!("{API_CLIENT_ID}/.default")));
        let redeemed = redeemed(&code, &codes, "client_info=1", "client_info=0").unwrap();
        assert!(redeemed.id.is_none());
        let body = redeemed.response("access", &Map::new(), None);
        assert!(body.get("client_info").is_none() && body.get("id_token").is_none());
    }
}
