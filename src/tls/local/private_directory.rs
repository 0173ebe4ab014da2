//! Files that only their user may read, in a directory that only their user may write to.

use std::{
    fs::{self, DirBuilder, Metadata, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::{fs::OFlags, io::Errno, process::geteuid};

use super::local_error::LocalError;

/// The mode of directories: only their user may do anything in them.
const DIRECTORY: u32 = 0o700;
/// The permissions of others than the user.
const OTHERS: u32 = 0o077;
/// The permissions of others to write.
const OTHERS_WRITE: u32 = 0o022;
/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadableBy {
    /// Its user.
    User,
    /// Everybody.
    All,
}

/// Makes a directory, and those above it that are missing.
pub(super) fn make(path: &Path) -> Result<(), LocalError> {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY)
        .create(path);
    made.map_err(failed(path))
}

/// Refuses a directory that another user could have made or could change.
pub(super) fn check(path: &Path) -> Result<(), LocalError> {
    let metadata = fs::symlink_metadata(path).map_err(failed(path))?;
    let problem = match () {
        () if metadata.is_symlink() => "it is a symbolic link; use the directory itself",
        () if !metadata.is_dir() => "it is not a directory; remove it",
        () => return check_user(path, &metadata, OTHERS_WRITE),
    };
    Err(is_unsafe(path, problem))
}

fn check_user(path: &Path, metadata: &Metadata, forbidden: u32) -> Result<(), LocalError> {
    if metadata.uid() != geteuid().as_raw() {
        return Err(is_unsafe(
            path,
            "it belongs to another user; set XDG_DATA_HOME to a directory of your own",
        ));
    }
    match metadata.mode() & forbidden {
        0 => Ok(()),
        _ if forbidden == OTHERS => Err(is_unsafe(
            path,
            "others may read it; use chmod 600, or remove its directory to have a new authority made",
        )),
        _ => Err(is_unsafe(path, "others may write to it; use chmod go-w")),
    }
}

/// The text of a file. Links are not followed, and a pipe is not waited for.
pub(super) fn read(path: &Path, readers: ReadableBy) -> Result<String, LocalError> {
    let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK);
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => is_unsafe(path, "it is a symbolic link; remove it"),
        _ => failed(path)(error),
    })?;
    let metadata = file.metadata().map_err(failed(path))?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        let problem = io::Error::other("it is not a file of at most 64 KiB");
        return Err(failed(path)(problem));
    }
    check_user(
        path,
        &metadata,
        match readers {
            ReadableBy::User => OTHERS,
            ReadableBy::All => OTHERS_WRITE,
        },
    )?;
    let mut text = String::new();
    let read = file.take(MAX_BYTES).read_to_string(&mut text);
    read.map_err(failed(path))?;
    Ok(text)
}

/// Writes a file that does not exist, to the disk.
pub(super) fn write_new(path: &Path, text: &str, readers: ReadableBy) -> Result<(), LocalError> {
    let mode = match readers {
        ReadableBy::User => 0o600,
        ReadableBy::All => 0o644,
    };
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = opened.map_err(failed(path))?;
    let written = file.write_all(text.as_bytes());
    written.and_then(|()| file.sync_all()).map_err(failed(path))
}

/// An error about `path`.
pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> LocalError {
    let path = path.to_owned();
    |source| LocalError::Io { path, source }
}

fn is_unsafe(path: &Path, problem: &'static str) -> LocalError {
    LocalError::Unsafe {
        path: path.to_owned(),
        problem,
    }
}
