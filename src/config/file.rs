//! Reads `proxy.toml`: bounded in size, with known keys only, each value with its line.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{
    Spanned, Value,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::error::ConfigError;
use crate::regular_file::read_regular;

/// A larger file is not a configuration, but another file named by mistake.
const LIMIT_BYTES: u64 = 1024 * 1024;

/// Whether the file must exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It was named with --config.
    Required,
    /// It is the default file.
    Optional,
}

/// The values of a file by key, each with its line. Empty if there is no file.
#[derive(Debug, Default)]
pub(super) struct SettingsFile {
    pub(super) file: PathBuf,
    pub(super) values: BTreeMap<String, (usize, Written)>,
}

/// A value in the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Written {
    /// A TOML value, except a list.
    Value(Value),
    /// A list, each entry with its line.
    List(Vec<(usize, Value)>),
    /// Text that is TOML in form, but has a number out of range.
    Beyond(String),
    /// A list of tables, at least one.
    Tables(Vec<RuleTable>),
}

/// A table in a list: its values by key, each with its line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RuleTable {
    /// Its first line.
    pub(super) line: usize,
    pub(super) values: BTreeMap<String, (usize, Written)>,
}

impl RuleTable {
    fn new(text: &str, table: &Spanned<DeValue<'_>>) -> Option<Self> {
        let values = table.get_ref().as_table()?.iter().map(|(key, value)| {
            let line = line_of(text.as_bytes(), key.span().start);
            let key = key.get_ref().clone().into_owned();
            (key, (line, Written::new(text, value.clone())))
        });
        Some(Self {
            line: line_of(text.as_bytes(), table.span().start),
            values: values.collect(),
        })
    }
}

impl Written {
    fn new(text: &str, value: Spanned<DeValue<'_>>) -> Self {
        if let DeValue::Array(items) = value.get_ref()
            && let Some(tables) = items
                .iter()
                .map(|item| RuleTable::new(text, item))
                .collect::<Option<Vec<_>>>()
            && !tables.is_empty()
        {
            return Self::Tables(tables);
        }
        let written = text.get(value.span()).unwrap_or_default();
        if let DeValue::Array(items) = value.get_ref() {
            let items = items.iter().map(|item| {
                let line = line_of(text.as_bytes(), item.span().start);
                let item = Value::deserialize(ValueDeserializer::from(item.clone()));
                item.map(|item| (line, item))
            });
            return match items.collect() {
                Ok(items) => Self::List(items),
                Err(_) => Self::Beyond(written.to_owned()),
            };
        }
        match Value::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Self::Value(value),
            Err(_) => Self::Beyond(written.to_owned()),
        }
    }
}

impl SettingsFile {
    /// Where the file is; `None` if there is none.
    pub(super) fn path(&self) -> Option<PathBuf> {
        Some(self.file.clone()).filter(|file| !file.as_os_str().is_empty())
    }

    /// Reads the file.
    pub(super) fn read(
        path: &Path,
        presence: Presence,
        known: &'static [&'static str],
    ) -> Result<Self, ConfigError> {
        let bytes = match read_regular(path, LIMIT_BYTES) {
            Ok(bytes) => bytes,
            Err(error)
                if presence == Presence::Optional
                    && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(Self::default());
            }
            Err(source) => {
                return Err(ConfigError::Read {
                    file: path.to_owned(),
                    source,
                });
            }
        };
        if bytes.len() as u64 > LIMIT_BYTES {
            let limit = bytesize::ByteSize(LIMIT_BYTES);
            return Err(ConfigError::TooLarge {
                file: path.to_owned(),
                limit,
            });
        }
        Self::parse(path, &bytes, known)
    }

    pub(super) fn parse(
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
        let parsed = match DeTable::parse(text) {
            Ok(parsed) => parsed.into_inner(),
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
            let key = key.into_inner().into_owned();
            if !known.contains(&key.as_str()) {
                return Err(ConfigError::UnknownKey {
                    file,
                    line,
                    key,
                    known,
                });
            }
            values.insert(key, (line, Written::new(text, value)));
        }
        Ok(Self { file, values })
    }
}

