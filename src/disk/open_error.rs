//! Why a directory cannot be opened as a store.

use std::{io, path::PathBuf};

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

fn holder_name(holder: Option<u32>, name: Option<&str>) -> String {
    match (holder, name) {
        (Some(id), Some(name)) => format!("{name} (process {id})"),
        (Some(id), None) => format!("process {id}"),
        (None, _) => "another process".to_owned(),
    }
}
