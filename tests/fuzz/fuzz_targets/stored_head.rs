#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| caching_proxy::fuzzing::stored_head(bytes));
