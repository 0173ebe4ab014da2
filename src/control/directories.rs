//! [`SocketDirectories`]: where an instance of this user may have its socket.

use std::{
    fs::{self, DirBuilder},
    io::ErrorKind,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
        net::SocketAddr,
    },
    path::{Path, PathBuf},
};

use super::ControlError;

const NAME: &str = "caching-proxy";

/// The temporary directory if `$TMPDIR` is not set.
const SYSTEM_TEMP_DIR: &str = "/tmp";

/// Sets another root for the directories of the system, so that a test does not find or clear the proxies of its user.
const TEST_ROOT: &str = "CACHING_PROXY_TEST_ROOT";

/// The longest name of a socket.
const LONGEST_SOCKET: &str = "65535-64.sock";

/// What the directories are derived from.
#[derive(Debug)]
pub(super) struct SocketDirectories {
    /// The user.
    pub(super) uid: u32,
    /// `$XDG_RUNTIME_DIR`.
    pub(super) runtime_dir: Option<PathBuf>,
    /// The parent of the runtime directories of all users, which are named by uid.
    pub(super) run_user: PathBuf,
    /// `$TMPDIR`, or the system's.
    pub(super) temp_dir: PathBuf,
    /// The temporary directory if `$TMPDIR` is not set.
    pub(super) system_temp_dir: PathBuf,
}

impl SocketDirectories {
    /// The directories of this process.
    pub(super) fn of_this_process() -> Self {
        let root = std::env::var_os(TEST_ROOT).and_then(absolute);
        let of_system = |dir: &str| match &root {
            Some(root) => root.join(dir.trim_start_matches('/')),
            None => PathBuf::from(dir),
        };
        Self {
            uid: rustix::process::geteuid().as_raw(),
            runtime_dir: std::env::var_os("XDG_RUNTIME_DIR").and_then(absolute),
            run_user: of_system("/run/user"),
            temp_dir: absolute(std::env::temp_dir()).unwrap_or_else(|| SYSTEM_TEMP_DIR.into()),
            system_temp_dir: of_system(SYSTEM_TEMP_DIR),
        }
    }

    /// Creates and checks the directory for an instance.
    ///
    /// # Errors
    /// The first candidate that exists cannot be trusted, or none can be created.
    pub(super) fn make(&self) -> Result<PathBuf, ControlError> {
        if let Some(runtime_dir) = self.usable_runtime_dir() {
            let dir = runtime_dir.join(NAME);
            match make(&dir, self.uid) {
                Err(ControlError::Directory { .. }) => {}
                made => return made.map(|()| dir),
            }
        }
        let dir = self.in_temp(&self.temp_dir);
        make(&dir, self.uid)?;
        Ok(dir)
    }

    /// The directories that may hold instances, each once, and an error for each that cannot be trusted. Directories of
    /// other users are left out: no instance of this user ever used them.
    pub(super) fn existing(&self) -> (Vec<PathBuf>, Vec<ControlError>) {
        let mut candidates: Vec<PathBuf> = Vec::new();
        candidates.extend(self.runtime_dir.as_ref().map(|dir| dir.join(NAME)));
        candidates.push(self.run_user.join(self.uid.to_string()).join(NAME));
        candidates.push(self.in_temp(&self.temp_dir));
        candidates.push(self.in_temp(&self.system_temp_dir));

        let (mut found, mut refused) = (Vec::new(), Vec::new());
        let mut seen: Vec<(u64, u64)> = Vec::new();
        for dir in candidates {
            let Ok(metadata) = fs::symlink_metadata(&dir) else {
                continue;
            };
            let identity = (metadata.dev(), metadata.ino());
            if metadata.uid() != self.uid || seen.contains(&identity) {
                continue;
            }
            seen.push(identity);
            match check(&dir, self.uid) {
                Ok(()) => found.push(dir),
                Err(error) => refused.push(error),
            }
        }
        (found, refused)
    }

    /// The runtime directory if it belongs to the user. With `sudo -E` it belongs to another user, who could not use it
    /// any more if we created our directory in it.
    fn usable_runtime_dir(&self) -> Option<&Path> {
        let dir = self
            .runtime_dir
            .as_deref()
            .filter(|dir| dir.is_absolute())?;
        let metadata = fs::metadata(dir).ok()?;
        let fits = SocketAddr::from_pathname(dir.join(NAME).join(LONGEST_SOCKET)).is_ok();
        (metadata.is_dir() && metadata.uid() == self.uid && fits).then_some(dir)
    }

    /// All users share the temporary directory, so the name includes the uid.
    fn in_temp(&self, temp_dir: &Path) -> PathBuf {
        temp_dir.join(format!("{NAME}-{}", self.uid))
    }
}

/// `None` if the path is empty or relative: it would depend on the directory in which a command is started.
fn absolute(dir: impl Into<PathBuf>) -> Option<PathBuf> {
    Some(dir.into()).filter(|dir| dir.is_absolute())
}

fn make(dir: &Path, uid: u32) -> Result<(), ControlError> {
    if SocketAddr::from_pathname(dir.join(LONGEST_SOCKET)).is_err() {
        return Err(ControlError::PathTooLong {
            dir: dir.to_owned(),
        });
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(source) => {
            return Err(ControlError::Directory {
                dir: dir.to_owned(),
                source,
            });
        }
    }
    check(dir, uid)
}

