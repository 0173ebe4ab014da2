//! The configuration in force, and how it is read again while the proxy runs.
//!
//! What can change is handed to the workers, which take it up with their next requests; a request under way goes on
//! under the configuration it began with. What a new `ttl` says holds for what is stored or validated from then on,
//! `max_stale` for every use.
//!
//! When it changes who may be given what ([`StoredBefore::DividedOtherwise`]), the workers are told first, and use the
//! cache no more; then it is emptied; then they use it again. Nothing is stored for a request that began before and
//! claims its fetch after.

use std::sync::Arc;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use crate::{
    cache::{Cache, CacheUnavailable, Clear, Cleared},
    config::{Config, ConfigError, Flags, StoredBefore},
    error::Chain,
};

/// What requests go by that begin now.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The configuration.
    pub config: Arc<Config>,
    /// What is true of the cache under it.
    pub stored: StoredNow,
}

impl InForce {
    /// That of a start, when nothing is stored.
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            stored: StoredNow::Usable,
        }
    }
}

/// Whether what is stored may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredNow {
    /// It may.
    Usable,
    /// It was divided among users by other settings, and is about to be removed.
    Void,
}

/// Reads the configuration again. Clones are the same.
#[derive(Clone, Debug)]
pub struct Reload(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    flags: Flags,
    in_force: watch::Sender<InForce>,
    cache: Cache,
    /// One at a time, from whichever side they are asked for.
    turn: Mutex<()>,
}

/// What a reload has changed, by the keys of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// What counts from now on.
    pub changed: Vec<String>,
    /// What is written differently, but counts after a restart only.
    pub needs_restart: Vec<String>,
    /// Whether the cache had to be emptied.
    pub cache_cleared: bool,
}

/// Why everything is as before.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// What is written is not right.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The new settings count, but what was stored under the old ones may still be there.
    #[error(
        "the settings count, but the cache could not be emptied; until a reload does that, it is not used"
    )]
    Cache(#[from] CacheUnavailable),
    /// The task that did it ended before it was done.
    #[error("the reload could not be completed")]
    Interrupted,
}

impl ReloadError {
    /// The error and what led to it, in one line.
    pub fn sentence(&self) -> String {
        Chain(self).to_string()
    }
}

impl Reload {
    /// Reads with the same flags as the start, and tells those who watch `in_force`.
    pub fn new(flags: Flags, in_force: watch::Sender<InForce>, cache: Cache) -> Self {
        Self(Arc::new(Inner {
            flags,
            in_force,
            cache,
            turn: Mutex::new(()),
        }))
    }

    /// Reads the configuration again and puts what can change in force. Says in the log what became of it.
    ///
    /// # Errors
    /// What is written is not right: then nothing changes.
    pub async fn run(&self) -> Result<Reloaded, ReloadError> {
        let reload = self.clone();
        // It comes to its end also when whoever asked does not wait for that.
        let task = actix_web::rt::spawn(async move { reload.take_turn().await });
        task.await.unwrap_or(Err(ReloadError::Interrupted))
    }

    async fn take_turn(&self) -> Result<Reloaded, ReloadError> {
        let _turn = self.0.turn.lock().await;
        let done = self.put_in_force().await;
        match &done {
            Ok(reloaded) => tell(reloaded),
            Err(error @ ReloadError::Config(_)) => log::error!(
                "the configuration is not reloaded, the one before stays in force: {}",
                error.sentence()
            ),
            Err(error) => log::error!("{}", error.sentence()),
        }
        done
    }

    async fn put_in_force(&self) -> Result<Reloaded, ReloadError> {
        let read = Config::load(&self.0.flags, &|variable| std::env::var_os(variable))?;
        let InForce {
            config: before,
            stored,
        } = self.0.in_force.borrow().clone();
        let changes = before.changes(&read);
        let mut now = InForce {
            config: before,
            stored,
        };
        if !changes.in_force.is_empty() {
            now.config = Arc::new(now.config.changed_to(&read));
        }
        if changes.stored == StoredBefore::DividedOtherwise {
            now.stored = StoredNow::Void;
        }
        let is_void = now.stored == StoredNow::Void;
        self.0.in_force.send_replace(now.clone());
        if is_void {
            self.empty().await?;
            now.stored = StoredNow::Usable;
            self.0.in_force.send_replace(now);
        }
        let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        Ok(Reloaded {
            changed: names(changes.in_force),
            needs_restart: names(changes.needs_restart),
            cache_cleared: is_void,
        })
    }

    async fn empty(&self) -> Result<(), CacheUnavailable> {
        let Cleared { entries, bytes } = self.0.cache.send(Clear).await?;
        log::info!(
            "cache cleared, for what was stored was divided among users by other settings: entries {entries}, {}",
            ByteSize(bytes)
        );
        Ok(())
    }
}

fn tell(reloaded: &Reloaded) {
    match reloaded.changed.as_slice() {
        [] => log::info!("configuration reloaded: nothing that is in force has changed"),
        changed => log::info!("configuration reloaded: {}", changed.join(", ")),
    }
    if !reloaded.needs_restart.is_empty() {
        let names = reloaded.needs_restart.join(", ");
        log::warn!("changed, but needs a restart: {names}");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        future::Future as _,
        pin::pin,
        task::{Context, Waker},
    };

    use actix_web::rt::System;

    use super::*;

    #[test]
    fn who_does_not_wait_for_a_reload_does_not_keep_the_cache_from_use() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("proxy.toml");
        fs::write(&file, "policy = \"always\"\n").unwrap();
        let origin = "http://origin.test";
        let flags = Flags::from([("config", file.into()), ("origin", origin.into())]);
        System::new().block_on(async {
            let config = Config::for_origin(origin.parse().unwrap());
            let (sender, mut in_force) = watch::channel(InForce::new(Arc::new(config)));
            let cache = Cache::new(1 << 20, 1 << 18);
            let reload = Reload::new(flags, sender, cache.clone());
            {
                let mut run = pin!(reload.run());
                let polled = run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(polled.is_pending());
            }
            // Nobody has the cache yet, so it cannot be emptied.
            let is_void = |in_force: &InForce| in_force.stored == StoredNow::Void;
            in_force.wait_for(is_void).await.unwrap();
            cache.start();
            let is_usable = |in_force: &InForce| in_force.stored == StoredNow::Usable;
            let now = in_force.wait_for(is_usable).await.unwrap();
            assert_eq!(now.config.policy.mode, crate::policy::Mode::Always);
        });
    }
}
