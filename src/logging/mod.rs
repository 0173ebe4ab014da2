//! The log: every record of the program and its libraries, a line each on stderr.
//!
//! Requests come as records with named values (see `proxy/access`), which each format shows in its own way. Each line
//! leaves in one write, from a buffer that its thread uses again.

mod stamp;

use std::io::{self, Write};

use caching_proxy::config::LogFormat;
use env_logger::{Builder, fmt::Formatter};
use log::{
    Record,
    kv::{self, Key, Value, VisitSource, VisitValue},
};

use self::stamp::{Pattern, stamped};

/// Our own messages from `info` on, those of the libraries from `warn` on; but actix-http calls an error whatever a
/// client sends amiss.
const DEFAULT_LOG: &str = "warn,caching_proxy=info,actix_http=off";

/// What a request is called in JSON, whose other values say the rest.
const REQUEST: &str = "request";

/// Begins to log. An empty RUST_LOG counts as none. Colour is for terminals, and not where NO_COLOR is set.
pub(crate) fn start(format: LogFormat) {
    let filter = std::env::var("RUST_LOG")
        .ok()
        .filter(|filter| !filter.is_empty());
    let write = match format {
        LogFormat::Text => text,
        LogFormat::Json => json,
        LogFormat::Combined => combined,
    };
    Builder::new()
        .parse_filters(filter.as_deref().unwrap_or(DEFAULT_LOG))
        .format(write)
        .init();
}

/// Whether the record is about a request.
fn is_request(record: &Record<'_>) -> bool {
    record.key_values().get(Key::from("method")).is_some()
}

fn text(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let level = record.level();
    let style = out.default_level_style(level);
    stamped(Pattern::Text, |before, millis, _| {
        writeln!(
            out,
            "{before}.{millis:03} {style}{level:<5}{style:#} {}",
            record.args()
        )
    })
}

fn json(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let level = record.level();
    stamped(Pattern::Rfc3339, |before, millis, offset| {
        write!(
            out,
            "{{\"time\":\"{before}.{millis:03}{offset}\",\"level\":\"{level}\",\"message\":"
        )
    })?;
    match is_request(record) {
        true => serde_json::to_writer(&mut *out, REQUEST)?,
        false => serde_json::to_writer(&mut *out, &record.args().to_string())?,
    }
    let mut members = JsonMembers(out);
    record
        .key_values()
        .visit(&mut members)
        .map_err(io::Error::other)?;
    out.write_all(b"}\n")
}

/// The format of Apache and nginx, with the outcome behind it. What went wrong with a request follows in a line of its
/// own, as the other records are: the format has no place for it.
fn combined(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    if !is_request(record) {
        return text(out, record);
    }
    let values = record.key_values();
    let shown = |name| values.get(Key::from(name));
    let or_dash = |name| shown(name).unwrap_or_else(|| Value::from("-"));
    stamped(Pattern::CommonLog, |time, _, offset| {
        writeln!(
            out,
            "{} - - [{time} {offset}] \"{}\" {} {} \"{}\" \"{}\" {}",
            or_dash("client"),
            or_dash("request_line"),
            // What nginx has for a client that went away before its answer.
            shown("status").unwrap_or_else(|| Value::from(499)),
            or_dash("bytes"),
            or_dash("referer"),
            or_dash("user_agent"),
            or_dash("outcome"),
        )
    })?;
    match shown("problem") {
        Some(_) => text(out, record),
        None => Ok(()),
    }
}

/// Writes named values as members of an object that has some already.
struct JsonMembers<'a>(&'a mut Formatter);

impl<'kvs> VisitSource<'kvs> for JsonMembers<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        self.0.write_all(b",")?;
        self.write(key.as_str())?;
        self.0.write_all(b":")?;
        value.visit(self)
    }
}

impl<'v> VisitValue<'v> for JsonMembers<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        self.write(&value.to_string())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        Ok(write!(self.0, "{value}")?)
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        Ok(write!(self.0, "{value}")?)
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        Ok(write!(self.0, "{value}")?)
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        Ok(self.0.write_all(b"null")?)
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.write(value)
    }
}

impl JsonMembers<'_> {
    fn write(&mut self, text: &str) -> Result<(), kv::Error> {
        let written = serde_json::to_writer(&mut *self.0, text);
        written.map_err(|error| kv::Error::from(io::Error::from(error)))
    }
}
