//! How much the disk tier may use, and how long it may take.

use std::time::Duration;

use crate::disk::large_file::large_file_bytes;

/// How much the disk tier may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskLimits {
    /// The bytes of all its files.
    pub max_bytes: u64,
    /// The bytes of the file system that stay free. `None`: the larger of 1 GiB and 5 % of it.
    pub reserve_bytes: Option<u64>,
    /// The longest body that is stored, in bytes.
    pub max_object_bytes: u64,
}

/// How long the disk tier may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskTiming {
    /// How long a response waits for others before it is written.
    pub(super) flush: Duration,
    /// How long a checkpoint waits for ends that are written with it.
    pub(super) checkpoint: Duration,
    /// How long a failing disk is left alone.
    pub(super) retry: Duration,
    /// How long a caller waits until what it ends is durable.
    pub(super) end: Duration,
    /// How long a lookup may take.
    pub(super) read: Duration,
    /// How long it may take while the index is loaded: what is not found before its end may be there.
    pub(super) load: Duration,
}

impl DiskTiming {
    /// How long a lookup may take that begins now.
    pub(super) fn lookup(&self, is_loading: bool) -> Duration {
        match is_loading {
            true => self.load,
            false => self.read,
        }
    }
}

impl Default for DiskTiming {
    fn default() -> Self {
        Self {
            flush: Duration::from_millis(250),
            checkpoint: Duration::from_secs(1),
            retry: Duration::from_secs(10),
            end: Duration::from_secs(2),
            read: Duration::from_millis(250),
            load: Duration::from_secs(1),
        }
    }
}

const MIB: u64 = 1024 * 1024;

impl DiskLimits {
    /// The length at which a segment ends. Large bodies that its records name count.
    pub(super) fn segment_bytes(&self) -> u64 {
        let least = self.max_bytes / 512;
        let most = (self.max_bytes / 16).clamp(MIB, 64 * MIB);
        most.max(least.min(256 * MIB))
    }

    /// The bytes of records and bodies. The rest is for the log of what has ended.
    pub(super) fn content_bytes(&self) -> u64 {
        self.max_bytes - (self.max_bytes / 32).min(4 * MIB)
    }

    /// The bytes of bodies that arrive.
    pub(super) fn arriving_bytes(&self) -> u64 {
        let largest = large_file_bytes(self.max_object_bytes);
        (self.content_bytes() / 2).max(largest)
    }

    /// The number of responses, which bounds the memory of the index.
    pub(super) fn max_responses(&self) -> usize {
        usize::try_from(self.max_bytes / 1024)
            .unwrap_or(usize::MAX)
            .max(65_536)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_waits_longer_while_the_index_is_loaded() {
        let timing = DiskTiming::default();
        // A million responses are loaded in less than half a second.
        assert!(timing.lookup(true) >= 2 * Duration::from_millis(450));
        assert!(timing.lookup(false) < timing.lookup(true));
    }

    #[test]
    fn a_segment_is_a_small_part_of_the_disk() {
        let segment = |max_bytes| {
            let limits = DiskLimits {
                max_bytes,
                reserve_bytes: None,
                max_object_bytes: 0,
            };
            limits.segment_bytes() / MIB
        };
        assert_eq!(segment(64 * MIB), 4);
        assert_eq!(segment(10 * 1024 * MIB), 64);
        assert_eq!(segment(64 * 1024 * MIB), 128);
        assert_eq!(segment(1024 * 1024 * MIB), 256);
    }
}
