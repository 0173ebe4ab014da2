//! Who owns which name in a directory.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Write},
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use super::{ControlError, Instance};

/// Instances that can share a port's number.
const MAX_NAMES_PER_PORT: u32 = 64;
/// What an instance says of itself; its origin is the only part that has no length of its own.
const MAX_INSTANCE_BYTES: u64 = 64 * 1024;

/// A name an instance has or had: `8000`, or `8000-2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) port: u16,
    pub(super) lock: PathBuf,
    pub(super) socket: PathBuf,
}

/// A lock that was asked for.
#[derive(Debug)]
pub(super) enum Locking {
    /// Nobody had it; this process has it now.
    Taken(Claim),
    /// A living process has it.
    Held,
    /// There is no lock file.
    Absent,
}

/// Whether a lock file is made where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Leave,
}

/// A name that is this process's own for as long as this lives. Its files are removed when it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    name: Name,
    file: File,
}

impl Name {
    fn new(dir: &Path, port: u16, number: u32) -> Self {
        let stem = if number == 1 {
            port.to_string()
        } else {
            format!("{port}-{number}")
        };
        Self {
            port,
            lock: dir.join(format!("{stem}.lock")),
            socket: dir.join(format!("{stem}.sock")),
        }
    }

    /// All names in a directory, in order.
    pub(super) fn all_in(dir: &Path) -> io::Result<Vec<Self>> {
        let mut found: Vec<(u16, u32)> = fs::read_dir(dir)?
            .filter_map(|entry| parse(entry.ok()?.file_name().to_str()?))
            .collect();
        found.sort_unstable();
        found.dedup();
        Ok(found
            .into_iter()
            .map(|(port, number)| Self::new(dir, port, number))
            .collect())
    }

