//! The URL of a Redis server.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use percent_encoding::percent_decode_str;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum ServerPlace {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl fmt::Display for ServerPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            Self::Unix(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// The URL of Redis or Valkey: `redis://`, `rediss://` (TLS), `redis+cluster://`, `rediss+cluster://` or `unix:`.
///
/// Neither `Display` nor `Debug` shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// At least one; more than one for a cluster alone.
    pub(super) places: Vec<ServerPlace>,
    pub(super) is_tls: bool,
    pub(super) is_cluster: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u16,
}

/// Why a URL of Redis is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// It begins in another way.
    #[error(
        "a Redis URL begins with redis://, rediss://, redis+cluster://, rediss+cluster:// or unix:, such as redis://127.0.0.1:6379"
    )]
    Scheme,
    /// The host or the port is missing or invalid.
    #[error(
        "a Redis URL names a host and, after a colon, a port from 1 to 65535, such as redis://127.0.0.1:6379"
    )]
    Host,
    /// The path of the socket is missing or relative.
    #[error("a unix: URL of Redis names an absolute path, such as unix:/run/redis/redis.sock")]
    Socket,
    /// The database is not a number.
    #[error(
        "the database in a Redis URL is a number from 0 to 65535, such as redis://127.0.0.1:6379/1"
    )]
    Database,
    /// A cluster has one database alone.
    #[error("a Redis cluster has database 0 alone: remove the path from the URL")]
    ClusterDatabase,
    /// The user or the password has invalid escapes.
    #[error(
        "the user and the password in a Redis URL are text, with %40 for @, %3A for : and %2F for /"
    )]
    Credentials,
    /// There are parameters.
    #[error("a Redis URL has no parameters: remove what begins with ? or #")]
    Parameters,
}

/// The port of Redis.
const DEFAULT_PORT: u16 = 6379;

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, RedisUrlError> {
        if text.contains(['?', '#']) {
            return Err(RedisUrlError::Parameters);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        let (scheme, rest) = text.split_once("://").ok_or(RedisUrlError::Scheme)?;
        let (is_tls, is_cluster) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+cluster" => (false, true),
            "rediss+cluster" => (true, true),
            _ => return Err(RedisUrlError::Scheme),
        };
        let (rest, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = match rest.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(credentials), hosts),
            None => (None, rest),
        };
        let (user, password) = credentials.map_or(Ok((None, None)), read_credentials)?;
        let database = match path {
            "" => 0,
            path => path.parse().map_err(|_| RedisUrlError::Database)?,
        };
        if is_cluster && database != 0 {
            return Err(RedisUrlError::ClusterDatabase);
        }
        let places: Vec<ServerPlace> = match is_cluster {
            true => hosts.split(',').map(read_host).collect::<Result<_, _>>()?,
            false => vec![read_host(hosts)?],
        };
        Ok(Self {
            places,
            is_tls,
            is_cluster,
            user,
            password,
            database,
        })
    }
}

fn unix(path: &str) -> Result<RedisUrl, RedisUrlError> {
    let path = Path::new(path.strip_prefix("//").unwrap_or(path));
    if !path.is_absolute() {
        return Err(RedisUrlError::Socket);
    }
    Ok(RedisUrl {
        places: vec![ServerPlace::Unix(path.into())],
        is_tls: false,
        is_cluster: false,
        user: None,
        password: None,
        database: 0,
    })
}

/// The user and the password. An empty one is none.
fn read_credentials(text: &str) -> Result<(Option<String>, Option<String>), RedisUrlError> {
    let decode = |text: &str| {
        let text = percent_decode_str(text).decode_utf8();
        let text = text.map_err(|_| RedisUrlError::Credentials)?;
        Ok((!text.is_empty()).then(|| text.into_owned()))
    };
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok((decode(user)?, decode(password)?))
}

