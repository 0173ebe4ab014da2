//! The checksum of all that the store writes.

use twox_hash::XxHash3_64;

/// XXH3 with 64 bits. It notices damage, not forgery: the directory belongs to one user.
pub(super) fn checksum(bytes: &[u8], seed: u64) -> u64 {
    XxHash3_64::oneshot_with_seed(seed, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_xxh3_and_depends_on_the_seed() {
        assert_eq!(checksum(b"", 0), 0x2d06_8005_38d3_94c2);
        assert_ne!(checksum(b"row", 1), checksum(b"row", 2));
    }
}
