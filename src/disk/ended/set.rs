//! Which responses have ended.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

/// The hashes of a resource and of a partition: one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::disk) struct EndedAddress {
    pub(in crate::disk) resource: u64,
    pub(in crate::disk) partition: u32,
}

/// What has ended, up to which sequence number each.
#[derive(Clone, Debug, Default)]
pub(in crate::disk) struct EndedSet {
    all: u64,
    resources: HashMap<u64, u64, RandomState>,
    addresses: HashMap<EndedAddress, u64, RandomState>,
    sequences: HashSet<u64, RandomState>,
    /// Nothing with a larger number has ended.
    newest: u64,
}

impl EndedSet {
    /// Whether the response of this resource and partition with this sequence number has ended.
    pub(in crate::disk) fn ends(&self, resource: u64, partition: u32, seq: u64) -> bool {
        let address = EndedAddress {
            resource,
            partition,
        };
        let reaches = |ended: Option<&u64>| ended.is_some_and(|&last| seq <= last);
        seq <= self.all
            || seq <= self.newest
                && (reaches(self.resources.get(&resource))
                    || reaches(self.addresses.get(&address))
                    || self.sequences.contains(&seq))
    }

    /// Ends everything up to a number.
    pub(in crate::disk) fn end_all(&mut self, seq: u64) {
        if seq > self.all {
            self.all = seq;
            self.newest = self.newest.max(seq);
            self.forget(seq + 1);
        }
    }

    pub(in crate::disk) fn end_resources(&mut self, seq: u64, resources: &[u64]) {
        for &resource in resources {
            self.end_resource(seq, resource);
        }
    }

    pub(in crate::disk) fn end_resource(&mut self, seq: u64, resource: u64) {
        if seq > self.all {
            let last = self.resources.entry(resource).or_default();
            *last = (*last).max(seq);
            self.newest = self.newest.max(seq);
        }
    }

    pub(in crate::disk) fn end_addresses(&mut self, seq: u64, addresses: &[EndedAddress]) {
        for &address in addresses {
            self.end_address(seq, address);
        }
    }

    pub(in crate::disk) fn end_address(&mut self, seq: u64, address: EndedAddress) {
        if seq > self.all {
            let last = self.addresses.entry(address).or_default();
            *last = (*last).max(seq);
            self.newest = self.newest.max(seq);
        }
    }

    /// Ends the responses with exactly these numbers.
    pub(in crate::disk) fn end_sequences(&mut self, sequences: &[u64]) {
        for &seq in sequences.iter().filter(|&&seq| seq > self.all) {
            self.sequences.insert(seq);
            self.newest = self.newest.max(seq);
        }
    }

    /// Up to which number everything has ended.
    pub(super) fn all(&self) -> u64 {
        self.all
    }

    pub(super) fn resources(&self) -> impl ExactSizeIterator<Item = (u64, u64)> {
        self.resources
            .iter()
            .map(|(&resource, &seq)| (resource, seq))
    }

    pub(super) fn addresses(&self) -> impl ExactSizeIterator<Item = (EndedAddress, u64)> {
        self.addresses.iter().map(|(&address, &seq)| (address, seq))
    }

    pub(super) fn sequences(&self) -> impl ExactSizeIterator<Item = u64> {
        self.sequences.iter().copied()
    }

    /// Drops what ends only numbers below this one, but for [`Self::all`].
    pub(super) fn forget(&mut self, oldest_seq: u64) {
        self.resources.retain(|_, seq| *seq >= oldest_seq);
        self.addresses.retain(|_, seq| *seq >= oldest_seq);
        self.sequences.retain(|seq| *seq >= oldest_seq);
    }

    /// Ends everything up to a number such that at most `most` others are left.
    pub(super) fn bound(&mut self, most: usize) {
        let resources = self.resources.values().copied();
        let addresses = self.addresses.values().copied();
        let mut last: Vec<u64> = resources.chain(addresses).chain(self.sequences()).collect();
        if last.len() > most {
            let oldest_kept = last.len() - most - 1;
            let (_, &mut seq, _) = last.select_nth_unstable(oldest_kept);
            self.end_all(seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: EndedAddress = EndedAddress {
        resource: 7,
        partition: 3,
    };

    #[test]
    fn each_kind_ends_what_it_names_up_to_its_number() {
        let mut set = EndedSet::default();
        assert!(!set.ends(7, 3, 1));
        set.end_all(10);
        set.end_resources(20, &[7, 8]);
        set.end_addresses(30, &[ADDRESS]);
        set.end_sequences(&[35]);
        let ended = |seq| [(7, 3), (7, 4), (8, 3), (9, 3)].map(|(r, p)| set.ends(r, p, seq));
        assert_eq!(ended(10), [true; 4]);
        assert_eq!(ended(20), [true, true, true, false]);
        assert_eq!(ended(30), [true, false, false, false]);
        assert_eq!(ended(35), [true; 4]);
        assert_eq!(ended(36), [false; 4]);
    }

    #[test]
    fn an_older_end_takes_nothing_back() {
        let mut set = EndedSet::default();
        set.end_resources(20, &[7]);
        set.end_resources(10, &[7]);
        set.end_all(5);
        set.end_all(4);
        assert!(set.ends(7, 0, 20) && set.ends(1, 1, 5) && !set.ends(1, 1, 6));
    }

    #[test]
    fn what_ends_only_older_responses_is_forgotten() {
        let mut set = EndedSet::default();
        set.end_resources(20, &[7]);
        set.end_addresses(21, &[ADDRESS]);
        set.end_sequences(&[22]);
        set.forget(21);
        assert_eq!(set.resources().len(), 0);
        assert!(set.ends(7, 3, 21) && set.ends(1, 1, 22));
        set.end_all(40);
        assert_eq!(set.addresses().len() + set.sequences().len(), 0);
    }

    #[test]
    fn too_many_become_an_end_of_everything_older() {
        let mut set = EndedSet::default();
        for seq in 1..=100 {
            set.end_resources(seq, &[seq]);
        }
        set.bound(100);
        assert_eq!(set.all(), 0);
        set.bound(30);
        assert_eq!((set.all(), set.resources().len()), (70, 30));
        assert!(set.ends(1, 0, 70) && !set.ends(1, 0, 71) && set.ends(71, 0, 71));
    }
}
