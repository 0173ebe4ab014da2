//! How a command reaches the running proxies of its user.
//!
//! Each instance holds a lock file in a directory that is its user's own, and answers HTTP on a Unix socket beside it.
//! Both are named after its port: `8000.lock`, `8000.sock`; of several on one port (other addresses, other network
//! namespaces) the second is `8000-2`. The lock says who lives: the system drops it with the process, however that
//! ends, while a socket stays behind and a refused connect proves nothing. So whoever gets the lock of a name owns its
//! files, and may remove or replace them; but for a socket somebody answers at, whose lock file was taken away from
//! under a living instance.
//!
//! - [`listen`] makes this process reachable; [`clear`] and [`holder`] reach others.
//! - `routes.rs` has what it takes: the actions of [`crate::admin`], `POST /reload` and `GET /instance`. There is no other way in: nothing of this can
//!   be reached through the proxy's own port.

mod choose;
mod client;
mod commands;
mod directories;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod lock;
mod routes;
mod server;

use std::{io, net::IpAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use self::{
    choose::{ChooseError, ChosenInstance, choose},
    commands::{ClearReport, ClearedInstance, UnreachedInstance, clear, holder},
    server::{Control, listen},
};

/// A running proxy, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its process.
    pub pid: u32,
    /// The port it listens on.
    pub port: u16,
    /// The address it listens on.
    pub bind: IpAddr,
    /// The URL it forwards to.
    pub origin: String,
    /// Its version of this program.
    pub version: String,
    /// When it started, in the form of RFC 3339.
    pub started: String,
}

/// Why a proxy cannot be reached, or cannot make itself reachable.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The directory cannot be made or looked at.
    #[error("cannot use the directory {}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Something else than a directory, a symbolic link for instance, has its name.
    #[error("{} is not a directory (a symbolic link is not accepted); remove it", dir.display())]
    NoDirectory {
        /// What should be a directory.
        dir: PathBuf,
    },
    /// Somebody else made the directory.
    #[error(
        "the directory {} belongs to another user (uid {owner}); \
         set XDG_RUNTIME_DIR to a directory of your own",
        dir.display()
    )]
    ForeignDirectory {
        /// The directory.
        dir: PathBuf,
        /// The user it belongs to.
        owner: u32,
    },
    /// Others may look into the directory or write to it.
    #[error(
        "the directory {} has mode {mode:03o}, but must have 700; \
         check that no other user put files there, then run: chmod 700 {}",
        dir.display(),
        dir.display()
    )]
    OpenDirectory {
        /// The directory.
        dir: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The system allows about 100 bytes for the path of a socket.
    #[error("the path of {} is too long for a socket in it", dir.display())]
    PathTooLong {
        /// The directory.
        dir: PathBuf,
    },
    /// As many instances as there are names for share one port.
    #[error("too many instances run on port {port}; stop one of them")]
    TooMany {
        /// The port.
        port: u16,
    },
    /// Something else than a file, a symbolic link for instance, has the name of a lock file.
    #[error(
        "the lock file {} is not a regular file (a symbolic link is not accepted); remove it",
        path.display()
    )]
    NoLockFile {
        /// What should be a lock file.
        path: PathBuf,
    },
    /// A lock file cannot be made, locked or written.
    #[error("cannot use the lock file {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Listening on the socket failed.
    #[error("cannot listen on the socket {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A living instance does not take the connection.
    #[error("its socket {} does not answer", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A living instance took the connection but did not answer in time, or not whole.
    #[error("it took the command at {} but did not answer it", path.display())]
    Exchange {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A living instance does not understand what it is asked, and says why.
    #[error("{sentence}")]
    Refused {
        /// What would be right, in its words.
        sentence: String,
    },
    /// A living instance says that it cannot.
    #[error("it answered with status {status}")]
    Status {
        /// The HTTP status of its answer.
        status: u16,
    },
    /// A living instance answered something that is not understood; it may be of another version.
    #[error("its answer is not understood; it may be of another version")]
    Answer,
}

impl ControlError {
    /// Whether somebody could answer commands in our place, or keep them from us. A proxy that started all the same
    /// would be one whose cache is said to be cleared and is not.
    pub fn is_distrust(&self) -> bool {
        matches!(
            self,
            Self::NoDirectory { .. } | Self::ForeignDirectory { .. } | Self::OpenDirectory { .. }
        )
    }
}

#[cfg(test)]
mod tests;
