//! The metadata service of a virtual machine (IMDS), as far as it hands out tokens
//! (learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token).
//!
//! On a virtual machine whoever can reach the service may ask. Here others may use the machine too,
//! so it is reached below a path that only those know who can read the state file.

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use serde_json::{Map, Value, json};

use super::directory::{Directory, USUAL_APPLICATION};
use super::form::Form;
use super::grant::judge_resource;
use super::mint::{Caller, MintRequest, Version, object};
use super::serve::{Answer, json};

/// The token that the request asks for, or the answer that says why not.
pub(super) fn requested(
    request: &Request<Bytes>,
    directory: &Directory,
) -> Result<MintRequest, Box<Answer>> {
    // A server that is tricked into fetching a URL sends no header of the trickster's.
    let meant = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"true");
    if !request.headers().get("metadata").is_some_and(meant) {
        return Err(refused("Required metadata header not specified"));
    }
    let form = Form::parse(request.uri().query().unwrap_or_default().as_bytes());
    let Some(resource) = form.get("resource") else {
        return Err(refused("Required query variable 'resource' is missing"));
    };
    judge_resource(resource).map_err(|refusal| Box::new(refusal.answer()))?;
    if ["object_id", "msi_res_id", "mi_res_id"].iter().any(|name| form.get(name).is_some()) {
        return Err(refused("Identity not found; name it by its client_id"));
    }
    let client_id = form.get("client_id");
    let roles = directory.application(client_id.unwrap_or(USUAL_APPLICATION));
    Ok(MintRequest {
        caller: Caller::App(client_id.unwrap_or(USUAL_APPLICATION).to_owned()),
        roles: roles.map_err(|_| refused("Identity not found"))?.to_vec(),
        version: Version::V1,
        lifetime: LIFETIME,
        audience: Some(resource.to_owned()),
        set: claims(client_id),
    })
}

/// The success body, numbers as strings.
pub(super) fn response(token: &str, claims: &Map<String, Value>) -> Value {
    let lifetime = (LIFETIME - 1).to_string();
    json!({
        "access_token": token, "token_type": "Bearer",
        "client_id": claims.get("appid"), "resource": claims.get("aud"),
        "expires_in": lifetime, "ext_expires_in": lifetime,
        "expires_on": claims.get("exp").map(Value::to_string),
        "not_before": claims.get("nbf").map(Value::to_string),
    })
}

/// A day, as on Azure; in seconds.
const LIFETIME: u64 = 24 * 60 * 60;

const GROUP: &str =
    "/subscriptions/0000aaaa-11bb-cccc-dd22-eeeeee333333/resourcegroups/airside-dev";
const MACHINE: &str = "providers/Microsoft.Compute/virtualMachines/airside-dev";

/// What sets such a token apart: the identity as a resource of Azure, and, where somebody assigned
/// it, the machine that it was assigned to.
fn claims(assigned: Option<&str>) -> Map<String, Value> {
    object(match assigned {
        None => json!({"appidacr": "2", "xms_mirid": format!("{GROUP}/{MACHINE}")}),
        Some(client_id) => json!({
            "appidacr": "2",
            "xms_mirid": format!(
                "{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{client_id}"
            ),
            "xms_az_rid": format!("{GROUP}/{MACHINE}"),
        }),
    })
}

fn refused(description: &str) -> Box<Answer> {
    let body = json!({"error": "invalid_request", "error_description": description});
    Box::new(json(StatusCode::BAD_REQUEST, &body))
}

#[cfg(test)]
mod tests {
    use super::super::mint::API_CLIENT_ID;
    use super::super::serve::opened;
    use super::*;

    fn asked(header: (&str, &str), query: &str) -> Result<MintRequest, (u16, Value)> {
        let request = Request::get(format!("/metadata/identity/oauth2/token?{query}"))
            .header(header.0, header.1)
            .body(Bytes::new())
            .unwrap();
        requested(&request, &Directory::new(Some)).map_err(|answer| opened(*answer))
    }

    #[test]
    fn the_machine_and_what_was_assigned_to_it_have_identities() {
        let resource = format!("resource=api%3A%2F%2F{API_CLIENT_ID}");
        let machine = asked(("Metadata", "true"), &resource).unwrap().claims(1_000).unwrap();
        assert_eq!((&machine["ver"], &machine["appidacr"]), (&json!("1.0"), &json!("2")));
        assert_eq!(
            (&machine["aud"], &machine["exp"]),
            (&json!(format!("api://{API_CLIENT_ID}")), &json!(87_400))
        );
        assert_eq!((&machine["roles"], machine.get("xms_az_rid")), (&json!(["Op"]), None));
        assert_eq!(machine["xms_mirid"], json!(format!("{GROUP}/{MACHINE}")));

        let viewer = "00001111-aaaa-2222-bbbb-333344440004";
        let query = format!("{resource}&client_id={viewer}");
        let assigned = asked(("metadata", "True"), &query).unwrap().claims(1_000).unwrap();
        assert_eq!((&assigned["appid"], &assigned["roles"]), (&json!(viewer), &json!(["Viewer"])));
        assert!(assigned["xms_mirid"].as_str().unwrap().ends_with(viewer));
        assert_eq!(assigned["xms_az_rid"], json!(format!("{GROUP}/{MACHINE}")));
    }

    #[test]
    fn a_request_that_is_no_request_of_an_identity_here_is_refused() {
        let good = format!("resource={API_CLIENT_ID}");
        for (header, query, error) in [
            (("accept", "*/*"), good.clone(), "invalid_request"),
            (("metadata", "false"), good.clone(), "invalid_request"),
            (("metadata", "true"), String::new(), "invalid_request"),
            (("metadata", "true"), "resource=https://vault.example".to_owned(), "invalid_resource"),
            (("metadata", "true"), format!("{good}&client_id=another"), "invalid_request"),
            (("metadata", "true"), format!("{good}&object_id=another"), "invalid_request"),
        ] {
            let (status, body) = asked(header, &query).unwrap_err();
            assert_eq!((status, &body["error"]), (400, &json!(error)), "{query}");
        }
    }
}
