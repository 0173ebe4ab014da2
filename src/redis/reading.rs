//! What was read from the stream of events, and what of it was applied.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;

use crate::redis::{
    events::{RedisMessage, RedisMessageKind},
    stamp::{DataEpoch, Stamp},
};

/// How many messages may wait to be applied before no more are read.
const MAX_OUTSTANDING: usize = 4_096;

/// An entry of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamEntry {
    /// The id in Redis.
    pub(super) id: String,
    pub(super) position: u64,
    /// The id of the instance that has published it. Empty in the first entry of an epoch, which is no event.
    pub(super) instance: String,
    pub(super) token: u64,
    pub(super) bytes: Bytes,
}

/// The stream has gone back: it is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WentBack;

/// What a confirmed message has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// Everything up to this position.
    UpTo(u64),
    /// The own tiers were emptied after the end of the lease.
    Emptied,
}

/// A message that is not confirmed yet.
#[derive(Debug)]
struct Outstanding {
    number: u64,
    /// Which reading it belongs to.
    reading: u64,
    from: Option<u64>,
    applied: Applied,
}

/// What was read from the stream, and what of it was applied.
#[derive(Debug)]
pub(super) struct StreamReading {
    messages: UnboundedSender<RedisMessage>,
    /// The id of this instance.
    own: String,
    /// What the own tiers had applied before the present epoch.
    base: Option<Stamp>,
    epoch: Option<DataEpoch>,
    /// The position of the last entry that was read. `None` at the beginning.
    received: Option<u64>,
    /// Its id.
    last_id: String,
    /// Grows with each beginning.
    reading: u64,
    outstanding: VecDeque<Outstanding>,
    next_number: u64,
    /// The events after this position are known, up to `applied`.
    from: u64,
    applied: Option<u64>,
}

impl StreamReading {
    pub(super) fn new(
        messages: UnboundedSender<RedisMessage>,
        own: String,
        base: Option<Stamp>,
    ) -> Self {
        Self {
            messages,
            own,
            base,
            epoch: None,
            received: None,
            last_id: "0".into(),
            reading: 0,
            outstanding: VecDeque::new(),
            next_number: 1,
            from: 0,
            applied: None,
        }
    }

    /// The stream of an epoch is read from its beginning.
    pub(super) fn begin(&mut self, epoch: DataEpoch) {
        if let Some(applied) = self.applied() {
            self.base = Some(applied);
        }
        self.epoch = Some(epoch);
        self.received = None;
        self.last_id = "0".into();
        self.forget();
    }

    fn forget(&mut self) {
        self.reading += 1;
        self.applied = None;
    }

    pub(super) fn epoch(&self) -> Option<DataEpoch> {
        self.epoch
    }

    /// What the own tiers have applied or this instance has read: Redis must have as much of this epoch. `None` if it has
    /// neither.
    pub(super) fn known(&self) -> Option<Stamp> {
        match self.epoch {
            Some(epoch) => Some(Stamp {
                epoch,
                position: self.received(),
            }),
            None => self.base,
        }
    }

    /// What the own tiers had applied in an earlier run counts as nothing.
    pub(super) fn forget_earlier(&mut self) {
        self.base = None;
    }

    /// The position of the last entry that was read. 0 if there is none.
    pub(super) fn received(&self) -> u64 {
        self.received.unwrap_or_default()
    }

    /// The id in Redis of the last entry that was read.
    pub(super) fn last_id(&self) -> &str {
        &self.last_id
    }

    /// What was applied and confirmed. `None` until the beginning of the present reading was confirmed.
    pub(super) fn applied(&self) -> Option<Stamp> {
        Some(Stamp {
            epoch: self.epoch?,
            position: self.applied?,
        })
    }

    /// The events after this position are known.
    pub(super) fn from(&self) -> u64 {
        self.from
    }

    /// Whether more may be read.
    pub(super) fn has_room(&self) -> bool {
        self.outstanding.len() < MAX_OUTSTANDING
    }

