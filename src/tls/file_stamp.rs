//! Whether the files of certificates have changed.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::config::TlsSettings;

/// What a file looks like: where it is, its length and its times. `None` if it cannot be looked at.
pub(super) type FileStamp = Option<[i128; 7]>;

/// What the files of all certificates look like. Links are followed, so a link that leads elsewhere is a change.
pub(super) fn stamps(settings: &TlsSettings) -> Vec<FileStamp> {
    let files = settings.certificates();
    let files = files.flat_map(|files| [&files.certificate, &files.key]);
    files.map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> FileStamp {
    let metadata = fs::metadata(file).ok()?;
    Some([
        metadata.dev().into(),
        metadata.ino().into(),
        metadata.len().into(),
        metadata.mtime().into(),
        metadata.mtime_nsec().into(),
        metadata.ctime().into(),
        metadata.ctime_nsec().into(),
    ])
}
