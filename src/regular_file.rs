//! Reads files that somebody names, and that may be something else than a file of text.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// The bytes of a regular file, up to one more than `max_bytes`. It is looked at before it is opened: to open a pipe would
/// wait for whoever writes to it.
///
/// # Errors
/// There is no such file, it is not a regular file, or it cannot be read.
pub(crate) fn read_regular(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
