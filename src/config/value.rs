//! Parses values: one function per kind of value, which also checks the bounds.

mod counts;

use std::{
    borrow::Cow,
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use bytesize::ByteSize;
use toml::Value;

pub(super) use self::counts::{MAX_CONNECTIONS, MAX_WORKERS, connections, count, workers};
use super::{LogFormat, error::ValueError, file::Written};
use crate::{
    origin::OriginUrl,
    policy::{Mode, PersistedQueries},
};

/// The longest pattern of a path or a parameter. Patterns are matched on every request.
pub(super) const MAX_PATTERN_BYTES: usize = 256;
/// The most origins in one list.
const MAX_MEMBERS: usize = 16;

/// A value as written, before it is parsed.
#[derive(Debug)]
pub(super) enum Given {
    /// From the command line or the environment, where every value is text.
    Argument(OsString),
    /// From the file, where values have types.
    Typed(Value),
    /// A list from the file, each entry with its line.
    List(Vec<(usize, Value)>),
    /// From the file, with a number out of range, or a value that no setting takes.
    Beyond(String),
}

impl From<&Written> for Given {
    fn from(written: &Written) -> Self {
        match written {
            Written::Value(value) => Self::Typed(value.clone()),
            Written::List(items) => Self::List(items.clone()),
            Written::Beyond(text) => Self::Beyond(text.clone()),
            // Only the rules are tables, and `rules.rs` reads those.
            Written::Tables(_) => Self::Beyond("this list of tables".to_owned()),
        }
    }
}

impl Given {
    /// The value as text; `None` if it is not text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Argument(text) => text.to_str(),
            Self::Typed(Value::String(text)) => Some(text),
            Self::Typed(_) | Self::List(_) | Self::Beyond(_) => None,
        }
    }

    /// The value as a number, which has no quotes in the file; `None` if it is not a number.
    fn integer(&self) -> Option<i64> {
        match self {
            Self::Argument(text) => text.to_str()?.parse().ok(),
            Self::Typed(Value::Integer(integer)) => Some(*integer),
            Self::Typed(_) | Self::List(_) | Self::Beyond(_) => None,
        }
    }

    pub(super) fn is_not(&self, right: impl Into<Cow<'static, str>>) -> ValueError {
        let given = match self {
            Self::Argument(text) => format!("{:?}", text.to_string_lossy()),
            Self::Typed(Value::String(text)) => format!("{text:?}"),
            Self::Typed(Value::Integer(number)) => number.to_string(),
            Self::Typed(Value::Float(number)) => number.to_string(),
            Self::Typed(Value::Boolean(boolean)) => boolean.to_string(),
            Self::Typed(Value::Datetime(date)) => date.to_string(),
            Self::Typed(Value::Array(_)) | Self::List(_) => "this list".to_owned(),
            Self::Typed(Value::Table(_)) => "this table".to_owned(),
            Self::Beyond(text) => text.clone(),
        };
        ValueError::Not {
            given,
            right: right.into(),
            line: None,
        }
    }
}

/// A TCP port to listen on; 0 means any free port.
pub(super) fn listen_port(given: &Given) -> Result<u16, ValueError> {
    match (given.integer(), given.text()) {
        (Some(0), _) => Ok(0),
        (_, Some(text)) if text.starts_with("tcp://") => Err(given.is_not(
            "a port: Kubernetes sets this variable for a service named caching-proxy; set enableServiceLinks: false, or \
             give the service another name",
        )),
        _ => port(given).map_err(|_| {
            given.is_not("a port: a number from 1 to 65535, such as 8000, or 0 for any free one")
        }),
    }
}

/// The TCP port of something that listens already, or is to be found at this port.
pub(super) fn port(given: &Given) -> Result<u16, ValueError> {
    given
        .integer()
        .and_then(|number| u16::try_from(number).ok())
        .filter(|port| *port != 0)
        .ok_or_else(|| given.is_not("a port: a number from 1 to 65535, such as 8000"))
}

