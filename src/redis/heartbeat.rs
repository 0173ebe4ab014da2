//! The heartbeat: it registers this instance, acknowledges events, and says what is there.

use ::redis::Value;

use crate::redis::{
    address::KeyNames,
    replies,
    script::{HEARTBEAT_SCRIPT, ScriptCall},
    servers::{Line, SendError, Servers},
    settings::{RedisTiming, milliseconds},
    stamp::{DataEpoch, Stamp},
};

/// An instance as it is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RegisteredInstance {
    pub(super) id: String,
    pub(super) name: String,
    /// What it has acknowledged.
    pub(super) position: u64,
}

/// What a heartbeat says to Redis.
#[derive(Debug)]
pub(super) struct HeartbeatCall<'c> {
    /// A random epoch, in case that a new one is needed.
    pub(super) fresh: DataEpoch,
    /// The last entry that was read.
    pub(super) received: Option<Stamp>,
    pub(super) id: &'c str,
    pub(super) name: &'c str,
    /// What this instance acknowledges, in the epoch of `received`.
    pub(super) applied: u64,
    pub(super) registration_ms: u64,
    /// Instances of an earlier epoch, and how long they are registered for (ms).
    pub(super) former: &'c [(RegisteredInstance, u64)],
}

/// What Redis answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HeartbeatReply {
    pub(super) epoch: DataEpoch,
    pub(super) last: u64,
    /// Redis's time, in milliseconds since the Unix epoch.
    pub(super) time_ms: u64,
    /// Whether a restart of Redis would be noticed.
    pub(super) notices_restarts: bool,
    pub(super) instances: Vec<RegisteredInstance>,
}

/// The four keys of the stream, in the order of the scripts.
pub(super) fn stream_keys(keys: &KeyNames) -> [String; 4] {
    [
        keys.epoch(),
        keys.events(),
        keys.instances(),
        keys.acknowledged(),
    ]
}

/// The first four arguments of the scripts that open the stream.
pub(super) fn open_call(
    keys: &KeyNames,
    fresh: DataEpoch,
    received: Option<Stamp>,
    timing: &RedisTiming,
) -> ScriptCall {
    let epoch = received.map(|stamp| stamp.epoch.text()).unwrap_or_default();
    ScriptCall::new(stream_keys(keys))
        .arg(fresh.text())
        .arg(epoch)
        .number(received.map_or(0, |stamp| stamp.position))
        .number(milliseconds(timing.kept))
}

impl HeartbeatCall<'_> {
    /// Sends it. `Ok(None)` if the reply is not what the script answers.
    pub(super) async fn send(
        &self,
        servers: &Servers,
        keys: &KeyNames,
        timing: &RedisTiming,
    ) -> Result<Option<HeartbeatReply>, SendError> {
        let mut call = open_call(keys, self.fresh, self.received, timing)
            .arg(self.id)
            .arg(self.name)
            .number(self.applied)
            .number(self.registration_ms);
        for (instance, ms) in self.former {
            call = call
                .arg(instance.id.as_str())
                .arg(instance.name.as_str())
                .number(*ms);
        }
        let reply = HEARTBEAT_SCRIPT.run(servers, Line::Quick, &call).await?;
        Ok(read_heartbeat(reply))
    }
}

fn read_heartbeat(reply: Value) -> Option<HeartbeatReply> {
    let mut parts = replies::list(reply)?.into_iter();
    Some(HeartbeatReply {
        epoch: DataEpoch::from_text(&replies::text(parts.next()?)?)?,
        last: replies::number(parts.next()?)?,
        time_ms: replies::number(parts.next()?)?,
        notices_restarts: {
            let _created = parts.next()?;
            replies::number(parts.next()?)? == 1
        },
        instances: read_instances(parts.next()?, parts.next()?)?,
    })
}

/// The instances of a list of ids, with what each has acknowledged. One that has acknowledged nothing is at position 0.
pub(super) fn read_instances(ids: Value, acknowledged: Value) -> Option<Vec<RegisteredInstance>> {
    let mut known = std::collections::HashMap::new();
    for (id, value) in replies::pairs(acknowledged)? {
        // Other fields are not ours.
        let (Some(id), Some(value)) = (replies::text(id), replies::text(value)) else {
            continue;
        };
        if let Some((position, name)) = value.split_once(' ')
            && let Ok(position) = position.parse()
        {
            known.insert(id, (position, shown(name)));
        }
    }
    let ids = replies::list(ids)?.into_iter().filter_map(replies::text);
    let instances = ids.map(|id| {
        let (position, name) = known.remove(&id).unwrap_or_else(|| (0, shown(&id)));
        RegisteredInstance { id, name, position }
    });
    Some(instances.collect())
}

/// A name without control characters, shortened.
fn shown(name: &str) -> String {
    let letters = name.chars().filter(|letter| !letter.is_control());
    letters.take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn instances_are_read_with_what_they_have_acknowledged() {
        let ids = Value::Array(vec![text("a"), text("b"), text("c")]);
        let acknowledged = Value::Map(vec![
            (text("a"), text("7 one:8080")),
            (text("b"), text("garbage")),
            (Value::Int(1), text("1 x")),
            (text("d"), text("9 gone")),
        ]);
        let instances = read_instances(ids, acknowledged).unwrap();
        let shown: Vec<_> = instances
            .iter()
            .map(|instance| (instance.name.as_str(), instance.position))
            .collect();
        assert_eq!(shown, [("one:8080", 7), ("b", 0), ("c", 0)]);
        assert_eq!(shown_name("a\nb"), "ab");
    }

    fn shown_name(name: &str) -> String {
        super::shown(name)
    }

    #[test]
    fn another_reply_is_none() {
        assert_eq!(read_heartbeat(Value::Okay), None);
        assert_eq!(read_heartbeat(Value::Array(vec![text("x")])), None);
    }
}