/// Checks that `dir` is a directory (not a link), belongs to the user, and is closed to everybody else. Whoever can write
/// to it can put a socket there that pretends to clear; whoever owns it can change its mode later.
fn check(dir: &Path, uid: u32) -> Result<(), ControlError> {
    let metadata = fs::symlink_metadata(dir).map_err(|source| ControlError::Directory {
        dir: dir.to_owned(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.uid() != uid {
        Err(ControlError::ForeignDirectory {
            dir: dir.to_owned(),
            owner: metadata.uid(),
        })
    } else if !metadata.is_dir() {
        Err(ControlError::NoDirectory {
            dir: dir.to_owned(),
        })
    } else if mode != 0o700 {
        Err(ControlError::OpenDirectory {
            dir: dir.to_owned(),
            mode,
        })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn surroundings(root: &Path) -> SocketDirectories {
        for name in ["runtime", "run", "tmp", "systmp"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        SocketDirectories {
            uid: rustix::process::geteuid().as_raw(),
            runtime_dir: Some(root.join("runtime")),
            run_user: root.join("run"),
            temp_dir: root.join("tmp"),
            system_temp_dir: root.join("systmp"),
        }
    }

    #[test]
    fn the_runtime_directory_is_preferred_and_closed_to_others() {
        let root = tempfile::tempdir().unwrap();
        let dir = surroundings(root.path()).make().unwrap();
        assert_eq!(dir, root.path().join("runtime/caching-proxy"));
        assert_eq!(
            fs::metadata(dir).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }

    #[test]
    fn the_temporary_directory_replaces_a_missing_or_too_long_runtime_directory() {
        let root = tempfile::tempdir().unwrap();
        let long = root.path().join("x".repeat(100));
        fs::create_dir(&long).unwrap();
        for runtime_dir in [None, Some(root.path().join("missing")), Some(long)] {
            let surroundings = SocketDirectories {
                runtime_dir,
                ..surroundings(root.path())
            };
            let expected = root
                .path()
                .join(format!("tmp/caching-proxy-{}", surroundings.uid));
            assert_eq!(surroundings.make().unwrap(), expected);
        }
    }

    #[test]
    fn an_empty_or_relative_variable_is_ignored() {
        assert_eq!(absolute(""), None);
        assert_eq!(absolute("run"), None);
        assert_eq!(absolute("/run"), Some(PathBuf::from("/run")));
    }

    #[test]
    fn the_runtime_directory_of_another_user_is_not_used() {
        let root = tempfile::tempdir().unwrap();
        let mut surroundings = surroundings(root.path());
        surroundings.uid += 1; // all of these directories belong to another user now
        assert!(matches!(
            surroundings.make(),
            Err(ControlError::ForeignDirectory { .. })
        ));
        assert!(!root.path().join("runtime/caching-proxy").exists());
    }

    #[test]
    fn a_runtime_directory_that_cannot_be_trusted_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let surroundings = surroundings(root.path());
        let dir = surroundings.make().unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(surroundings.make().unwrap_err().is_distrust());
    }

    #[test]
    fn a_directory_that_is_open_to_others_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let surroundings = SocketDirectories {
            runtime_dir: None,
            ..surroundings(root.path())
        };
        let dir = surroundings.make().unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(
            surroundings.make(),
            Err(ControlError::OpenDirectory { mode: 0o755, .. })
        ));
        let (found, refused) = surroundings.existing();
        assert_eq!((found.len(), refused.len()), (0, 1));
    }

    #[test]
    fn a_link_to_a_directory_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let surroundings = SocketDirectories {
            runtime_dir: None,
            ..surroundings(root.path())
        };
        let elsewhere = root.path().join("elsewhere");
        DirBuilder::new().mode(0o700).create(&elsewhere).unwrap();
        symlink(&elsewhere, surroundings.in_temp(&surroundings.temp_dir)).unwrap();
        assert!(matches!(
            surroundings.make(),
            Err(ControlError::NoDirectory { .. })
        ));
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let temp_dir = root.path().join("x".repeat(100));
        fs::create_dir(&temp_dir).unwrap();
        let surroundings = SocketDirectories {
            runtime_dir: None,
            temp_dir,
            ..surroundings(root.path())
        };
        assert!(matches!(
            surroundings.make(),
            Err(ControlError::PathTooLong { .. })
        ));
    }

    #[test]
    fn every_directory_is_listed_once() {
        let root = tempfile::tempdir().unwrap();
        let mut surroundings = surroundings(root.path());
        surroundings.system_temp_dir = surroundings.temp_dir.clone();
        let uid = surroundings.uid.to_string();
        fs::create_dir(root.path().join("run").join(&uid)).unwrap();
        let expected = [
            root.path().join("runtime/caching-proxy"),
            root.path().join("run").join(uid).join("caching-proxy"),
            surroundings.in_temp(&surroundings.temp_dir),
        ];
        for dir in &expected {
            DirBuilder::new().mode(0o700).create(dir).unwrap();
        }
        let (found, refused) = surroundings.existing();
        assert_eq!(found, expected);
        assert!(refused.is_empty());
    }
}
