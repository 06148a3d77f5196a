//! A refusal in Entra's terms: an OAuth error, an AADSTS number, and its sentence
//! (learn.microsoft.com/entra/identity-platform/reference-error-codes).

use aws_lc_rs::error::Unspecified;
use http::StatusCode;
use serde_json::json;

use super::serve::{Answer, json};

/// Why the issuer does not do what it was asked.
#[derive(Debug)]
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

    /// The application does not exist here.
    pub(super) fn unknown_application(id: &str) -> Self {
        let text = format!("Application with identifier '{id}' was not found in the directory.");
        Self::new("unauthorized_client", 700_016, text)
    }

    /// `error` of RFC 6749, sections 4.1.2.1 and 5.2.
    pub(super) fn error(&self) -> &'static str {
        self.error
    }

    /// `error_description`.
    pub(super) fn description(&self) -> String {
        format!("AADSTS{}: {}", self.code, self.text)
    }

    /// The response: 401 for a client or person who is not who they claim, else 400.
    pub(super) fn answer(&self) -> Answer {
        let status = match self.error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = json!({
            "error": self.error,
            "error_description": self.description(),
            "error_codes": [self.code],
        });
        json(status, &body)
    }

    /// The AADSTS number.
    #[cfg(test)]
    pub(super) fn code(&self) -> u32 {
        self.code
    }
}

/// The system gave no random bytes, or a key would not sign.
impl From<Unspecified> for Refusal {
    fn from(Unspecified: Unspecified) -> Self {
        Self::new("server_error", 90_024, "Signing failed.")
    }
}
