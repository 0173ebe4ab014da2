//! The cache with the tiers beneath memory that the configuration names.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use ring::digest::{SHA256, digest};
use rustls::ClientConfig;

use crate::{
    cache::{Cache, DiskTier, Namespace, OpenedTier, SharedTier, SharingSettings},
    clock,
    config::Config,
    disk::{Disk, DiskLimits, OpenError},
    origin::{self, CaError},
    policy::IdentitySecret,
    redis::{OwnTiers, Redis, RedisEvents, RedisSettings, RedisSettingsError, RedisUrl},
};

/// The sizes of a file with a secret, in bytes.
const LEAST_SECRET_BYTES: usize = 32;
const MOST_SECRET_BYTES: usize = 64 * 1024;
/// The file in the directory of a store that says that other instances were not told of what has ended.
const UNPUBLISHED: &str = "unpublished";

/// Why the tiers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TierError {
    /// The store on disk cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The connection to Redis cannot be set up.
    #[error(transparent)]
    Redis(#[from] RedisSettingsError),
    /// TLS towards Redis cannot be set up.
    #[error(transparent)]
    Tls(#[from] CaError),
    /// The file with the secret cannot be read.
    #[error("cannot read the secret in {}: {source}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// The error of reading it.
        #[source]
        source: io::Error,
    },
    /// The file is too short or too long for a secret.
    #[error(
        "{} has {bytes} bytes: a secret has {LEAST_SECRET_BYTES} to {MOST_SECRET_BYTES} random bytes, such as \
         `head -c 32 /dev/urandom` gives",
        path.display()
    )]
    SecretLength {
        /// The file.
        path: PathBuf,
        /// Its length, or the longest allowed length and one more.
        bytes: usize,
    },
}

/// Checks that the tiers of `config` can be opened as soon as the process `user` has closed its own.
///
/// # Errors
/// They cannot be opened.
pub fn check_tiers(config: &Config, user: u32) -> Result<(), TierError> {
    if let Some(path) = &config.shared_tier.identity_secret_file {
        read_secret(path)?;
    }
    if let Some(directory) = &config.store.directory {
        Disk::check(directory, user)?;
    }
    redis_tls(config)?;
    Ok(())
}

/// A cache with its tiers.
pub(super) struct Tiers {
    pub(super) cache: Cache,
    /// The secret under which identities are hashed.
    pub(super) secret: IdentitySecret,
    /// What other instances tell. `None` without a shared tier.
    pub(super) events: Option<RedisEvents>,
}

impl Tiers {
    /// Opens the tiers of `config`.
    pub(super) fn open(config: &Config) -> Result<Self, TierError> {
        let mut cache = Cache::new(config.max_memory_bytes, config.max_object_bytes);
        let mut secret = match &config.shared_tier.identity_secret_file {
            Some(path) => Some(read_secret(path)?),
            None => None,
        };
        let namespace = Namespace::of(&config.partitioning());
        let mut own_tiers = OwnTiers::Empty;
        if let Some(directory) = &config.store.directory {
            let limits = DiskLimits {
                max_bytes: config.store.max_disk_bytes,
                reserve_bytes: config.store.disk_reserve_bytes,
                max_object_bytes: config.store.max_disk_object_bytes,
            };
            let opened = DiskTier::open(directory, limits, namespace, clock::now())?;
            let OpenedTier {
                tier,
                secret: own,
                applied,
            } = opened;
            own_tiers = OwnTiers::Earlier(applied);
            tier.name_holder(&format!("port {}", config.port));
            cache = cache.with_disk(tier);
            secret = secret.or(Some(own));
        }
        let mut events = None;
        if let Some(url) = &config.shared_tier.url {
            let (redis, told) = Redis::open(redis_settings(config, url, own_tiers)?)?;
            let sharing = SharingSettings {
                max_object_bytes: config.shared_tier.max_object_bytes,
                max_stale: config.policy.max_stale,
                shares_identities: config.shared_tier.identity_secret_file.is_some(),
            };
            cache = cache.with_shared_tier(SharedTier::new(redis, namespace, sharing));
            events = Some(told);
        }
        let secret = secret.as_ref().map(IdentitySecret::from_bytes);
        Ok(Self {
            cache,
            secret: secret.unwrap_or_else(IdentitySecret::new),
            events,
        })
    }
}

/// TLS towards the Redis of the configuration, which trusts the same roots as towards origins. `None` without TLS.
///
/// # Errors
/// TLS cannot be set up.
pub fn redis_tls(config: &Config) -> Result<Option<Arc<ClientConfig>>, CaError> {
    let is_tls = config
        .shared_tier
        .url
        .as_ref()
        .is_some_and(RedisUrl::is_tls);
    Ok(match is_tls {
        false => None,
        true => {
            let mut tls = (*origin::tls_config(config.origin_ca.as_deref())?).clone();
            tls.alpn_protocols.clear();
            Some(Arc::new(tls))
        }
    })
}

fn redis_settings(
    config: &Config,
    url: &RedisUrl,
    own_tiers: OwnTiers,
) -> Result<RedisSettings, TierError> {
    let settings = &config.shared_tier;
    let directory = config.store.directory.as_ref();
    Ok(RedisSettings {
        url: url.clone(),
        namespace: redis_namespace(config),
        instance: own_name(config.port),
        tls: redis_tls(config)?,
        timeout: settings.timeout,
        lease: settings.lease,
        max_object_bytes: settings.max_object_bytes,
        all: SharedTier::end_of_all(),
        own_tiers,
        unpublished: directory.map(|directory| directory.join(UNPUBLISHED)),
        wall_clock_ms: || i64::try_from(clock::now().unix_millis()).unwrap_or(i64::MAX),
    })
}

/// What the names of all keys in Redis begin with: proxies for other origins share nothing.
fn redis_namespace(config: &Config) -> String {
    let origins: Vec<String> = config.origins.iter().map(ToString::to_string).collect();
    let Namespace(origins) = Namespace::of(&origins.join(" "));
    let origins: String = origins
        .iter()
        .take(8)
        .map(|it| format!("{it:02x}"))
        .collect();
    format!("{}-{origins}", config.shared_tier.namespace)
}

/// The name of this instance for people: the machine and the port.
fn own_name(port: u16) -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    let name: String = name
        .chars()
        .filter(|it| !it.is_control())
        .take(64)
        .collect();
    format!("{name}:{port}")
}

/// The secret in a file.
fn read_secret(path: &Path) -> Result<[u8; 32], TierError> {
    let mut bytes = Vec::new();
    let most = MOST_SECRET_BYTES as u64 + 1;
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    read.map_err(|source| TierError::Secret {
        path: path.to_owned(),
        source,
    })?;
    if !(LEAST_SECRET_BYTES..=MOST_SECRET_BYTES).contains(&bytes.len()) {
        return Err(TierError::SecretLength {
            path: path.to_owned(),
            bytes: bytes.len(),
        });
    }
    let digest = digest(&SHA256, &bytes);
    Ok(digest.as_ref().first_chunk().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_file_gives_the_same_secret_and_a_short_one_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        assert!(matches!(read_secret(&path), Err(TierError::Secret { .. })));
        std::fs::write(&path, [7; 31]).unwrap();
        assert!(matches!(
            read_secret(&path),
            Err(TierError::SecretLength { bytes: 31, .. })
        ));
        std::fs::write(&path, [7; 32]).unwrap();
        let secret = read_secret(&path).unwrap();
        assert_eq!(read_secret(&path).unwrap(), secret);
        std::fs::write(&path, [8; 33]).unwrap();
        assert_ne!(read_secret(&path).unwrap(), secret);
    }
}
