//! What is stored, as the threads of the disk change it, one at a time.

use std::collections::{HashMap, HashSet};

use crate::disk::{
    address::KeyHash,
    ended::EndedSet,
    index::{DiskIndex, IndexCounts, LoadedRecord},
    place::Place,
    segment::LargeName,
};

/// How many resources are remembered of which the index has no record, but the disk may have.
const MAX_UNLISTED: usize = 65_536;

/// What the threads of the disk change behind their lock. No handler takes it, and nothing is read or written while it
/// is held.
pub(super) struct Contents {
    counts: IndexCounts,
    /// How many records name the file of a body, by its number.
    large_files: HashMap<u64, NamedFile>,
    /// The file of a body by the place of a record that names it.
    large_at: HashMap<Place, u64>,
    /// What has ended, as long as the index is loaded. `None` later.
    pub(super) ended: Option<EndedSet>,
    /// Segments that are being removed, or could not be, with their first sequence numbers.
    pub(super) removed_segments: HashMap<u32, u64>,
    unlisted: UnlistedResources,
}

/// Resources of which there can be records on the disk, which have not ended, though the index has none of them.
#[derive(Debug, Default)]
struct UnlistedResources {
    resources: HashSet<u64>,
    /// There were too many: it can be any resource.
    are_all: bool,
    /// These records have lower or the same sequence numbers.
    newest_seq: u64,
}

#[derive(Debug)]
struct NamedFile {
    body_len: u64,
    records: u32,
}

/// What was removed.
#[derive(Debug, Default)]
pub(super) struct RemovedRecords {
    pub(super) responses: u64,
    /// Of the records, and of the bodies in files of their own.
    pub(super) bytes: u64,
    /// Files that no record names any more.
    pub(super) files: Vec<LargeName>,
}

impl Contents {
    pub(super) fn new(counts: IndexCounts, ended: EndedSet) -> Self {
        Self {
            counts,
            large_files: HashMap::new(),
            large_at: HashMap::new(),
            ended: Some(ended),
            removed_segments: HashMap::new(),
            unlisted: UnlistedResources::default(),
        }
    }

    /// The number of responses.
    pub(super) fn responses(&self) -> usize {
        self.counts.responses()
    }

    /// Inserts a response. Returns what it replaces. `None` if the file of its body has gone: then nothing is inserted.
    pub(super) fn insert(
        &mut self,
        index: &DiskIndex,
        key: KeyHash,
        place: Place,
        large: Option<LargeName>,
    ) -> Option<RemovedRecords> {
        if let Some(large) = large {
            self.name_file(place, large.number)?;
        }
        let mut removed = RemovedRecords::default();
        if let Some(replaced) = index.insert(&mut self.counts, key, place) {
            self.release(replaced.place, &mut removed);
            if !replaced.is_same_key {
                self.unlist(key.address.resource, u64::MAX);
            }
        }
        Some(removed)
    }

    /// Inserts a response as it is loaded: the newest one first. Whether it did.
    pub(super) fn insert_loaded(
        &mut self,
        index: &DiskIndex,
        key: KeyHash,
        place: Place,
        large: Option<LargeName>,
    ) -> bool {
        match index.insert_if_absent(&mut self.counts, key, place) {
            LoadedRecord::Inserted => {}
            LoadedRecord::Older => return false,
            LoadedRecord::OneTooMany => {
                self.unlist(key.address.resource, u64::MAX);
                return false;
            }
        }
        if let Some(large) = large {
            let file = self.large_files.entry(large.number);
            let file = file.or_insert(NamedFile {
                body_len: large.body_len,
                records: 0,
            });
            file.records += 1;
            self.large_at.insert(place.unused(), large.number);
        }
        true
    }

    /// Puts a response at another place, if it is still at the first one. Whether it was.
    pub(super) fn relocate(
        &mut self,
        index: &DiskIndex,
        key: KeyHash,
        from: Place,
        to: Place,
    ) -> bool {
        let is_there = index.relocate(key, from, to);
        if is_there && let Some(number) = self.large_at.remove(&from.unused()) {
            self.large_at.insert(to.unused(), number);
        }
        is_there
    }

    /// Removes a response if it is still at this place.
    pub(super) fn remove_at(
        &mut self,
        index: &DiskIndex,
        key: KeyHash,
        place: Place,
    ) -> RemovedRecords {
        let mut removed = RemovedRecords::default();
        if index.remove_at(&mut self.counts, key, place) {
            self.release(place, &mut removed);
        }
        removed
    }

    /// Removes the response of a key, wherever it is.
    pub(super) fn remove_key(&mut self, index: &DiskIndex, key: KeyHash) -> RemovedRecords {
        let place = index.get(key);
        place.map_or_else(RemovedRecords::default, |place| {
            self.remove_at(index, key, place)
        })
    }

    /// Removes what is chosen of a resource.
    pub(super) fn remove(
        &mut self,
        index: &DiskIndex,
        resource: u64,
        chosen: impl Fn(KeyHash) -> bool,
    ) -> RemovedRecords {
        let mut removed = RemovedRecords::default();
        for (_, place) in index.remove(&mut self.counts, resource, chosen) {
            self.release(place, &mut removed);
        }
        removed
    }