/// A loopback address and port. `None` for `none`. A port alone belongs to 127.0.0.1.
pub(super) fn loopback(given: &Given) -> Result<Option<SocketAddr>, ValueError> {
    const RIGHT: &str = "\"none\", or a loopback address with a port, such as \"127.0.0.1:8001\" or \"[::1]:8001\" \
                         (everybody who reaches the dashboard can clear the cache)";
    if given.text() == Some("none") {
        return Ok(None);
    }
    let port = port(given).ok().map(|port| (Ipv4Addr::LOCALHOST, port));
    let address = match port {
        Some(address) => Some(SocketAddr::from(address)),
        None => given.text().and_then(|text| {
            let text = text.replacen("localhost:", "127.0.0.1:", 1);
            text.parse::<SocketAddr>().ok()
        }),
    };
    address
        .filter(|address| address.ip().is_loopback() && address.port() != 0)
        .map(Some)
        .ok_or_else(|| given.is_not(RIGHT))
}

pub(super) fn origin(given: &Given) -> Result<OriginUrl, ValueError> {
    let text = given
        .text()
        .ok_or_else(|| given.is_not("the URL of an origin, such as \"https://dummyjson.com\""))?;
    let origin = OriginUrl::parse(text).map_err(ValueError::Origin)?;
    origin.check().map_err(ValueError::Origin)?;
    Ok(origin)
}

/// One origin, or a list of them, of which the first healthy one gets a request.
pub(super) fn origins(given: &Given) -> Result<Vec<OriginUrl>, ValueError> {
    let Given::List(items) = given else {
        return Ok(vec![origin(given)?]);
    };
    let origins = items.iter().map(|(line, item)| {
        let item = Given::Typed(item.clone());
        origin(&item).map_err(|error| error.on(Some(*line)))
    });
    let origins: Vec<OriginUrl> = origins.collect::<Result<_, _>>()?;
    let repeated = (1..origins.len()).find(|index| origins[..*index].contains(&origins[*index]));
    let prefix = origins.first().map(OriginUrl::path_prefix);
    let other = origins.iter().find(|it| Some(it.path_prefix()) != prefix);
    if let Some(other) = other {
        return Err(Given::Beyond(format!("{:?}", other.to_string())).is_not(
            "an origin with the path of the first one in the list: give all the same path",
        ));
    }
    match (origins.len(), repeated) {
        (1..=MAX_MEMBERS, None) => Ok(origins),
        (_, Some(index)) => Err(Given::Beyond(format!("{:?}", origins[index].to_string()))
            .is_not("another origin than those before it in the list; remove it")),
        _ => Err(given.is_not(format!("a list of 1 to {MAX_MEMBERS} URLs of origins"))),
    }
}

/// Routes of the command line or the environment: a pattern of paths and an origin each, one on a line.
pub(super) fn routes(given: &Given) -> Result<Vec<(String, OriginUrl)>, ValueError> {
    let text = given.text().unwrap_or_default();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let routes: Vec<_> = lines.map(route).collect::<Result<_, _>>()?;
    match routes.is_empty() {
        true => Err(given.is_not(ROUTE)),
        false => Ok(routes),
    }
}

/// What a route of the command line is.
const ROUTE: &str = "a route: a pattern of paths, \"=\" and the URL of an origin, such as \"/api/*=http://localhost:3001\"";

fn route(written: &str) -> Result<(String, OriginUrl), ValueError> {
    let text = |text: &str| Given::Argument(text.into());
    // A path may have "=", too.
    let begin = ["=http://", "=https://", "=unix:"]
        .iter()
        .find_map(|it| written.find(it));
    let begin = begin.or_else(|| written.find('='));
    let Some((path, url)) = begin.map(|begin| (&written[..begin], &written[begin + 1..])) else {
        return Err(text(written).is_not(ROUTE));
    };
    Ok((path_pattern(&text(path))?, origin(&text(url))?))
}

