//! Why a directory cannot be opened as a store.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// Why a directory cannot be opened as a store. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it.
    #[error("{} is in use by {}", .path.display(), holder_name(*.holder, .name.as_deref()))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The id of that process. `None` if it is not known.
        holder: Option<u32>,
        /// What that process calls itself. `None` if it is not known.
        name: Option<String>,
    },
    /// It has files that are not of a store.
    #[error("{} is not a store of caching-proxy: it has {name}; name an empty or a new directory", .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// A file in it.
        name: String,
    },
    /// It has the files of a store, but not the one that says how they are laid out.
    #[error(
        "{} is a store that has lost its file `format`; nothing was changed. If this version has used it last, say: \
         printf '{format}' > {}/format. Otherwise delete it, or name another directory",
        .path.display(), .path.display()
    )]
    NoFormat {
        /// The directory.
        path: PathBuf,
        /// What the file says, as an argument of printf.
        format: String,
    },
    /// One of its files is a symbolic link.
    #[error("cannot use {}: it is a symbolic link, and a store follows none; put what it points to in its place", .path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// Its file system cannot be written.
    #[error("{} is on a read-only file system; make it writable, or start without --store", .path.display())]
    ReadOnly {
        /// The directory, or a file in it.
        path: PathBuf,
    },
    /// It was written by a newer version of the program.
    #[error("{} was written by a newer version (layout {version}); use that version, or another directory", .path.display())]
    Newer {
        /// The directory.
        path: PathBuf,
        /// The version of its layout.
        version: u32,
    },
    /// It is not a directory.
    #[error("{} is not a directory", .path.display())]
    NotADirectory {
        /// What is there.
        path: PathBuf,
    },
    /// Another user owns it.
    #[error("{} belongs to another user; use a directory of your own", .path.display())]
    NotOwned {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl OpenError {
    /// Doing this with `path` has failed.
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            _ => Self::Io {
                doing,
                path,
                source,
            },
        }
    }
}

fn holder_name(holder: Option<u32>, name: Option<&str>) -> String {
    match (holder, name) {
        (Some(id), Some(name)) => format!("{name} (process {id})"),
        (Some(id), None) => format!("process {id}"),
        (None, _) => "another process".to_owned(),
    }
}
