//! Reads the entries of a HAR file, one at a time: the file is never in memory as a whole.

use std::{
    cell::Cell,
    fmt,
    fs::File,
    io::{self, BufReader, Read},
    rc::Rc,
};

use serde::de::{
    DeserializeSeed, Deserializer as _, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Deserializer, error::Category, value::RawValue};

use super::long_text::LongTexts;

/// The largest entry, in bytes, without the long strings that stay in the file. If none do, the body of a response is in it,
/// in base64 a third larger than it is.
pub const MAX_ENTRY_BYTES: u64 = 256 * 1024 * 1024;
/// The most entries.
const MAX_ENTRIES: u64 = 1_000_000;
/// How much is read at a time, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;
/// The byte order mark, which some programs write first.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Stops the reading: the entries cannot be used any more.
#[derive(Debug)]
pub struct Stop;

/// Why a file could not be read to its end. What came before is not affected.
#[derive(Debug, thiserror::Error)]
pub enum HarError {
    /// The file could not be read.
    #[error("entry {entry}: the file cannot be read")]
    Read {
        /// The entry, counted from 1.
        entry: u64,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// An entry is too large.
    #[error(
        "entry {entry} is larger than {} MiB; remove it from the file, or record it through the proxy",
        MAX_ENTRY_BYTES / (1024 * 1024)
    )]
    LargeEntry {
        /// The entry, counted from 1.
        entry: u64,
    },
    /// There are too many entries.
    #[error("the file has more than {MAX_ENTRIES} entries; split it")]
    TooManyEntries,
    /// The file ends too early.
    #[error(
        "the file ends in the middle of entry {entry} (line {line}); a whole one ends with \"]}}}}\": export it again"
    )]
    Cut {
        /// The entry, counted from 1.
        entry: u64,
        /// The last line.
        line: usize,
    },
    /// The file is not JSON.
    #[error(
        "entry {entry} is not valid JSON (line {line}, column {column}: {why}); a HAR file is JSON as a browser exports it"
    )]
    Syntax {
        /// The entry, counted from 1.
        entry: u64,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
        /// What is wrong.
        why: String,
    },
    /// The file is JSON, and no HAR file.
    #[error("it is not a HAR file ({why}): one begins with {{\"log\": {{\"entries\": [")]
    NoHar {
        /// What is wrong.
        why: String,
    },
}

/// A HAR file for [`read_entries`], and the long strings that stay in it. Those of what is no regular file, such as a pipe,
/// are read.
///
/// # Errors
/// It cannot be read.
pub fn open_file(file: File) -> io::Result<(LongTexts, Box<dyn Read>)> {
    match file.metadata()?.is_file() {
        true => {
            let (texts, shortened) = LongTexts::of(file);
            Ok((texts, Box::new(shortened)))
        }
        false => Ok((LongTexts::default(), Box::new(file))),
    }
}

/// Calls `each` with every entry of a HAR file and its number, counted from 1. Returns how many there were; `None` if `each`
/// has stopped the reading.
///
/// # Errors
/// The file cannot be read, or is no HAR file. `each` was called with all entries before the mistake.
pub fn read_entries(
    file: impl Read,
    each: &mut dyn FnMut(u64, &RawValue) -> Result<(), Stop>,
) -> Result<Option<u64>, HarError> {
    read_with_limit(file, MAX_ENTRY_BYTES, each)
}

fn read_with_limit(
    file: impl Read,
    max_entry_bytes: u64,
    each: &mut dyn FnMut(u64, &RawValue) -> Result<(), Stop>,
) -> Result<Option<u64>, HarError> {
    let since_entry = Rc::new(Cell::new(0));
    let limited = LimitedReader {
        file: without_mark(file).map_err(|source| HarError::Read { entry: 1, source })?,
        since_entry: Rc::clone(&since_entry),
        max_entry_bytes,
    };
    let mut progress = Progress {
        entries: 0,
        is_stopped: false,
        has_entries: false,
        since_entry,
        each,
    };
    let mut json = Deserializer::from_reader(BufReader::with_capacity(BUFFER_BYTES, limited));
    let read = json
        .deserialize_map(FileVisitor(&mut progress))
        .and_then(|()| json.end());
    let Progress {
        entries,
        is_stopped,
        has_entries,
        ..
    } = progress;
    match read {
        _ if is_stopped => Ok(None),
        Ok(()) if has_entries => Ok(Some(entries)),
        Ok(()) => Err(HarError::NoHar {
            why: "it has no log.entries".to_owned(),
        }),
        Err(error) => Err(failure(error, entries, has_entries)),
    }
}

/// What an error of the parser means after so many entries.
fn failure(error: serde_json::Error, entries: u64, has_entries: bool) -> HarError {
    let entry = entries + 1;
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        Category::Eof => HarError::Cut { entry, line },
        Category::Io => match io::Error::from(error) {
            source if source.kind() == io::ErrorKind::FileTooLarge => {
                HarError::LargeEntry { entry }
            }
            source => HarError::Read { entry, source },
        },
        Category::Data if entries >= MAX_ENTRIES => HarError::TooManyEntries,
        Category::Data if !has_entries => HarError::NoHar {
            why: error.to_string(),
        },
        Category::Syntax | Category::Data => HarError::Syntax {
            entry,
            line,
            column,
            why: error.to_string(),
        },
    }
}

