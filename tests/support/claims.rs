//! Claims in the making: built up, bent, and signed at the end.

use serde_json::{Value, json};

use super::keys::SigningKey;

#[derive(Clone, Debug)]
pub(crate) struct Claims(Value);

impl Claims {
    pub(crate) fn new(members: Value) -> Self {
        Self(members)
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0[name] = value.into();
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.as_object_mut().unwrap().remove(name);
        self
    }

    /// The role values that the token carries.
    pub(crate) fn roles(self, roles: &[&str]) -> Self {
        self.with("roles", json!(roles))
    }

    pub(crate) fn value(&self) -> &Value {
        &self.0
    }

    /// Signed with the key that the issuer publishes.
    pub(crate) fn token(&self) -> String {
        SigningKey::shared().token(&self.0)
    }

    /// The JSON text, with one more member written out as it is given.
    pub(crate) fn text_with(&self, member: &str) -> String {
        let text = self.0.to_string();
        format!("{},{member}}}", text.strip_suffix('}').unwrap())
    }
}
