//! What is written to the store on disk, read from it and ended there.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::{
    cache::{
        disk_tier::{
            end_counts::EndCounts,
            notes,
            on_disk::OnDisk,
            record::{EntryHead, EntryRecord},
            rule,
        },
        fetches::reader::FetchId,
        manage::filter::EntryFilter,
        namespace::Namespace,
        store::{
            entry::Entry,
            key::{Key, Resource},
            related::UnsafeRequest,
        },
    },
    disk::{Disk, DiskLimits, DiskStats, End, Ending, LargeWriter, OpenError, Opened, RuleAction},
    policy::Time,
    redis::Stamp,
};

/// The store on disk, and how the keys of this proxy are named there.
#[derive(Debug)]
pub struct DiskTier {
    pub(super) disk: Disk,
    max_object_bytes: u64,
    /// Changed by a reload alone.
    pub(super) namespace: ArcSwap<Namespace>,
    /// The fetches of this run have this number or a later one.
    first_fetch: FetchId,
    /// The unsafe requests that were noted before this run.
    noted: Vec<(Resource, UnsafeRequest)>,
    /// An unsafe request to an unknown path, for those of which the note was lost. `None` if none was.
    lost: Option<UnsafeRequest>,
    /// The ends that it was told of, and those that it has confirmed.
    pub(super) ends: EndCounts,
    /// One permit: for a walk over everything.
    pub(super) walk_turns: Arc<Semaphore>,
}

/// A store on disk that was opened.
#[derive(Debug)]
pub struct OpenedTier {
    /// The store.
    pub tier: DiskTier,
    /// The secret under which identities are hashed: the names of partitions on disk come from it.
    pub secret: [u8; 32],
    /// Up to where the ends of other instances were applied to it in this namespace. `None` if that is not known.
    pub applied: Option<Stamp>,
}

/// The number of a fetch begins with that of the run, so that fetches are in order over all runs. There are fewer than
/// 2^40 fetches in a run, and fewer than 2^24 runs.
const RUN_SHIFT: u32 = 40;

