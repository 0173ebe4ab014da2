//! The paths that a resumed run skips.
//!
//! Stored paths are hits in the next run and cost the origin nothing. Paths that the cache does not store would be fetched
//! again, so they are noted in a file: a first line that says what the file is, then one path per line.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use super::{WarmError, list::MAX_PATHS, target::MAX_TARGET_BYTES};

const TITLE: &str = "# caching-proxy warm --resume: fetched, and not stored, from ";
const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;
/// The least time between two writes; a write that takes long is followed by a longer pause.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_PER_WRITE: u32 = 20;

/// The notes of one file.
pub(super) struct Notes {
    path: PathBuf,
    head: String,
    paths: HashSet<Rc<str>>,
    changed: bool,
    next_write: Instant,
}

impl Notes {
    /// Reads the file, or creates it.
    pub(super) fn read(path: &Path, origin: &str) -> Result<Self, WarmError> {
        let failed = |source| WarmError::Notes {
            path: path.to_owned(),
            source,
        };
        let mut notes = Self {
            path: path.to_owned(),
            head: format!("{TITLE}{origin}"),
            paths: HashSet::new(),
            changed: false,
            next_write: Instant::now() + PAUSE,
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // A file that cannot be written is an error now, not after the first fetches.
                notes.write().map_err(failed)?;
                return Ok(notes);
            }
            Err(error) => return Err(failed(error)),
        };
        let foreign = || WarmError::ForeignNotes {
            path: path.to_owned(),
            origin: origin.to_owned(),
        };
        let mut reader = BufReader::new(file.take(MAX_FILE_BYTES));
        let mut line = Vec::new();
        let longest = (MAX_TARGET_BYTES + 1) as u64;
        while reader
            .by_ref()
            .take(longest)
            .read_until(b'\n', &mut line)
            .map_err(failed)?
            > 0
        {
            let text = std::str::from_utf8(&line)
                .map_err(|_| foreign())?
                .trim_end_matches('\n');
            if notes.paths.is_empty() && text.starts_with('#') {
                if text != notes.head {
                    return Err(foreign());
                }
            } else if text.starts_with('/') && notes.paths.len() < MAX_PATHS {
                notes.paths.insert(Rc::from(text));
            } else {
                return Err(foreign());
            }
            line.clear();
        }
        Ok(notes)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// Notes a path, and writes the file if the last write is long enough ago.
    pub(super) fn note(&mut self, path: Rc<str>) -> Result<(), WarmError> {
        self.paths.insert(path);
        self.changed = true;
        if Instant::now() < self.next_write {
            return Ok(());
        }
        self.save()
    }

    /// Writes the file if paths were added since the last write.
    pub(super) fn save(&mut self) -> Result<(), WarmError> {
        if !self.changed {
            return Ok(());
        }
        let begun = Instant::now();
        self.write().map_err(|source| self.failed(source))?;
        self.changed = false;
        self.next_write = Instant::now() + PAUSE.max(begun.elapsed() * PAUSE_PER_WRITE);
        Ok(())
    }

    /// Removes the file after a complete run: the next run is a new one.
    pub(super) fn remove(self) -> Result<(), WarmError> {
        fs::remove_file(&self.path).map_err(|source| self.failed(source))
    }

    /// Writes a second file and renames it, so that there is a complete file at any time.
    fn write(&self) -> io::Result<()> {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let mut out = BufWriter::new(File::create(&beside)?);
        writeln!(out, "{}", self.head)?;
        for path in &self.paths {
            writeln!(out, "{path}")?;
        }
        out.into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()?;
        fs::rename(&beside, &self.path)
    }

    fn failed(&self, source: io::Error) -> WarmError {
        WarmError::Notes {
            path: self.path.clone(),
            source,
        }
    }
}
