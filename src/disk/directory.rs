//! The directory of a store: whose it is, that one process uses it, and the secret in it.
//!
//! `format` says that the directory is ours, `lock` is locked by the process that uses it, and `secret` has 32 random bytes.

use std::{
    fs::{self, DirBuilder, File, Permissions, TryLockError},
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::io::Errno;

use crate::disk::{
    files::{DiskSpace, Files, RealFiles, own_file},
    open_error::OpenError,
    segment::parse_segment_name,
};

const FORMAT: &str = "format";
const LOCK: &str = "lock";
const SECRET: &str = "secret";
const NEW_SECRET: &str = "secret.new";
/// The log of what has ended. Each store has it.
const ENDED: &str = "ended.log";
/// The directory of large bodies.
const LARGE: &str = "large";
/// File systems have it in their root.
const LOST_AND_FOUND: &str = "lost+found";

/// The version of the layout of all files.
const LAYOUT: u32 = 1;
const FORMAT_BEGIN: &str = "store of caching-proxy\nlayout ";
const MAX_FORMAT_BYTES: u64 = 256;
const MAX_LOCK_BYTES: usize = 256;

/// The directory of a store, in use by this process until this is dropped.
#[derive(Debug)]
pub(super) struct StoreDirectory {
    path: PathBuf,
    lock: File,
    secret: [u8; 32],
}

impl StoreDirectory {
    /// Opens a directory, or makes it. Its parents are made as well.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if it is not a directory of this user that is empty or a store, if another process uses it, or if
    /// it cannot be read and written.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        make_directory(path).map_err(failed("make", path))?;
        let metadata = fs::metadata(path).map_err(failed("read", path))?;
        if !metadata.is_dir() {
            return Err(OpenError::NotADirectory { path: path.into() });
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(OpenError::NotOwned { path: path.into() });
        }
        check_format(path)?;
        refuse_links(path)?;
        if metadata.mode() & 0o777 != 0o700 {
            let narrow = fs::set_permissions(path, Permissions::from_mode(0o700));
            narrow.map_err(failed("set the permissions of", path))?;
        }
        let lock = lock(path)?;
        let secret = path.join(SECRET);
        let secret = secret_at(path).map_err(failed("read and write", &secret))?;
        Ok(Self {
            path: path.into(),
            lock,
            secret,
        })
    }

    /// Its files.
    pub(super) fn files(&self) -> Arc<dyn Files> {
        Arc::new(RealFiles::new(self.path.clone()))
    }

    /// Checks that the directory is in its place, with our lock in it. Otherwise another process may use it. What else it needs
    /// to be opened again is written once more if it was removed.
    ///
    /// # Errors
    ///
    /// It is not in its place, or cannot be written.
    pub(super) fn keep(&self) -> io::Result<()> {
        let lock = match fs::symlink_metadata(self.path.join(LOCK)) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            lock => Some(lock?),
        };
        let own = self.lock.metadata()?;
        if lock.is_none_or(|lock| (lock.dev(), lock.ino()) != (own.dev(), own.ino())) {
            return Err(io::Error::other("its files were removed or replaced"));
        }
        if !is_there(&self.path.join(FORMAT))? {
            write_format(&self.path)?;
        }
        if !is_there(&self.path.join(SECRET))? {
            write_secret(&self.path, &self.secret)?;
        }
        Ok(())
    }

    /// Its secret. It is a new one if the one before was missing or damaged.
    pub(super) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Says to other processes what this one is called, such as the port that it listens to. If that fails, they see its id.
    pub(super) fn name_holder(&self, name: &str) {
        let _ = write_holder(&self.lock, name);
    }
}

/// The bytes of a file system that stay free: what is configured, or the larger of 1 GiB and 5 %.
pub(super) fn reserve_bytes(configured: Option<u64>, space: &DiskSpace) -> u64 {
    configured.unwrap_or_else(|| (space.total_bytes / 20).max(1 << 30))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::io(doing, &path, source)
}