    /// Takes the next entry. Own events up to `settled` were published before.
    pub(super) fn receive(&mut self, entry: StreamEntry, settled: u64) -> Result<(), WentBack> {
        let epoch = self.epoch.ok_or(WentBack)?;
        let is_event = !entry.instance.is_empty();
        let before = entry.position - u64::from(is_event);
        match self.received {
            None => {
                let from = Stamp {
                    epoch,
                    position: before,
                };
                let is_continuous = self.base.is_some_and(|base| base.includes(from));
                self.begins(from, is_continuous, settled);
            }
            Some(received) if entry.position <= received => return Err(WentBack),
            Some(received) if entry.position == received + 1 => {}
            Some(_) => {
                // Entries were removed before they were read.
                let from = Stamp {
                    epoch,
                    position: before,
                };
                self.base = None;
                self.forget();
                self.begins(from, false, settled);
            }
        }
        self.received = Some(entry.position);
        self.last_id = entry.id;
        if is_event {
            let stamp = Stamp {
                epoch,
                position: entry.position,
            };
            let kind = RedisMessageKind::Event {
                stamp,
                bytes: entry.bytes,
                own: (entry.instance == self.own).then_some(entry.token),
                is_known: self.base.is_some_and(|base| base.includes(stamp)),
            };
            self.say(kind, None, Applied::UpTo(entry.position));
        }
        Ok(())
    }

    fn begins(&mut self, from: Stamp, is_continuous: bool, own_until: u64) {
        let kind = RedisMessageKind::Begins {
            from,
            is_continuous,
            own_until,
        };
        self.say(kind, Some(from.position), Applied::UpTo(from.position));
    }

    /// Says that the lease has ended.
    pub(super) fn lease_ends(&mut self) {
        self.say(RedisMessageKind::LeaseEnded, None, Applied::Emptied);
    }

    fn say(&mut self, kind: RedisMessageKind, from: Option<u64>, applied: Applied) {
        let number = self.next_number;
        self.next_number += 1;
        self.outstanding.push_back(Outstanding {
            number,
            reading: self.reading,
            from,
            applied,
        });
        // Without a reader nothing is confirmed, and Redis is not used.
        let _ = self.messages.send(RedisMessage { kind, number });
    }

