//! How commands reach the running proxies of their user: HTTP over a Unix socket.
//!
//! | file | content |
//! |---|---|
//! | `server.rs` | [`ControlSocket`]: makes this process reachable |
//! | `routes.rs` | the routes: the actions of [`crate::admin`], `POST /reload`, `POST /offline`, `POST /hand-over`, `GET /instance` |
//! | `transfer.rs` | the routes of `export` and `import` |
//! | `stream.rs` | a response over a socket that is read while it arrives |
//! | `client.rs` | one HTTP request over a socket, blocking |
//! | `choose.rs` | [`choose`]: the one proxy that a command is about |
//! | `commands.rs` | [`clear`] for all proxies, and [`holder`] of an address |
//! | `directories.rs` | the directories that sockets may be in |
//! | `hand_over.rs` | [`HandOver`]: a running proxy passes its sockets to a process that takes over |
//! | `take_over.rs` | [`take_over`]: the process that takes over |
//! | `lock.rs` | the lock file and socket of one instance |
//!
//! Each instance has a lock file and a socket in a directory of its user. Both are named after its port: `8000.lock`,
//! `8000.sock`. A second instance on the same port (another address or network namespace) is `8000-2`.
//!
//! The lock tells whether the instance is running: the system releases it with the process, however that ends. A socket
//! stays behind, and a refused connect proves nothing. Whoever gets the lock of a name owns its files and may remove or
//! replace them. The exception is a socket that somebody still listens on: the lock file of a running instance may have
//! been deleted.
//!
//! Nothing of this can be reached through the proxy's own port.

mod choose;
mod client;
mod commands;
mod directories;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hand_over;
mod lock;
mod routes;
mod server;
mod stream;
mod take_over;
mod transfer;

use std::{io, net::IpAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use self::{
    choose::{ChooseError, ChosenInstance, choose},
    commands::{ClearReport, ClearedInstance, UnreachedInstance, clear, holder},
    hand_over::{HandOver, OfferedFiles},
    routes::OfflineRequest,
    server::{Control, ControlSocket},
    stream::ResponseStream,
    take_over::{TakeOver, take_over},
};

/// A running proxy, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The process id.
    pub pid: u32,
    /// The port it listens on.
    pub port: u16,
    /// The address it listens on; with `localhost`, the one of IPv4.
    pub bind: IpAddr,
    /// The port for HTTPS, which may be `port`. `None`: there is none.
    #[serde(default)]
    pub https_port: Option<u16>,
    /// Requests without TLS are not served.
    #[serde(default)]
    pub requires_https: bool,
    /// The URL it forwards to.
    pub origin: String,
    /// The version of the program.
    pub version: String,
    /// When it started (RFC 3339).
    pub started: String,
}

/// Why a proxy cannot be reached, or cannot make itself reachable.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The directory cannot be created or read.
    #[error("cannot use the directory {}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The path is not a directory, or is a symbolic link.
    #[error("{} is not a directory (a symbolic link is not accepted); remove it", dir.display())]
    NoDirectory {
        /// The path.
        dir: PathBuf,
    },
    /// The directory belongs to another user.
    #[error(
        "the directory {} belongs to another user (uid {owner}); \
         set XDG_RUNTIME_DIR to a directory of your own",
        dir.display()
    )]
    ForeignDirectory {
        /// The directory.
        dir: PathBuf,
        /// The uid of its owner.
        owner: u32,
    },
    /// Other users have access to the directory.
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
    /// Every name for the port is in use.
    #[error("too many instances run on port {port}; stop one of them")]
    TooMany {
        /// The port.
        port: u16,
    },
    /// The lock file is not a regular file, or is a symbolic link.
    #[error(
        "the lock file {} is not a regular file (a symbolic link is not accepted); remove it",
        path.display()
    )]
    NoLockFile {
        /// The path.
        path: PathBuf,
    },
    /// The lock file cannot be created, locked or written.
    #[error("cannot use the lock file {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// Listening on the socket failed.
    #[error("cannot listen on the socket {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// A running instance does not accept the connection.
    #[error("its socket {} does not respond", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// A running instance accepted the connection, but its response did not arrive in time or not completely.
    #[error("it accepted the command at {} but did not respond", path.display())]
    Exchange {
        /// The socket.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// A running instance refuses the request, with a reason.
    #[error("{sentence}")]
    Refused {
        /// The reason.
        sentence: String,
    },
    /// A running instance responded with an error.
    #[error("it responded with status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// The response of a running instance cannot be parsed. It may be of another version.
    #[error("its response cannot be parsed; it may be of another version")]
    Answer,
}

impl ControlError {
    /// True if another user could respond to commands in place of this proxy, or block them. If the proxy started anyway, a
    /// command could report its cache as cleared although it is not.
    pub fn is_distrust(&self) -> bool {
        matches!(
            self,
            Self::NoDirectory { .. } | Self::ForeignDirectory { .. } | Self::OpenDirectory { .. }
        )
    }
}

#[cfg(test)]
mod tests;
