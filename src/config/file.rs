//! `proxy.toml`: read within bounds, its keys known, each value with the line it stands on.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use toml::{Spanned, Value};

use super::error::ConfigError;

/// A configuration is some kilobytes; what is larger is some other file, named by mistake.
const LIMIT_BYTES: u64 = 1024 * 1024;

/// Whether the file has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Somebody named it.
    Required,
    /// It is the default one.
    Optional,
}

/// The values of a file by key, with the line of each. Empty where there is no file.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) file: PathBuf,
    pub(super) values: BTreeMap<String, (usize, Value)>,
}

impl Settings {
    /// Reads the file.
    pub(super) fn read(
        path: &Path,
        presence: Presence,
        known: &'static [&'static str],
    ) -> Result<Self, ConfigError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error)
                if presence == Presence::Optional
                    && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(Self::default());
            }
            Err(source) => return Err(unreadable(path, source)),
        };
        let mut bytes = Vec::new();
        file.take(LIMIT_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| unreadable(path, source))?;
        if bytes.len() as u64 > LIMIT_BYTES {
            let limit = bytesize::ByteSize(LIMIT_BYTES);
            return Err(ConfigError::TooLarge {
                file: path.to_owned(),
                limit,
            });
        }
        Self::parse(path, &bytes, known)
    }

    fn parse(
        path: &Path,
        bytes: &[u8],
        known: &'static [&'static str],
    ) -> Result<Self, ConfigError> {
        let file = path.to_owned();
        let text = std::str::from_utf8(bytes).map_err(|error| ConfigError::NotText {
            file: file.clone(),
            line: line_of(bytes, error.valid_up_to()),
        })?;
        // A byte order mark is not part of the text; some editors write one.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let parsed: BTreeMap<Spanned<String>, Spanned<Value>> = match toml::from_str(text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let line = line_of(text.as_bytes(), error.span().map_or(0, |span| span.start));
                return Err(ConfigError::Syntax {
                    file,
                    line,
                    source: Box::new(error),
                });
            }
        };
        let mut values = BTreeMap::new();
        for (key, value) in parsed {
            let line = line_of(text.as_bytes(), key.span().start);
            let key = key.into_inner();
            if !known.contains(&key.as_str()) {
                return Err(ConfigError::UnknownKey {
                    file,
                    line,
                    key,
                    known,
                });
            }
            values.insert(key, (line, value.into_inner()));
        }
        Ok(Self { file, values })
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> ConfigError {
    ConfigError::Read {
        file: path.to_owned(),
        source,
    }
}

/// Line of the byte at `offset`; the first is 1.
fn line_of(text: &[u8], offset: usize) -> usize {
    let before = &text[..offset.min(text.len())];
    memchr::memchr_iter(b'\n', before).count() + 1
}
