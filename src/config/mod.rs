//! Reads flags, environment and `proxy.toml` into one validated [`Config`].
//!
//! A flag overrides the environment, the environment overrides the file, the file overrides the default. A setting has
//! one name in all of them: `--max-memory`, `CACHING_PROXY_MAX_MEMORY`, `max_memory`. Every value in the file must be
//! valid, even one that a flag overrides.
//!
//! | file | what |
//! |---|---|
//! | `bind.rs` | the addresses to listen on |
//! | `changes.rs` | the difference between two configurations, for a reload |
//! | `defaults.rs` | the default lists of headers and cookies |
//! | `deployment.rs` | proxies in front of this one, and what watches it |
//! | `error.rs` | the errors, and where a value is set |
//! | `file.rs` | the file: keys and values with their lines |
//! | `keys.rs` | the keys of the file |
//! | `loader.rs` | reads the configuration again, with the addresses of the sockets |
//! | `origin.rs` | how requests reach the origin |
//! | `policy.rs` | the settings of the policy |
//! | `request_id.rs` | the header of the request id |
//! | `routes.rs`, `rules.rs` | `[[routes]]`, `[[rules]]`, in `tables.rs` with the keys of `rule_keys.rs` |
//! | `selection.rs` | the route and the rule that apply to a request |
//! | `settings.rs` | all settings as values, for `check-config` |
//! | `sizes.rs` | the sizes of the cache |
//! | `sharing.rs` | the settings of the tier that several instances share |
//! | `store.rs` | the settings of the store on disk |
//! | `tls.rs` | the settings of TLS towards clients |
//! | `trusted_proxies.rs` | the peers that are trusted to say whom they forward for |
//! | `tunnels.rs` | settings of tunnels |
//! | `value.rs` | one parser per kind of value |
//! | `variables.rs` | the names of environment variables |

mod bind;
mod changes;
mod defaults;
mod deployment;
mod error;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod keys;
mod loader;
mod names;
mod origin;
mod policy;
mod request_id;
mod routes;
mod rule_keys;
mod rules;
mod selection;
mod settings;
mod sharing;
mod sizes;
mod store;
mod tables;
mod tls;
mod trusted_proxies;
mod tunnels;
mod value;
mod variables;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{
    bind::BindAddress,
    changes::Changes,
    deployment::Deployment,
    error::{ConfigError, SettingSource, ValueError},
    loader::ConfigLoader,
    origin::OriginSettings,
    selection::Selection,
    settings::{Setting, in_words},
    sharing::SharedTierSettings,
    store::StoreSettings,
    tls::{CertificateFiles, TlsSettings},
    trusted_proxies::TrustedProxies,
    tunnels::TunnelSettings,
};
use self::{
    defaults::{DEFAULT_MAX_CLIENTS, cores, default_masked_parameters},
    deployment::Listens,
    file::{Presence, SettingsFile},
    keys::KEYS,
    value::Given,
};
use crate::{
    origin::OriginUrl,
    policy::{Patterns, PerOrigin, Policy, Routes, Rules},
};

/// The file that is read without --config.
const DEFAULT_FILE: &str = "config/proxy.toml";

/// The flags that were given: values as written, by name without the leading dashes.
pub type Flags = BTreeMap<&'static str, OsString>;

/// The environment: the value of a variable, if it is set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Makes a configuration from the flags, and from what else it reads.
pub type LoadConfig = fn(&Flags) -> Result<Config, ConfigError>;

const DEFAULT_PORT: u16 = 8000;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_COALESCE_WAIT: Duration = Duration::from_secs(5);
const DEFAULT_MAX_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// RFC 9111, 1.2.2: no lifetime is reckoned beyond 2^31 seconds; ten years are enough to write.
const TEN_YEARS: Duration = Duration::from_secs(10 * 31_557_600);

/// The log format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
    /// Requests as Apache and nginx log them.
    Combined,
}

