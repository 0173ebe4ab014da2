//! Errors in a configuration, with the place of each.

use std::{borrow::Cow, fmt, io, path::PathBuf};

use super::keys::KEYS;
use crate::{
    origin::{ProxyUrlError, UrlError},
    redis::RedisUrlError,
};

/// Why a configuration is refused. `Display` and its sources form one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No origin is given.
    #[error(
        "missing --origin: which server should requests go to? For example:\n\n    \
         caching-proxy --port 8000 --origin https://dummyjson.com\n"
    )]
    NoOrigin,
    /// A value is invalid.
    #[error("{place}")]
    Value {
        /// Where it was written.
        place: SettingSource,
        /// Why it is invalid, and what is valid.
        #[source]
        source: ValueError,
    },
    /// A setting needs another one.
    #[error("{place} needs {missing}")]
    Incomplete {
        /// Where the setting was written.
        place: SettingSource,
        /// The other setting, and what it is.
        missing: &'static str,
    },
    /// The largest body is larger than the memory.
    #[error(
        "{place}: {max_object} is more than max_memory ({max_memory}); \
         lower --max-object or raise --max-memory"
    )]
    ObjectOverMemory {
        /// Where the size of the largest body was written.
        place: SettingSource,
        /// The largest body.
        max_object: bytesize::ByteSize,
        /// The memory.
        max_memory: bytesize::ByteSize,
    },
    /// The largest body on disk is larger than its part of the space.
    #[error(
        "{place}: {max_disk_object} is more than a quarter of max_disk, which is {most}; \
         lower --max-disk-object or raise --max-disk"
    )]
    ObjectOverDisk {
        /// Where the size of the largest body was written.
        place: SettingSource,
        /// The largest body.
        max_disk_object: bytesize::ByteSize,
        /// The largest that it may be.
        most: bytesize::ByteSize,
    },
    /// Two listeners of the proxy have the same address.
    #[error("{place}: {taken_by} listens on {address}; give {listener} another port")]
    SameAddress {
        /// Where the address was written.
        place: Box<SettingSource>,
        /// What listens there.
        taken_by: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// What cannot listen there.
        listener: &'static str,
    },
    /// The file has an unknown key.
    #[error("{}:{line}: unknown key {key:?}{}", file.display(), suggestion(key, known))]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// Line of the key, starting at 1.
        line: usize,
        /// The key.
        key: String,
        /// The known keys.
        known: &'static [&'static str],
    },
    /// A rule has no path.
    #[error(
        "{}:{line}: this rule has no path; add the paths it applies to, such as path = \"/api/*\"",
        file.display()
    )]
    RuleWithoutPath {
        /// The file.
        file: PathBuf,
        /// Line of the rule, starting at 1.
        line: usize,
    },
    /// A rule changes nothing.
    #[error(
        "{}:{line}: the rule for {path:?} changes nothing; add at least one of: {}",
        file.display(), known.join(", ")
    )]
    RuleWithoutEffect {
        /// The file.
        file: PathBuf,
        /// Line of the rule, starting at 1.
        line: usize,
        /// Its paths.
        path: String,
        /// The keys that change something.
        known: &'static [&'static str],
    },
    /// A key of a rule changes nothing beside the others.
    #[error("{}:{line}: {key} has no effect {why}", file.display())]
    RuleKeyWithoutEffect {
        /// The file.
        file: PathBuf,
        /// Line of the key, starting at 1.
        line: usize,
        /// The key.
        key: String,
        /// Beside which other key, and what would be right.
        why: String,
    },
    /// An earlier rule matches all paths of a rule.
    #[error(
        "{}:{line}: the rule for {path:?} never applies: the rule for {earlier:?} on line {earlier_line} \
         matches all of its paths first; move it before that rule, or remove it",
        file.display()
    )]
    RuleNeverCounts {
        /// The file.
        file: PathBuf,
        /// Line of the rule, starting at 1.
        line: usize,
        /// Its paths.
        path: String,
        /// Line of the rule that goes before it.
        earlier_line: usize,
        /// The paths of that one.
        earlier: String,
    },
    /// There are too many rules.
    #[error("{}:{line}: more than {limit} rules; combine some with a pattern such as path = \"/api/*\"", file.display())]
    TooManyRules {
        /// The file.
        file: PathBuf,
        /// Line of the first that is too many, starting at 1.
        line: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A route does not say where it leads.
    #[error(
        "{}:{line}: this route has no origin; add one, such as origin = \"http://localhost:3001\"",
        file.display()
    )]
    RouteWithoutOrigin {
        /// The file.
        file: PathBuf,
        /// Line of the route, starting at 1.
        line: usize,
    },
    /// A route does not say what it matches.
    #[error(
        "{}:{line}: this route has neither path nor host; add one, such as path = \"/api/*\" \
         (requests that no route matches go to the origin outside of the routes)",
        file.display()
    )]
    RouteWithoutMatch {
        /// The file.
        file: PathBuf,
        /// Line of the route, starting at 1.
        line: usize,
    },
    /// An earlier route matches all requests of a route.
    #[error(
        "{place}: the route for {route:?} never applies: the route for {earlier:?} ({earlier_place}) \
         matches all of its requests first; move it before that route, or remove it"
    )]
    RouteNeverCounts {
        /// Where the route was written.
        place: SettingSource,
        /// What it matches.
        route: String,
        /// Where the route was written that goes before it.
        earlier_place: Box<SettingSource>,
        /// What that one matches.
        earlier: String,
    },
    /// There are too many routes.
    #[error("{place}: more than {limit} routes; combine some with a pattern such as \"/api/*\"")]
    TooManyRoutes {
        /// Where the first that is too many was written.
        place: SettingSource,
        /// How many there may be.
        limit: usize,
    },
    /// There are too many origins.
    #[error("{place}: more than {limit} origins in all; let some routes lead to the same one")]
    TooManyOrigins {
        /// Where the last route was written.
        place: SettingSource,
        /// How many there may be.
        limit: usize,
    },
    /// An origin is this proxy.
    #[error(
        "{place}: {origin} is this proxy itself; write the URL of the server behind it, or give the proxy \
         another --port"
    )]
    OriginIsProxy {
        /// Where the origin was written.
        place: SettingSource,
        /// The origin.
        origin: String,
    },
    /// The file is not valid TOML.
    #[error("{}:{line}: not valid TOML", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Line of the mistake, starting at 1.
        line: usize,
        /// The parser's error.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The file is not text.
    #[error("{}:{line}: not UTF-8 text", file.display())]
    NotText {
        /// The file.
        file: PathBuf,
        /// Line of the first byte that is not text, starting at 1.
        line: usize,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file is too large for a configuration.
    #[error("the configuration file {} is larger than {limit}; is it the right file?", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The largest that is read.
        limit: bytesize::ByteSize,
    },
}