impl DiskTier {
    /// Opens the store in `directory`, for responses that are named in `namespace`.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(
        directory: &Path,
        limits: DiskLimits,
        namespace: Namespace,
        now: Time,
    ) -> Result<OpenedTier, OpenError> {
        let Opened {
            disk,
            secret,
            run,
            notes,
            are_notes_lost,
            checkpoint,
        } = Disk::open(directory, limits, rule::parse)?;
        let first_fetch = FetchId(u64::from(run) << RUN_SHIFT);
        let notes = notes.iter();
        let lost = UnsafeRequest {
            before: first_fetch,
            at: now,
        };
        let tier = Self {
            disk,
            max_object_bytes: limits.max_object_bytes,
            namespace: ArcSwap::from_pointee(namespace),
            first_fetch,
            noted: notes
                .filter_map(|note| notes::read(namespace, note))
                .collect(),
            lost: are_notes_lost.then_some(lost),
            ends: EndCounts::default(),
            walk_turns: Arc::new(Semaphore::new(1)),
        };
        let applied = checkpoint.and_then(|bytes| {
            let stamp = bytes.strip_prefix(&namespace.0)?;
            Some(Stamp::from_bytes(stamp.first_chunk()?))
        });
        Ok(OpenedTier {
            tier,
            secret,
            applied,
        })
    }

    /// True as long as the index is loaded.
    pub(super) fn is_loading(&self) -> bool {
        self.disk.is_loading()
    }

    /// Says to other processes that want the directory what this one is called. It writes a file.
    pub fn name_holder(&self, name: &str) {
        self.disk.name_holder(name);
    }

    /// The unsafe requests that were noted before this run, and one to an unknown path if notes were lost.
    pub(in crate::cache) fn noted(&self) -> (&[(Resource, UnsafeRequest)], Option<UnsafeRequest>) {
        (&self.noted, self.lost)
    }

    /// True if the disk may have a response for `key`.
    pub(in crate::cache) fn may_have(&self, key: &Key) -> bool {
        let namespace = self.namespace.load();
        let may_have = |key: &Key| self.disk.may_have(&namespace.of_key(key).into());
        may_have(key) || (key.identity.is_some() && may_have(&key.shared()))
    }

    /// True if the disk may have a response for `resource`, of any identity and any body.
    pub(in crate::cache) fn may_have_resource(&self, resource: &Resource) -> bool {
        self.disk
            .may_have_resource(&self.namespace.load().name(resource))
    }

    /// The resource with this name on disk; `None` if it is none of this proxy.
    pub(in crate::cache) fn resource(&self, name: &[u8]) -> Option<Resource> {
        self.namespace.load().resource(name)
    }

    /// What the disk has for `key`: for its identity, and for everybody. Without `is_whole` some of it may be left out as long as
    /// the index is loaded.
    pub(super) async fn find(&self, key: &Key, is_whole: bool) -> Vec<OnDisk> {
        match self.may_have(key) {
            true => self.find_present(key, is_whole).await,
            false => Vec::new(),
        }
    }

    /// The same for a key that the disk may have a response for.
    pub(super) async fn find_present(&self, key: &Key, is_whole: bool) -> Vec<OnDisk> {
        let keys: Vec<Key> = match key.identity {
            Some(_) => vec![key.clone(), key.shared()],
            None => vec![key.clone()],
        };
        let namespace = **self.namespace.load();
        let addresses = keys
            .iter()
            .map(|key| namespace.of_key(key).into())
            .collect();
        // A store that fails says so itself.
        let found = match is_whole {
            true => self.disk.get_all(addresses).await,
            false => self.disk.get(addresses).await,
        };
        let found = found.unwrap_or_default().into_iter().filter_map(|record| {
            let head = EntryHead::read(&record.head)?;
            let head = match record.expired_at {
                Some(at) => head.map(|head| head.expired(Time::from_unix_millis(at))),
                None => head,
            };
            Some(OnDisk {
                key: keys.get(record.address_index)?.clone(),
                head,
                body: record.body,
            })
        });
        found.collect()
    }

    /// Writes a response that is stored for `key`. `validates` is the fetch that has brought its body, if a later one has
    /// validated it.
    pub(in crate::cache) fn put(&self, key: &Key, entry: &Arc<Entry>, validates: Option<FetchId>) {
        self.disk.put(Arc::new(EntryRecord {
            address: self.namespace.load().of_key(key).into(),
            entry: Arc::clone(entry),
            validates,
        }));
    }

    /// Ends everything, in all namespaces.
    pub(in crate::cache) fn clear(&self) -> Ending {
        self.disk.end(vec![End::All])
    }

    /// Ends what is stored for `resources`, of every identity and every body. `related` is the unsafe request that does it.
    pub(in crate::cache) fn invalidate(
        &self,
        resources: &[Resource],
        related: Option<(&Resource, UnsafeRequest)>,
    ) -> Ending {
        let namespace = self.namespace.load();
        let names = resources.iter().map(|one| namespace.name(one)).collect();
        let note = related.map(|(resource, request)| notes::write(**namespace, resource, request));
        let ends = std::iter::once(End::Resources(names)).chain(note.map(End::Note));
        self.disk.end(ends.collect())
    }

    /// Ends what is stored for `key`, and for the same without its identity.
    pub(in crate::cache) fn remove(&self, key: &Key) -> Ending {
        let namespace = self.namespace.load();
        let keys = [Some(key.clone()), key.identity.map(|_| key.shared())];
        let ends = keys.iter().flatten();
        self.disk.end(
            ends.map(|key| End::Address(namespace.of_key(key).into()))
                .collect(),
        )
    }

    /// Ends what `filter` names, or makes it stale.
    pub(in crate::cache) fn purge(&self, filter: &EntryFilter, action: RuleAction) -> Ending {
        let namespace = self.namespace.load();
        let end = match (filter.resources(), action) {
            (Some(resources), RuleAction::Remove) => {
                End::Resources(resources.iter().map(|one| namespace.name(one)).collect())
            }
            _ => End::Matching {
                rule: rule::write(**namespace, filter),
                action,
            },
        };
        self.disk.end(vec![end])
    }

    /// The ends of other instances up to `stamp` were applied: the disk was told of each before.
    pub(in crate::cache) fn note_applied(&self, stamp: Stamp) {
        let namespace = **self.namespace.load();
        let checkpoint = [&namespace.0[..], &stamp.to_bytes()].concat();
        self.disk.checkpoint(checkpoint);
    }

    /// From now on responses are stored and found in this namespace.
    pub fn set_namespace(&self, namespace: Namespace) {
        self.namespace.store(Arc::new(namespace));
    }

    /// The fetches of this run have this number or a later one.
    pub(in crate::cache) fn first_fetch(&self) -> FetchId {
        self.first_fetch
    }

    /// The counters of the store.
    pub fn stats(&self) -> DiskStats {
        self.disk.stats()
    }

    /// The largest body that is stored, in bytes.
    pub(in crate::cache) fn max_object_bytes(&self) -> u64 {
        self.max_object_bytes
    }

    /// A file for a body of this length that arrives; `length` is `None` if it is not known. The result is `None` if there is no
    /// room, or the disk is not in use.
    pub(in crate::cache) fn large_writer(&self, length: Option<u64>) -> Option<LargeWriter> {
        self.disk.large_writer(length)
    }

    /// Writes what waits, and closes the store.
    pub async fn close(&self) {
        self.disk.close().await;
    }
}
