//! The order of eviction (S3-FIFO): it resists scans.
//!
//! New keys wait in a short queue. Those that are used there move to the main queue, the others are evicted, and their hashes
//! are remembered for a while: a key that comes back soon goes to the main queue at once. There, a key that was used since
//! its last turn gets another turn.

use std::sync::Arc;

use crate::cache::store::{slots::Slots, stored::Stored};

/// The queue of new keys has one part in this many of the memory.
const NEW_PARTS: u64 = 10;
/// So many keys that were used get another turn in one step, which takes some 50 microseconds. Then the next ones are
/// evicted all the same.
const MAX_TURNS: usize = 512;
/// One evicted key is remembered for so many bytes of the budget.
const REMEMBERED_BYTES: u64 = 2048;
const MAX_REMEMBERED: u64 = 1 << 20;

/// How many keys that were used may still get another turn in one step, however many are evicted in it.
#[derive(Debug)]
pub(in crate::cache) struct TurnsLeft(usize);

impl Default for TurnsLeft {
    fn default() -> Self {
        Self(MAX_TURNS)
    }
}

/// The keys in their slots, each in one of two queues.
pub(in crate::cache) struct EvictionOrder {
    slots: Slots<Queued>,
    new: Queue,
    main: Queue,
    evicted: EvictedHashes,
}

struct Queued {
    stored: Arc<Stored>,
    is_new: bool,
    before: SlotLink,
    after: SlotLink,
}

/// The slot before or after another one in a queue, in half of the memory of an `Option<usize>`.
#[derive(Clone, Copy)]
struct SlotLink(u32);

impl SlotLink {
    /// There is none.
    const END: Self = Self(u32::MAX);

    /// The link to a slot; `None` is the end of the queue. So many keys that a slot has no number of 32 bits are not stored.
    fn to(slot: Option<usize>) -> Self {
        let number = slot.and_then(|slot| u32::try_from(slot).ok());
        number.map_or(Self::END, Self)
    }

    /// The slot; `None` at the end of the queue.
    fn slot(self) -> Option<usize> {
        let number = Some(self.0).filter(|number| *number != Self::END.0)?;
        usize::try_from(number).ok()
    }
}

#[derive(Default)]
struct Queue {
    first: Option<usize>,
    last: Option<usize>,
    bytes: u64,
}

/// Parts of the hashes of evicted keys, each in the place that the rest of the hash determines.
struct EvictedHashes(Vec<u32>);

impl EvictedHashes {
    fn new(limit_bytes: u64) -> Self {
        let places = (limit_bytes / REMEMBERED_BYTES).clamp(64, MAX_REMEMBERED);
        Self(vec![0; usize::try_from(places).unwrap_or(64)])
    }

    /// The place of a hash, and the part that it holds. 0 means none.
    fn place(&mut self, hash: u64) -> Option<(&mut u32, u32)> {
        let number = usize::try_from(hash & u64::from(u32::MAX)).ok()? % self.0.len();
        let part = u32::try_from(hash >> 32).ok()?.max(1);
        Some((self.0.get_mut(number)?, part))
    }

    fn remember(&mut self, hash: u64) {
        if let Some((place, part)) = self.place(hash) {
            *place = part;
        }
    }

    /// True if the hash was remembered. Then it is not any more.
    fn take(&mut self, hash: u64) -> bool {
        let place = self.place(hash).filter(|(place, part)| **place == *part);
        place.map(|(place, _)| *place = 0).is_some()
    }
}

impl EvictionOrder {
    /// No keys. A larger budget remembers more evicted ones.
    pub(in crate::cache) fn new(limit_bytes: u64) -> Self {
        Self {
            slots: Slots::default(),
            new: Queue::default(),
            main: Queue::default(),
            evicted: EvictedHashes::new(limit_bytes),
        }
    }

    /// The memory of all keys, in bytes.
    pub(in crate::cache) fn bytes(&self) -> u64 {
        self.new.bytes + self.main.bytes
    }

