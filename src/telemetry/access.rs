//! The access log: one line per request, whatever the log level, as text or JSON. No token and no
//! query ever stands in it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use humantime::format_rfc3339_millis;
use tracing_appender::non_blocking::NonBlocking;

use super::exchange::Exchange;
use super::logging::Format;
use crate::clock;

/// Writes access lines to the log's writer thread.
#[derive(Clone, Debug)]
pub struct AccessLog {
    writer: NonBlocking,
    format: Format,
}

impl AccessLog {
    /// Lines of `format`, written by `writer`.
    #[must_use]
    pub const fn new(writer: NonBlocking, format: Format) -> Self {
        Self { writer, format }
    }

    pub(super) fn write(&self, exchange: &Exchange) {
        let mut line = String::with_capacity(512);
        match self.format {
            Format::Text => text(&mut line, exchange),
            Format::Json => json(&mut line, exchange),
        }
        line.push('\n');
        // The writer drops and counts lines rather than block; it cannot fail otherwise.
        let _ = self.writer.clone().write_all(line.as_bytes());
    }
}

/// A field of the line. Strings that a stranger may choose are always quoted and escaped.
enum Field<'a> {
    Plain(&'a str),
    Quoted(&'a str),
    Number(u64),
    Millis(Duration),
    Absent,
}

/// The line's fields, in order: the one place that knows them.
fn fields(exchange: &Exchange, mut write: impl FnMut(&str, Field<'_>)) {
    let principal = exchange.principal.as_deref();
    let status = exchange.status.map_or(CLIENT_GONE, |status| status.as_u16());
    let roles = principal.and_then(|p| p.roles_header()).and_then(|roles| roles.to_str().ok());
    let millis = |span: Option<Duration>| span.map_or(Field::Absent, Field::Millis);
    let plain = |text: Option<&'static str>| text.map_or(Field::Absent, Field::Plain);
    write("request_id", Field::Plain(exchange.request_id.to_str().unwrap_or_default()));
    write("method", Field::Plain(exchange.method.as_str()));
    write("path", Field::Quoted(exchange.uri.path()));
    write("status", Field::Number(u64::from(status)));
    write("reason", plain(exchange.reason.map(crate::rejection::Reason::name)));
    write("class", Field::Plain(exchange.class.name()));
    write("issuer", principal.map_or(Field::Absent, |p| Field::Quoted(p.issuer())));
    write("principal", principal.map_or(Field::Absent, |p| Field::Quoted(p.username())));
    write("roles", roles.map_or(Field::Absent, Field::Quoted));
    write("client", Field::Plain(&exchange.client.to_string()));
    write("total_ms", Field::Millis(exchange.begun.elapsed()));
    write("verify_ms", millis(exchange.verify));
    write("upstream_ms", millis(exchange.upstream));
    write("bytes_in", Field::Number(exchange.bytes_in));
    write("bytes_out", Field::Number(exchange.bytes_out));
    if let Some(found) = &exchange.found {
        write("found", Field::Quoted(found));
    }
}

/// The client went away before there was an answer: a number no answer has, known from nginx.
const CLIENT_GONE: u16 = 499;

fn text(line: &mut String, exchange: &Exchange) {
    // Writing to a String cannot fail.
    let _ = write!(line, "{} access", format_rfc3339_millis(clock::wall()));
    fields(exchange, |name, field| {
        let _ = write!(line, " {name}=");
        let _ = match field {
            Field::Plain(text) => write!(line, "{text}"),
            Field::Quoted(text) => write!(line, "{}", serde_json::Value::from(text)),
            Field::Number(number) => write!(line, "{number}"),
            Field::Millis(span) => write!(line, "{:.3}", span.as_secs_f64() * 1e3),
            Field::Absent => write!(line, "-"),
        };
    });
}

fn json(line: &mut String, exchange: &Exchange) {
    let time = format_rfc3339_millis(clock::wall());
    let _ = write!(line, r#"{{"timestamp":"{time}","message":"access""#);
    fields(exchange, |name, field| {
        let _ = write!(line, r#","{name}":"#);
        let _ = match field {
            Field::Plain(text) | Field::Quoted(text) => {
                write!(line, "{}", serde_json::Value::from(text))
            }
            Field::Number(number) => write!(line, "{number}"),
            Field::Millis(span) => write!(line, "{:.3}", span.as_secs_f64() * 1e3),
            Field::Absent => write!(line, "null"),
        };
    });
    line.push('}');
}
