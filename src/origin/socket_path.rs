//! Unix sockets as origins: `unix:/run/app.sock`.

use std::{
    fmt,
    io::ErrorKind,
    os::unix::{fs::FileTypeExt as _, net::SocketAddr},
    path::Path,
};

use super::url_error::UrlError;

/// What the URL of a Unix socket begins with.
const SCHEME: &str = "unix:";

/// The absolute path of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SocketPath(String);

impl SocketPath {
    /// Parses `unix:/path`; `None` if `given` is not about a Unix socket. The file may be missing.
    ///
    /// # Errors
    /// The path is relative, too long for a socket, or has control characters.
    pub(super) fn parse(given: &str) -> Option<Result<Self, UrlError>> {
        let (scheme, path) = given.split_at_checked(SCHEME.len())?;
        let is_socket = scheme.eq_ignore_ascii_case(SCHEME);
        is_socket.then(|| Self::from_path(path))
    }

    fn from_path(path: &str) -> Result<Self, UrlError> {
        if !path.starts_with('/') || path.len() < 2 {
            return Err(UrlError::RelativeSocket {
                path: path.to_owned(),
            });
        }
        if path.starts_with("//") {
            return Err(UrlError::SocketSlashes {
                suggestion: format!("{SCHEME}/{}", path.trim_start_matches('/')),
            });
        }
        if path.chars().any(char::is_control) {
            return Err(UrlError::SocketCharacters {
                path: path.to_owned(),
            });
        }
        match SocketAddr::from_pathname(path) {
            Ok(_) => Ok(Self(path.to_owned())),
            Err(_) => Err(UrlError::LongSocket { length: path.len() }),
        }
    }

    pub(super) fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// Checks that there is a socket with this path.
    ///
    /// # Errors
    /// The file does not exist, cannot be examined, or is no socket.
    pub(super) fn check(&self) -> Result<(), UrlError> {
        let path = self.0.clone();
        match std::fs::metadata(&self.0) {
            Ok(file) if file.file_type().is_socket() => Ok(()),
            Ok(_) => Err(UrlError::NoSocket { path }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(UrlError::MissingSocket { path })
            }
            Err(error) => Err(UrlError::UnreadableSocket {
                path,
                reason: error.to_string(),
            }),
        }
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use crate::origin::OriginUrl;

    #[test]
    fn a_socket_is_shown_as_given_and_has_the_host_localhost() {
        for given in ["unix:/run/app.sock", " UNIX:/run/app.sock "] {
            let url = OriginUrl::parse(given).unwrap();
            assert_eq!(url.to_string(), "unix:/run/app.sock");
            assert_eq!(OriginUrl::parse(&url.to_string()), Ok(url.clone()));
            assert_eq!((url.scheme(), url.is_tls()), ("http", false));
            assert_eq!(
                (url.authority().as_str(), url.path_prefix()),
                ("localhost", "")
            );
        }
    }

    #[test]
    fn paths_that_no_socket_can_have_are_refused_with_what_would_be_right() {
        let long = format!("unix:/{}", "x".repeat(200));
        for (given, right) in [
            ("unix:", "unix:/run/app.sock"),
            ("unix:/", "unix:/run/app.sock"),
            ("unix:app.sock", "unix:/run/app.sock"),
            ("unix:///run/app.sock", "did you mean unix:/run/app.sock ?"),
            ("unix:/run/a\nb", "control characters"),
            (long.as_str(), "at most 107 bytes"),
        ] {
            let error = OriginUrl::parse(given).unwrap_err().to_string();
            assert!(error.contains(right), "{given}: {error}");
        }
    }

    #[test]
    fn the_file_must_be_a_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sock");
        let url = OriginUrl::parse(&format!("unix:{}", path.display())).unwrap();
        let missing = url.check().unwrap_err().to_string();
        assert!(missing.contains("start the application first"), "{missing}");
        std::fs::write(&path, "").unwrap();
        let file = url.check().unwrap_err().to_string();
        assert!(file.contains("is not a socket"), "{file}");
        std::fs::remove_file(&path).unwrap();
        let _listening = UnixListener::bind(&path).unwrap();
        assert_eq!(url.check(), Ok(()));
    }
}
