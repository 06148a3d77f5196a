//! The client credentials grant as Entra's token endpoints judge it, errors included.

use bytes::Bytes;
use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::mint::{API_CLIENT_ID, Caller, MintRequest, MintSecret, Version};
use super::serve::{Answer, json};

/// The applications of the imitated directory by client id, each with the roles it was granted.
const CLIENTS: [(&str, &[&str]); 5] = [
    ("00001111-aaaa-2222-bbbb-333344440001", &["Admin"]),
    ("00001111-aaaa-2222-bbbb-333344440002", &["Op"]),
    ("00001111-aaaa-2222-bbbb-333344440003", &["User"]),
    ("00001111-aaaa-2222-bbbb-333344440004", &["Viewer"]),
    ("00001111-aaaa-2222-bbbb-333344440005", &[]),
];

/// The token that the form in `body` asks for; the secret of every client is the mint secret.
pub(super) fn requested(
    version: Version,
    body: &Bytes,
    secret: &MintSecret,
) -> Result<MintRequest, Refusal> {
    let form = Form::parse(body);
    if form.required("grant_type")? != "client_credentials" {
        let text = "The app requested an unsupported grant type.";
        return Err(Refusal::new("unsupported_grant_type", 70_003, text));
    }
    let id = form.required("client_id")?;
    let Some((_, roles)) = CLIENTS.iter().find(|(client, _)| *client == id) else {
        let text = format!("Application with identifier '{id}' was not found in the directory.");
        return Err(Refusal::new("unauthorized_client", 700_016, text));
    };
    if !secret.is(form.required("client_secret")?) {
        let text = format!("Invalid client secret provided for app '{id}'.");
        return Err(Refusal::new("invalid_client", 7_000_215, text));
    }
    let resource = requested_resource(version, &form)?;
    Ok(MintRequest {
        caller: Caller::App(id.to_owned()),
        roles: roles.iter().copied().map(str::to_owned).collect(),
        version,
        // A v1 audience is the resource as the client spelt it; a v2 audience never is.
        audience: (version == Version::V1).then_some(resource),
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
    let identifier = resource.strip_suffix('/').unwrap_or(resource);
    if identifier.strip_prefix("api://").unwrap_or(identifier) == API_CLIENT_ID {
        return Ok(resource.to_owned());
    }
    let text = format!("The resource principal named {resource} was not found in the tenant.");
    Err(Refusal::new("invalid_resource", 500_011, text))
}

/// A refusal in Entra's terms.
pub(super) struct Refusal {
    error: &'static str,
    code: u32,
    text: String,
}

impl Refusal {
    /// The OAuth error, the AADSTS number, and its sentence.
    pub(super) fn new(error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self { error, code, text: text.into() }
    }

    /// The response: 401 for a wrong secret, else 400.
    pub(super) fn answer(&self) -> Answer {
        let status = match self.error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = json!({
            "error": self.error,
            "error_description": format!("AADSTS{}: {}", self.code, self.text),
            "error_codes": [self.code],
        });
        json(status, &body)
    }
}

/// `application/x-www-form-urlencoded` parameters; of several with one name the first counts.
struct Form(Vec<(String, String)>);

impl Form {
    fn parse(body: &[u8]) -> Self {
        let decoded = |text: &str| {
            let spaced = text.replace('+', " ");
            percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        };
        let body = String::from_utf8_lossy(body);
        let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(name, value)| (decoded(name), decoded(value))).collect())
    }

    fn required(&self, name: &str) -> Result<&str, Refusal> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).ok_or_else(|| {
            let text = format!("The request body must contain the following parameter: '{name}'.");
            Refusal::new("invalid_request", 900_144, text)
        })
    }
}
