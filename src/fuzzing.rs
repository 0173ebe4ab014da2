//! Entry points for the fuzz targets in `tests/fuzz`: each takes any bytes and panics if what it promises does not hold.
//!
//! Compiled only for fuzzing and for the tests, which run them with the inputs of `tests/seeds` and variations of these.

pub use crate::{
    config::fuzzing::config_file,
    control::fuzzing::control_message,
    origin::fuzzing::{chunked, origin_response},
    policy::fuzzing::{content_range, date, range, stored_head},
    server::fuzzing::request_head,
};

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::{prelude::*, sample::Index};

    type Target = (&'static str, fn(&[u8]));

    const TARGETS: &[Target] = &[
        ("chunked", super::chunked),
        ("config_file", super::config_file),
        ("content_range", super::content_range),
        ("control_message", super::control_message),
        ("date", super::date),
        ("origin_response", super::origin_response),
        ("range", super::range),
        ("request_head", super::request_head),
        ("stored_head", super::stored_head),
    ];

    /// The inputs that are written down for a target.
    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds");
        let files = fs::read_dir(directory.join(target)).unwrap();
        files
            .map(|file| fs::read(file.unwrap().path()).unwrap())
            .collect()
    }

    #[test]
    fn every_seed_passes() {
        for (name, target) in TARGETS {
            let seeds = seeds(name);
            assert!(!seeds.is_empty(), "no seeds for {name}");
            for seed in seeds {
                target(&seed);
            }
        }
    }

    proptest! {
        #[test]
        fn every_variation_of_a_seed_passes(
            target in prop::sample::select(TARGETS),
            seed: Index,
            places: [Index; 2],
            inserted in prop::collection::vec(any::<u8>(), 0..8),
        ) {
            let (name, target) = target;
            let mut seeds = seeds(name);
            let mut input = seeds.swap_remove(seed.index(seeds.len()));
            let [from, to] = places.map(|place| place.index(input.len() + 1));
            input.splice(from.min(to)..from.max(to), inserted);
            target(&input);
        }
    }
}