/// Why a value is invalid.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// The value is not one that the setting takes.
    #[error("{given} is not {right}")]
    Not {
        /// The value as it was written.
        given: String,
        /// The valid values.
        right: Cow<'static, str>,
        /// Line of the value in the file, if it is an entry of a list; else `None`: its setting has the line.
        line: Option<usize>,
    },
    /// The value is not the URL of an origin.
    #[error(transparent)]
    Origin(UrlError),
    /// The value is not the URL of a proxy.
    #[error(transparent)]
    Proxy(ProxyUrlError),
    /// The value is not the URL of a Redis.
    #[error(transparent)]
    Redis(RedisUrlError),
}

impl ValueError {
    /// The error as one about an entry on `line`; `None` outside of the file.
    pub(super) fn on(mut self, of_entry: Option<usize>) -> Self {
        if let Self::Not { line, .. } = &mut self {
            *line = of_entry;
        }
        self
    }
}

impl ConfigError {
    /// A value at `place` is invalid.
    pub(super) fn value(mut place: SettingSource, source: ValueError) -> Self {
        if let SettingSource::File { line, .. } = &mut place
            && let ValueError::Not {
                line: Some(of_entry),
                ..
            } = &source
        {
            *line = *of_entry;
        }
        Self::Value { place, source }
    }
}

/// The place where a value is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingSource {
    /// On the command line.
    Flag(&'static str),
    /// In an environment variable.
    Environment(String),
    /// In the file.
    File {
        /// The file.
        file: PathBuf,
        /// Line of the value, starting at 1.
        line: usize,
        /// The key.
        key: String,
    },
}

impl SettingSource {
    /// The place without the key.
    pub(super) fn without_key(&self) -> String {
        match self {
            Self::File { file, line, .. } => format!("{}:{line}", file.display()),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for SettingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Environment(variable) => f.write_str(variable),
            Self::File { file, line, key } => write!(f, "{}:{line}: {key}", file.display()),
        }
    }
}

/// The nearest known key, if there is a near one, and all of them.
fn suggestion(key: &str, known: &[&str]) -> String {
    if KEYS.contains(&key) && !known.contains(&key) {
        let route = match key {
            "origin" => "; a [[routes]] entry leads some paths to another origin",
            _ => "",
        };
        return format!(
            "; it is a setting for all requests, and stands above the first [[routes]] or [[rules]]{route}"
        );
    }
    let nearest = nearest(key, known);
    let known = known.join(", ");
    match nearest {
        Some(name) => format!("; did you mean {name:?}? Known keys are {known}"),
        None => format!("; known keys are {known}"),
    }
}

/// The name that is nearest to `key`, the first of several. `None` if no name is near.
pub(super) fn nearest<'n>(key: &str, known: &[&'n str]) -> Option<&'n str> {
    const MAX_DISTANCE: usize = 3;
    known
        .iter()
        .map(|name| (distance(key, name), *name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= MAX_DISTANCE && *distance < name.len())
        .map(|(_, name)| name)
}

/// The Levenshtein distance: how many letters are added, removed or replaced.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, second) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *second);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_comes_with_the_nearest_known_one() {
        let known = &["port", "ttl", "max_memory", "ignore_query"];
        for (key, nearest) in [
            ("prot", "port"),
            ("tll", "ttl"),
            ("max-memory", "max_memory"),
            ("ignore_queries", "ignore_query"),
        ] {
            let said = suggestion(key, known);
            let expected = format!("; did you mean {nearest:?}? Known keys are port, ttl, ");
            assert!(said.starts_with(&expected), "{said}");
        }
        let said = suggestion("timeout", &["path", "ttl"]);
        assert!(
            said.starts_with("; it is a setting for all requests, and stands above"),
            "{said}"
        );
        let said = suggestion("origin", &["path", "ttl"]);
        assert!(
            said.ends_with("; a [[routes]] entry leads some paths to another origin"),
            "{said}"
        );
        for key in ["colour", "", "a", &"x".repeat(1000)] {
            let said = suggestion(key, known);
            assert_eq!(said, "; known keys are port, ttl, max_memory, ignore_query");
        }
    }
}
