//! The sizes of the cache.

use bytesize::ByteSize;

use super::{Config, ConfigError, DEFAULT_MAX_MEMORY_BYTES, SettingSources, value};

impl Config {
    /// Whether the largest body has the size that it has unless it is set.
    pub(super) fn has_default_max_object(&self) -> bool {
        self.max_object_bytes == default_max_object(self.max_memory_bytes)
    }
}

fn default_max_object(max_memory: u64) -> u64 {
    max_memory / 4
}

impl SettingSources<'_> {
    /// Memory of the cache and largest body, in bytes.
    pub(super) fn sizes(&self) -> Result<(u64, u64), ConfigError> {
        let max_memory = self
            .get("max-memory", |given| value::size(given, ByteSize::mib(1)))?
            .unwrap_or(DEFAULT_MAX_MEMORY_BYTES);
        match self.find("max-object", |given| value::size(given, ByteSize::b(1)))? {
            None => Ok((max_memory, default_max_object(max_memory))),
            Some((max_object, _)) if max_object <= max_memory => Ok((max_memory, max_object)),
            Some((max_object, place)) => Err(ConfigError::ObjectOverMemory {
                place,
                max_object: ByteSize(max_object),
                max_memory: ByteSize(max_memory),
            }),
        }
    }
}