/// Line of the byte at `offset`; the first is 1.
fn line_of(text: &[u8], offset: usize) -> usize {
    let before = &text[..offset.min(text.len())];
    memchr::memchr_iter(b'\n', before).count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::fs::{CWD, Mode, mkfifoat};

    fn parse(text: &str) -> Result<SettingsFile, String> {
        SettingsFile::parse(Path::new("proxy.toml"), text.as_bytes(), &["port", "ttl"])
            .map_err(|error| error.to_string())
    }

    fn integer(number: i64) -> Written {
        Written::Value(Value::Integer(number))
    }

    #[test]
    fn a_number_out_of_range_is_reported_as_written() {
        for number in [
            "99999999999999999999",
            "-9223372036854775809",
            "0xFFFF_FFFF_FFFF_FFFF_F",
            "1e999",
            "[1, 9223372036854775808]",
        ] {
            let settings = parse(&format!("\nport = {number} # many\nttl = 1")).unwrap();
            let beyond = Written::Beyond(number.to_owned());
            assert_eq!(settings.values["port"], (2, beyond));
            assert_eq!(settings.values["ttl"], (3, integer(1)));
        }
    }

    #[test]
    fn values_are_found_by_key_with_their_line() {
        let settings = parse("# one\n\nport = 1\nttl = \"x\"").unwrap();
        let ttl = Written::Value(Value::String("x".to_owned()));
        assert_eq!(settings.values["port"], (3, integer(1)));
        assert_eq!(settings.values["ttl"], (4, ttl));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_known_ones() {
        for text in [
            "port = 1\nprot = 2\n",
            "port = 1\n[prot]\na = 1",
            "port = 1\nprot.a = 1",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(
                error,
                "proxy.toml:2: unknown key \"prot\"; did you mean \"port\"? Known keys are port, ttl"
            );
        }
    }

    #[test]
    fn invalid_toml_is_refused_with_its_line() {
        for text in [
            "port = 1\nport = 2\n",
            "port = 1\nttl = \n",
            "port = 1\nttl = \"x\n",
        ] {
            assert_eq!(parse(text).unwrap_err(), "proxy.toml:2: not valid TOML");
        }
        let nested = format!("port = {}", "[".repeat(100_000));
        assert_eq!(parse(&nested).unwrap_err(), "proxy.toml:1: not valid TOML");
    }

    #[test]
    fn tables_in_a_list_keep_their_lines() {
        let table = |line, port| RuleTable {
            line,
            values: BTreeMap::from([("port".to_owned(), (port, integer(1)))]),
        };
        let settings = parse("# one\n[[port]]\n\nport = 1\n[[port]] # two\nport = 1").unwrap();
        let tables = vec![table(2, 4), table(5, 6)];
        assert_eq!(settings.values["port"], (2, Written::Tables(tables)));
        let settings = parse("port = [\n{ port = 1 }]").unwrap();
        let tables = vec![table(2, 2)];
        assert_eq!(settings.values["port"], (1, Written::Tables(tables)));
        let settings = parse("port = []").unwrap();
        assert_eq!(settings.values["port"], (1, Written::List(Vec::new())));
        let settings = parse("port = [\n 1,\n\n [2]\n]").unwrap();
        let items = vec![
            (2, Value::Integer(1)),
            (4, Value::Array(vec![Value::Integer(2)])),
        ];
        assert_eq!(settings.values["port"], (1, Written::List(items)));
    }

    #[test]
    fn a_byte_order_mark_is_accepted() {
        assert_eq!(
            parse("\u{feff}port = 3").unwrap().values["port"],
            (1, integer(3))
        );
    }

    #[test]
    fn a_file_that_is_no_configuration_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let read =
            |path: &Path| SettingsFile::read(path, Presence::Optional, &["port"]).unwrap_err();
        let pipe = dir.path().join("pipe");
        mkfifoat(CWD, &pipe, Mode::RUSR).unwrap();
        for path in [dir.path(), &pipe, Path::new("/dev/zero")] {
            let error = read(path);
            let source = std::error::Error::source(&error).unwrap();
            assert_eq!(source.to_string(), "it is not a regular file");
        }
        let path = dir.path().join("large");
        std::fs::write(&path, vec![b'\n'; 1024 * 1024 + 1]).unwrap();
        assert!(matches!(read(&path), ConfigError::TooLarge { .. }));
        std::fs::write(&path, b"# a\n# \xff\n").unwrap();
        assert!(matches!(read(&path), ConfigError::NotText { line: 2, .. }));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_with_a_line_of_it(
            bytes: Vec<u8>,
            nearly in "((port|ttl|x)( = ([0-9]{1,22}|\"[a-z]{0,3}\"|[\\[{tf.]{1,3}))?\n){0,4}",
        ) {
            for bytes in [bytes.as_slice(), nearly.as_bytes()] {
                let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
                let line = match SettingsFile::parse(Path::new("a"), bytes, &["port", "ttl"]) {
                    Ok(settings) => {
                        settings.values.values().map(|(line, _)| *line).max().unwrap_or(1)
                    }
                    Err(
                        ConfigError::NotText { line, .. }
                        | ConfigError::Syntax { line, .. }
                        | ConfigError::UnknownKey { line, .. },
                    ) => line,
                    Err(other) => panic!("{other}"),
                };
                prop_assert!((1..=lines).contains(&line), "{line} of {lines}");
            }
        }
    }
}
