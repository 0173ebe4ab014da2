//! A response to write down.

use bytes::Bytes;

use crate::disk::{address::Address, large::LargeBody};

/// A response to write down. Its methods are called on the thread of the writer.
pub trait Record: Send + Sync {
    /// Where it is stored.
    fn address(&self) -> Address;
    /// Equal for responses at one address of which the newer replaces the older.
    fn variant(&self) -> Vec<u8>;
    /// Its head, with a meaning for the caller alone. With the address it is at most 255 KiB long, else it is not stored.
    fn head(&self) -> Vec<u8>;
    /// Its body. Not called if the body that is there already is used, see [`Record::body_from`].
    fn body(&self) -> RecordBody;
    /// The bytes that it keeps in memory while it waits.
    fn memory_bytes(&self) -> u64;
    /// Another number for each response that was fetched, over all runs.
    fn id(&self) -> u64;
    /// The id of the record, at the same address and variant, that has the same body. If that record is there and its
    /// body is in a file of its own, the new record names this file, and the body is not written again. `None`: the body
    /// is a new one.
    fn body_from(&self) -> Option<u64>;
}

/// The body of a [`Record`].
pub enum RecordBody {
    /// In pieces in memory.
    Memory(Vec<Bytes>),
    /// In a file of its own already.
    Large(LargeBody),
}