    /// The number that [`EvictionOrder::insert`] will give to the next key.
    pub(in crate::cache) fn next_slot(&self) -> usize {
        self.slots.next_number()
    }

    /// Adds a key.
    pub(in crate::cache) fn insert(&mut self, stored: Arc<Stored>) {
        let is_new = !self.evicted.take(stored.hash);
        let slot = self.slots.insert(Queued {
            stored,
            is_new,
            before: SlotLink::END,
            after: SlotLink::END,
        });
        self.append(slot, is_new);
    }

    /// Puts `stored` in the place of the key in its slot, at the same place of the order.
    pub(in crate::cache) fn replace(&mut self, stored: Arc<Stored>) {
        let Some(queued) = self.slots.get_mut(stored.place().slot()) else {
            return;
        };
        let is_new = queued.is_new;
        let (before, after) = (queued.stored.weight_bytes(), stored.weight_bytes());
        queued.stored = stored;
        let queue = self.queue(is_new);
        queue.bytes = queue.bytes - before + after;
    }

    /// Removes the key in a slot.
    pub(in crate::cache) fn remove(&mut self, slot: usize) {
        self.unlink(slot);
        self.slots.remove(slot);
    }

    /// The key in a slot; `None` if it is free.
    pub(in crate::cache) fn get(&self, slot: usize) -> Option<&Arc<Stored>> {
        self.slots.get(slot).map(|queued| &queued.stored)
    }

    /// All slots are below this one.
    pub(in crate::cache) fn end(&self) -> usize {
        self.slots.end()
    }

    /// The number of keys.
    pub(in crate::cache) fn len(&self) -> usize {
        self.slots.len()
    }

    /// All keys.
    pub(in crate::cache) fn into_keys(self) -> impl Iterator<Item = Arc<Stored>> {
        self.slots.into_items().map(|queued| queued.stored)
    }

    /// The key to evict next; `None` if there is none.
    pub(in crate::cache) fn next_to_evict(&mut self, turns: &mut TurnsLeft) -> Option<Arc<Stored>> {
        loop {
            let is_new = self.main.first.is_none() || self.new.bytes > self.bytes() / NEW_PARTS;
            let slot = self.queue(is_new).first?;
            let stored = Arc::clone(self.get(slot)?);
            if turns.0 == 0 || !stored.take_use() {
                if is_new {
                    self.evicted.remember(stored.hash);
                }
                return Some(stored);
            }
            turns.0 -= 1;
            self.unlink(slot);
            self.append(slot, false);
        }
    }

    fn queue(&mut self, is_new: bool) -> &mut Queue {
        match is_new {
            true => &mut self.new,
            false => &mut self.main,
        }
    }

    /// Puts a slot at the end of a queue.
    fn append(&mut self, slot: usize, is_new: bool) {
        let last = self.queue(is_new).last.replace(slot);
        match last.and_then(|last| self.slots.get_mut(last)) {
            Some(last) => last.after = SlotLink::to(Some(slot)),
            None => self.queue(is_new).first = Some(slot),
        }
        if let Some(queued) = self.slots.get_mut(slot) {
            (queued.is_new, queued.before, queued.after) =
                (is_new, SlotLink::to(last), SlotLink::END);
            let bytes = queued.stored.weight_bytes();
            self.queue(is_new).bytes += bytes;
        }
    }

    /// Takes a slot out of its queue.
    fn unlink(&mut self, slot: usize) {
        let Some(queued) = self.slots.get(slot) else {
            return;
        };
        let (before, after, is_new) = (queued.before.slot(), queued.after.slot(), queued.is_new);
        let bytes = queued.stored.weight_bytes();
        match before.and_then(|before| self.slots.get_mut(before)) {
            Some(before) => before.after = SlotLink::to(after),
            None => self.queue(is_new).first = after,
        }
        match after.and_then(|after| self.slots.get_mut(after)) {
            Some(after) => after.before = SlotLink::to(before),
            None => self.queue(is_new).last = before,
        }
        self.queue(is_new).bytes -= bytes;
    }
}