    /// Removes everything. Files that no record has named yet stay.
    pub(super) fn clear(&mut self, index: &DiskIndex) -> RemovedRecords {
        index.clear(&mut self.counts);
        self.large_at.clear();
        let mut removed = RemovedRecords::default();
        self.large_files.retain(|number, file| {
            if file.records > 0 {
                removed.files.push(LargeName {
                    number: *number,
                    body_len: file.body_len,
                });
            }
            file.records == 0
        });
        removed
    }

    /// A record of a resource was taken out of the index, and not because of its resource or its address: an older one,
    /// which it had replaced, can still be on the disk. `seq` is its number, `u64::MAX` if it is not known.
    pub(super) fn unlist(&mut self, resource: u64, seq: u64) {
        let unlisted = &mut self.unlisted;
        unlisted.newest_seq = unlisted.newest_seq.max(seq);
        if unlisted.resources.len() < MAX_UNLISTED {
            unlisted.resources.insert(resource);
        } else if !unlisted.resources.contains(&resource) {
            unlisted.are_all = true;
        }
    }

    /// A segment could not be read: it can have records of any resource.
    pub(super) fn unlist_all(&mut self) {
        self.unlisted.are_all = true;
        self.unlisted.newest_seq = u64::MAX;
    }

    /// Whether there can be records of a resource on the disk though the index has none.
    pub(super) fn may_be_unlisted(&self, resource: u64) -> bool {
        !self.removed_segments.is_empty()
            || self.unlisted.are_all
            || self.unlisted.resources.contains(&resource)
    }

    /// All records of a resource have ended, durably.
    pub(super) fn forget_unlisted(&mut self, resource: u64) {
        self.unlisted.resources.remove(&resource);
    }

    /// No segment has a record with a lower number.
    pub(super) fn forget_unlisted_before(&mut self, oldest_seq: u64) {
        if self.unlisted.newest_seq < oldest_seq {
            self.unlisted = UnlistedResources::default();
        }
    }

    /// Notes a file that no record names yet.
    pub(super) fn add_file(&mut self, large: LargeName) {
        let file = NamedFile {
            body_len: large.body_len,
            records: 0,
        };
        self.large_files.insert(large.number, file);
    }

    /// Forgets a file if no record names it. Returns it.
    pub(super) fn forget_unnamed_file(&mut self, number: u64) -> Option<LargeName> {
        let file = self.large_files.get(&number)?;
        let (is_unnamed, body_len) = (file.records == 0, file.body_len);
        is_unnamed.then(|| self.large_files.remove(&number))?;
        is_unnamed.then_some(LargeName { number, body_len })
    }

    /// Forgets a file that is damaged or not there. Its records are removed when they are read. `None` if it was not known.
    pub(super) fn forget_file(&mut self, number: u64) -> Option<LargeName> {
        let NamedFile { body_len, .. } = self.large_files.remove(&number)?;
        Some(LargeName { number, body_len })
    }

    /// Whether the file of a body is there.
    pub(super) fn has_file(&self, number: u64) -> bool {
        self.large_files.contains_key(&number)
    }

    /// The file of a body. `None` if it is not there.
    pub(super) fn file(&self, number: u64) -> Option<LargeName> {
        let file = self.large_files.get(&number)?;
        Some(LargeName {
            number,
            body_len: file.body_len,
        })
    }

    /// The files of bodies.
    pub(super) fn files(&self) -> Vec<LargeName> {
        let names = self.large_files.iter().map(|(number, file)| LargeName {
            number: *number,
            body_len: file.body_len,
        });
        names.collect()
    }

    /// The file of the body of the record at a place.
    pub(super) fn file_at(&self, place: Place) -> Option<LargeName> {
        let number = *self.large_at.get(&place.unused())?;
        let file = self.large_files.get(&number)?;
        Some(LargeName {
            number,
            body_len: file.body_len,
        })
    }

    /// `None` if the file is not there.
    fn name_file(&mut self, place: Place, number: u64) -> Option<()> {
        self.large_files.get_mut(&number)?.records += 1;
        self.large_at.insert(place.unused(), number);
        Some(())
    }

    /// Counts a record that is not in the index any more, and lets go of the file of its body.
    fn release(&mut self, place: Place, removed: &mut RemovedRecords) {
        removed.responses += 1;
        removed.bytes += place.len();
        let Some(number) = self.large_at.remove(&place.unused()) else {
            return;
        };
        let Some(file) = self.large_files.get_mut(&number) else {
            return;
        };
        file.records = file.records.saturating_sub(1);
        removed.bytes = removed.bytes.saturating_add(file.body_len);
        if file.records == 0 {
            let body_len = file.body_len;
            self.large_files.remove(&number);
            removed.files.push(LargeName { number, body_len });
        }
    }
}

impl RemovedRecords {
    /// Adds what else was removed.
    pub(super) fn add(&mut self, other: Self) {
        self.responses += other.responses;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.files.extend(other.files);
    }
}
