//! Which instances have not acknowledged an event.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::redis::{
    heartbeat::{RegisteredInstance, read_instances, stream_keys},
    replies,
    script::{ACKNOWLEDGED_SCRIPT, ScriptCall},
    servers::Line,
    settings::{RedisTiming, milliseconds},
    shared::{RedisShared, Weight},
    stamp::{DataEpoch, Stamp},
};

/// Which instances have not acknowledged an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgements {
    /// The names of those that Redis knows, in the order of their names.
    pub missing: Vec<String>,
    /// False if there may be instances that Redis does not know: it was emptied or restarted less than a lease ago, or
    /// it cannot be asked.
    pub is_certain: bool,
}

/// What Redis knows of acknowledgements.
struct KnownAcknowledgements {
    epoch: DataEpoch,
    /// Since when it has this epoch (ms).
    age_ms: u64,
    instances: Vec<RegisteredInstance>,
}

/// The first time after which Redis is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The other instances that have not acknowledged the event at `stamp`, after at most `wait`.
pub(super) async fn acknowledged(
    shared: &RedisShared,
    stamp: Stamp,
    wait: Duration,
) -> Acknowledgements {
    let deadline = Instant::now() + wait;
    let mut pause = FIRST_PAUSE;
    loop {
        let known = ask(shared).await;
        let result = judge(shared, known, stamp);
        let now = Instant::now();
        if (result.missing.is_empty() && result.is_certain) || now >= deadline {
            return result;
        }
        sleep(pause.min(deadline - now)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn judge(
    shared: &RedisShared,
    known: Option<KnownAcknowledgements>,
    stamp: Stamp,
) -> Acknowledgements {
    // Until this instance has told new data which instances it knew, they may lack some.
    let is_told = |known: &KnownAcknowledgements| {
        let applied = shared.applied();
        known.epoch == stamp.epoch
            && applied.is_some_and(|applied| applied.stamp.epoch == stamp.epoch)
    };
    let known = known.filter(is_told);
    let registration = milliseconds(RedisTiming::registration(shared.lease));
    let is_old = |known: &KnownAcknowledgements| known.age_ms >= registration;
    let is_certain = known
        .as_ref()
        .is_some_and(|known| shared.lease.is_none() || is_old(known));
    let (instances, position) = match known {
        Some(known) => (known.instances, stamp.position),
        // The instances that were there last, whatever they have acknowledged.
        None => (shared.instances.load().as_ref().clone(), u64::MAX),
    };
    let missing = instances
        .into_iter()
        .filter(|one| one.id != shared.id && one.position < position);
    let mut missing: Vec<String> = missing.map(|one| one.name).collect();
    missing.sort();
    Acknowledgements {
        missing,
        is_certain,
    }
}

/// `None` if Redis does not answer.
async fn ask(shared: &RedisShared) -> Option<KnownAcknowledgements> {
    let servers = shared.servers()?;
    let call = ScriptCall::new(stream_keys(&shared.keys));
    let reply = ACKNOWLEDGED_SCRIPT.run(&servers, Line::Quick, &call);
    let reply = shared
        .within(shared.timing.answer, Weight::Usual, reply)
        .await;
    let mut parts = replies::list(reply.ok()?)?.into_iter();
    let epoch = replies::text(parts.next()?)?;
    let mut words = epoch.split(' ');
    let epoch = DataEpoch::from_text(words.next()?)?;
    let made: u64 = words.nth(1)?.parse().ok()?;
    let now = replies::number(parts.next()?)?;
    Some(KnownAcknowledgements {
        epoch,
        age_ms: now.saturating_sub(made),
        instances: read_instances(parts.next()?, parts.next()?)?,
    })
}