pub(super) fn mode(given: &Given) -> Result<Mode, ValueError> {
    match given.text() {
        Some("standard") => Ok(Mode::Standard),
        Some("strict") => Ok(Mode::Strict),
        Some("always") => Ok(Mode::Always),
        _ => Err(given.is_not("a policy: use \"standard\", \"strict\" or \"always\"")),
    }
}

pub(super) fn persisted_queries(given: &Given) -> Result<PersistedQueries, ValueError> {
    match given.text() {
        Some("change") => Ok(PersistedQueries::Change),
        Some("read-only") => Ok(PersistedQueries::ReadOnly),
        _ => Err(given.is_not("what persisted queries do: use \"change\" or \"read-only\"")),
    }
}

pub(super) fn log_format(given: &Given) -> Result<LogFormat, ValueError> {
    match given.text() {
        Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        Some("combined") => Ok(LogFormat::Combined),
        _ => Err(given.is_not("a log format: use \"text\", \"json\" or \"combined\"")),
    }
}

/// A size in bytes.
pub(super) fn size(given: &Given, least: ByteSize) -> Result<u64, ValueError> {
    const MOST: ByteSize = ByteSize::pib(1);
    bytes(given)
        .filter(|bytes| (least.0..=MOST.0).contains(bytes))
        .ok_or_else(|| given.is_not(format!("a size from {least} to {MOST}, such as \"64MiB\"")))
}

/// A bare number is a number of bytes.
fn bytes(given: &Given) -> Option<u64> {
    match given {
        Given::Typed(Value::Integer(bytes)) => u64::try_from(*bytes).ok(),
        _ => given
            .text()
            .and_then(|text| text.trim().parse::<ByteSize>().ok())
            .map(|size| size.0),
    }
}

/// The largest body of a POST whose response may be cached. `None` for `false`.
pub(super) fn post_size(given: &Given) -> Result<Option<u64>, ValueError> {
    const USUAL: ByteSize = ByteSize::kib(64);
    const MOST: ByteSize = ByteSize::mib(1);
    match given {
        Given::Typed(Value::Boolean(true)) => Ok(Some(USUAL.0)),
        Given::Typed(Value::Boolean(false)) => Ok(None),
        _ => bytes(given)
            .filter(|bytes| (1..=MOST.0).contains(bytes))
            .map(Some)
            .ok_or_else(|| {
                given.is_not(format!(
                    "true ({USUAL}), false, or a size of at most {MOST}, such as \"16KiB\""
                ))
            }),
    }
}

/// A duration within bounds.
pub(super) fn duration(
    given: &Given,
    least: Duration,
    most: Duration,
) -> Result<Duration, ValueError> {
    let is_long = most >= Duration::from_secs(24 * 60 * 60);
    given
        .text()
        .and_then(|text| humantime::parse_duration(text).ok())
        .filter(|duration| (least..=most).contains(duration))
        .ok_or_else(|| {
            let (least, most) = (written_duration(least), written_duration(most));
            let examples = match is_long {
                true => "\"30s\", \"10m\" or \"24h\"".to_owned(),
                false => format!("\"{least}\" or \"{most}\""),
            };
            given.is_not(format!(
                "a duration from {least} to {most} with a unit, such as {examples}"
            ))
        })
}

/// A duration as text: `24h`, `2d`, `1m 30s`.
pub(super) fn written_duration(time: Duration) -> String {
    const DAY_SECONDS: u64 = 24 * 60 * 60;
    const YEAR_SECONDS: u64 = 31_557_600;
    let seconds = time.as_secs();
    if seconds > 0 && seconds.is_multiple_of(YEAR_SECONDS) {
        return humantime::format_duration(time).to_string();
    }
    // Less than two days are shown in hours.
    let days = match seconds / DAY_SECONDS {
        1 => 0,
        days => days,
    };
    let rest = seconds - days * DAY_SECONDS;
    let units = [
        (days, "d"),
        (rest / 3600, "h"),
        (rest % 3600 / 60, "m"),
        (rest % 60, "s"),
    ];
    let mut parts: Vec<String> = units
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if time.subsec_nanos() > 0 || parts.is_empty() {
        let rest = Duration::from_nanos(time.subsec_nanos().into());
        parts.push(humantime::format_duration(rest).to_string());
    }
    parts.join(" ")
}

