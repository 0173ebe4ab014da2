//! The log: each record of the program and its libraries is a line on stderr.
//!
//! Requests are records with named values (see `proxy/response/access_log`), which each format shows in its own way. The
//! thread that logs a record formats it, and adds the line to the queue in front of stderr (`output_queue`).
//!
//! | file | what |
//! |---|---|
//! | `filter.rs` | which records are logged: the defaults and RUST_LOG |
//! | `timestamp.rs` | the time at the start of a line |

mod filter;
mod timestamp;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    cell::Cell,
    io::{self, IsTerminal as _, Write},
    panic,
    sync::OnceLock,
};

use caching_proxy::config::LogFormat;
use env_logger::{Builder, Logger};
use log::{
    Level, Log, Metadata, Record,
    kv::{self, Key, Value, VisitSource, VisitValue},
};

use self::{
    filter::add_filter,
    timestamp::{TimeFormat, write_time},
};
use crate::terminal::{flush, say, write_stderr};

/// The message of a request in JSON. The other values describe it.
const REQUEST_MESSAGE: &str = "request";
/// A longer line is not kept as the memory for the next one, in bytes.
const MAX_RETAINED_BYTES: usize = 4 * 1024;

/// The log of the program; unset until [`start`].
static LOG: OnceLock<StderrLog> = OnceLock::new();

/// Writes the records that the filter lets through to stderr.
struct StderrLog {
    filter: Logger,
    format: LogFormat,
    colour: Colour,
}

/// Whether levels are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colour {
    On,
    Off,
}

/// Starts the log in that format. Colours are for terminals, unless NO_COLOR is set.
pub(crate) fn start(format: LogFormat) {
    let rust_log = std::env::var_os("RUST_LOG").unwrap_or_default();
    let rust_log = rust_log.to_string_lossy();
    let mut builder = Builder::new();
    for ignored in add_filter(&mut builder, &rust_log) {
        say(&format!(
            "warning: RUST_LOG: {ignored:?} is ignored; use a level (off, error, warn, info, debug or trace) \
             or NAME=LEVEL, such as caching_proxy=debug"
        ));
    }
    let log = LOG.get_or_init(|| StderrLog {
        filter: builder.build(),
        format,
        colour: Colour::of_stderr(),
    });
    if log::set_logger(log).is_ok() {
        log::set_max_level(log.filter.filter());
    }
}

/// Logs panics. The default is to write them to stderr directly, which would wait for its reader.
pub(crate) fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let trace = Backtrace::capture();
        match trace.status() {
            BacktraceStatus::Captured => {
                log::error!("thread {name:?}: {panic}\n{trace}");
            }
            _ => log::error!("thread {name:?}: {panic}"),
        }
        // A panic of this thread ends the program.
        if name == "main" {
            flush();
        }
    }));
}

/// The line that says how many lines were dropped. It is empty if warnings are not logged.
pub(crate) fn dropped_lines(count: u64) -> Vec<u8> {
    let mut line = Vec::new();
    if let Some(log) = LOG.get() {
        let args = format_args!(
            "{count} lines of log were dropped, because stderr was not read fast enough"
        );
        let mut record = Record::builder();
        record.level(Level::Warn).target(module_path!());
        let record = record.args(args).build();
        if log.filter.matches(&record) {
            let _ = log.write(&mut line, &record);
        }
    }
    line
}

impl Log for StderrLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.filter.matches(record) {
            return;
        }
        thread_local! {
            /// The memory for lines; empty while a line is written, for its values may log as well.
            static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        // Writing to a vector does not fail. A value that cannot be shown is left out.
        let _ = self.write(&mut line, record);
        write_stderr(&line);
        line.clear();
        line.shrink_to(MAX_RETAINED_BYTES);
        let _ = LINE.try_with(|kept| kept.set(line));
    }

    fn flush(&self) {}
}

impl StderrLog {
    fn write(&self, out: &mut Vec<u8>, record: &Record<'_>) -> io::Result<()> {
        match self.format {
            LogFormat::Text => text(out, record, self.colour),
            LogFormat::Json => json(out, record),
            LogFormat::Combined => combined(out, record, self.colour),
        }
    }
}

impl Colour {
    fn of_stderr() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match io::stderr().is_terminal() && !is_set("NO_COLOR") && !is_dumb {
            true => Self::On,
            false => Self::Off,
        }
    }

    /// A level as lines of text show it.
    const fn shown(self, level: Level) -> &'static str {
        match (self, level) {
            (Self::Off, Level::Error) => "ERROR",
            (Self::Off, Level::Warn) => "WARN ",
            (Self::Off, Level::Info) => "INFO ",
            (Self::Off, Level::Debug) => "DEBUG",
            (Self::Off, Level::Trace) => "TRACE",
            (Self::On, Level::Error) => "\u{1b}[1;31mERROR\u{1b}[0m",
            (Self::On, Level::Warn) => "\u{1b}[33mWARN \u{1b}[0m",
            (Self::On, Level::Info) => "\u{1b}[32mINFO \u{1b}[0m",
            (Self::On, Level::Debug) => "\u{1b}[34mDEBUG\u{1b}[0m",
            (Self::On, Level::Trace) => "\u{1b}[36mTRACE\u{1b}[0m",
        }
    }
}

/// Whether the record describes a request.
fn is_request(record: &Record<'_>) -> bool {
    record.key_values().get(Key::from("method")).is_some()
}

fn text(out: &mut Vec<u8>, record: &Record<'_>, colour: Colour) -> io::Result<()> {
    write_time(out, TimeFormat::Rfc3339);
    for part in [" ", colour.shown(record.level()), " "] {
        out.extend_from_slice(part.as_bytes());
    }
    out.write_fmt(*record.args())?;
    out.push(b'\n');
    Ok(())
}

fn json(out: &mut Vec<u8>, record: &Record<'_>) -> io::Result<()> {
    out.extend_from_slice(b"{\"time\":\"");
    write_time(out, TimeFormat::Rfc3339);
    let level = record.level();
    write!(out, "\",\"level\":\"{level}\",\"message\":")?;
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
fn combined(out: &mut Vec<u8>, record: &Record<'_>, colour: Colour) -> io::Result<()> {
    if !is_request(record) {
        return text(out, record, colour);
    }
    let values = record.key_values();
    let shown = |name| values.get(Key::from(name));
    let or_dash = |name| shown(name).unwrap_or_else(|| Value::from("-"));
    write!(out, "{} - - [", or_dash("client"))?;
    write_time(out, TimeFormat::CommonLog);
    writeln!(
        out,
        "] \"{}\" {} {} \"{}\" \"{}\" {}",
        or_dash("request_line"),
        // nginx logs 499 if the client disconnects before the response.
        shown("status").unwrap_or_else(|| Value::from(499)),
        or_dash("bytes"),
        or_dash("referer"),
        or_dash("user_agent"),
        or_dash("outcome"),
    )?;
    match shown("problem") {
        Some(_) => text(out, record, colour),
        None => Ok(()),
    }
}

/// Writes named values as further members of a JSON object.
struct JsonMembers<'a>(&'a mut Vec<u8>);

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
