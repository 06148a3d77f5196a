//! The client credentials grant as Entra's token endpoints judge it.

use serde_json::{Map, Value, json};

use super::assertion::Credentials;
use super::directory::Directory;
use super::form::Form;
use super::mint::{API_CLIENT_ID, Caller, MintRequest, Version, object};
use super::refusal::Refusal;

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

/// Refuses a resource that is not the API of this directory.
fn judge_resource(resource: &str) -> Result<(), Refusal> {
    let identifier = resource.strip_suffix('/').unwrap_or(resource);
    if identifier.strip_prefix("api://").unwrap_or(identifier) == API_CLIENT_ID {
        return Ok(());
    }
    let text = format!("The resource principal named {resource} was not found in the tenant.");
    Err(Refusal::new("invalid_resource", 500_011, text))
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
