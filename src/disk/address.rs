//! What a response is looked up and ended by.

/// Where a response is stored. The bytes have a meaning for the caller alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// What an invalidation ends as a whole.
    pub resource: Box<[u8]>,
    /// Who shares the response. Empty: the shared partition.
    pub partition: Box<[u8]>,
}
