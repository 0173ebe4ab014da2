//! The sizes of the cache.

use bytesize::ByteSize;

use super::{ConfigError, DEFAULT_MAX_MEMORY_BYTES, SettingSources, value};

impl SettingSources<'_> {
    /// Memory of the cache and largest body, in bytes.
    pub(super) fn sizes(&self) -> Result<(u64, u64), ConfigError> {
        let max_memory = self
            .get("max-memory", |given| value::size(given, ByteSize::mib(1)))?
            .unwrap_or(DEFAULT_MAX_MEMORY_BYTES);
        match self.find("max-object", |given| value::size(given, ByteSize::b(1)))? {
            None => Ok((max_memory, max_memory / 4)),
            Some((max_object, _)) if max_object <= max_memory => Ok((max_memory, max_object)),
            Some((max_object, place)) => Err(ConfigError::ObjectOverMemory {
                place,
                max_object: ByteSize(max_object),
                max_memory: ByteSize(max_memory),
            }),
        }
    }
}
