//! The operations on files that the store needs, behind a trait, so that tests can inject faults.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::PathBuf,
    sync::Arc,
};

use rustix::fs::{OFlags, statvfs};
#[cfg(target_os = "linux")]
use {
    rustix::io::{ReadWriteFlags, preadv2},
    std::io::IoSliceMut,
};

#[cfg(test)]
pub(super) mod faulty;

/// The files of one store's directory. Names are relative to it, with `/` between their parts.
pub(super) trait Files: Send + Sync + 'static {
    /// Opens a file. A symbolic link is an error.
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StoreFile>>;
    /// Which file has this name now.
    fn identity(&self, name: &str) -> io::Result<FileIdentity>;
    /// Renames a file. It replaces the one that has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes a directory, for its owner only. It is no error if it is there.
    fn create_dir(&self, name: &str) -> io::Result<()>;
    /// What is in a directory, in no order. `""` is the store's own.
    fn list(&self, dir: &str) -> io::Result<Vec<ListedFile>>;
    /// Makes the names in a directory durable. `""` is the store's own.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// The space of the file system.
    fn space(&self) -> io::Result<DiskSpace>;
}

/// The device and the number of a file. No other one has them as long as it is open.
pub(super) type FileIdentity = (u64, u64);

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenMode {
    /// For reading alone. It has to be there.
    ReadOnly,
    /// For reading and writing. It has to be there.
    Existing,
    /// For reading and writing. It must not be there.
    CreateNew,
}

/// Where the bytes of a file are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadFrom {
    /// The disk, which may take long: only threads of the disk wait for it.
    Disk,
    /// What the system has in memory.
    Memory,
}

/// An open file.
pub(super) trait StoreFile: Send + Sync {
    /// Reads up to the length of the buffer, and returns the number of bytes. 0 is the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The same, but does not wait for the disk: fails with [`ErrorKind::WouldBlock`] unless the system has the bytes in
    /// memory.
    fn read_in_memory_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes, and returns the number of bytes written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Cuts the file, or extends it by zeros that take no space.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Makes the bytes and the length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Which file it is.
    fn identity(&self) -> io::Result<FileIdentity>;

    /// Fills the buffer, or fails with [`ErrorKind::UnexpectedEof`].
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_from(ReadFrom::Disk, buffer, offset)
    }

    /// The same, from there.
    fn read_exact_from(
        &self,
        from: ReadFrom,
        mut buffer: &mut [u8],
        mut offset: u64,
    ) -> io::Result<()> {
        while !buffer.is_empty() {
            let read = match from {
                ReadFrom::Disk => self.read_at(buffer, offset),
                ReadFrom::Memory => self.read_in_memory_at(buffer, offset),
            };
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    buffer = &mut buffer[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all bytes. After an error any part of them can have been written.
    fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A file or directory in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedFile {
    /// Its name, without the directory. Names that are not UTF-8 are not listed.
    pub(super) name: String,
    /// Its length in bytes. 0 for a directory.
    pub(super) bytes: u64,
    /// Whether it is a directory.
    pub(super) is_dir: bool,
}

/// The space of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DiskSpace {
    /// What this process may still write, in bytes.
    pub(super) free_bytes: u64,
    /// All of it, in bytes.
    pub(super) total_bytes: u64,
}

/// The files of a directory of the file system.
#[derive(Debug)]
pub(super) struct RealFiles {
    root: PathBuf,
}

impl RealFiles {
    /// `root` is the store's directory.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        match name.is_empty() {
            true => self.root.clone(),
            false => self.root.join(name),
        }
    }
}

/// Files of the store are for their owner only. Symbolic links are not followed, and a pipe is not waited for.
pub(super) fn own_file() -> OpenOptions {
    let flags = OFlags::NOFOLLOW
        .union(OFlags::NONBLOCK)
        .bits()
        .cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).mode(0o600).custom_flags(flags);
    options
}

impl Files for RealFiles {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StoreFile>> {
        let mut options = own_file();
        match mode {
            OpenMode::ReadOnly => {}
            OpenMode::Existing => _ = options.write(true),
            OpenMode::CreateNew => _ = options.write(true).create_new(true),
        }
        Ok(Arc::new(options.open(self.path(name))?))
    }

    fn identity(&self, name: &str) -> io::Result<FileIdentity> {
        let metadata = fs::symlink_metadata(self.path(name))?;
        Ok((metadata.dev(), metadata.ino()))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn create_dir(&self, name: &str) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(self.path(name)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<ListedFile>> {
        let mut listed = Vec::new();
        for entry in fs::read_dir(self.path(dir))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            let is_dir = metadata.is_dir();
            let bytes = if is_dir { 0 } else { metadata.len() };
            listed.push(ListedFile {
                name,
                bytes,
                is_dir,
            });
        }
        Ok(listed)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.path(dir))?.sync_all()
    }

    fn space(&self) -> io::Result<DiskSpace> {
        let space = statvfs(&self.root)?;
        Ok(DiskSpace {
            free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
            total_bytes: space.f_blocks.saturating_mul(space.f_frsize),
        })
    }
}

impl StoreFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    #[cfg(target_os = "linux")]
    fn read_in_memory_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let into = &mut [IoSliceMut::new(buffer)];
        Ok(preadv2(self, into, offset, ReadWriteFlags::NOWAIT)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn read_in_memory_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(self, bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        File::set_len(self, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        let metadata = self.metadata()?;
        Ok((metadata.dev(), metadata.ino()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode_of(path: &std::path::Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_and_directories_are_for_their_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let files = RealFiles::new(root.path().into());
        files.create_dir("large").unwrap();
        files.create_dir("large").unwrap();
        let file = files.open("large/a", OpenMode::CreateNew).unwrap();
        file.write_all_at(b"body", 4).unwrap();
        assert_eq!(mode_of(&root.path().join("large")), 0o700);
        assert_eq!(mode_of(&root.path().join("large/a")), 0o600);
        let mut buffer = [1; 8];
        // Not every file system tells what it has in memory.
        let in_memory = file.read_exact_from(ReadFrom::Memory, &mut buffer, 0);
        assert!(in_memory.is_err() || &buffer == b"\0\0\0\0body");
        file.read_exact_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"\0\0\0\0body");
        let short = file.read_exact_at(&mut buffer, 1).unwrap_err();
        assert_eq!(short.kind(), ErrorKind::UnexpectedEof);
        let again = files.open("large/a", OpenMode::CreateNew).err().unwrap();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        let listed = files.list("large").unwrap();
        assert_eq!(
            listed,
            [ListedFile {
                name: "a".into(),
                bytes: 8,
                is_dir: false
            }]
        );
        assert!(files.list("").unwrap()[0].is_dir);
        files.rename("large/a", "b").unwrap();
        files.sync_dir("").unwrap();
        files.remove("b").unwrap();
        let gone = files.open("b", OpenMode::Existing).err().unwrap();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("target");
        fs::write(&target, b"theirs").unwrap();
        symlink(&target, root.path().join("link")).unwrap();
        let files = RealFiles::new(root.path().into());
        for mode in [OpenMode::ReadOnly, OpenMode::Existing, OpenMode::CreateNew] {
            assert!(files.open("link", mode).is_err(), "{mode:?}");
        }
    }

    #[test]
    fn the_space_of_the_file_system_is_known() {
        let root = tempfile::tempdir().unwrap();
        let files = RealFiles::new(root.path().into());
        let space = files.space().unwrap();
        assert!(space.free_bytes <= space.total_bytes && space.total_bytes > 0);
    }
}