fn make_directory(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent()
        && !parent.as_os_str().is_empty()
    {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Whether the directory is a store of a layout that is known here. An empty one becomes one.
fn check_format(path: &Path) -> Result<(), OpenError> {
    let format = path.join(FORMAT);
    let text = match open_own(&format, Access::Read) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(failed("read", &format)(error)),
        Ok(file) => {
            let mut text = Vec::new();
            let read = file.take(MAX_FORMAT_BYTES).read_to_end(&mut text);
            read.map_err(failed("read", &format))?;
            Some(text)
        }
    };
    let written = format_text();
    if let Some(text) = &text
        && let Some(layout) = layout(text)
    {
        return match layout <= LAYOUT {
            true => Ok(()),
            false => Err(OpenError::Newer {
                path: path.into(),
                version: layout,
            }),
        };
    }
    if is_store_without_format(path, text.as_deref()) {
        return Err(OpenError::NoFormat {
            path: path.into(),
            format: written.escape_default().to_string(),
        });
    }
    // It is begun by the process that makes the store, which can be killed.
    let is_begun = text.is_some_and(|text| written.as_bytes().starts_with(&text));
    if let Some(name) = foreign_file(path, is_begun)? {
        return Err(OpenError::Foreign {
            path: path.into(),
            name,
        });
    }
    write_format(path).map_err(failed("write", &format))
}

fn format_text() -> String {
    format!("{FORMAT_BEGIN}{LAYOUT}\n")
}

fn write_format(path: &Path) -> io::Result<()> {
    let file = open_own(&path.join(FORMAT), Access::Write)?;
    file.write_all_at(format_text().as_bytes(), 0)?;
    file.sync_all()?;
    File::open(path)?.sync_all()
}

/// Whether there are the files that each store has, without a whole `format`. A store is made with that file first.
fn is_store_without_format(path: &Path, text: Option<&[u8]>) -> bool {
    let is_begun = |text: &[u8]| format_text().as_bytes().starts_with(text);
    let is_file = |name| {
        let metadata = fs::symlink_metadata(path.join(name));
        metadata.is_ok_and(|metadata| metadata.is_file())
    };
    text.is_none_or(is_begun) && is_file(SECRET) && is_file(ENDED)
}

/// Whether there is something with this name.
fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        found => found.map(|_| true),
    }
}

/// Refuses a store in which a file or a directory of ours is a symbolic link: what it points to is not the store's to change.
fn refuse_links(path: &Path) -> Result<(), OpenError> {
    let is_ours = |name: &str| {
        [FORMAT, LOCK, SECRET, ENDED, LARGE].contains(&name) || parse_segment_name(name).is_some()
    };
    for (directory, are_all_ours) in [(path.to_owned(), false), (path.join(LARGE), true)] {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.map_err(failed("read", &directory))?,
        };
        for entry in entries {
            let entry = entry.map_err(failed("read", &directory))?;
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if is_link && (are_all_ours || entry.file_name().to_str().is_some_and(is_ours)) {
                return Err(OpenError::Link { path: entry.path() });
            }
        }
    }
    Ok(())
}

/// The number in a whole text.
fn layout(text: &[u8]) -> Option<u32> {
    let rest = text.strip_prefix(FORMAT_BEGIN.as_bytes())?;
    let number = rest.split(|byte| *byte == b'\n').next()?;
    let is_whole = number.len() < rest.len() && number.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(number).ok().filter(|_| is_whole)?;
    // A number that is too long is that of a newer layout all the same.
    Some(number.parse().unwrap_or(u32::MAX))
}

