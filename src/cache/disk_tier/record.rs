//! A stored response as a record of the store on disk.

use std::sync::Arc;

use crate::{
    cache::{
        fetches::reader::FetchId,
        namespace::KeyName,
        store::{body::Body, budget::Budget, entry::Entry},
    },
    disk::{Address, Record, RecordBody},
    policy::StoredHead,
};

/// The bytes before the head: which fetch has brought or validated it, and how long its body took.
const PREFIX_BYTES: usize = 12;

/// A stored response that is to be written.
pub(super) struct EntryRecord {
    pub(super) address: Address,
    pub(super) entry: Arc<Entry>,
    /// The fetch that has brought the body, if a later one has validated it.
    pub(super) validates: Option<FetchId>,
}

impl Record for EntryRecord {
    fn address(&self) -> Address {
        self.address.clone()
    }

    fn variant(&self) -> Vec<u8> {
        self.entry.head().variant_bytes()
    }

    fn head(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(512);
        head.extend_from_slice(&self.entry.begun().0.to_le_bytes());
        head.extend_from_slice(&self.entry.fetch_millis().to_le_bytes());
        self.entry.head().write(&mut head);
        head
    }

    fn body(&self) -> RecordBody {
        let body = self.entry.body();
        match body.in_file() {
            Some(file) => RecordBody::Large(file.clone()),
            None => RecordBody::Memory(body.pieces().collect()),
        }
    }

    fn memory_bytes(&self) -> u64 {
        self.entry.weight_bytes()
    }

    fn id(&self) -> u64 {
        self.entry.begun().0
    }

    fn body_from(&self) -> Option<u64> {
        self.validates.map(|fetch| fetch.0)
    }
}

impl From<KeyName> for Address {
    fn from(name: KeyName) -> Self {
        Self {
            resource: name.resource,
            partition: name.partition,
        }
    }
}

/// The head of a record, and what is known of its fetch.
pub(super) struct EntryHead {
    head: StoredHead,
    begun: FetchId,
    fetch_millis: u32,
}

impl EntryHead {
    /// Reads a head as [`EntryRecord`] writes it; `None` if it is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (prefix, head) = bytes.split_at_checked(PREFIX_BYTES)?;
        let (begun, fetch_millis) = prefix.split_first_chunk::<8>()?;
        Some(Self {
            head: StoredHead::read(head)?,
            begun: FetchId(u64::from_le_bytes(*begun)),
            fetch_millis: u32::from_le_bytes(fetch_millis.try_into().ok()?),
        })
    }

    /// The head alone.
    pub(super) fn head(&self) -> &StoredHead {
        &self.head
    }

    /// The same, with the head that `change` makes of it.
    pub(super) fn map(self, change: impl FnOnce(StoredHead) -> StoredHead) -> Self {
        Self {
            head: change(self.head),
            ..self
        }
    }

    /// The stored response with this body.
    pub(super) fn with_body(self, body: Body, budget: &Arc<Budget>) -> Arc<Entry> {
        let fetch = (self.begun, self.fetch_millis);
        Arc::new(Entry::new(Arc::new(self.head), body, fetch, budget))
    }
}
