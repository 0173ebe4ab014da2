//! The active configuration, and how it is reloaded while the proxy runs.
//!
//! The parts that can change at run time are sent to the workers, which use them from their next request on. A request
//! in progress keeps the configuration it began with. A new `ttl` applies to responses stored or validated after the
//! reload; `max_stale` applies to every use.
//!
//! Some changes decide who may share a stored response ([`Changes::repartitions`](crate::config::Changes)). Then the
//! workers first stop using the cache, the cache is cleared, and the workers use it again. A request that began before
//! the reload and claims its fetch afterwards stores nothing.

use std::sync::Arc;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use crate::{
    cache::{Cache, CacheUnavailable, ClearHere, Cleared, Namespace},
    clock,
    config::{Changes, Config, ConfigError, ConfigLoader},
    error::Chain,
    tls::{ServerTls, TlsError},
};

/// The configuration that new requests use.
#[derive(Clone, Debug)]
pub struct ActiveConfig {
    /// The configuration.
    pub config: Arc<Config>,
    /// Whether requests may use the cache.
    pub cache_state: CacheState,
}

impl ActiveConfig {
    /// The configuration of a start, with an empty cache.
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            cache_state: CacheState::Usable,
        }
    }
}

/// Whether requests may use the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheState {
    /// They may.
    Usable,
    /// They may not: stored responses were shared under other identity or policy settings, and the cache is about to be
    /// cleared.
    Repartitioning,
    /// They may not any more: another process has taken over, and what is stored may be older than what was ended there.
    HandedOver,
}

/// Reloads the configuration. Clones share one state.
#[derive(Clone, Debug)]
pub struct Reload(Arc<ReloadState>);

#[derive(Debug)]
struct ReloadState {
    loader: ConfigLoader,
    in_force: watch::Sender<ActiveConfig>,
    cache: Cache,
    /// `None` without TLS towards clients.
    tls: Option<ServerTls>,
    /// What the last command said about being offline; `None` before the first. It overrides the configuration. Reloads and
    /// such commands run one at a time, whether a signal or a command starts them.
    commanded_offline: Mutex<Option<bool>>,
}

/// What a reload changed, as keys of settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Settings with a new value that is active now.
    pub changed: Vec<String>,
    /// Settings with a new value that needs a restart.
    pub needs_restart: Vec<String>,
    /// Whether the cache was cleared.
    pub cache_cleared: bool,
    /// Names of certificates that are in force now and were not before.
    #[serde(default)]
    pub certificates: Vec<String>,
}

/// The result of [`Reload::set_offline`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfflineChange {
    /// Whether the proxy is offline now.
    pub is_offline: bool,
    /// Whether that is new.
    pub has_changed: bool,
    /// WebSockets that are open. They stay open. 0 if nobody has counted them.
    #[serde(default)]
    pub open_tunnels: u64,
}

/// Why a reload failed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The new configuration is invalid; the old one stays active.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A certificate cannot be used; the old configuration and the old certificates stay active.
    #[error(
        "the old certificates stay in force ({remaining}), because the new ones cannot be used"
    )]
    Certificate {
        /// How long the old ones are valid.
        remaining: String,
        /// Why the new ones are refused.
        #[source]
        source: TlsError,
    },
    /// The new settings are active, but the cache could not be cleared.
    #[error(
        "the new settings are active, but the cache could not be cleared; requests bypass it until a reload succeeds"
    )]
    Cache(#[from] CacheUnavailable),
    /// The reload task ended early.
    #[error("the reload did not finish")]
    Interrupted,
}

impl ReloadError {
    /// The error and its causes, in one line.
    pub fn sentence(&self) -> String {
        Chain(self).to_string()
    }
}

impl Reload {
    /// Reloads what `loader` reads, and publishes the result through `in_force`. Certificates are those of `tls`.
    pub fn new(
        loader: ConfigLoader,
        in_force: watch::Sender<ActiveConfig>,
        cache: Cache,
        tls: Option<ServerTls>,
    ) -> Self {
        Self(Arc::new(ReloadState {
            loader,
            in_force,
            cache,
            tls,
            commanded_offline: Mutex::default(),
        }))
    }

