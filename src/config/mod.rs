//! `proxy.toml`, environment and flags, made into one validated [`Config`].
//!
//! A flag goes before the environment, the environment before the file, the file before the default. A setting has one
//! name in all of them: `--max-memory`, `CACHING_PROXY_MAX_MEMORY`, `max_memory`. Everything in the file has to be
//! right, also what a flag overrides.

mod changes;
mod error;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod rules;
mod settings;
mod value;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use bytesize::ByteSize;

pub use self::{
    changes::Changes,
    error::{ConfigError, SettingSource, ValueError},
    settings::{Setting, in_words},
};
use self::{
    file::{Presence, SettingsFile},
    value::{Given, MAX_WORKERS},
};
use crate::{
    origin::OriginUrl,
    policy::{ClientDirectives, Mode, Patterns, Policy, Rules},
};

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "config/proxy.toml";

/// Flags that were given: values as written, by name without the dashes before it.
pub type Flags = BTreeMap<&'static str, OsString>;

/// The environment: the value of a variable, if it is set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Keys of the file; all but the rules are flags and variables too.
const KEYS: &[&str] = &[
    "port",
    "origin",
    "bind",
    "policy",
    "ttl",
    "timeout",
    "max_memory",
    "max_object",
    "max_stale",
    "origin_ca",
    "workers",
    "preserve_host",
    "identity_headers",
    "identity_cookies",
    "ignored_cookies",
    "log_format",
    "dashboard",
    RULES,
];
const RULES: &str = "rules";

const DEFAULT_PORT: u16 = 8000;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_MAX_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
const DEFAULT_MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);
const DEFAULT_IDENTITY_HEADERS: &[&str] = &[
    "*api-key*",
    "*apikey*",
    "*-key",
    "*token*",
    "auth*",
    "*-auth*",
    "*session*",
    "*secret*",
    "*jwt*",
];
const DEFAULT_IDENTITY_COOKIES: &[&str] = &["*"];
const DEFAULT_IGNORED_COOKIES: &[&str] = &[
    "__cf_bm",
    "_cfuvid",
    "__cflb",
    "AWSALB*",
    "ARRAffinity*",
    "GCLB",
    "_ga",
    "_ga_*",
    "_gat",
    "_gat_*",
    "_gid",
    "_fbp",
    "__utm*",
];

const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// RFC 9111, 1.2.2: no lifetime is reckoned beyond 2^31 seconds; ten years are enough to write.
const TEN_YEARS: Duration = Duration::from_secs(10 * 31_557_600);

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
    /// Requests as Apache and nginx log them.
    Combined,
}

/// Everything a proxy needs to know, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// The port to listen on.
    pub port: u16,
    /// The address to listen on.
    pub bind: IpAddr,
    /// Where requests are forwarded to.
    pub origin: OriginUrl,
    /// Decides what is stored and reused.
    pub policy: Policy,
    /// What else holds for some paths.
    pub rules: Rules,
    /// The longest silence of the origin.
    pub timeout: Duration,
    /// Budget of the cache, in bytes, overhead included.
    pub max_memory_bytes: u64,
    /// Largest body kept, in bytes.
    pub max_object_bytes: u64,
    /// PEM file of certificates trusted beside the system's.
    pub origin_ca: Option<PathBuf>,
    /// Threads that serve.
    pub workers: usize,
    /// Forward the client's Host instead of the origin's.
    pub preserve_host: bool,
    /// How the log is written.
    pub log_format: LogFormat,
    /// Where the dashboard listens, on loopback; None: there is none.
    pub dashboard: Option<SocketAddr>,
}

impl Config {
    /// The defaults, for an origin.
    pub fn for_origin(origin: OriginUrl) -> Self {
        Self {
            port: DEFAULT_PORT,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            origin,
            policy: Policy {
                mode: Mode::default(),
                ttl: None,
                client_directives: ClientDirectives::Obeyed,
                max_stale: DEFAULT_MAX_STALE,
                identity_headers: Patterns::new(DEFAULT_IDENTITY_HEADERS.iter().copied()),
                identity_cookies: Patterns::new(DEFAULT_IDENTITY_COOKIES.iter().copied()),
                ignored_cookies: Patterns::new(DEFAULT_IGNORED_COOKIES.iter().copied()),
            },
            rules: Rules::default(),
            timeout: DEFAULT_TIMEOUT,
            max_memory_bytes: DEFAULT_MAX_MEMORY_BYTES,
            max_object_bytes: DEFAULT_MAX_MEMORY_BYTES / 4,
            origin_ca: None,
            workers: cores(),
            preserve_host: false,
            log_format: LogFormat::default(),
            dashboard: None,
        }
    }

