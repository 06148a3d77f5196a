//! JSON as a token may carry it: no duplicate members, no deep nesting, nothing after the end.
//!
//! Most JWT libraries accept `{"aud":"theirs","aud":"ours"}` and each picks its own; here such a
//! document is malformed.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

/// A JSON value that borrows its strings from the text where it can.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as the nearest double: exact below 2^53, which is all that claims may use.
    Number(f64),
    /// A string.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Json<'a>>),
    /// An object, in the order written, each name once.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// The deepest nesting that is read: Entra's tokens need 3.
pub const MAX_DEPTH: u8 = 32;

impl<'a> Json<'a> {
    /// Parses one JSON document (RFC 8259) and nothing after it.
    pub fn parse(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        let mut source = serde_json::Deserializer::from_slice(text);
        let value = Node { depth: 0 }.deserialize(&mut source)?;
        source.end()?;
        Ok(value)
    }

    /// The member called `name`, when this is an object that has it.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else {
            return None;
        };
        members.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    /// The value at a JSON pointer (RFC 6901): `/roles`, `/realm_access/roles`.
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&Self> {
        let mut value = self;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            value = match value {
                Self::Object(_) => value.member(&step)?,
                Self::List(items) => items.get(index(&step)?)?,
                _ => return None,
            };
        }
        Some(value)
    }

    /// The text, when this is a string.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What kind of value this is, for messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// Digits without a sign or leading zeros, so that a place has one spelling (RFC 6901, section 4).
fn index(step: &str) -> Option<usize> {
    let plain = step == "0" || step.starts_with(|first: char| ('1'..='9').contains(&first));
    if plain { step.parse().ok() } else { None }
}

#[derive(Clone, Copy)]
struct Node {
    depth: u8,
}

impl Node {
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH { Err(E::custom("nested too deeply")) } else { Ok(Self { depth }) }
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "claims are refused from 2^53 on")]
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Json::Number(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "claims are refused from 2^53 on")]
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Json::Number(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let inner = self.inner()?;
        let mut members: Vec<(Cow<'de, str>, Json<'de>)> = Vec::new();
        while let Some(name) = entries.next_key_seed(Name)? {
            if members.iter().any(|(earlier, _)| *earlier == name) {
                return Err(de::Error::custom("a member stands twice"));
            }
            members.push((name, entries.next_value_seed(inner)?));
            if members.len() > MAX_MEMBERS {
                return Err(de::Error::custom("too many members"));
            }
        }
        Ok(Json::Object(members))
    }
}

/// Bounds the search for duplicates; Entra's richest tokens have about 40.
const MAX_MEMBERS: usize = 512;

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_is_not_one_plain_document_is_refused() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"a":1,"a":1}}"#,
            r#"{"a":1} {}"#,
            "{\"a\":1}\0",
            "\u{feff}{}",
            r#"{"a":NaN}"#,
            r#"{"a":1e999}"#,
            r#"{"a":01}"#,
            r#"{"a":1,}"#,
            r#"{"a":"\ud800"}"#,
            "{'a':1}",
            "",
        ] {
            assert!(Json::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Json::parse(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(nested(usize::from(MAX_DEPTH)).as_bytes()).is_ok());
        assert!(Json::parse(nested(usize::from(MAX_DEPTH) + 1).as_bytes()).is_err());
        assert!(Json::parse("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn a_pointer_finds_members_of_members() {
        let text = br#"{"realm_access":{"roles":["a","b"]},"a/b":{"~":"x"}}"#;
        let json = Json::parse(text).unwrap();
        assert_eq!(json.pointer("/realm_access/roles/1").and_then(Json::text), Some("b"));
        assert_eq!(json.pointer("/a~1b/~0").and_then(Json::text), Some("x"));
        assert_eq!(json.pointer("/realm_access/none"), None);
        for odd in ["x", "2", "-", "", "00", "01", "+1", "-1", "1.0", " 1", "99999999999999999999"]
        {
            assert_eq!(json.pointer(&format!("/realm_access/roles/{odd}")), None, "{odd:?}");
        }
    }

    fn plain(json: &Json<'_>) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => (*value).into(),
            Json::Number(value) => (*value).into(),
            Json::Text(text) => text.as_ref().into(),
            Json::List(items) => items.iter().map(plain).collect(),
            Json::Object(members) => {
                members.iter().map(|(name, value)| (name.to_string(), plain(value))).collect()
            }
        }
    }

    /// With every number as the nearest double.
    fn rounded(value: Value) -> Value {
        match value {
            Value::Number(number) => number.as_f64().unwrap().into(),
            Value::Array(items) => items.into_iter().map(rounded).collect(),
            Value::Object(members) => {
                members.into_iter().map(|(name, value)| (name, rounded(value))).collect()
            }
            other => other,
        }
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| members.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_plain_document_reads_as_serde_json_reads_it(document in documents()) {
            let text = document.to_string();
            let theirs = rounded(serde_json::from_str(&text).unwrap());
            prop_assert_eq!(plain(&Json::parse(text.as_bytes()).unwrap()), theirs);
        }

        #[test]
        fn a_damaged_document_is_refused_as_serde_json_does_or_stands_twice(
            document in documents(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut text = document.to_string().into_bytes();
            let at = at.index(text.len());
            text[at] = byte;
            match (Json::parse(&text), serde_json::from_slice::<Value>(&text)) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(plain(&ours), rounded(theirs)),
                (Ok(_), Err(error)) => prop_assert!(false, "only we take it: {}", error),
                (Err(error), Ok(_)) => prop_assert!(error.to_string().contains("stands twice")),
                (Err(_), Err(_)) => {}
            }
        }
    }
}