/// The validated configuration of a proxy.
#[derive(Clone, Debug)]
pub struct Config {
    /// The port to listen on. 0: any free one, until the proxy listens.
    pub port: u16,
    /// The addresses to listen on.
    pub bind: BindAddress,
    /// Where requests are forwarded to. The first origin is for those that no route matches.
    pub origins: PerOrigin<OriginUrl>,
    /// Which origins get which requests.
    pub routes: Routes,
    /// Decides what is stored and reused.
    pub policy: Policy,
    /// Settings for single paths, of requests that no route matches.
    pub rules: Rules,
    /// Timeout waiting for the origin.
    pub timeout: Duration,
    /// Timeout waiting for a client.
    pub client_timeout: Duration,
    /// How long a request waits for the headers of another request's fetch.
    pub coalesce_wait: Duration,
    /// Limits of tunnels.
    pub tunnels: TunnelSettings,
    /// Memory of the cache, in bytes, overhead included.
    pub max_memory_bytes: u64,
    /// Largest cached body, in bytes.
    pub max_object_bytes: u64,
    /// The store on disk.
    pub store: StoreSettings,
    /// The tier that several instances share.
    pub shared_tier: SharedTierSettings,
    /// TLS towards clients. `None`: they speak plain HTTP.
    pub tls: Option<TlsSettings>,
    /// PEM file of certificates trusted in addition to the system's. `None`: only the system's.
    pub origin_ca: Option<PathBuf>,
    /// How requests reach the origin.
    pub origin_settings: OriginSettings,
    /// Number of worker threads.
    pub workers: usize,
    /// Most client connections at a time, over all workers.
    pub max_clients: usize,
    /// Forward the client's Host instead of the origin's.
    pub preserve_host: bool,
    /// Leave addresses of the origin in responses, and of the proxy in requests.
    pub no_rewrite: bool,
    /// Let pages of all sites read responses.
    pub cors: bool,
    /// Never contact an origin, and serve what is stored whatever its age.
    pub offline: bool,
    /// Keep also what the policy does not store, for the time offline.
    pub record: bool,
    /// Patterns of request headers that are not forwarded, besides those that only infrastructure may set.
    pub drop_headers: Patterns,
    /// Patterns of the names of query parameters whose values are not shown.
    pub masked_parameters: Vec<String>,
    /// The log format.
    pub log_format: LogFormat,
    /// The loopback address of the dashboard. `None`: no dashboard.
    pub dashboard: Option<SocketAddr>,
    /// Proxies in front of this one, and what watches it.
    pub deployment: Deployment,
    /// The configuration file that was read. `None`: there is none.
    pub file: Option<PathBuf>,
}

impl Config {
    /// The defaults, for an origin.
    pub fn for_origin(origin: OriginUrl) -> Self {
        Self {
            port: DEFAULT_PORT,
            bind: BindAddress::default(),
            origins: PerOrigin::new(origin, Vec::new()),
            routes: Routes::default(),
            policy: policy::default_policy(),
            rules: Rules::default(),
            timeout: DEFAULT_TIMEOUT,
            client_timeout: DEFAULT_CLIENT_TIMEOUT,
            coalesce_wait: DEFAULT_COALESCE_WAIT,
            tunnels: TunnelSettings::default(),
            max_memory_bytes: DEFAULT_MAX_MEMORY_BYTES,
            max_object_bytes: DEFAULT_MAX_MEMORY_BYTES / 4,
            store: StoreSettings::default(),
            shared_tier: SharedTierSettings::default(),
            tls: None,
            origin_ca: None,
            origin_settings: OriginSettings::default(),
            workers: cores(),
            max_clients: DEFAULT_MAX_CLIENTS,
            preserve_host: false,
            no_rewrite: false,
            cors: false,
            offline: false,
            record: false,
            drop_headers: Patterns::new([]),
            masked_parameters: default_masked_parameters(),
            log_format: LogFormat::default(),
            dashboard: None,
            deployment: Deployment::default(),
            file: None,
        }
    }

    /// Combines flags, environment, file and defaults.
    ///
    /// # Errors
    /// When there is no origin, a value is refused, or the file cannot be read or is wrong.
    pub fn load(flags: &Flags, environment: Environment<'_>) -> Result<Self, ConfigError> {
        SettingSources::read(Path::new(DEFAULT_FILE), flags, environment)?.config()
    }

    /// [`Config::load`] with the environment of this process: how a proxy starts and reloads.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_everything(flags: &Flags) -> Result<Self, ConfigError> {
        Self::load(flags, &|variable| std::env::var_os(variable))
    }

    /// Puts flags and defaults together. Neither the file nor the environment is read.
    ///
    /// # Errors
    /// When there is no origin, or a value is refused.
    pub fn from_flags(flags: &Flags) -> Result<Self, ConfigError> {
        SettingSources::only(flags).config()
    }
}

/// What [`Config::load`] would return, and every setting with its source.
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

/// The port given by a flag. `None` without the flag.
///
/// # Errors
/// The flag's value is not a port.
pub fn port_flag(flags: &Flags) -> Result<Option<u16>, ConfigError> {
    SettingSources::only(flags).get("port", value::port)
}