    /// The messages up to a number were applied. Returns true if the own tiers were emptied after the end of the lease.
    pub(super) fn confirm(&mut self, number: u64) -> bool {
        let mut is_emptied = false;
        while let Some(message) = self.outstanding.front()
            && message.number <= number
        {
            match message.applied {
                Applied::Emptied => is_emptied = true,
                Applied::UpTo(position) if message.reading == self.reading => {
                    self.applied = Some(position);
                    self.from = message.from.unwrap_or(self.from);
                }
                Applied::UpTo(_) => {}
            }
            self.outstanding.pop_front();
        }
        is_emptied
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    const OLD: DataEpoch = DataEpoch(1);
    const NEW: DataEpoch = DataEpoch(2);

    fn stamp(epoch: DataEpoch, position: u64) -> Stamp {
        Stamp { epoch, position }
    }

    fn reading(base: Option<Stamp>) -> (StreamReading, UnboundedReceiver<RedisMessage>) {
        let (sender, messages) = unbounded_channel();
        (StreamReading::new(sender, "me".into(), base), messages)
    }

    fn entry(position: u64, instance: &str) -> StreamEntry {
        StreamEntry {
            id: format!("{position}-0"),
            position,
            instance: instance.into(),
            token: 10 + position,
            bytes: Bytes::from_static(b"event"),
        }
    }

    /// All messages so far.
    fn heard(messages: &mut UnboundedReceiver<RedisMessage>) -> Vec<RedisMessage> {
        std::iter::from_fn(|| messages.try_recv().ok()).collect()
    }

    fn begins(message: &RedisMessage) -> (Stamp, bool) {
        match &message.kind {
            RedisMessageKind::Begins {
                from,
                is_continuous,
                ..
            } => (*from, *is_continuous),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_new_stream_is_read_from_its_first_entry() {
        let (mut reading, mut messages) = reading(None);
        reading.begin(OLD);
        reading.receive(entry(1, ""), 0).unwrap();
        reading.receive(entry(2, "other"), 0).unwrap();
        reading.receive(entry(3, "me"), 0).unwrap();
        let heard = heard(&mut messages);
        assert_eq!(begins(&heard[0]), (stamp(OLD, 1), false));
        let owns = heard[1..].iter().map(|message| match &message.kind {
            RedisMessageKind::Event { own, .. } => *own,
            other => panic!("{other:?}"),
        });
        assert_eq!(owns.collect::<Vec<_>>(), [None, Some(13)]);
        assert_eq!(reading.applied(), None);
        assert!(!reading.confirm(heard[0].number));
        assert_eq!(reading.applied(), Some(stamp(OLD, 1)));
        reading.confirm(heard[2].number);
        assert_eq!(
            (reading.applied(), reading.from()),
            (Some(stamp(OLD, 3)), 1)
        );
    }

    #[test]
    fn what_an_earlier_run_has_applied_is_continued() {
        let (mut reading, mut messages) = reading(Some(stamp(OLD, 8)));
        reading.begin(OLD);
        (8..=9).for_each(|position| reading.receive(entry(position, "a"), 0).unwrap());
        let heard = heard(&mut messages);
        assert_eq!(begins(&heard[0]), (stamp(OLD, 7), true));
        let known = heard[1..].iter().map(|message| match &message.kind {
            RedisMessageKind::Event { is_known, .. } => *is_known,
            other => panic!("{other:?}"),
        });
        assert_eq!(known.collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_stream_that_begins_after_what_was_applied_is_not_continuous() {
        for base in [stamp(OLD, 7), stamp(NEW, 100)] {
            let (mut reading, mut messages) = reading(Some(base));
            reading.begin(OLD);
            reading.receive(entry(9, "a"), 0).unwrap();
            assert_eq!(begins(&heard(&mut messages)[0]), (stamp(OLD, 8), false));
        }
    }

    #[test]
    fn a_gap_begins_anew_and_empties() {
        let (mut reading, mut messages) = reading(None);
        reading.begin(OLD);
        reading.receive(entry(1, ""), 0).unwrap();
        let first = heard(&mut messages).remove(0);
        reading.confirm(first.number);
        reading.receive(entry(3, "a"), 0).unwrap();
        assert_eq!(reading.applied(), None);
        let heard = heard(&mut messages);
        assert_eq!(begins(&heard[0]), (stamp(OLD, 2), false));
        reading.confirm(heard[1].number);
        assert_eq!(
            (reading.applied(), reading.from()),
            (Some(stamp(OLD, 3)), 2)
        );
    }

    #[test]
    fn a_stream_that_goes_back_is_refused() {
        let (mut reading, _messages) = reading(None);
        assert_eq!(reading.receive(entry(1, ""), 0), Err(WentBack));
        reading.begin(OLD);
        reading.receive(entry(5, "a"), 0).unwrap();
        for position in [1, 4, 5] {
            assert_eq!(reading.receive(entry(position, "a"), 0), Err(WentBack));
        }
    }

    #[test]
    fn confirming_messages_of_an_earlier_reading_changes_nothing() {
        let (mut reading, mut messages) = reading(None);
        reading.begin(OLD);
        reading.receive(entry(1, ""), 0).unwrap();
        reading.lease_ends();
        let heard_before = heard(&mut messages);
        reading.begin(NEW);
        assert!(!reading.confirm(heard_before[0].number));
        assert!(reading.confirm(heard_before[1].number));
        assert_eq!(reading.applied(), None);
        reading.receive(entry(1, ""), 0).unwrap();
        let heard = heard(&mut messages);
        assert_eq!(begins(&heard[0]), (stamp(NEW, 1), false));
    }

    #[test]
    fn reading_stops_if_nothing_is_applied() {
        let (mut reading, _messages) = reading(None);
        reading.begin(OLD);
        for position in 1..MAX_OUTSTANDING as u64 {
            assert!(reading.has_room());
            reading.receive(entry(position, "a"), 0).unwrap();
        }
        assert!(!reading.has_room());
    }
}