/// A file in a directory that is no store yet.
fn foreign_file(path: &Path, is_begun: bool) -> Result<Option<String>, OpenError> {
    for entry in fs::read_dir(path).map_err(failed("read", path))? {
        let name = entry.map_err(failed("read", path))?.file_name();
        if name != LOST_AND_FOUND && !(is_begun && name == FORMAT) {
            return Ok(Some(name.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    /// It is made if it is not there.
    Write,
}

/// Opens one of our own files, which is never a link, a pipe or a device.
fn open_own(path: &Path, access: Access) -> io::Result<File> {
    let is_written = access == Access::Write;
    let file = own_file().write(is_written).create(is_written).open(path);
    let file = file.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => io::Error::other("it is a symbolic link"),
        _ => error,
    })?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let lock = path.join(LOCK);
    let file = open_own(&lock, Access::Write).map_err(failed("open", &lock))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let (holder, name) = read_holder(&file);
            return Err(OpenError::Locked {
                path: path.into(),
                holder,
                name,
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed("lock", &lock)(error)),
    }
    write_holder(&file, "").map_err(failed("write", &lock))?;
    Ok(file)
}

/// `ID NAME`; the name can be empty.
fn write_holder(lock: &File, name: &str) -> io::Result<()> {
    let mut text = format!("{} {name}", std::process::id());
    text.retain(|letter| !letter.is_control());
    text.push('\n');
    lock.write_all_at(text.as_bytes(), 0)?;
    lock.set_len(text.len() as u64)
}

fn read_holder(lock: &File) -> (Option<u32>, Option<String>) {
    let mut text = [0; MAX_LOCK_BYTES];
    let bytes = lock.read_at(&mut text, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&text[..bytes]);
    let line = text.lines().next().unwrap_or_default();
    let (id, name) = line.split_once(' ').unwrap_or((line, ""));
    let name: String = name.chars().filter(|letter| !letter.is_control()).collect();
    (id.parse().ok(), Some(name).filter(|name| !name.is_empty()))
}

/// The secret in a directory. One that is missing or damaged is replaced; what was stored with it is not found again.
fn secret_at(path: &Path) -> io::Result<[u8; 32]> {
    let mut found = Vec::new();
    match open_own(&path.join(SECRET), Access::Read) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(file) => {
            if file.metadata()?.mode() & 0o777 != 0o600 {
                file.set_permissions(Permissions::from_mode(0o600))?;
            }
            file.take(33).read_to_end(&mut found)?;
        }
    }
    if let Ok(secret) = <[u8; 32]>::try_from(found)
        && secret != [0; 32]
    {
        return Ok(secret);
    }
    let mut secret = [0; 32];
    let random = SystemRandom::new().fill(&mut secret);
    random.map_err(|_| io::Error::other("the system has no random numbers"))?;
    write_secret(path, &secret)?;
    Ok(secret)
}

fn write_secret(path: &Path, secret: &[u8; 32]) -> io::Result<()> {
    let new = path.join(NEW_SECRET);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = own_file().write(true).create_new(true).open(&new)?;
    file.write_all(secret)?;
    file.sync_all()?;
    fs::rename(&new, path.join(SECRET))?;
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn names_in(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_directory_is_made_for_its_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/store");
        let opened = StoreDirectory::open(&path).unwrap();
        assert_eq!(mode_of(&path), 0o700);
        assert_eq!(names_in(&path), [FORMAT, LOCK, SECRET]);
        for name in names_in(&path) {
            assert_eq!(mode_of(&path.join(name)), 0o600);
        }
        assert!(opened.files().space().unwrap().total_bytes > 0);
    }

    #[test]
    fn a_relative_path_without_parents_is_one_too() {
        assert!(make_directory(Path::new("src")).is_ok());
    }

    #[test]
    fn an_empty_directory_becomes_a_store_and_is_narrowed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(LOST_AND_FOUND)).unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        drop(StoreDirectory::open(root.path()).unwrap());
        assert_eq!(mode_of(root.path()), 0o700);
        let secret = root.path().join(SECRET);
        fs::set_permissions(&secret, Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o770)).unwrap();
        StoreDirectory::open(root.path()).unwrap();
        assert_eq!((mode_of(root.path()), mode_of(&secret)), (0o700, 0o600));
    }

    #[test]
    fn a_directory_with_other_files_is_refused_and_left_as_it_is() {
        for name in ["notes.txt", LOCK, SECRET, ".hidden", "src"] {
            let root = tempfile::tempdir().unwrap();
            fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
            fs::write(root.path().join(name), b"mine").unwrap();
            let refused = StoreDirectory::open(root.path()).unwrap_err();
            assert!(
                matches!(&refused, OpenError::Foreign { name: found, .. } if found == name),
                "{refused}"
            );
            assert_eq!(names_in(root.path()), [name]);
            assert_eq!(fs::read(root.path().join(name)).unwrap(), b"mine");
            assert_eq!(mode_of(root.path()), 0o755);
        }
    }

    #[test]
    fn a_format_of_somebody_else_is_refused_and_a_newer_one_as_well() {
        let root = tempfile::tempdir().unwrap();
        let format = root.path().join(FORMAT);
        let open = |text: &str| {
            fs::write(&format, text).unwrap();
            let refused = StoreDirectory::open(root.path()).unwrap_err();
            assert_eq!(names_in(root.path()), [FORMAT]);
            assert_eq!(fs::read_to_string(&format).unwrap(), text);
            refused
        };
        let newer = format!("{FORMAT_BEGIN}99999999999\n");
        assert!(matches!(open(&newer), OpenError::Newer { .. }));
        let newer = format!("{FORMAT_BEGIN}2\nmore\n");
        let refused = open(&newer);
        assert!(matches!(refused, OpenError::Newer { version: 2, .. }));
        for other in ["tar", "store of caching-proxy\nlayout x\n", "\0"] {
            assert!(matches!(open(other), OpenError::Foreign { .. }), "{other}");
        }
    }

    #[test]
    fn a_store_whose_making_was_ended_midway_is_made() {
        let written = format!("{FORMAT_BEGIN}{LAYOUT}\n");
        for bytes in 0..written.len() {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join(FORMAT), &written[..bytes]).unwrap();
            StoreDirectory::open(root.path()).unwrap();
            assert_eq!(
                fs::read_to_string(root.path().join(FORMAT)).unwrap(),
                written
            );
        }
    }

    #[test]
    fn one_process_uses_a_directory_and_says_its_name_to_others() {
        let root = tempfile::tempdir().unwrap();
        let first = StoreDirectory::open(root.path()).unwrap();
        let holder = || match StoreDirectory::open(root.path()) {
            Err(OpenError::Locked { holder, name, .. }) => (holder, name),
            other => panic!("{other:?}"),
        };
        let id = Some(std::process::id());
        assert_eq!(holder(), (id, None));
        first.name_holder("port\n 8000 with a long name");
        assert_eq!(holder(), (id, Some("port 8000 with a long name".into())));
        first.name_holder("port 8000");
        assert_eq!(holder(), (id, Some("port 8000".into())));
        fs::write(root.path().join(LOCK), b"\xff\x1b[2J").unwrap();
        assert_eq!(holder().0, None);
        drop(first);
        StoreDirectory::open(root.path()).unwrap();
    }

    #[test]
    fn the_secret_stays_and_a_damaged_one_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let open = || *StoreDirectory::open(root.path()).unwrap().secret();
        let mut before = open();
        assert_eq!(open(), before);
        let secret = root.path().join(SECRET);
        for damaged in [&[][..], &[1; 31], &[1; 33], &[0; 32]] {
            fs::write(&secret, damaged).unwrap();
            fs::write(root.path().join(NEW_SECRET), b"left behind").unwrap();
            let replaced = open();
            assert_ne!(replaced, before);
            assert_eq!(open(), replaced);
            before = replaced;
        }
        fs::remove_file(&secret).unwrap();
        assert_ne!(open(), before);
        assert_eq!(names_in(root.path()), [FORMAT, LOCK, SECRET]);
    }

    #[test]
    fn a_directory_that_is_not_in_its_place_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let (path, aside) = (root.path().join("store"), root.path().join("aside"));
        let store = StoreDirectory::open(&path).unwrap();
        store.keep().unwrap();
        fs::rename(&path, &aside).unwrap();
        assert!(store.keep().is_err());
        drop(StoreDirectory::open(&path).unwrap());
        let refused = store.keep().unwrap_err().to_string();
        assert_eq!(refused, "its files were removed or replaced");
        fs::remove_dir_all(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        store.keep().unwrap();
        fs::remove_file(path.join(SECRET)).unwrap();
        fs::remove_file(path.join(FORMAT)).unwrap();
        store.keep().unwrap();
        let secret = *store.secret();
        drop(store);
        assert_eq!(*StoreDirectory::open(&path).unwrap().secret(), secret);
    }

    #[test]
    fn links_among_the_files_of_a_store_are_refused() {
        for name in [ENDED, "00000001.seg", LARGE, "large/00"] {
            let root = tempfile::tempdir().unwrap();
            let (store, target) = (root.path().join("store"), root.path().join("target"));
            fs::create_dir(&target).unwrap();
            drop(StoreDirectory::open(&store).unwrap());
            if name.starts_with("large/") {
                fs::create_dir(store.join(LARGE)).unwrap();
            }
            symlink(&target, store.join(name)).unwrap();
            let refused = StoreDirectory::open(&store).unwrap_err();
            assert!(matches!(&refused, OpenError::Link { path } if *path == store.join(name)));
            fs::remove_file(store.join(name)).unwrap();
            // What is not ours may be one.
            symlink(&target, store.join("theirs")).unwrap();
            drop(StoreDirectory::open(&store).unwrap());
        }
    }

    #[test]
    fn a_read_only_file_system_is_named() {
        let source = io::Error::from(ErrorKind::ReadOnlyFilesystem);
        let refused = OpenError::io("open", Path::new("/store/lock"), source);
        let text =
            "/store/lock is on a read-only file system; make it writable, or start without --store";
        assert_eq!(refused.to_string(), text);
    }

    #[test]
    fn links_in_the_place_of_our_files_are_refused() {
        for name in [FORMAT, LOCK, SECRET] {
            let root = tempfile::tempdir().unwrap();
            let target = root.path().join("target");
            fs::write(&target, b"theirs").unwrap();
            let store = root.path().join("store");
            drop(StoreDirectory::open(&store).unwrap());
            fs::remove_file(store.join(name)).unwrap();
            symlink(&target, store.join(name)).unwrap();
            let refused = StoreDirectory::open(&store).unwrap_err().to_string();
            assert!(refused.contains("it is a symbolic link"), "{refused}");
            assert_eq!(fs::read(&target).unwrap(), b"theirs");
        }
    }

    #[test]
    fn a_file_or_a_dangling_link_is_not_a_directory() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, b"").unwrap();
        let refused = StoreDirectory::open(&file).unwrap_err();
        assert!(matches!(refused, OpenError::NotADirectory { .. }));
        let link = root.path().join("link");
        symlink("nowhere", &link).unwrap();
        assert!(StoreDirectory::open(&link).is_err());
        assert!(!root.path().join("nowhere").exists());
    }

    #[test]
    fn a_copy_of_a_directory_in_use_opens_with_the_same_secret() {
        let root = tempfile::tempdir().unwrap();
        let (store, copy) = (root.path().join("store"), root.path().join("copy"));
        let opened = StoreDirectory::open(&store).unwrap();
        fs::create_dir(&copy).unwrap();
        for name in names_in(&store) {
            fs::copy(store.join(&name), copy.join(&name)).unwrap();
        }
        let copied = StoreDirectory::open(&copy).unwrap();
        assert_eq!(copied.secret(), opened.secret());
    }

    #[test]
    fn a_twentieth_of_the_file_system_but_at_least_a_gibibyte_is_left_free() {
        let space = |total_bytes| DiskSpace {
            free_bytes: 0,
            total_bytes,
        };
        assert_eq!(reserve_bytes(None, &space(10 << 30)), 1 << 30);
        assert_eq!(reserve_bytes(None, &space(100 << 30)), 5 << 30);
        assert_eq!(reserve_bytes(Some(7), &space(100 << 30)), 7);
    }
}
