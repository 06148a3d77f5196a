//! The parameters of a form or a query, as Entra's endpoints read them.

use percent_encoding::percent_decode_str;

use super::refusal::Refusal;

/// `application/x-www-form-urlencoded` parameters; of several with one name the first counts.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Takes the body of a request, or the query of its target.
    pub(super) fn parse(text: &[u8]) -> Self {
        let decoded = |text: &str| {
            let spaced = text.replace('+', " ");
            percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        };
        let text = String::from_utf8_lossy(text);
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(name, value)| (decoded(name), decoded(value))).collect())
    }

    /// The parameter, where there is one.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The parameter, or the refusal that names it.
    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| {
            let text = format!("The request body must contain the following parameter: '{name}'.");
            Refusal::new("invalid_request", 900_144, text)
        })
    }
}
