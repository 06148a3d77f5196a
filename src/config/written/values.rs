//! Values with a form of their own: spans of time, addresses, networks.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// A span of time: `5m`, `90s`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lapse(pub Duration);

impl Lapse {
    pub(super) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl<'de> Deserialize<'de> for Lapse {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(source)?;
        humantime::parse_duration(&text).map(Self).map_err(de::Error::custom)
    }
}

impl Serialize for Lapse {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        sink.collect_str(self)
    }
}

impl fmt::Display for Lapse {
    /// In the largest unit that is whole, days left out: `24h` is what one writes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        if nanos != 0 {
            return write!(f, "{}", humantime::format_duration(self.0));
        }
        match seconds {
            0 => f.write_str("0s"),
            _ if seconds % 3600 == 0 => write!(f, "{}h", seconds / 3600),
            _ if seconds % 60 == 0 && seconds > 120 => write!(f, "{}m", seconds / 60),
            _ => write!(f, "{seconds}s"),
        }
    }
}

/// An address and a port to listen on: `0.0.0.0:8080`, `[::]:8080`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SocketAddress(pub String);

/// An http or https address.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct WebAddress(pub String);

/// An http or https address, or `unix:` and the path of a socket.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct UpstreamAddress(pub String);

/// An address or a CIDR.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Network(pub String);

/// One text or a list of them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// The names of text formats that the lint knows; see [`crate::config::lint`].
pub(in crate::config) mod format {
    pub(in crate::config) const LAPSE: &str = "airside-duration";
    pub(in crate::config) const SOCKET: &str = "airside-socket-address";
    pub(in crate::config) const WEB: &str = "airside-web-address";
    pub(in crate::config) const UPSTREAM: &str = "airside-upstream-address";
    pub(in crate::config) const NETWORK: &str = "airside-network";
}

fn formatted(format: &str, example: &str) -> Schema {
    json_schema!({ "type": "string", "format": format, "examples": [example] })
}

impl JsonSchema for Lapse {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        formatted(format::LAPSE, "5m")
    }
}

impl JsonSchema for SocketAddress {
    fn schema_name() -> Cow<'static, str> {
        "SocketAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        formatted(format::SOCKET, "0.0.0.0:8080")
    }
}

impl JsonSchema for WebAddress {
    fn schema_name() -> Cow<'static, str> {
        "WebAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        formatted(format::WEB, "http://127.0.0.1:8081")
    }
}

impl JsonSchema for UpstreamAddress {
    fn schema_name() -> Cow<'static, str> {
        "UpstreamAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        formatted(format::UPSTREAM, "http://127.0.0.1:8081")
    }
}

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        formatted(format::NETWORK, "10.0.0.0/8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_time_is_written_as_it_is_read() {
        for (text, written) in [
            ("60s", "60s"),
            ("1m", "60s"),
            ("5m", "5m"),
            ("1day", "24h"),
            ("90m", "90m"),
            ("1h 30m", "90m"),
            ("1500ms", "1s 500ms"),
            ("0s", "0s"),
        ] {
            let lapse: Lapse = serde_json::from_value(text.into()).unwrap();
            assert_eq!(lapse.to_string(), written, "{text}");
            assert_eq!(humantime::parse_duration(written).unwrap(), lapse.0);
        }
    }
}