/// A duration. `None` for `none`.
pub(super) fn optional_duration(
    given: &Given,
    least: Duration,
    most: Duration,
) -> Result<Option<Duration>, ValueError> {
    match given.text() {
        Some("none") => Ok(None),
        _ => duration(given, least, most)
            .map(Some)
            .map_err(|error| match error {
                ValueError::Not { given, right, line } => ValueError::Not {
                    given,
                    right: format!("\"none\" or {right}").into(),
                    line,
                },
                other => other,
            }),
    }
}

pub(super) fn boolean(given: &Given) -> Result<bool, ValueError> {
    let text = match given {
        Given::Typed(Value::Boolean(boolean)) => return Ok(*boolean),
        Given::Typed(_) | Given::List(_) | Given::Beyond(_) => {
            return Err(given.is_not("true or false, without quotes"));
        }
        Given::Argument(text) => text.to_string_lossy().to_ascii_lowercase(),
    };
    match text.as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err(given.is_not("true or false (or 1, 0, yes, no)")),
    }
}

/// A file name. `None` if empty.
pub(super) fn path(given: &Given) -> Result<Option<PathBuf>, ValueError> {
    let path = match given {
        Given::Argument(text) => PathBuf::from(text),
        Given::Typed(Value::String(text)) => PathBuf::from(text),
        Given::Typed(_) | Given::List(_) | Given::Beyond(_) => {
            return Err(given.is_not("a file name in quotes"));
        }
    };
    Ok((!path.as_os_str().is_empty()).then_some(path))
}

/// A directory. `None` if a file says that it is empty, which is its default there. A flag that is empty is a mistake, such
/// as a variable of a shell that is not set.
pub(super) fn directory(given: &Given) -> Result<Option<PathBuf>, ValueError> {
    match (path(given)?, given) {
        (None, Given::Argument(_)) => {
            Err(given.is_not("a directory, such as cache or /var/cache/proxy"))
        }
        (directory, _) => Ok(directory),
    }
}

/// A pattern that some path can match.
pub(super) fn path_pattern(given: &Given) -> Result<String, ValueError> {
    given
        .text()
        .filter(|text| text.starts_with(['/', '*']) && is_pattern(text, is_in_path))
        .filter(|text| !has_query(text))
        .map(str::to_owned)
        .ok_or_else(|| {
            given.is_not(format!(
                "a pattern of paths, such as \"/api/*\": it begins with \"/\" or \"*\", has no query, at most \
                 {MAX_PATTERN_BYTES} bytes, and non-ASCII characters percent-encoded; \"*\" matches any characters, \
                 \"?\" one"
            ))
        })
}

/// True for `/search?q=*`: its "?" is meant for the beginning of a query.
fn has_query(path: &str) -> bool {
    let behind = path.split_once('?').map(|(_, behind)| behind);
    behind.is_some_and(|behind| behind.contains('='))
}

/// A pattern of hosts, in lower case.
pub(super) fn host_pattern(given: &Given) -> Result<String, ValueError> {
    // Hosts are compared without the dot of an absolute name.
    given
        .text()
        .map(|text| text.strip_suffix('.').unwrap_or(text))
        .filter(|text| is_pattern(text, is_in_host) && !has_port(text))
        .map(str::to_ascii_lowercase)
        .ok_or_else(|| {
            given.is_not(format!(
                "a pattern of hosts, such as \"*.example.test\": it has no port, no path, no scheme, at most \
                 {MAX_PATTERN_BYTES} bytes, and names beyond ASCII as xn--...; \"*\" matches any characters, \"?\" one"
            ))
        })
}

