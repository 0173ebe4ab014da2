//! Ending responses: what names them is written down first, then they go from the index, then the caller is answered.

use std::{
    sync::{atomic::Ordering, mpsc::Receiver},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::disk::{
    address::{AddressHash, KeyHash},
    contents::RemovedRecords,
    ended::EndedAddress,
    ends::{End, Ended, NotDurable, Swept},
    messages::{EndCall, Message},
    shared::DiskNumbers,
    writer::{
        DiskWriter,
        rows::{PendingRow, PendingWritten},
    },
};

/// How many rules that remove are in force at most before a further one waits for a sweep.
const MAX_REMOVING: usize = 60;
/// How long it waits.
const SWEEP_WAIT: Duration = Duration::from_millis(1500);

/// What one call ends.
#[derive(Default)]
struct Effects {
    all: bool,
    resources: Vec<u64>,
    addresses: Vec<AddressHash>,
    /// What was ended before it was written.
    waiting: u64,
}

impl DiskWriter {
    /// Does calls together.
    pub(super) fn end_all_of(&mut self, calls: Vec<EndCall>, inbox: &Receiver<Message>) {
        if calls.iter().any(has_rule) {
            // A rule names what is written. What waits gets its number now.
            self.flush();
            self.wait_for_sweeps(inbox);
        }
        let seq = self.newest_seq();
        let mut calls: Vec<_> = calls
            .into_iter()
            .map(|mut call| {
                let bytes = std::mem::take(&mut call.bytes);
                DiskNumbers::subtract(&self.shared.numbers.waiting_end_bytes, bytes);
                let effects = self.collect(&mut call, seq);
                (call, effects)
            })
            .collect();
        if calls.iter().any(|(_, effects)| effects.all) {
            self.pending.end_all(seq);
        }
        let outcome = self.write_pending();
        for (call, effects) in calls.drain(..) {
            let removed = match outcome {
                PendingWritten::Everything => RemovedRecords::default(),
                _ => self.apply(&effects, seq),
            };
            self.upkeep.remove_large(&removed);
            // Not before it is in force: if the caller has given up, the store is used again from here on.
            self.shared.availability.written(&call.state);
            let ended = Ended {
                responses: removed.responses + effects.waiting,
                bytes: removed.bytes,
            };
            let result = match outcome {
                PendingWritten::NotWritten => Err(NotDurable),
                PendingWritten::Written | PendingWritten::Everything => Ok(ended),
            };
            let _ = call.durable.send(result);
        }
    }

    /// Ends everything, because it is not known what has been superseded.
    pub(super) fn end_everything(&mut self) {
        self.batch_remove(|_| true);
        let seq = self.newest_seq();
        self.pending.end_all(seq);
        self.write_pending();
        self.clear(seq);
    }

    /// Takes the rows that a call needs, and what it names out of the responses that wait.
    fn collect(&mut self, call: &mut EndCall, seq: u64) -> Effects {
        let mut effects = Effects::default();
        let due = Instant::now();
        for end in std::mem::take(&mut call.ends) {
            match end {
                End::All => {
                    effects.waiting += self.batch_remove(|_| true);
                    effects.all = true;
                }
                End::Resources(resources) => {
                    let hashes = resources
                        .iter()
                        .map(|name| self.shared.hasher.resource(name));
                    let mut hashes: Vec<u64> = hashes.collect();
                    hashes.retain(|hash| self.may_have_resource(*hash, &mut effects));
                    if !hashes.is_empty() {
                        let row = PendingRow::Resources {
                            seq,
                            resources: hashes.clone(),
                        };
                        self.pending.push(row, due, seq);
                    }
                    effects.resources.extend(hashes);
                }
                End::Address(address) => {
                    let hash = self.shared.hasher.address(&address);
                    if self.may_have_address(hash, &mut effects) {
                        let address = EndedAddress {
                            resource: hash.resource,
                            partition: hash.partition,
                        };
                        let row = PendingRow::Addresses {
                            seq,
                            addresses: vec![address],
                        };
                        self.pending.push(row, due, seq);
                        effects.addresses.push(hash);
                    }
                }
                End::Matching { rule, action } => {
                    let row = PendingRow::Rule {
                        seq,
                        action,
                        rule,
                        swept: Some(take_swept(call)),
                    };
                    self.pending.push(row, due, seq);
                }
                End::Note(note) => self.pending.push(PendingRow::Note(note), due, seq),
            }
        }
        effects
    }

    /// Whether anything of a resource can be in a segment. What waits is taken out at once.
    fn may_have_resource(&mut self, resource: u64, effects: &mut Effects) -> bool {
        let is_of = |key: KeyHash| key.address.resource == resource;
        effects.waiting += self.batch_remove(is_of);
        self.shared.is_loading()
            || !self.shared.index.find_resource(resource).is_empty()
            || self.shared.contents().may_be_unlisted(resource)
    }

    /// Whether anything at an address can be in a segment. What waits is taken out at once.
    fn may_have_address(&mut self, address: AddressHash, effects: &mut Effects) -> bool {
        effects.waiting += self.batch_remove(|key| key.address == address);
        self.shared.is_loading()
            || self.shared.index.has(address)
            || self.shared.contents().may_be_unlisted(address.resource)
    }

    /// Removes from the index what a call names.
    fn apply(&mut self, effects: &Effects, seq: u64) -> RemovedRecords {
        if effects.all {
            return self.clear(seq);
        }
        self.shared.change(|contents, index| {
            let mut removed = RemovedRecords::default();
            if let Some(ended) = &mut contents.ended {
                ended.end_resources(seq, &effects.resources);
            }
            for resource in &effects.resources {
                contents.forget_unlisted(*resource);
                removed.add(contents.remove(index, *resource, |_| true));
            }
            for address in &effects.addresses {
                if let Some(ended) = &mut contents.ended {
                    let address = EndedAddress {
                        resource: address.resource,
                        partition: address.partition,
                    };
                    ended.end_addresses(seq, &[address]);
                }
                let chosen = |key: KeyHash| key.address == *address;
                removed.add(contents.remove(index, address.resource, chosen));
            }
            removed
        })
    }

    /// Removes everything, and its files.
    pub(super) fn clear(&mut self, seq: u64) -> RemovedRecords {
        let responses = self.shared.contents().responses() as u64;
        let numbers = &self.shared.numbers;
        let bytes = numbers.bytes.load(Ordering::Relaxed);
        let removed = self.shared.change(|contents, index| {
            if let Some(ended) = &mut contents.ended {
                ended.end_all(seq);
            }
            contents.clear(index)
        });
        self.upkeep.remove_large(&removed);
        let active = self.active.take();
        let active = active.map(|active| active.segment().clone());
        for segment in std::mem::take(&mut self.sealed).into_iter().chain(active) {
            self.upkeep.remove_segment(&segment);
        }
        self.shared.segments.clear();
        RemovedRecords {
            responses,
            bytes,
            files: Vec::new(),
        }
    }

    /// Waits until fewer rules are in force, for some time. Other messages are postponed.
    fn wait_for_sweeps(&mut self, inbox: &Receiver<Message>) {
        let until = Instant::now() + SWEEP_WAIT;
        while self.shared.rules.load().removing().len() >= MAX_REMOVING {
            let wait = until.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(wait) {
                Ok(Message::Swept { sequences, rules }) => self.swept(sequences, rules),
                Ok(other) => self.postponed.push_back(other),
                Err(_) => return,
            }
        }
    }
}

/// The answer for a sweep. A call with several rules gets that of the first one.
fn take_swept(call: &mut EndCall) -> oneshot::Sender<Swept> {
    std::mem::replace(&mut call.swept, oneshot::channel().0)
}

fn has_rule(call: &EndCall) -> bool {
    let is_rule = |end: &End| matches!(end, End::Matching { .. });
    call.ends.iter().any(is_rule)
}