/// The file without a byte order mark.
fn without_mark(mut file: impl Read) -> io::Result<impl Read> {
    let mut begin = Vec::new();
    file.by_ref()
        .take(BYTE_ORDER_MARK.len() as u64)
        .read_to_end(&mut begin)?;
    if begin == BYTE_ORDER_MARK {
        begin.clear();
    }
    Ok(io::Cursor::new(begin).chain(file))
}

/// Refuses to read more of one entry than is allowed.
struct LimitedReader<R> {
    file: R,
    since_entry: Rc<Cell<u64>>,
    max_entry_bytes: u64,
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.since_entry.get() > self.max_entry_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let read = self.file.read(buffer)?;
        self.since_entry.set(self.since_entry.get() + read as u64);
        Ok(read)
    }
}

struct Progress<'f> {
    entries: u64,
    is_stopped: bool,
    /// The list of entries has begun.
    has_entries: bool,
    since_entry: Rc<Cell<u64>>,
    each: &'f mut dyn FnMut(u64, &RawValue) -> Result<(), Stop>,
}

/// The file: an object with the member `log`.
struct FileVisitor<'p, 'f>(&'p mut Progress<'f>);

impl<'de> Visitor<'de> for FileVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with the member \"log\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "log" => members.next_value_seed(LogSeed(self.0))?,
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// `log`: an object with the member `entries`.
struct LogSeed<'p, 'f>(&'p mut Progress<'f>);

impl<'de> DeserializeSeed<'de> for LogSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LogSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with the member \"entries\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "entries" => members.next_value_seed(EntriesSeed(self.0))?,
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// `entries`: a list.
struct EntriesSeed<'p, 'f>(&'p mut Progress<'f>);

impl<'de> DeserializeSeed<'de> for EntriesSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for EntriesSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let progress = self.0;
        progress.has_entries = true;
        progress.since_entry.set(0);
        while let Some(entry) = list.next_element::<Box<RawValue>>()? {
            if progress.entries >= MAX_ENTRIES {
                return Err(A::Error::custom("too many entries"));
            }
            if (progress.each)(progress.entries + 1, &entry).is_err() {
                progress.is_stopped = true;
                return Err(A::Error::custom("stopped"));
            }
            progress.entries += 1;
            progress.since_entry.set(0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entries of a file, and how it ends.
    fn read(text: &[u8]) -> (Vec<String>, Result<Option<u64>, String>) {
        let mut entries = Vec::new();
        let read = read_entries(text, &mut |number, entry| {
            entries.push(format!("{number} {}", entry.get()));
            Ok(())
        });
        (entries, read.map_err(|error| error.to_string()))
    }

    #[test]
    fn entries_are_read_one_at_a_time() {
        for text in [
            r#"{"log":{"version":"1.2","pages":[{"a":[1]}],"entries":[{"a":1}, {"b":[2]}],"comment":""},"x":{}}"#,
            "\u{feff}{ \"x\": 1, \"log\": {\"entries\": [{\"a\":1},\n{\"b\":[2]}]}}",
        ] {
            let (entries, end) = read(text.as_bytes());
            assert_eq!(entries, ["1 {\"a\":1}", "2 {\"b\":[2]}"]);
            assert_eq!(end, Ok(Some(2)));
        }
        assert_eq!(read(br#"{"log":{"entries":[]}}"#).1, Ok(Some(0)));
    }

    #[test]
    fn a_mistake_is_named_with_its_entry_and_what_came_before_was_read() {
        for (text, entries, words) in [
            (
                r#"{"log":{"entries":[{"a":1},{"b""#,
                1,
                "in the middle of entry 2 (line 1)",
            ),
            (
                r#"{"log":{"entries":[{"a":1}"#,
                1,
                "in the middle of entry 2",
            ),
            (
                r#"{"log":{"entries":[{"a":1},{b:2}]}}"#,
                1,
                "entry 2 is not valid JSON (line 1, column 29",
            ),
            (
                r#"{"log":{"entries":[{"a":1}]}} x"#,
                1,
                "entry 2 is not valid JSON",
            ),
            (r#"{"log":{"entries":{}}}"#, 0, "it is not a HAR file"),
            (r#"{"log":[]}"#, 0, "it is not a HAR file"),
            (r#"{"a":1}"#, 0, "it has no log.entries"),
            ("[]", 0, "it is not a HAR file"),
            ("<html>", 0, "entry 1 is not valid JSON"),
            ("", 0, "in the middle of entry 1"),
        ] {
            let (found, end) = read(text.as_bytes());
            let error = end.unwrap_err();
            assert_eq!(found.len(), entries, "{text}");
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn an_entry_that_is_too_large_is_refused_without_reading_it_whole() {
        let begin = br#"{"log":{"entries":[{"a":1},"#;
        let endless = io::repeat(b'[').take(u64::MAX);
        let mut count = 0;
        let read = read_with_limit(begin.chain(endless), 1_000_000, &mut |_, _| {
            count += 1;
            Ok(())
        });
        assert_eq!(count, 1);
        assert!(
            matches!(read, Err(HarError::LargeEntry { entry: 2 })),
            "{read:?}"
        );
    }

    #[test]
    fn the_reading_can_be_stopped() {
        let text = br#"{"log":{"entries":[{"a":1},{"b":2}]}}"#;
        let read = read_entries(&text[..], &mut |_, _| Err(Stop));
        assert!(matches!(read, Ok(None)));
    }
}