    /// Reloads the configuration, activates the settings that can change at run time, and logs the result.
    ///
    /// # Errors
    /// The configuration is invalid (nothing changes), or the cache could not be cleared.
    pub async fn run(&self) -> Result<Reloaded, ReloadError> {
        let reload = self.clone();
        // A task of its own: it finishes even if the caller stops waiting.
        let task = actix_web::rt::spawn(async move { reload.take_turn().await });
        task.await.unwrap_or(Err(ReloadError::Interrupted))
    }

    async fn take_turn(&self) -> Result<Reloaded, ReloadError> {
        let commanded = self.0.commanded_offline.lock().await;
        let done = self.activate(*commanded).await;
        match &done {
            Ok(reloaded) => log_result(reloaded),
            Err(error @ (ReloadError::Config(_) | ReloadError::Certificate { .. })) => log::error!(
                "configuration not reloaded, the old one stays active: {}",
                error.sentence()
            ),
            Err(error) => log::error!("{}", error.sentence()),
        }
        done
    }

    /// Disconnects the proxy from its origins, or connects it again, until the next such call. A reload changes nothing about
    /// it. When this returns, no new request goes to an origin.
    pub async fn set_offline(&self, is_offline: bool) -> OfflineChange {
        let mut commanded = self.0.commanded_offline.lock().await;
        *commanded = Some(is_offline);
        let mut now = self.0.in_force.borrow().clone();
        let has_changed = now.config.offline != is_offline;
        if has_changed {
            now.config = Arc::new(Config {
                offline: is_offline,
                ..Config::clone(&now.config)
            });
            self.publish(now);
            log::info!(
                "{}",
                match is_offline {
                    true =>
                        "offline: no requests go to an origin; what is cached is served whatever its age",
                    false => "online: requests go to the origin again",
                }
            );
        }
        OfflineChange {
            is_offline,
            has_changed,
            open_tunnels: 0,
        }
    }

    /// Lets new requests use `next`. After a hand-over they do not use the cache all the same.
    fn publish(&self, next: ActiveConfig) {
        self.0.in_force.send_modify(|active| {
            let is_handed_over = active.cache_state == CacheState::HandedOver;
            *active = next;
            if is_handed_over {
                active.cache_state = CacheState::HandedOver;
            }
        });
    }

    async fn activate(&self, commanded_offline: Option<bool>) -> Result<Reloaded, ReloadError> {
        let mut read = self.0.loader.load()?;
        read.offline = commanded_offline.unwrap_or(read.offline);
        let ActiveConfig {
            config: before,
            cache_state,
        } = self.0.in_force.borrow().clone();
        if cache_state == CacheState::HandedOver {
            return Err(ReloadError::Interrupted);
        }
        let changes: Changes = before.changes(&read);
        // First, so that a certificate that cannot be used leaves all as it was.
        let certificates = self.read_certificates(&read)?;
        let mut now = ActiveConfig {
            config: before,
            cache_state,
        };
        if !changes.in_force.is_empty() || now.config.has_moved_routes(&read) {
            now.config = Arc::new(now.config.changed_to(&read));
        }
        if changes.repartitions {
            now.cache_state = CacheState::Repartitioning;
        }
        let is_repartitioning = now.cache_state == CacheState::Repartitioning;
        self.publish(now.clone());
        if is_repartitioning {
            if let Some(disk) = self.0.cache.disk() {
                disk.set_namespace(Namespace::of(&now.config.partitioning()));
            }
            if let Some(tier) = self.0.cache.shared() {
                tier.set_namespace(Namespace::of(&now.config.partitioning()));
            }
            self.clear_cache().await?;
            now.cache_state = CacheState::Usable;
            self.publish(now);
        }
        let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        Ok(Reloaded {
            changed: names(changes.in_force),
            needs_restart: names(changes.needs_restart),
            cache_cleared: is_repartitioning,
            certificates,
        })
    }

