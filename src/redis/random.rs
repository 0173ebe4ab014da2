//! Random numbers.

use ring::rand::{SecureRandom as _, SystemRandom};

/// A random number that nobody can guess.
pub(super) fn random_number() -> u128 {
    let mut bytes = [0; 16];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        // The system has no random numbers: a clock and an address differ at least.
        let place = std::ptr::from_ref(&bytes).addr() as u64;
        let seed =
            crate::redis::boot_time::boot_time_ms() ^ place ^ u64::from(std::process::id()) << 40;
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
    }
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random_number(), random_number());
    }
}