/// True for a colon outside of the brackets of an IPv6 address.
fn has_port(host: &str) -> bool {
    let after_address = host.rsplit(']').next().unwrap_or(host);
    after_address.contains(':')
}

/// The bytes that a host may have, and the wildcards of patterns.
fn is_in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._:[]*?".contains(&byte)
}

fn is_pattern(text: &str, allowed: fn(u8) -> bool) -> bool {
    (1..=MAX_PATTERN_BYTES).contains(&text.len()) && text.bytes().all(allowed)
}

/// The bytes that the HTTP types allow in a path, and the `?` of patterns.
fn is_in_path(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"#<>`".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn argument(text: &str) -> Given {
        Given::Argument(text.into())
    }

    fn typed(text: &str) -> Given {
        Given::Typed(Value::String(text.to_owned()))
    }

    /// What every function makes of a value lies within its bounds.
    fn read_by_all(given: &Given) -> Result<(), TestCaseError> {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        let (least, most) = (ByteSize::kib(1).0, ByteSize::pib(1).0);
        prop_assert_ne!(port(given).ok(), Some(0));
        prop_assert!(
            size(given, ByteSize::kib(1)).is_ok_and(|it| (least..=most).contains(&it))
                || size(given, ByteSize::kib(1)).is_err()
        );
        for it in [
            duration(given, second, hour).ok(),
            optional_duration(given, second, hour).ok().flatten(),
        ] {
            prop_assert!(it.is_none_or(|it| (second..=hour).contains(&it)));
        }
        let threads = workers(given).ok().flatten();
        prop_assert!(threads.is_none_or(|it| (1..=MAX_WORKERS).contains(&it)));
        let _ = (
            crate::config::bind::bind(given),
            origin(given),
            mode(given),
            log_format(given),
            boolean(given),
            path(given),
        );
        Ok(())
    }

    #[test]
    fn durations_are_written_in_common_units() {
        let seconds = Duration::from_secs;
        for (time, written) in [
            (seconds(0), "0s"),
            (Duration::from_millis(1), "1ms"),
            (seconds(30), "30s"),
            (seconds(90), "1m 30s"),
            (seconds(600), "10m"),
            (seconds(86_400), "24h"),
            (seconds(129_600), "36h"),
            (seconds(7 * 86_400), "7d"),
            (seconds(400 * 86_400 + 3600), "400d 1h"),
            (seconds(315_576_000), "10years"),
        ] {
            assert_eq!(written_duration(time), written);
        }
    }

    proptest! {
        #[test]
        fn any_value_is_parsed_within_its_range_or_refused(
            any in "\\PC{0,20}",
            nearly in "-?[0-9]{0,22}[.]?[0-9]{0,3} ?(s|m|h|days|ms|ns|k|KiB|MB|PiB|EiB|x)?( [0-9]{1,3}s)?",
            list in "([a-z*]{0,3}[ ,]{0,2}){0,5}",
            number: i64,
            float: f64,
        ) {
            for text in [any, nearly, list] {
                read_by_all(&argument(&text))?;
                read_by_all(&typed(&text))?;
                read_by_all(&Given::Beyond(text))?;
            }
            for value in [Value::Integer(number), Value::Float(float), Value::Array(vec![Value::Integer(number)])] {
                read_by_all(&Given::Typed(value))?;
            }
        }

        #[test]
        fn a_written_port_is_parsed_again(number: u16) {
            for given in [argument(&number.to_string()), Given::Typed(Value::Integer(number.into()))] {
                prop_assert_eq!(port(&given).ok(), Some(number).filter(|number| *number != 0));
            }
        }

        #[test]
        fn a_written_duration_is_parsed_again(millis in 0_u64..=400_000_000_000, seconds in 0_u64..=400_000) {
            for time in [Duration::from_millis(millis), Duration::from_secs(seconds)] {
                let written = written_duration(time);
                let read = duration(&argument(&written), Duration::ZERO, Duration::MAX);
                prop_assert_eq!(read.ok(), Some(time), "{}", written);
            }
        }
    }
}
