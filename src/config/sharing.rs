//! The settings of the tier that several instances share.

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use serde_json::{Value, json};

use super::{
    ConfigError, SettingSources, ValueError,
    settings::{duration, path, size},
    value::{self, Given},
};
use crate::redis::RedisUrl;

/// The largest shared body if nothing else is set, in bytes.
const DEFAULT_MAX_OBJECT: ByteSize = ByteSize::mib(8);
/// The largest body that may be shared, in bytes: a value of Redis has at most 512 MiB.
const MOST_MAX_OBJECT: ByteSize = ByteSize::mib(256);
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(20);
/// The longest time that Redis may take: a request must not become slower because of it.
const MOST_TIMEOUT: Duration = Duration::from_millis(150);
const DEFAULT_LEASE: Duration = Duration::from_secs(30);
const LEAST_LEASE: Duration = Duration::from_secs(2);
const MOST_LEASE: Duration = Duration::from_secs(60 * 60);
/// The variable with the password, so that it need not be in the URL.
const PASSWORD: &str = "REDIS_PASSWORD";
const DEFAULT_NAMESPACE: &str = "caching-proxy";
/// The longest name of a namespace, in bytes.
const MAX_NAMESPACE_BYTES: usize = 40;

/// The settings of the tier that several instances share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedTierSettings {
    /// Where Redis is. `None`: nothing is shared.
    pub url: Option<RedisUrl>,
    /// The largest body that is shared, in bytes.
    pub max_object_bytes: u64,
    /// How long a lookup may take.
    pub timeout: Duration,
    /// How long responses are served without hearing from Redis. `None`: for ever.
    pub lease: Option<Duration>,
    /// What the names of all keys begin with.
    pub namespace: String,
    /// The file with the secret under which all instances hash identities. `None`: responses for one identity are not shared.
    pub identity_secret_file: Option<PathBuf>,
}

impl Default for SharedTierSettings {
    fn default() -> Self {
        Self {
            url: None,
            max_object_bytes: DEFAULT_MAX_OBJECT.0,
            timeout: DEFAULT_TIMEOUT,
            lease: Some(DEFAULT_LEASE),
            namespace: DEFAULT_NAMESPACE.to_owned(),
            identity_secret_file: None,
        }
    }
}

impl SharedTierSettings {
    pub(super) fn read(sources: &SettingSources<'_>) -> Result<Self, ConfigError> {
        let default = Self::default();
        Ok(Self {
            url: sources.redis()?,
            max_object_bytes: sources
                .get("redis-max-object", max_object)?
                .unwrap_or(default.max_object_bytes),
            timeout: sources
                .get("redis-timeout", |given| {
                    value::duration(given, Duration::from_millis(1), MOST_TIMEOUT)
                })?
                .unwrap_or(default.timeout),
            lease: sources.get("redis-lease", lease)?.unwrap_or(default.lease),
            namespace: sources
                .get("redis-namespace", namespace)?
                .unwrap_or(default.namespace),
            identity_secret_file: sources.get("identity-secret-file", value::path)?.flatten(),
        })
    }

    /// The settings by their keys, in the order of the file.
    pub(super) fn values(&self) -> [(&'static str, Value); 6] {
        let Self {
            url,
            max_object_bytes,
            timeout,
            lease,
            namespace,
            identity_secret_file,
        } = self;
        let url = url
            .as_ref()
            .map_or_else(|| "none".to_owned(), ToString::to_string);
        [
            ("redis", json!(url)),
            ("redis_max_object", size(*max_object_bytes)),
            ("redis_timeout", duration(*timeout)),
            ("redis_lease", lease.map_or_else(|| json!("none"), duration)),
            ("redis_namespace", json!(namespace)),
            (
                "identity_secret_file",
                path(identity_secret_file.as_deref()),
            ),
        ]
    }
}

impl SettingSources<'_> {
    /// The URL of Redis, with the password of the environment if it has none. `None`: nothing is shared.
    fn redis(&self) -> Result<Option<RedisUrl>, ConfigError> {
        let url = self.get("redis", url)?.flatten();
        let password = (self.environment)(PASSWORD).and_then(|it| it.into_string().ok());
        let password = password.filter(|password| !password.is_empty());
        Ok(match (url, password) {
            (Some(url), Some(password)) => Some(url.with_password(password)),
            (url, _) => url,
        })
    }
}

/// The URL of a Redis. `None` for `none`.
fn url(given: &Given) -> Result<Option<RedisUrl>, ValueError> {
    const RIGHT: &str = "\"none\", or a URL such as \"redis://host:6379\", \"rediss://user@host:6380/1\" or \"unix:/run/redis.sock\"";
    match given.text() {
        Some("none") => Ok(None),
        // It may have a password, so the error says what is wrong in place of the value.
        Some(text) => match text.parse() {
            Ok(url) => Ok(Some(url)),
            Err(error) => Err(ValueError::Redis(error)),
        },
        None => Err(given.is_not(RIGHT)),
    }
}

fn max_object(given: &Given) -> Result<u64, ValueError> {
    let bytes = value::size(given, ByteSize::b(1))?;
    match bytes <= MOST_MAX_OBJECT.0 {
        true => Ok(bytes),
        false => Err(given.is_not(format!("a size of at most {MOST_MAX_OBJECT}"))),
    }
}

/// A time. `None` for `none`.
fn lease(given: &Given) -> Result<Option<Duration>, ValueError> {
    match given.text() {
        Some("none") => Ok(None),
        _ => value::duration(given, LEAST_LEASE, MOST_LEASE).map(Some),
    }
}

fn namespace(given: &Given) -> Result<String, ValueError> {
    let is_right = |text: &&str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        (1..=MAX_NAMESPACE_BYTES).contains(&text.len()) && text.bytes().all(is_allowed)
    };
    match given.text().filter(is_right) {
        Some(text) => Ok(text.to_owned()),
        None => Err(given.is_not(format!(
            "a name of 1 to {MAX_NAMESPACE_BYTES} letters, digits, dots, hyphens and underscores"
        ))),
    }
}
