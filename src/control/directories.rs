//! The directories where an instance of this user may have its socket.

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

/// The temporary directory of those who have no `$TMPDIR`.
const SYSTEM_TEMP_DIR: &str = "/tmp";

/// Names another root for the places that are the system's, so that a test neither finds nor clears the proxies that
/// its user is running.
const TEST_ROOT: &str = "CACHING_PROXY_TEST_ROOT";

/// The longest name a socket gets.
const LONGEST_SOCKET: &str = "65535-64.sock";

/// What the places are made from.
#[derive(Debug)]
pub(super) struct SocketDirectories {
    /// The user.
    pub(super) uid: u32,
    /// `$XDG_RUNTIME_DIR`.
    pub(super) runtime_dir: Option<PathBuf>,
    /// Where the system has the runtime directories of its users, by number.
    pub(super) run_user: PathBuf,
    /// `$TMPDIR`, or the system's.
    pub(super) temp_dir: PathBuf,
    /// The temporary directory of those who have no `$TMPDIR`.
    pub(super) system_temp_dir: PathBuf,
}

impl SocketDirectories {
    /// Those of this process.
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

    /// A directory for an instance, made and checked.
    ///
    /// # Errors
    /// When the first place that exists cannot be trusted, or none can be made.
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

    /// The directories that may hold instances, each once, and what is wrong with those that may but cannot be
    /// trusted. What belongs to somebody else is left out in silence: no instance of this user ever used it.
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

    /// A runtime directory that is the user's own: with `sudo -E` it is somebody else's, who could not use it any more
    /// after we had put our own directory there.
    fn usable_runtime_dir(&self) -> Option<&Path> {
        let dir = self
            .runtime_dir
            .as_deref()
            .filter(|dir| dir.is_absolute())?;
        let metadata = fs::metadata(dir).ok()?;
        let fits = SocketAddr::from_pathname(dir.join(NAME).join(LONGEST_SOCKET)).is_ok();
        (metadata.is_dir() && metadata.uid() == self.uid && fits).then_some(dir)
    }

    /// The temporary directory is everybody's, hence the number of the user.
    fn in_temp(&self, temp_dir: &Path) -> PathBuf {
        temp_dir.join(format!("{NAME}-{}", self.uid))
    }
}

/// A variable that is empty or relative names no place: where it led would depend on where a command is started.
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

/// A real directory, the user's own, closed to everybody else. Whoever could write to it could put a socket there that
/// claims to have cleared; whoever owns it could change its mode later.
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
    fn the_runtime_directory_comes_first_and_is_closed_to_others() {
        let root = tempfile::tempdir().unwrap();
        let dir = surroundings(root.path()).make().unwrap();
        assert_eq!(dir, root.path().join("runtime/caching-proxy"));
        assert_eq!(
            fs::metadata(dir).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }

    #[test]
    fn a_runtime_directory_that_is_missing_or_too_long_gives_way_to_the_temporary_one() {
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
    fn an_empty_or_relative_variable_names_no_place() {
        assert_eq!(absolute(""), None);
        assert_eq!(absolute("run"), None);
        assert_eq!(absolute("/run"), Some(PathBuf::from("/run")));
    }

    #[test]
    fn somebody_elses_runtime_directory_is_left_alone() {
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
    fn a_runtime_directory_that_cannot_be_trusted_does_not_give_way() {
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
    fn a_path_too_long_for_a_socket_is_said() {
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
    fn every_place_is_looked_at_once() {
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