    /// Puts flags, environment, file and defaults together.
    ///
    /// # Errors
    /// When there is no origin, a value is refused, or the file cannot be read or is wrong.
    pub fn load(flags: &Flags, environment: Environment<'_>) -> Result<Self, ConfigError> {
        SettingSources::read(Path::new(DEFAULT_FILE), flags, environment)?.config()
    }
}

/// What [`Config::load`] would come to, setting by setting and with the place of each.
///
/// # Errors
/// As there.
pub fn inspect(
    flags: &Flags,
    environment: Environment<'_>,
) -> Result<(Config, Vec<Setting>), ConfigError> {
    let sources = SettingSources::read(Path::new(DEFAULT_FILE), flags, environment)?;
    let config = sources.config()?;
    let settings = config.values().into_iter().map(|(name, value)| Setting {
        name,
        value,
        place: sources.place(name),
    });
    let settings = settings.collect();
    Ok((config, settings))
}

/// The port, where a flag names it.
///
/// # Errors
/// When the flag's value is no port.
pub fn port_flag(flags: &Flags) -> Result<Option<u16>, ConfigError> {
    let sources = SettingSources {
        flags,
        environment: &|_| None,
        file: SettingsFile::default(),
    };
    sources.get("port", value::port)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MAX_WORKERS))
}

/// All places a setting may have been written in.
struct SettingSources<'a> {
    flags: &'a Flags,
    environment: Environment<'a>,
    file: SettingsFile,
}

impl<'a> SettingSources<'a> {
    fn read(
        default_file: &Path,
        flags: &'a Flags,
        environment: Environment<'a>,
    ) -> Result<Self, ConfigError> {
        let mut sources = Self {
            flags,
            environment,
            file: SettingsFile::default(),
        };
        sources.file = match sources.get("config", value::path)?.flatten() {
            Some(named) => SettingsFile::read(&named, Presence::Required, KEYS)?,
            None => SettingsFile::read(default_file, Presence::Optional, KEYS)?,
        };
        Ok(sources)
    }

    fn config(&self) -> Result<Config, ConfigError> {
        let (max_memory_bytes, max_object_bytes) = self.sizes()?;
        let policy = self.policy()?;
        let port = self.get("port", value::port)?.unwrap_or(DEFAULT_PORT);
        let bind = self
            .get("bind", value::address)?
            .unwrap_or(Ipv4Addr::LOCALHOST.into());
        Ok(Config {
            port,
            bind,
            rules: rules::rules(&self.file, &policy)?,
            policy,
            timeout: self
                .get("timeout", |given| value::duration(given, MILLISECOND, DAY))?
                .unwrap_or(DEFAULT_TIMEOUT),
            max_memory_bytes,
            max_object_bytes,
            origin_ca: self.get("origin-ca", value::path)?.flatten(),
            workers: self
                .get("workers", value::workers)?
                .flatten()
                .unwrap_or_else(cores),
            preserve_host: self.get("preserve-host", value::boolean)?.unwrap_or(false),
            log_format: self
                .get("log-format", value::log_format)?
                .unwrap_or_default(),
            dashboard: self.dashboard(bind, port)?,
            // Last, so that a mistake in what was written is named before the absence of what was not.
            origin: self
                .get("origin", value::origin)?
                .ok_or(ConfigError::NoOrigin)?,
        })
    }