/// `host`, `host:port`, `[address]` or `[address]:port`.
fn read_host(text: &str) -> Result<ServerPlace, RedisUrlError> {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (
            host,
            Some(port.strip_prefix(':').ok_or(RedisUrlError::Host)?),
        ),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Ok(DEFAULT_PORT), str::parse);
    let port = port.map_err(|_| RedisUrlError::Host)?;
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if host.is_empty() || port == 0 || !host.bytes().all(is_host) {
        return Err(RedisUrlError::Host);
    }
    Ok(ServerPlace::Tcp {
        host: host.into(),
        port,
    })
}

impl RedisUrl {
    /// The same with a password. A password in the URL wins.
    #[must_use]
    pub fn with_password(mut self, password: String) -> Self {
        self.password.get_or_insert(password);
        self
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.is_tls, self.is_cluster) {
            (false, false) => "redis",
            (true, false) => "rediss",
            (false, true) => "redis+cluster",
            (true, true) => "rediss+cluster",
        };
        if let [ServerPlace::Unix(path)] = self.places.as_slice() {
            return write!(formatter, "unix:{}", path.display());
        }
        let places: Vec<String> = self.places.iter().map(ServerPlace::to_string).collect();
        write!(formatter, "{scheme}://{}", places.join(","))?;
        match self.database {
            0 => Ok(()),
            database => write!(formatter, "/{database}"),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(text: &str) -> RedisUrl {
        text.parse().unwrap()
    }

    #[test]
    fn urls_of_all_kinds_are_read() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("redis://10.0.0.1:7000/2", "redis://10.0.0.1:7000/2"),
            ("rediss://[::1]:1/", "rediss://[::1]:1"),
            ("redis://[::1]", "redis://[::1]:6379"),
            ("redis+cluster://a:1,b", "redis+cluster://a:1,b:6379"),
            ("unix:/run/redis.sock", "unix:/run/redis.sock"),
            ("unix:///run/redis.sock", "unix:/run/redis.sock"),
        ] {
            assert_eq!(read(text).to_string(), shown);
        }
        assert!(read("rediss+cluster://a").is_tls());
    }

    #[test]
    fn credentials_are_read_and_never_shown() {
        let url = read("redis://ann:s%40%3Acret@localhost");
        assert_eq!(url.user.as_deref(), Some("ann"));
        assert_eq!(url.password.as_deref(), Some("s@:cret"));
        assert!(!format!("{url} {url:?}").contains("cret"));
        let url = url.with_password("other".into());
        assert_eq!(url.password.as_deref(), Some("s@:cret"));
        let url = read("redis://:only@localhost");
        assert_eq!((url.user, url.password.as_deref()), (None, Some("only")));
        let url = read("redis://ann@localhost").with_password("other".into());
        assert_eq!(url.password.as_deref(), Some("other"));
    }

    #[test]
    fn other_urls_are_refused_with_what_would_be_right() {
        for (text, error) in [
            ("", RedisUrlError::Scheme),
            ("localhost:6379", RedisUrlError::Scheme),
            ("http://localhost", RedisUrlError::Scheme),
            ("redis://", RedisUrlError::Host),
            ("redis://a:0", RedisUrlError::Host),
            ("redis://a:65536", RedisUrlError::Host),
            ("redis://a,b", RedisUrlError::Host),
            ("redis://a b", RedisUrlError::Host),
            ("redis://[::1]x", RedisUrlError::Host),
            ("redis+cluster://a,", RedisUrlError::Host),
            ("redis://a/x", RedisUrlError::Database),
            ("redis+cluster://a/1", RedisUrlError::ClusterDatabase),
            ("redis://%ff:x@a", RedisUrlError::Credentials),
            ("redis://a?db=1", RedisUrlError::Parameters),
            ("unix:redis.sock", RedisUrlError::Socket),
        ] {
            assert_eq!(text.parse::<RedisUrl>(), Err(error), "{text}");
        }
    }
}
