//! The lock file and socket of an instance.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError},
    io::{self, Read},
    os::unix::{
        fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::{ControlError, Instance, client};

/// The most instances that can share a port.
const MAX_NAMES_PER_PORT: u32 = 64;
/// The most that is read from a lock file, in bytes.
const MAX_INSTANCE_BYTES: u64 = 64 * 1024;
/// How often a lock file may disappear between being opened and being locked, as it does when an instance ends.
const LOCK_TRIES: u32 = 64;
/// Opens a lock file without following a link or waiting for a pipe.
const OPEN_FLAGS: i32 = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .bits()
    .cast_signed();

/// The name of an instance, running or not: `8000`, or `8000-2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InstanceName {
    pub(super) port: u16,
    pub(super) lock: PathBuf,
    pub(super) socket: PathBuf,
}

/// The result of trying to lock.
#[derive(Debug)]
pub(super) enum LockAttempt {
    /// This process has the lock now.
    Acquired(InstanceLock),
    /// Another process has the lock.
    HeldElsewhere,
    /// There is no lock file.
    NoFile,
}

/// What to do if there is no lock file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfNoFile {
    Create,
    Skip,
}

/// The lock on a name, held until this is dropped. Dropping removes the lock file and the socket if they are still the
/// ones that this process created: others may have replaced them after ours were deleted.
#[derive(Debug)]
pub(super) struct InstanceLock {
    name: InstanceName,
    file: File,
    socket: Option<FileId>,
    /// Another process has the lock as well: the files stay.
    is_passed: bool,
}

