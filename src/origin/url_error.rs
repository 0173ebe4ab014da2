//! Why a text is not the URL of an origin.

/// Why a text is not the URL of an origin, with a suggestion where there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// The text is empty.
    #[error("the origin's URL is empty: it looks like https://dummyjson.com")]
    Empty,
    /// `dummyjson.com`: a host without a scheme.
    #[error("{given:?} has no scheme: did you mean {suggestion} ?")]
    NoScheme {
        /// What was given.
        given: String,
        /// The same with the likely scheme.
        suggestion: String,
    },
    /// `'https://dummyjson.com'`: quotes that a shell, a unit or a file of variables has left.
    #[error("the quotes are part of the origin's URL: did you mean {suggestion} ?")]
    Quoted {
        /// The same without quotes.
        suggestion: String,
    },
    /// Something other than http, https and unix.
    #[error(
        "an origin speaks http or https, not {scheme:?}: it looks like https://dummyjson.com or unix:/run/app.sock"
    )]
    UnsupportedScheme {
        /// What stood before `://`.
        scheme: String,
    },
    /// `http:///path`.
    #[error("{given:?} names no host: it looks like https://dummyjson.com")]
    NoHost {
        /// What was given.
        given: String,
    },
    /// A host with invalid characters.
    #[error("{host:?} is not a host name (names beyond ASCII are written as xn--...)")]
    Host {
        /// What stands where the host should.
        host: String,
    },
    /// A port that is not a number from 1 to 65535.
    #[error("{port:?} is not a port: a number from 1 to 65535")]
    Port {
        /// What stands where the port should.
        port: String,
    },
    /// `localhost:`: a colon without a port.
    #[error("the port is missing after {host:?}: did you mean {suggestion} ?")]
    NoPort {
        /// What stands before the colon.
        host: String,
        /// The same without the colon.
        suggestion: String,
    },
    /// `https://user:password@host`. The message does not repeat the text, which holds a secret.
    #[error(
        "a user name or password in the origin's URL is refused (let the client send Authorization): \
         did you mean {suggestion} ?"
    )]
    Userinfo {
        /// The same without them.
        suggestion: String,
    },
    /// `https://host/?query` or `https://host/#fragment`.
    #[error("the origin's URL ends with its path: did you mean {suggestion} ?")]
    QueryOrFragment {
        /// The same without the query or fragment.
        suggestion: String,
    },
    /// A path with invalid characters.
    #[error("{path:?} is not a path of a URL (other characters are written as %20)")]
    Path {
        /// What stands where the path should.
        path: String,
    },
    /// A Unix socket without an absolute path.
    #[error("{path:?} is not the absolute path of a socket: it looks like unix:/run/app.sock")]
    RelativeSocket {
        /// What stands after `unix:`.
        path: String,
    },
    /// `unix:///path`.
    #[error("the path of a socket begins with one slash: did you mean {suggestion} ?")]
    SocketSlashes {
        /// The same with one slash.
        suggestion: String,
    },
    /// The path of a Unix socket has control characters.
    #[error("{path:?} has control characters: the path of a socket looks like unix:/run/app.sock")]
    SocketCharacters {
        /// The path.
        path: String,
    },
    /// The path of a Unix socket is too long for the system.
    #[error(
        "the path of the socket has {length} bytes; the path of a socket has at most 107 bytes: use a shorter one, such as \
         unix:/run/app.sock"
    )]
    LongSocket {
        /// Its length in bytes.
        length: usize,
    },
    /// There is no file with the path of a Unix socket.
    #[error(
        "there is no socket {path}: start the application first, or name the socket that it listens on"
    )]
    MissingSocket {
        /// The path.
        path: String,
    },
    /// The file is not a Unix socket.
    #[error("{path} is not a socket: name the socket that the application listens on")]
    NoSocket {
        /// The path.
        path: String,
    },
    /// The file cannot be examined.
    #[error(
        "cannot examine the socket {path}: {reason}; make its directory accessible to this user"
    )]
    UnreadableSocket {
        /// The path.
        path: String,
        /// The system's error.
        reason: String,
    },
}