    /// Reads the certificates again, and returns the names of new ones. TLS is not switched on or off.
    fn read_certificates(&self, read: &Config) -> Result<Vec<String>, ReloadError> {
        let (Some(tls), Some(settings)) = (&self.0.tls, &read.tls) else {
            return Ok(Vec::new());
        };
        let now = clock::now();
        match tls.reload(settings, now) {
            Ok(new) => Ok(new.into_iter().map(|it| it.name).collect()),
            Err(source) => Err(ReloadError::Certificate {
                remaining: tls.remaining(now),
                source,
            }),
        }
    }

    async fn clear_cache(&self) -> Result<(), CacheUnavailable> {
        let removal = self.0.cache.send(ClearHere).await?;
        // If it cannot be written to the disk, the disk is not read until it can.
        let Cleared { entries, bytes } = removal.cleared;
        log::info!(
            "cache cleared, because the settings that decide who shares stored responses changed: entries {entries}, {}",
            ByteSize(bytes)
        );
        Ok(())
    }
}

fn log_result(reloaded: &Reloaded) {
    match reloaded.changed.as_slice() {
        [] if !reloaded.certificates.is_empty() => {}
        [] if reloaded.needs_restart.is_empty() => {
            log::info!("configuration reloaded: no changes");
        }
        [] => log::info!("configuration reloaded: nothing applied"),
        changed => log::info!("configuration reloaded: changed {}", changed.join(", ")),
    }
    if !reloaded.needs_restart.is_empty() {
        let names = reloaded.needs_restart.join(", ");
        log::warn!("restart the proxy to apply: {names}");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        future::Future as _,
        path::Path,
        pin::pin,
        task::{Context, Waker},
    };

    use actix_web::rt::System;

    use super::*;
    use crate::config::Flags;

    /// A reload that waits until the cache can be cleared, and what is in force.
    async fn waiting_reload(dir: &Path) -> (watch::Sender<ActiveConfig>, Cache) {
        let file = dir.join("proxy.toml");
        fs::write(&file, "policy = \"always\"\n").unwrap();
        let origin = "http://origin.test";
        let flags = Flags::from([("config", file.into()), ("origin", origin.into())]);
        let config = Config::for_origin(origin.parse().unwrap());
        let (sender, mut in_force) = watch::channel(ActiveConfig::new(Arc::new(config)));
        // It has no actor yet, so it cannot be cleared.
        let cache = Cache::new(1 << 20, 1 << 18);
        let loader = ConfigLoader::new(flags, Config::load_everything);
        let reload = Reload::new(loader, sender.clone(), cache.clone(), None);
        {
            let mut run = pin!(reload.run());
            let polled = run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
        }
        let is_repartitioning =
            |in_force: &ActiveConfig| in_force.cache_state == CacheState::Repartitioning;
        in_force.wait_for(is_repartitioning).await.unwrap();
        (sender, cache)
    }

    #[test]
    fn a_reload_finishes_when_its_caller_stops_waiting() {
        let dir = tempfile::tempdir().unwrap();
        System::new().block_on(async {
            let (sender, cache) = waiting_reload(dir.path()).await;
            cache.start();
            let is_usable = |in_force: &ActiveConfig| in_force.cache_state == CacheState::Usable;
            let mut in_force = sender.subscribe();
            let now = in_force.wait_for(is_usable).await.unwrap();
            assert_eq!(now.config.policy.mode, crate::policy::Mode::Always);
        });
    }

    #[test]
    fn a_reload_that_ends_after_a_hand_over_does_not_let_the_cache_be_used() {
        let dir = tempfile::tempdir().unwrap();
        System::new().block_on(async {
            let (sender, cache) = waiting_reload(dir.path()).await;
            sender.send_modify(|active| active.cache_state = CacheState::HandedOver);
            let mut in_force = sender.subscribe();
            cache.start();
            in_force.changed().await.unwrap();
            let now = in_force.borrow_and_update().clone();
            assert_eq!(now.cache_state, CacheState::HandedOver);
        });
    }
}
