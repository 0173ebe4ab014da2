//! The paths to fetch, each once, and the list they are read from.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    rc::Rc,
};

use super::{
    WarmError,
    sitemap::GZIP,
    target::{KnownHosts, MAX_TARGET_BYTES},
};

/// The most paths in one run.
pub(super) const MAX_PATHS: usize = 1_000_000;
/// The maximum size of a list, in bytes.
const MAX_LIST_BYTES: u64 = 256 * 1024 * 1024;
/// The most invalid lines that are named.
const MAX_NAMED: usize = 10;

/// Targets in the order of their first occurrence.
#[derive(Debug, Default)]
pub(super) struct Targets {
    pub(super) paths: Vec<Rc<str>>,
    known: HashSet<Rc<str>>,
    /// Occurrences after the first.
    pub(super) duplicates: u64,
}

impl Targets {
    pub(super) fn add(&mut self, target: String) -> Result<(), WarmError> {
        let target = Rc::from(target);
        if self.known.contains(&target) {
            self.duplicates += 1;
            return Ok(());
        }
        if self.paths.len() == MAX_PATHS {
            return Err(WarmError::TooMany);
        }
        self.known.insert(Rc::clone(&target));
        self.paths.push(target);
        Ok(())
    }
}

/// Reads a file, or stdin for `-`.
pub(super) fn read(source: &str, place: &KnownHosts) -> Result<Targets, WarmError> {
    let unreadable = |error| WarmError::List {
        name: source.to_owned(),
        source: error,
    };
    let reader: Box<dyn io::Read> = match source {
        "-" => Box::new(io::stdin().lock()),
        path => Box::new(File::open(path).map_err(unreadable)?),
    };
    let mut lines = BufReader::new(reader.take(MAX_LIST_BYTES + 1));
    let mut targets = Targets::default();
    let mut wrong = Wrong::default();
    let mut line = Vec::new();
    let mut read_bytes = 0;
    for number in 1_u64.. {
        line.clear();
        let length = lines.read_until(b'\n', &mut line).map_err(unreadable)? as u64;
        read_bytes += length;
        if length == 0 {
            break;
        }
        if read_bytes > MAX_LIST_BYTES {
            return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
        }
        match meaning(&line, number) {
            Ok("") => {}
            Ok(text) => match place.target(text) {
                Ok(target) => targets.add(target)?,
                Err(misfit) => wrong.add(number, &misfit.to_string()),
            },
            Err(why) => wrong.add(number, why),
        }
    }
    wrong.none(source)?;
    Ok(targets)
}

/// The target on a line; empty for a blank line or a comment.
fn meaning(line: &[u8], number: u64) -> Result<&str, &'static str> {
    if number == 1 && line.starts_with(GZIP) {
        return Err("it is compressed with gzip; unpack it first");
    }
    if line.len() > MAX_TARGET_BYTES + 2 {
        return Err("it is too long for a path");
    }
    let text = std::str::from_utf8(line).map_err(|_| "it is not text in UTF-8")?;
    let text = match number {
        1 => text.trim_start_matches('\u{feff}').trim(),
        _ => text.trim(),
    };
    match text.as_bytes() {
        [b'#', ..] => Ok(""),
        [b'<', ..] => {
            Err("this looks like XML; to read a sitemap, give its URL or its path on the proxy")
        }
        _ => Ok(text),
    }
}

/// The invalid lines.
#[derive(Default)]
struct Wrong {
    named: Vec<String>,
    more: u64,
}

impl Wrong {
    fn add(&mut self, number: u64, why: &str) {
        if self.named.len() < MAX_NAMED {
            self.named.push(format!("line {number}: {why}"));
        } else {
            self.more += 1;
        }
    }

    fn none(mut self, source: &str) -> Result<(), WarmError> {
        if self.named.is_empty() {
            return Ok(());
        }
        if self.more > 0 {
            self.named.push(format!("and {} more lines", self.more));
        }
        let name = if source == "-" { "stdin" } else { source };
        Err(WarmError::Lines {
            name: name.to_owned(),
            lines: self.named.join("\n  "),
        })
    }
}