/// Tells apart two files that had the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    /// The file that has this name now, without following a link; `None` if there is none.
    fn at(path: &Path) -> io::Result<Option<Self>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(Self::of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl InstanceName {
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

    /// All names in a directory, sorted.
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

    /// Tries to lock, without waiting.
    ///
    /// # Errors
    /// The lock file is not a regular file, or the system refuses.
    pub(super) fn lock(&self, missing: IfNoFile) -> Result<LockAttempt, ControlError> {
        for _ in 0..LOCK_TRIES {
            let Some(file) = self.open(missing)? else {
                return Ok(LockAttempt::NoFile);
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(LockAttempt::HeldElsewhere),
                Err(TryLockError::Error(error)) => return Err(self.unusable(error)),
            }
            // The owner may have removed the file between opening and locking. Then nobody else can open the locked
            // file, and the lock means nothing.
            if self.is_at(&file).map_err(|error| self.unusable(error))? {
                return Ok(LockAttempt::Acquired(InstanceLock {
                    name: self.clone(),
                    file,
                    socket: None,
                    is_passed: false,
                }));
            }
        }
        Err(self.unusable(io::ErrorKind::ResourceBusy.into()))
    }

    /// Opens the lock file; `None` if there is none and none is created.
    fn open(&self, missing: IfNoFile) -> Result<Option<File>, ControlError> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(missing == IfNoFile::Create)
            .mode(0o600)
            .custom_flags(OPEN_FLAGS)
            .open(&self.lock);
        let is_file = |metadata: io::Result<Metadata>| metadata.map(|metadata| metadata.is_file());
        match opened {
            Ok(file) => match is_file(file.metadata()) {
                Ok(true) => Ok(Some(file)),
                Ok(false) => Err(self.no_file()),
                Err(error) => Err(self.unusable(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound && missing == IfNoFile::Skip => {
                Ok(None)
            }
            Err(error) => match is_file(fs::symlink_metadata(&self.lock)) {
                Ok(false) => Err(self.no_file()),
                _ => Err(self.unusable(error)),
            },
        }
    }

    fn no_file(&self) -> ControlError {
        ControlError::NoLockFile {
            path: self.lock.clone(),
        }
    }

    fn unusable(&self, source: io::Error) -> ControlError {
        ControlError::Lock {
            path: self.lock.clone(),
            source,
        }
    }

    fn is_at(&self, file: &File) -> io::Result<bool> {
        Ok(FileId::at(&self.lock)? == Some(FileId::of(&file.metadata()?)))
    }

    /// The description that the holder wrote; `None` if there is none yet.
    pub(super) fn instance(&self) -> Option<Instance> {
        let mut text = Vec::new();
        OpenOptions::new()
            .read(true)
            .custom_flags(OPEN_FLAGS)
            .open(&self.lock)
            .ok()?
            .take(MAX_INSTANCE_BYTES)
            .read_to_end(&mut text)
            .ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// The port and number in the file name of a lock or socket.
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

impl InstanceLock {
    /// Locks the first free name of a port. A name is free if nobody has its lock and nobody listens on its socket: the
    /// lock file of a running instance may have been deleted as an old temporary file.
    pub(super) fn take(dir: &Path, port: u16) -> Result<Self, ControlError> {
        for number in 1..=MAX_NAMES_PER_PORT {
            let name = InstanceName::new(dir, port, number);
            match name.lock(IfNoFile::Create)? {
                LockAttempt::Acquired(lock) if client::is_abandoned(&name.socket) => {
                    return Ok(lock);
                }
                LockAttempt::Acquired(_) | LockAttempt::HeldElsewhere | LockAttempt::NoFile => {}
            }
        }
        Err(ControlError::TooMany { port })
    }

    /// The lock on a name that another process has passed on, by its lock file. `None` if the lock file or the socket is not in
    /// its place any more.
    pub(super) fn passed(name: InstanceName, file: File) -> Option<Self> {
        let socket = FileId::at(&name.socket).ok()?;
        let is_there = socket.is_some() && name.is_at(&file).ok()?;
        is_there.then_some(Self {
            name,
            file,
            socket,
            is_passed: false,
        })
    }

    /// A duplicate of the lock file, to pass the lock on. It is held as long as one of them is open.
    pub(super) fn duplicate(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Leaves the lock and the files to the process that it was passed to.
    pub(super) fn leave(mut self) {
        self.is_passed = true;
    }

    /// Writes the description of this instance into the lock file, for commands that get no response.
    pub(super) fn describe(&mut self, instance: &Instance) -> Result<(), ControlError> {
        let written = serde_json::to_vec(instance)
            .map_err(io::Error::from)
            .and_then(|text| {
                self.file.set_len(0)?;
                // A process that has passed the lock on has moved the cursor.
                self.file.write_all_at(&text, 0)
            });
        written.map_err(|source| self.name.unusable(source))
    }

    /// The path of the socket.
    pub(super) fn socket(&self) -> &Path {
        &self.name.socket
    }

    /// Listens on the socket, and replaces one that an earlier instance left behind.
    pub(super) fn listen(&mut self) -> Result<UnixListener, ControlError> {
        let path = &self.name.socket;
        let listening = remove(path).and_then(|()| {
            let listener = UnixListener::bind(path)?;
            self.socket = FileId::at(path)?;
            fs::set_permissions(path, Permissions::from_mode(0o600))?;
            Ok(listener)
        });
        listening.map_err(|source| ControlError::Listen {
            path: path.clone(),
            source,
        })
    }

    /// Removes the files that an instance left behind. A socket that somebody listens on stays.
    pub(super) fn remove_leftovers(self) {
        if client::is_abandoned(&self.name.socket) {
            report(&self.name.socket, remove(&self.name.socket));
        }
    }
}

impl Drop for InstanceLock {
    fn drop(&mut self) {
        if self.is_passed {
            return;
        }
        // The lock file is removed last: while it is locked, nobody else changes these files.
        if let Some(socket) = self.socket {
            report(&self.name.socket, remove_if(&self.name.socket, socket));
        }
        let lock = self.file.metadata();
        let removed = lock.and_then(|lock| remove_if(&self.name.lock, FileId::of(&lock)));
        report(&self.name.lock, removed);
    }
}

fn report(path: &Path, removed: io::Result<()>) {
    if let Err(error) = removed {
        log::warn!("{} cannot be removed: {error}", path.display());
    }
}

/// Removes the file of this name unless another file has taken its place.
fn remove_if(path: &Path, id: FileId) -> io::Result<()> {
    if FileId::at(path)? == Some(id) {
        remove(path)
    } else {
        Ok(())
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
    use rustix::fs::{CWD, Mode, mkfifoat};
    use std::os::unix::fs::symlink;

    fn files(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn each_instance_on_a_port_gets_its_own_name() {
        let dir = tempfile::tempdir().unwrap();
        let first = InstanceLock::take(dir.path(), 8000).unwrap();
        let second = InstanceLock::take(dir.path(), 8000).unwrap();
        assert_eq!(files(dir.path()), ["8000-2.lock", "8000.lock"]);
        let ports: Vec<u16> = InstanceName::all_in(dir.path())
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
    fn a_leftover_socket_is_replaced_and_ours_is_removed_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        drop(UnixListener::bind(dir.path().join("8000.sock")).unwrap());
        File::create(dir.path().join("8000.lock")).unwrap();
        let mut lock = InstanceLock::take(dir.path(), 8000).unwrap();
        let _listener = lock.listen().unwrap();
        let mode = fs::metadata(dir.path().join("8000.sock"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(files(dir.path()), ["8000.lock", "8000.sock"]);
        drop(lock);
        assert!(files(dir.path()).is_empty());
    }

    #[test]
    fn a_lock_on_a_removed_file_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let lock = InstanceLock::take(dir.path(), 8000).unwrap();
        let removed = File::open(&lock.name.lock).unwrap();
        fs::remove_file(&lock.name.lock).unwrap();
        assert!(!lock.name.is_at(&removed).unwrap());
        File::create(&lock.name.lock).unwrap();
        assert!(!lock.name.is_at(&removed).unwrap());
    }

    #[test]
    fn the_lock_tells_whether_an_instance_is_running() {
        let dir = tempfile::tempdir().unwrap();
        let lock = InstanceLock::take(dir.path(), 8000).unwrap();
        let name = lock.name.clone();
        assert!(matches!(
            name.lock(IfNoFile::Skip).unwrap(),
            LockAttempt::HeldElsewhere
        ));
        drop(lock);
        assert!(matches!(
            name.lock(IfNoFile::Skip).unwrap(),
            LockAttempt::NoFile
        ));
        File::create(&name.lock).unwrap();
        assert!(matches!(
            name.lock(IfNoFile::Skip).unwrap(),
            LockAttempt::Acquired(_)
        ));
    }

    #[test]
    fn only_a_regular_file_is_a_lock_file() {
        let dir = tempfile::tempdir().unwrap();
        let name = InstanceName::new(dir.path(), 8000, 1);
        let target = dir.path().join("target");
        let refused = |what: &str| {
            for missing in [IfNoFile::Skip, IfNoFile::Create] {
                let locking = name.lock(missing);
                assert!(
                    matches!(locking, Err(ControlError::NoLockFile { .. })),
                    "{what}: {locking:?}"
                );
            }
            assert_eq!(name.instance(), None, "{what}");
        };
        symlink(&target, &name.lock).unwrap();
        refused("a link to nothing");
        assert!(!target.exists(), "what the link names was made");
        fs::write(&target, "{}").unwrap();
        refused("a link to a file");
        fs::remove_file(&name.lock).unwrap();
        // Not with a command: until it has started, it would hold copies of the locks and sockets of all other tests.
        mkfifoat(CWD, &name.lock, Mode::RUSR).unwrap();
        refused("a pipe");
        fs::remove_file(&name.lock).unwrap();
        let _listener = UnixListener::bind(&name.lock).unwrap();
        refused("a socket");
        fs::remove_file(&name.lock).unwrap();
        fs::create_dir(&name.lock).unwrap();
        refused("a directory");
    }

    #[test]
    fn a_name_is_not_free_while_somebody_listens_on_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = InstanceLock::take(dir.path(), 8000).unwrap();
        let listener = first.listen().unwrap();
        fs::remove_file(&first.name.lock).unwrap();
        let second = InstanceLock::take(dir.path(), 8000).unwrap();
        assert_eq!(second.socket(), dir.path().join("8000-2.sock"));
        assert_eq!(files(dir.path()), ["8000-2.lock", "8000.sock"]);
        drop(listener);
        let third = InstanceLock::take(dir.path(), 8000).unwrap();
        assert_eq!(third.socket(), dir.path().join("8000.sock"));
    }

    #[test]
    fn files_that_replaced_ours_are_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = InstanceLock::take(dir.path(), 8000).unwrap();
        let _first_listener = first.listen().unwrap();
        for file in [&first.name.lock, &first.name.socket] {
            fs::remove_file(file).unwrap();
        }
        let mut second = InstanceLock::take(dir.path(), 8000).unwrap();
        let _second_listener = second.listen().unwrap();
        drop(first);
        assert_eq!(files(dir.path()), ["8000.lock", "8000.sock"]);
        drop(second);
        assert!(files(dir.path()).is_empty());
    }

    #[test]
    fn a_socket_that_somebody_listens_on_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let name = InstanceName::new(dir.path(), 8000, 1);
        let listener = UnixListener::bind(&name.socket).unwrap();
        let remove = || match name.lock(IfNoFile::Create).unwrap() {
            LockAttempt::Acquired(lock) => lock.remove_leftovers(),
            other => panic!("{other:?}"),
        };
        remove();
        assert_eq!(files(dir.path()), ["8000.sock"]);
        drop(listener);
        remove();
        assert!(files(dir.path()).is_empty());
    }

    #[test]
    fn other_file_names_are_ignored() {
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
    fn a_lock_file_describes_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let mut lock = InstanceLock::take(dir.path(), 8000).unwrap();
        assert_eq!(lock.name.instance(), None);
        let instance = Instance {
            pid: 7,
            port: 8000,
            bind: "::1".parse().unwrap(),
            https_port: None,
            requires_https: false,
            origin: "https://dummyjson.com".to_owned(),
            version: "0.1.0".to_owned(),
            started: "2026-11-23T03:30:00+00:00".to_owned(),
        };
        lock.describe(&instance).unwrap();
        assert_eq!(lock.name.instance(), Some(instance));
    }
}
