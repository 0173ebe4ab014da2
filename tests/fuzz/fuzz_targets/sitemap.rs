#![no_main]

// The reader's file uses one constant of the file beside it.
mod target {
    pub(super) const MAX_TARGET_BYTES: usize = 16 * 1024;
}
#[allow(dead_code)]
#[path = "../../../src/commands/warm/sitemap.rs"]
mod sitemap;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(sitemap::Sitemap::Pages(locations) | sitemap::Sitemap::Index(locations)) =
        sitemap::parse(bytes)
    {
        // Each location was written in the document: characters can become shorter, not longer.
        assert!(locations.iter().map(String::len).sum::<usize>() <= bytes.len());
    }
});
