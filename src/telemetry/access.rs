//! The access log: one line per request, whatever the log level, as text or JSON. No token and no
//! query ever stands in it.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use humantime::format_rfc3339_millis;
use tracing_appender::non_blocking::NonBlocking;

use super::exchange::{Caller, Exchange};
use super::logging::Format;
use super::redact;
use crate::clock;
use crate::rejection::Reason;
use crate::route::{Action, Class};

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
        self.line(|write| fields(exchange, write));
    }

    /// A line for a head that was no request.
    pub(super) fn write_unparsed(&self, status: u16, client: IpAddr, why: &str) {
        self.line(|write| {
            write("status", Field::Number(u64::from(status)));
            write("reason", Field::Plain(Reason::RequestMalformed.name()));
            write("class", Field::Plain(Class::None.name()));
            write("client", Field::Plain(&client.to_string()));
            write("found", Field::Quoted(&shown(why)));
        });
    }

    fn line(&self, fields: impl FnOnce(&mut dyn FnMut(&str, Field<'_>))) {
        let mut line = String::with_capacity(512);
        match self.format {
            Format::Text => text(&mut line, fields),
            Format::Json => json(&mut line, fields),
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
fn fields(exchange: &Exchange, write: &mut dyn FnMut(&str, Field<'_>)) {
    let caller = exchange.caller.as_ref();
    let status = exchange.status.map_or(CLIENT_GONE, |status| status.as_u16());
    let millis = |span: Option<Duration>| span.map_or(Field::Absent, Field::Millis);
    let name = caller.map(Caller::name);
    let plain = |text: Option<&'static str>| text.map_or(Field::Absent, Field::Plain);
    write("request_id", Field::Plain(exchange.request_id.to_str().unwrap_or_default()));
    write("method", Field::Plain(redact::method(&exchange.method)));
    write("path", Field::Quoted(&shown(exchange.uri.path())));
    write("status", Field::Number(u64::from(status)));
    write("reason", plain(exchange.reason.map(Reason::name)));
    write("class", Field::Plain(exchange.class.name()));
    write("issuer", quoted(caller.map(Caller::issuer)));
    write("principal", quoted(name.as_deref()));
    write("roles", quoted(caller.and_then(Caller::roles)));
    write("client", Field::Plain(&exchange.client.to_string()));
    write("total_ms", Field::Millis(exchange.begun.elapsed()));
    write("verify_ms", millis(exchange.verify));
    write("upstream_ms", millis(exchange.upstream));
    write("bytes_in", Field::Number(exchange.bytes_in));
    write("bytes_out", Field::Number(exchange.bytes_out));
    if let Some(action) = &exchange.action {
        audit(action, write);
    }
    if let Some(trace) = &exchange.trace {
        write("trace_id", Field::Plain(&trace.id()));
    }
    if exchange.asked_by_proxy {
        write("listener", Field::Plain("forward_auth"));
    }
    if exchange.cut {
        write("cut", Field::Plain("true"));
    }
    if let Some(found) = &exchange.found {
        write("found", Field::Quoted(&shown(found)));
    }
}

/// What was done, and the names that the path has for it.
fn audit(action: &Action, write: &mut dyn FnMut(&str, Field<'_>)) {
    write("action", Field::Plain(action.name));
    for (field, name) in [
        ("dag_id", &action.dag),
        ("run_id", &action.run),
        ("task_id", &action.task),
        ("object", &action.object),
    ] {
        if let Some(name) = name {
            write(field, Field::Quoted(&shown(name)));
        }
    }
}

fn quoted(text: Option<&str>) -> Field<'_> {
    text.map_or(Field::Absent, Field::Quoted)
}

/// A stranger chooses how long paths and claims are; a line has room for so much of one.
pub(super) const MOST_OF_A_FIELD: usize = 1024;

fn shown(text: &str) -> Cow<'_, str> {
    redact::shown(text, MOST_OF_A_FIELD)
}

/// The client went away before there was an answer: a number no answer has, known from nginx.
const CLIENT_GONE: u16 = 499;

fn text(line: &mut String, fields: impl FnOnce(&mut dyn FnMut(&str, Field<'_>))) {
    // Writing to a String cannot fail.
    let _ = write!(line, "{} access", format_rfc3339_millis(clock::wall()));
    fields(&mut |name, field| {
        let _ = write!(line, " {name}=");
        let _ = match field {
            Field::Plain(text) => write!(line, "{text}"),
            Field::Quoted(text) => quote(line, text),
            Field::Number(number) => write!(line, "{number}"),
            Field::Millis(span) => write!(line, "{:.3}", span.as_secs_f64() * 1e3),
            Field::Absent => write!(line, "-"),
        };
    });
}

fn json(line: &mut String, fields: impl FnOnce(&mut dyn FnMut(&str, Field<'_>))) {
    let time = format_rfc3339_millis(clock::wall());
    let _ = write!(line, r#"{{"timestamp":"{time}","message":"access""#);
    fields(&mut |name, field| {
        let _ = write!(line, r#","{name}":"#);
        let _ = match field {
            Field::Plain(text) | Field::Quoted(text) => quote(line, text),
            Field::Number(number) => write!(line, "{number}"),
            Field::Millis(span) => write!(line, "{:.3}", span.as_secs_f64() * 1e3),
            Field::Absent => write!(line, "null"),
        };
    });
    line.push('}');
}

/// In quotes as JSON has them, with what is no letter of any line escaped as well.
fn quote(line: &mut String, text: &str) -> fmt::Result {
    let start = line.len();
    write!(line, "{}", serde_json::Value::from(text))?;
    if !text.contains(is_unseen) {
        return Ok(());
    }
    let quoted = line.split_off(start);
    for letter in quoted.chars() {
        if is_unseen(letter) {
            write!(line, "\\u{:04x}", u32::from(letter))?;
        } else {
            line.push(letter);
        }
    }
    Ok(())
}

/// What JSON leaves as it is, although it ends lines, moves the cursor of terminals (C1), or turns
/// the direction of what follows.
const fn is_unseen(letter: char) -> bool {
    matches!(letter, '\u{7f}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
