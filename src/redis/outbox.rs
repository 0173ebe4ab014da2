//! Events that wait to be published.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::redis::{stamp::Stamp, unpublished::NotPublished};

/// The most events that wait.
const MAX_EVENTS: usize = 4_096;
/// The most bytes of events that wait.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The longest event, in bytes: a page of the stream must fit into a reply.
const MAX_EVENT_BYTES: usize = 64 * 1024;
/// The most events that are published at once.
const MAX_BATCH_EVENTS: usize = 64;
/// The most bytes of events that are published at once.
const MAX_BATCH_BYTES: usize = 256 * 1024;

/// The answer to who has published.
pub(super) type PublishAnswer = oneshot::Sender<Result<Stamp, NotPublished>>;

/// An event that waits.
#[derive(Debug)]
pub(super) struct WaitingEvent {
    pub(super) token: u64,
    pub(super) bytes: Bytes,
    /// `None` if it was answered that it waits.
    pub(super) answer: Option<PublishAnswer>,
}

/// Events that wait to be published, in their order.
#[derive(Debug)]
pub(super) struct Outbox {
    events: VecDeque<WaitingEvent>,
    bytes: usize,
    /// The event that stands for all.
    all: Bytes,
    /// The token of the last one that was published, or tried to.
    tried: u64,
}

impl Outbox {
    pub(super) fn new(all: Bytes) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            all,
            tried: 0,
        }
    }

    /// Adds an event. One that is too long, and too many, become one that stands for all.
    pub(super) fn push(&mut self, mut event: WaitingEvent) {
        if event.bytes.len() > MAX_EVENT_BYTES {
            event.bytes = self.all.clone();
        }
        let bytes = self.bytes + event.bytes.len();
        if self.events.len() < MAX_EVENTS && bytes <= MAX_BYTES {
            self.bytes = bytes;
            return self.events.push_back(event);
        }
        self.collapse(event.token);
        answer_waits(event.answer);
    }

    /// Makes one event that stands for all of all that wait, up to `token`.
    pub(super) fn collapse(&mut self, token: u64) {
        for event in self.events.drain(..) {
            answer_waits(event.answer);
        }
        self.bytes = self.all.len();
        self.events.push_back(WaitingEvent {
            token,
            bytes: self.all.clone(),
            answer: None,
        });
    }

    /// The next events to publish: their tokens and bytes. They stay until [`Outbox::published`].
    pub(super) fn batch(&mut self) -> Vec<(u64, Bytes)> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for event in self.events.iter().take(MAX_BATCH_EVENTS) {
            bytes += event.bytes.len();
            if bytes > MAX_BATCH_BYTES && !batch.is_empty() {
                break;
            }
            batch.push((event.token, event.bytes.clone()));
        }
        if let Some((token, _)) = batch.last() {
            self.tried = self.tried.max(*token);
        }
        batch
    }

    /// The first events were published, the last of them at a position.
    pub(super) fn published(&mut self, count: usize, last: Stamp) {
        for (event, left) in self
            .events
            .drain(..count.min(self.events.len()))
            .zip((0..count).rev())
        {
            self.bytes = self.bytes.saturating_sub(event.bytes.len());
            let stamp = Stamp {
                position: last.position.saturating_sub(left as u64),
                ..last
            };
            // Who has published may not wait for it.
            event.answer.map(|answer| answer.send(Ok(stamp)));
        }
    }

    /// Redis is away: who waits for an answer gets it.
    pub(super) fn fail(&mut self) {
        for event in &mut self.events {
            answer_waits(event.answer.take());
        }
    }

    /// The own events up to this token were published, or may have been, and do not wait.
    pub(super) fn settled(&self) -> u64 {
        match self.events.front() {
            Some(first) => self.tried.min(first.token.saturating_sub(1)),
            None => self.tried,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }
}

fn answer_waits(answer: Option<PublishAnswer>) {
    // Who has published may not wait for it.
    answer.map(|answer| answer.send(Err(NotPublished)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::stamp::DataEpoch;

    fn stamp(position: u64) -> Stamp {
        Stamp {
            epoch: DataEpoch(1),
            position,
        }
    }

    fn event(token: u64, length: usize) -> WaitingEvent {
        WaitingEvent {
            token,
            bytes: Bytes::from(vec![b'e'; length]),
            answer: None,
        }
    }

    #[test]
    fn events_are_published_in_their_order_and_know_their_positions() {
        let mut outbox = Outbox::new(Bytes::from_static(b"all"));
        let (answer, mut first) = oneshot::channel();
        outbox.push(WaitingEvent {
            answer: Some(answer),
            ..event(1, 10)
        });
        outbox.push(event(2, 10));
        assert_eq!(outbox.settled(), 0);
        let tokens: Vec<u64> = outbox.batch().iter().map(|(token, _)| *token).collect();
        assert_eq!(tokens, [1, 2]);
        assert_eq!(outbox.settled(), 0);
        outbox.published(2, stamp(9));
        assert_eq!(first.try_recv().unwrap(), Ok(stamp(8)));
        assert!(outbox.is_empty());
        assert_eq!((outbox.settled(), outbox.bytes), (2, 0));
    }

    #[test]
    fn a_batch_is_bounded() {
        let mut outbox = Outbox::new(Bytes::new());
        (1..=100).for_each(|token| outbox.push(event(token, 10)));
        assert_eq!(outbox.batch().len(), MAX_BATCH_EVENTS);
        let mut outbox = Outbox::new(Bytes::new());
        (1..=9).for_each(|token| outbox.push(event(token, MAX_EVENT_BYTES)));
        assert_eq!(outbox.batch().len(), 4);
    }

    #[test]
    fn too_many_events_become_one_that_stands_for_all() {
        for (count, length) in [(MAX_EVENTS as u64 + 1, 1), (65, MAX_EVENT_BYTES)] {
            let mut outbox = Outbox::new(Bytes::from_static(b"all"));
            (1..=count).for_each(|token| outbox.push(event(token, length)));
            assert_eq!(outbox.batch(), [(count, Bytes::from_static(b"all"))]);
        }
    }

    #[test]
    fn an_event_that_is_too_long_stands_for_all() {
        let mut outbox = Outbox::new(Bytes::from_static(b"all"));
        outbox.push(event(1, MAX_EVENT_BYTES + 1));
        assert_eq!(outbox.batch(), [(1, Bytes::from_static(b"all"))]);
    }

    #[test]
    fn who_waits_is_told_when_redis_is_away() {
        let mut outbox = Outbox::new(Bytes::new());
        let (answer, mut answered) = oneshot::channel();
        outbox.push(WaitingEvent {
            answer: Some(answer),
            ..event(1, 1)
        });
        outbox.fail();
        assert_eq!(answered.try_recv().unwrap(), Err(NotPublished));
        assert_eq!(outbox.len(), 1);
    }
}