    fn policy(&self) -> Result<Policy, ConfigError> {
        let names = |name, default: &[&str]| -> Result<Patterns, ConfigError> {
            Ok(match self.get(name, value::names)? {
                Some(names) => Patterns::new(names.iter().map(String::as_str)),
                None => Patterns::new(default.iter().copied()),
            })
        };
        Ok(Policy {
            mode: self.get("policy", value::mode)?.unwrap_or_default(),
            ttl: self
                .get("ttl", |given| {
                    value::optional_duration(given, MILLISECOND, TEN_YEARS)
                })?
                .flatten(),
            client_directives: ClientDirectives::Obeyed,
            max_stale: self
                .get("max-stale", |given| {
                    value::duration(given, Duration::ZERO, TEN_YEARS)
                })?
                .unwrap_or(DEFAULT_MAX_STALE),
            identity_headers: names("identity-headers", DEFAULT_IDENTITY_HEADERS)?,
            identity_cookies: names("identity-cookies", DEFAULT_IDENTITY_COOKIES)?,
            ignored_cookies: names("ignored-cookies", DEFAULT_IGNORED_COOKIES)?,
        })
    }

    /// Where the dashboard listens, beside a proxy that listens on `bind` and `port`.
    fn dashboard(&self, bind: IpAddr, port: u16) -> Result<Option<SocketAddr>, ConfigError> {
        let Some((Some(address), place)) = self.find("dashboard", value::loopback)? else {
            return Ok(None);
        };
        let is_taken = address.port() == port && (bind == address.ip() || bind.is_unspecified());
        match is_taken {
            true => Err(ConfigError::DashboardOnPort { place, address }),
            false => Ok(Some(address)),
        }
    }

    /// Memory and largest body, in bytes.
    fn sizes(&self) -> Result<(u64, u64), ConfigError> {
        let max_memory = self
            .get("max-memory", |given| value::size(given, ByteSize::mib(1)))?
            .unwrap_or(DEFAULT_MAX_MEMORY_BYTES);
        match self.find("max-object", |given| value::size(given, ByteSize::b(1)))? {
            None => Ok((max_memory, max_memory / 4)),
            Some((max_object, _)) if max_object <= max_memory => Ok((max_memory, max_object)),
            Some((max_object, place)) => Err(ConfigError::ObjectOverMemory {
                place,
                max_object: ByteSize(max_object),
                max_memory: ByteSize(max_memory),
            }),
        }
    }

    fn get<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&Given) -> Result<T, ValueError>,
    ) -> Result<Option<T>, ConfigError> {
        Ok(self.find(name, parse)?.map(|(value, _)| value))
    }

    /// The value that counts, and where it was written.
    fn find<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&Given) -> Result<T, ValueError>,
    ) -> Result<Option<(T, SettingSource)>, ConfigError> {
        let parse = |(given, place): (Given, SettingSource)| match parse(&given) {
            Ok(value) => Ok((value, place)),
            Err(source) => Err(ConfigError::Value { place, source }),
        };
        let in_file = self.in_file(name).map(parse).transpose()?;
        match self
            .in_flags(name)
            .or_else(|| self.in_environment(name))
            .map(parse)
        {
            Some(found) => found.map(Some),
            None => Ok(in_file),
        }
    }

    /// Where the value of a key that counts was written; none: it is the default.
    fn place(&self, key: &str) -> Option<SettingSource> {
        let name = key.replace('_', "-");
        let found = self.in_flags(&name).or_else(|| self.in_environment(&name));
        let (_, place) = found.or_else(|| self.in_file(&name))?;
        Some(place)
    }

    fn in_flags(&self, name: &str) -> Option<(Given, SettingSource)> {
        let (name, value) = self.flags.get_key_value(name)?;
        Some((Given::Argument(value.clone()), SettingSource::Flag(name)))
    }

    /// An empty variable counts as none: that is how scripts and CI say "not set".
    fn in_environment(&self, name: &str) -> Option<(Given, SettingSource)> {
        let variable = format!(
            "CACHING_PROXY_{}",
            name.replace('-', "_").to_ascii_uppercase()
        );
        let value = (self.environment)(&variable).filter(|value| !value.is_empty())?;
        Some((Given::Argument(value), SettingSource::Environment(variable)))
    }

    fn in_file(&self, name: &str) -> Option<(Given, SettingSource)> {
        let key = name.replace('-', "_");
        let (line, value) = self.file.values.get(&key)?;
        let place = SettingSource::File {
            file: self.file.file.clone(),
            line: *line,
            key,
        };
        Some((Given::from(value), place))
    }
}

#[cfg(test)]
mod tests;
