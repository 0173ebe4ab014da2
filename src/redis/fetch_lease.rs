//! One fetch for all instances: who has the lease of a record fetches it, the others wait.

use std::{sync::Arc, time::Duration};

use ::redis::cmd;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout_at},
};

use crate::redis::{
    address::{RecordName, SharedAddress},
    random::random_number,
    replies,
    script::{ACQUIRE_SCRIPT, EXTEND_SCRIPT, RELEASE_SCRIPT, ScriptCall},
    servers::Line,
    settings::milliseconds,
    shared::{RedisShared, Weight},
    unavailable::RedisUnavailable,
    waiters::WaiterMessage,
};

/// Who fetches a record.
#[derive(Debug)]
pub enum FetchTurn {
    /// This instance, as long as it holds the lease.
    Leads(FetchLease),
    /// Another instance.
    Waits(FetchWait),
}

/// The lease of a fetch. It is renewed while it lives, and released when it is dropped.
#[derive(Debug)]
pub struct FetchLease {
    /// Dropped with it, which its task notices.
    _released: oneshot::Sender<()>,
}

/// Another instance fetches the record.
#[derive(Debug)]
pub struct FetchWait {
    shared: SharedHandle,
    name: RecordName,
    released: oneshot::Receiver<()>,
}

/// How a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedFetchEnd {
    /// The other instance has stored the record, or given up: look again.
    Released,
    /// The other instance is gone.
    Lapsed,
    /// It has taken too long.
    Late,
    /// Redis is not in use any more.
    Unavailable,
}

/// The shared part, with a `Debug` that shows nothing.
#[derive(Clone)]
struct SharedHandle(Arc<RedisShared>);

impl std::fmt::Debug for SharedHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SharedHandle")
    }
}

/// Asks for the lease of a record.
pub(super) async fn begin_fetch(
    shared: Arc<RedisShared>,
    runtime: Handle,
    waiters: mpsc::UnboundedSender<WaiterMessage>,
    address: &SharedAddress,
) -> Result<FetchTurn, RedisUnavailable> {
    let servers = shared.servers().ok_or(RedisUnavailable::Away)?;
    let name = RecordName::of(address);
    let token = format!("{:032x}", random_number());
    let call = lease_call(&shared, name, &token);
    let reply = ACQUIRE_SCRIPT.run(&servers, Line::Quick, &call);
    let reply = shared.within(shared.timeout, Weight::Usual, reply).await;
    let is_held = match reply {
        Ok(reply) => replies::number(reply).ok_or(RedisUnavailable::Corrupt)? == 1,
        Err(RedisUnavailable::Late) => {
            // It may be held, and nobody would release it.
            runtime.spawn(release(shared, name, token));
            return Err(RedisUnavailable::Late);
        }
        Err(error) => return Err(error),
    };
    if is_held {
        let (released, is_released) = oneshot::channel();
        runtime.spawn(hold(shared, name, token, is_released));
        return Ok(FetchTurn::Leads(FetchLease {
            _released: released,
        }));
    }
    let (waiter, released) = oneshot::channel();
    // The thread lives as long as the handle that called.
    let _ = waiters.send(WaiterMessage::Wait(name, waiter));
    Ok(FetchTurn::Waits(FetchWait {
        shared: SharedHandle(shared),
        name,
        released,
    }))
}

fn lease_call(shared: &RedisShared, name: RecordName, token: &str) -> ScriptCall {
    let keys = [shared.keys.lease(name), shared.keys.waited(name)];
    ScriptCall::new(keys)
        .arg(token)
        .number(milliseconds(shared.timing.fetch_lease))
}

/// Renews a lease until it is released.
async fn hold(
    shared: Arc<RedisShared>,
    name: RecordName,
    token: String,
    mut released: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            _ = &mut released => break,
            () = sleep(shared.timing.fetch_renewal) => {}
        }
        if let Some(servers) = shared.servers() {
            let call = lease_call(&shared, name, &token);
            let extended = EXTEND_SCRIPT.run(&servers, Line::Quick, &call);
            // Without an answer it ends by itself.
            let _ = shared
                .within(shared.timing.answer, Weight::Usual, extended)
                .await;
        }
    }
    release(shared, name, token).await;
}

async fn release(shared: Arc<RedisShared>, name: RecordName, token: String) {
    let Some(servers) = shared.servers() else {
        return;
    };
    let keys = [shared.keys.lease(name), shared.keys.waited(name)];
    let call = ScriptCall::new(keys)
        .arg(token)
        .arg(shared.keys.released())
        .arg(name.to_string());
    let released = RELEASE_SCRIPT.run(&servers, Line::Quick, &call);
    // Without an answer it ends by itself.
    let _ = shared
        .within(shared.timing.answer, Weight::Usual, released)
        .await;
}

impl FetchWait {
    /// Waits until the other instance has ended its fetch, at most for a time.
    pub async fn ended(mut self, limit: Duration) -> SharedFetchEnd {
        let deadline = Instant::now() + limit;
        loop {
            // The lease may have ended before this instance waited for it, or its holder is gone.
            match self.is_held().await {
                Ok(true) => {}
                Ok(false) if self.released.try_recv().is_ok() => return SharedFetchEnd::Released,
                Ok(false) => return SharedFetchEnd::Lapsed,
                Err(_) => return SharedFetchEnd::Unavailable,
            }
            let next = (Instant::now() + self.shared.0.timing.fetch_poll).min(deadline);
            match timeout_at(next, &mut self.released).await {
                Ok(Ok(())) => return SharedFetchEnd::Released,
                Ok(Err(_)) => return SharedFetchEnd::Unavailable,
                Err(_) if next == deadline => return SharedFetchEnd::Late,
                Err(_) => {}
            }
        }
    }

    async fn is_held(&self) -> Result<bool, RedisUnavailable> {
        let shared = &self.shared.0;
        let servers = shared.servers().ok_or(RedisUnavailable::Away)?;
        let key = shared.keys.lease(self.name);
        let mut command = cmd("EXISTS");
        command.arg(&key);
        let reply = servers.send(&key, Line::Quick, &command);
        let reply = shared
            .within(shared.timing.hard_limit, Weight::Hard, reply)
            .await?;
        Ok(replies::number(reply) == Some(1))
    }
}
