//! What can be wrong with a configuration, and where it was written.

use std::{borrow::Cow, fmt, io, path::PathBuf};

use crate::origin::UrlError;

/// Why there is no [`super::Config`]. The sources say the rest of the sentence.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nobody said where to forward to.
    #[error(
        "no origin: where shall requests be forwarded to? For example:\n\n    \
         caching-proxy --port 8000 --origin https://dummyjson.com\n"
    )]
    NoOrigin,
    /// A value is not one of those allowed.
    #[error("{place}")]
    Value {
        /// Where it was written.
        place: SettingSource,
        /// What would be right.
        #[source]
        source: ValueError,
    },
    /// The largest body would not fit into the memory.
    #[error(
        "{place}: {max_object} is more than max_memory, which is {max_memory}; \
         lower the one or raise the other (--max-object, --max-memory)"
    )]
    ObjectOverMemory {
        /// Where the size of the largest body was written.
        place: SettingSource,
        /// The largest body.
        max_object: bytesize::ByteSize,
        /// The memory.
        max_memory: bytesize::ByteSize,
    },
    /// The dashboard would listen where the proxy does.
    #[error(
        "{place}: {address} is where the proxy itself listens; give the dashboard another port"
    )]
    DashboardOnPort {
        /// Where the dashboard's address was written.
        place: SettingSource,
        /// The address.
        address: std::net::SocketAddr,
    },
    /// The file has a key that no setting has.
    #[error("{}:{line}: unknown key {key:?}; known keys are {}", file.display(), known.join(", "))]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// Line of the key, the first is 1.
        line: usize,
        /// The key.
        key: String,
        /// All that would be right.
        known: &'static [&'static str],
    },
    /// A rule does not say for which paths it is.
    #[error(
        "{}:{line}: this rule has no path; say for which paths it is, such as path = \"/api/*\"",
        file.display()
    )]
    RuleWithoutPath {
        /// The file.
        file: PathBuf,
        /// Line of the rule, the first is 1.
        line: usize,
    },
    /// A rule changes nothing.
    #[error(
        "{}:{line}: the rule for {path:?} changes nothing; give it one of {}",
        file.display(), known.join(", ")
    )]
    RuleWithoutEffect {
        /// The file.
        file: PathBuf,
        /// Line of the rule, the first is 1.
        line: usize,
        /// Its paths.
        path: String,
        /// What would change something.
        known: &'static [&'static str],
    },
    /// All that a rule is for is taken by an earlier one.
    #[error(
        "{}:{line}: the rule for {path:?} never counts: the one on line {earlier_line} is for {earlier:?}, \
         which takes all of its paths; put it before that one, or leave it out",
        file.display()
    )]
    RuleNeverCounts {
        /// The file.
        file: PathBuf,
        /// Line of the rule, the first is 1.
        line: usize,
        /// Its paths.
        path: String,
        /// Line of the rule that goes before it.
        earlier_line: usize,
        /// The paths of that one.
        earlier: String,
    },
    /// There are more rules than anybody needs.
    #[error("{}:{line}: there are more than {limit} rules", file.display())]
    TooManyRules {
        /// The file.
        file: PathBuf,
        /// Line of the first that is too many, the first is 1.
        line: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The file is no TOML.
    #[error("{}:{line}: this is not valid TOML", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Line of the mistake, the first is 1.
        line: usize,
        /// What the parser says.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The file is no text.
    #[error("{}:{line}: this is not UTF-8 text", file.display())]
    NotText {
        /// The file.
        file: PathBuf,
        /// Line of the first byte that is no text, the first is 1.
        line: usize,
    },
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file is far larger than any configuration.
    #[error("the configuration file {} is larger than {limit}", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The largest that is read.
        limit: bytesize::ByteSize,
    },
}

/// Why a value is refused.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// The value is something else than the setting takes.
    #[error("{given} is not {right}")]
    Not {
        /// The value as it was written.
        given: String,
        /// What would be right.
        right: Cow<'static, str>,
    },
    /// The value is no URL an origin can have.
    #[error(transparent)]
    Origin(UrlError),
}

/// Where a value was written.
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
        /// Line of the value, the first is 1.
        line: usize,
        /// The key.
        key: String,
    },
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