/// All places where a setting may be set.
struct SettingSources<'a> {
    flags: &'a Flags,
    environment: Environment<'a>,
    file: SettingsFile,
}

impl<'a> SettingSources<'a> {
    /// The flags alone.
    fn only(flags: &'a Flags) -> Self {
        Self {
            flags,
            environment: &|_| None,
            file: SettingsFile::default(),
        }
    }

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
        let origin_settings = self.origin_settings()?;
        let port = self
            .get("port", value::listen_port)?
            .unwrap_or(DEFAULT_PORT);
        let bind = self.get("bind", bind::bind)?.unwrap_or_default();
        let tls = TlsSettings::read(self, (bind, port))?;
        let listens = Listens {
            bind,
            port,
            tls: tls::taken_addresses(tls.as_ref()),
        };
        let dashboard = self.dashboard(&listens)?;
        Ok(Config {
            port,
            bind,
            timeout: self.wait("timeout", DEFAULT_TIMEOUT)?,
            client_timeout: self.wait("client-timeout", DEFAULT_CLIENT_TIMEOUT)?,
            coalesce_wait: self.wait("coalesce-wait", DEFAULT_COALESCE_WAIT)?,
            tunnels: self.tunnels()?,
            max_memory_bytes,
            max_object_bytes,
            store: StoreSettings::read(self)?,
            shared_tier: SharedTierSettings::read(self)?,
            tls,
            origin_ca: self.get("origin-ca", value::path)?.flatten(),
            workers: self
                .get("workers", value::workers)?
                .flatten()
                .unwrap_or_else(cores),
            max_clients: self
                .get("max-clients", value::connections)?
                .unwrap_or(DEFAULT_MAX_CLIENTS),
            preserve_host: self.switch("preserve-host")?,
            no_rewrite: self.switch("no-rewrite")?,
            cors: self.switch("cors")?,
            offline: self.switch("offline")?,
            record: self.switch("record")?,
            drop_headers: self.patterns("drop-headers", names::headers, &[])?,
            masked_parameters: self
                .get("masked-parameters", names::masked_parameters)?
                .unwrap_or_else(default_masked_parameters),
            log_format: self
                .get("log-format", value::log_format)?
                .unwrap_or_default(),
            dashboard,
            deployment: Deployment::read(self, &listens, dashboard)?,
            file: self.file.path(),
            // Last, so that an invalid value is reported before a missing origin.
            ..self.routed((policy, origin_settings), (bind, port))?
        })
    }

    /// A setting that is off unless it is set.
    fn switch(&self, name: &'static str) -> Result<bool, ConfigError> {
        Ok(self.get(name, value::boolean)?.unwrap_or(false))
    }

    /// A time limit, from a millisecond to a day.
    fn wait(&self, name: &'static str, default: Duration) -> Result<Duration, ConfigError> {
        let given = self.get(name, |given| value::duration(given, MILLISECOND, DAY))?;
        Ok(given.unwrap_or(default))
    }

    fn get<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&Given) -> Result<T, ValueError>,
    ) -> Result<Option<T>, ConfigError> {
        Ok(self.find(name, parse)?.map(|(value, _)| value))
    }

    /// The effective value, and its source. `None`: the setting has its default.
    fn find<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&Given) -> Result<T, ValueError>,
    ) -> Result<Option<(T, SettingSource)>, ConfigError> {
        let parse = |(given, place): (Given, SettingSource)| match parse(&given) {
            Ok(value) => Ok((value, place)),
            Err(source) => Err(ConfigError::value(place, source)),
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

    /// The source of a key's effective value. `None`: the default.
    fn place(&self, key: &str) -> Option<SettingSource> {
        let name = match key {
            keys::ROUTES => routes::FLAG.to_owned(),
            key => key.replace('_', "-"),
        };
        let found = self.in_flags(&name).or_else(|| self.in_environment(&name));
        let (_, place) = found.or_else(|| self.in_file(key))?;
        Some(place)
    }

    fn in_flags(&self, name: &str) -> Option<(Given, SettingSource)> {
        let (name, value) = self.flags.get_key_value(name)?;
        Some((Given::Argument(value.clone()), SettingSource::Flag(name)))
    }

    /// An empty variable counts as unset: scripts and CI systems set variables to nothing.
    fn in_environment(&self, name: &str) -> Option<(Given, SettingSource)> {
        let variable = variables::name_of(name);
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