    /// Asks for the lock.
    pub(super) fn lock(&self, missing: Missing) -> io::Result<Locking> {
        loop {
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                .create(missing == Missing::Make)
                .mode(0o600);
            let file = match options.open(&self.lock) {
                Ok(file) => file,
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && missing == Missing::Leave =>
                {
                    return Ok(Locking::Absent);
                }
                Err(error) => return Err(error),
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(Locking::Held),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Between opening and locking its owner may have removed the file: then this lock is on a file nobody
            // else will ever open, and says nothing.
            if self.is_at(&file)? {
                return Ok(Locking::Taken(Claim {
                    name: self.clone(),
                    file,
                }));
            }
        }
    }

    fn is_at(&self, file: &File) -> io::Result<bool> {
        let held = file.metadata()?;
        match fs::symlink_metadata(&self.lock) {
            Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What the holder wrote about itself; none if it has not yet.
    pub(super) fn instance(&self) -> Option<Instance> {
        let mut text = Vec::new();
        File::open(&self.lock)
            .ok()?
            .take(MAX_INSTANCE_BYTES)
            .read_to_end(&mut text)
            .ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// Port and number in the name of a lock or socket.
fn parse(file_name: &str) -> Option<(u16, u32)> {
    let stem = file_name
        .strip_suffix(".lock")
        .or_else(|| file_name.strip_suffix(".sock"))?;
    let (port, number) = match stem.split_once('-') {
        Some((port, number)) => (port, number.parse().ok().filter(|number| *number > 1)?),
        None => (stem, 1),
    };
    Some((port.parse().ok()?, number))
}

impl Claim {
    /// The first free name of a port.
    pub(super) fn take(dir: &Path, port: u16) -> Result<Self, ControlError> {
        for number in 1..=MAX_NAMES_PER_PORT {
            let name = Name::new(dir, port, number);
            match name.lock(Missing::Make) {
                Ok(Locking::Taken(claim)) => return Ok(claim),
                Ok(Locking::Held | Locking::Absent) => {}
                Err(source) => {
                    return Err(ControlError::Lock {
                        path: name.lock,
                        source,
                    });
                }
            }
        }
        Err(ControlError::TooMany { port })
    }

    /// Writes into the lock file who holds it, for those who find that we do not answer.
    pub(super) fn describe(&mut self, instance: &Instance) -> Result<(), ControlError> {
        let written = serde_json::to_vec(instance)
            .map_err(io::Error::from)
            .and_then(|text| {
                self.file.set_len(0)?;
                self.file.write_all(&text)
            });
        written.map_err(|source| ControlError::Lock {
            path: self.name.lock.clone(),
            source,
        })
    }

    /// Where the socket of this name is.
    pub(super) fn socket(&self) -> &Path {
        &self.name.socket
    }

    /// Listens on the socket of this name, in place of the one a dead instance left.
    pub(super) fn listen(&self) -> Result<UnixListener, ControlError> {
        let path = &self.name.socket;
        let listening = remove(path).and_then(|()| {
            let listener = UnixListener::bind(path)?;
            fs::set_permissions(path, Permissions::from_mode(0o600))?;
            Ok(listener)
        });
        listening.map_err(|source| ControlError::Listen {
            path: path.clone(),
            source,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The lock goes last: while it is held nobody else touches these names.
        for path in [&self.name.socket, &self.name.lock] {
            if let Err(error) = remove(path) {
                log::warn!("{} cannot be removed: {error}", path.display());
            }
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn instances_on_one_port_get_names_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let first = Claim::take(dir.path(), 8000).unwrap();
        let second = Claim::take(dir.path(), 8000).unwrap();
        assert_eq!(files(dir.path()), ["8000-2.lock", "8000.lock"]);
        let ports: Vec<u16> = Name::all_in(dir.path())
            .unwrap()
            .iter()
            .map(|name| name.port)
            .collect();
        assert_eq!(ports, [8000, 8000]);
        drop(first);
        drop(second);
        assert!(files(dir.path()).is_empty());
    }

    #[test]
    fn the_socket_of_a_dead_instance_is_replaced_and_ours_is_removed_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        drop(UnixListener::bind(dir.path().join("8000.sock")).unwrap());
        File::create(dir.path().join("8000.lock")).unwrap();
        let claim = Claim::take(dir.path(), 8000).unwrap();
        let _listener = claim.listen().unwrap();
        let mode = fs::metadata(dir.path().join("8000.sock"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(files(dir.path()), ["8000.lock", "8000.sock"]);
        drop(claim);
        assert!(files(dir.path()).is_empty());
    }

    #[test]
    fn a_lock_on_a_file_that_was_removed_meanwhile_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let claim = Claim::take(dir.path(), 8000).unwrap();
        let removed = File::open(&claim.name.lock).unwrap();
        fs::remove_file(&claim.name.lock).unwrap();
        assert!(!claim.name.is_at(&removed).unwrap());
        File::create(&claim.name.lock).unwrap();
        assert!(!claim.name.is_at(&removed).unwrap());
    }

    #[test]
    fn a_lock_tells_the_living_from_the_dead() {
        let dir = tempfile::tempdir().unwrap();
        let claim = Claim::take(dir.path(), 8000).unwrap();
        let name = claim.name.clone();
        assert!(matches!(name.lock(Missing::Leave).unwrap(), Locking::Held));
        drop(claim);
        assert!(matches!(
            name.lock(Missing::Leave).unwrap(),
            Locking::Absent
        ));
        File::create(&name.lock).unwrap();
        assert!(matches!(
            name.lock(Missing::Leave).unwrap(),
            Locking::Taken(_)
        ));
    }

    #[test]
    fn other_files_are_not_taken_for_names() {
        for name in [
            "8000",
            "x.lock",
            "70000.sock",
            "8000-1.lock",
            "8000-x.lock",
            "8000.lock.swp",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
        assert_eq!(parse("8000.lock"), Some((8000, 1)));
        assert_eq!(parse("8000-2.sock"), Some((8000, 2)));
    }

    #[test]
    fn a_lock_file_says_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut claim = Claim::take(dir.path(), 8000).unwrap();
        assert_eq!(claim.name.instance(), None);
        let instance = Instance {
            pid: 7,
            port: 8000,
            bind: "::1".parse().unwrap(),
            origin: "https://dummyjson.com".to_owned(),
            version: "0.1.0".to_owned(),
            started: "2026-11-23T03:30:00+00:00".to_owned(),
        };
        claim.describe(&instance).unwrap();
        assert_eq!(claim.name.instance(), Some(instance));
    }
}
