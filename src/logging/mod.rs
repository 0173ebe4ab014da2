//! The log: each record of the program and its libraries is a line on stderr.
//!
//! Requests are records with named values (see `proxy/response/access_log`), which each format shows in its own way.
//! Each line is written with one call, from a buffer that its thread reuses.
//!
//! | file | what |
//! |---|---|
//! | `filter.rs` | which records are logged: the defaults and RUST_LOG |
//! | `timestamp.rs` | the time at the start of a line |

mod filter;
mod timestamp;

use std::io::{self, Write};

use caching_proxy::config::LogFormat;
use env_logger::{Builder, fmt::Formatter};
use log::{
    Record,
    kv::{self, Key, Value, VisitSource, VisitValue},
};

use self::{
    filter::add_filter,
    timestamp::{TimeFormat, with_time},
};
use crate::terminal::say;

/// The message of a request in JSON. The other values describe it.
const REQUEST_MESSAGE: &str = "request";

/// Starts the log in that format. Colours are for terminals, unless NO_COLOR is set.
pub(crate) fn start(format: LogFormat) {
    let write = match format {
        LogFormat::Text => text,
        LogFormat::Json => json,
        LogFormat::Combined => combined,
    };
    let rust_log = std::env::var_os("RUST_LOG").unwrap_or_default();
    let rust_log = rust_log.to_string_lossy();
    let mut builder = Builder::new();
    for ignored in add_filter(&mut builder, &rust_log) {
        say(&format!(
            "warning: RUST_LOG: {ignored:?} is ignored; use a level (off, error, warn, info, debug or trace) \
             or NAME=LEVEL, such as caching_proxy=debug"
        ));
    }
    builder.format(write).init();
}

/// Whether the record describes a request.
fn is_request(record: &Record<'_>) -> bool {
    record.key_values().get(Key::from("method")).is_some()
}

fn text(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let level = record.level();
    let style = out.default_level_style(level);
    with_time(TimeFormat::Text, |time, millis, _| {
        writeln!(
            out,
            "{time}.{millis:03} {style}{level:<5}{style:#} {}",
            record.args()
        )
    })
}

fn json(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let level = record.level();
    with_time(TimeFormat::Rfc3339, |time, millis, offset| {
        write!(
            out,
            "{{\"time\":\"{time}.{millis:03}{offset}\",\"level\":\"{level}\",\"message\":"
        )
    })?;
    match is_request(record) {
        true => serde_json::to_writer(&mut *out, REQUEST_MESSAGE)?,
        false => serde_json::to_writer(&mut *out, &record.args().to_string())?,
    }
    let mut members = JsonMembers(out);
    record
        .key_values()
        .visit(&mut members)
        .map_err(io::Error::other)?;
    out.write_all(b"}\n")
}

/// The combined format of Apache and nginx, with the outcome at the end. The format has no place for errors: the error of
/// a request follows in a line of its own, as text.
fn combined(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    if !is_request(record) {
        return text(out, record);
    }
    let values = record.key_values();
    let shown = |name| values.get(Key::from(name));
    let or_dash = |name| shown(name).unwrap_or_else(|| Value::from("-"));
    with_time(TimeFormat::CommonLog, |time, _, offset| {
        writeln!(
            out,
            "{} - - [{time} {offset}] \"{}\" {} {} \"{}\" \"{}\" {}",
            or_dash("client"),
            or_dash("request_line"),
            // nginx logs 499 if the client disconnects before the response.
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

/// Writes named values as further members of a JSON object.
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
