//! Tables in lists of the file: `[[rules]]` and `[[routes]]`.

use std::path::Path;

use super::{
    error::{ConfigError, SettingSource, ValueError},
    file::{RuleTable, SettingsFile, Written},
    value::Given,
};

/// A table in a list, before its values are parsed.
pub(super) struct Table<'a> {
    pub(super) file: &'a Path,
    table: &'a RuleTable,
}

/// The tables of the list with this key; none if it is missing or empty.
pub(super) fn tables<'a>(
    settings: &'a SettingsFile,
    key: &str,
) -> Result<Vec<Table<'a>>, ConfigError> {
    let file = &settings.file;
    match settings.values.get(key) {
        None => Ok(Vec::new()),
        Some((_, Written::Tables(tables))) => {
            Ok(tables.iter().map(|table| Table { file, table }).collect())
        }
        Some((_, Written::List(none))) if none.is_empty() => Ok(Vec::new()),
        Some((line, other)) => Err(ConfigError::Value {
            place: place(file, *line, key),
            source: Given::from(other).is_not(format!(
                "a list of tables that each begin with a line [[{key}]]"
            )),
        }),
    }
}

fn place(file: &Path, line: usize, key: &str) -> SettingSource {
    SettingSource::File {
        file: file.to_owned(),
        line,
        key: key.to_owned(),
    }
}

impl Table<'_> {
    /// Its first line.
    pub(super) fn line(&self) -> usize {
        self.table.line
    }

    /// The line of a key; `None` if it is not set.
    pub(super) fn line_of(&self, key: &str) -> Option<usize> {
        self.table.values.get(key).map(|(line, _)| *line)
    }

    /// Where a key is set, or where the table begins.
    pub(super) fn place(&self, key: &str) -> SettingSource {
        place(self.file, self.line_of(key).unwrap_or(self.line()), key)
    }

    /// Refuses all keys but these.
    pub(super) fn check_keys(&self, known: &'static [&'static str]) -> Result<(), ConfigError> {
        let mut keys = self.table.values.iter();
        match keys.find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, (line, _))) => Err(ConfigError::UnknownKey {
                file: self.file.to_owned(),
                line: *line,
                key: key.clone(),
                known,
            }),
        }
    }

    /// Refuses the table if it sets a key that has no effect, for this reason.
    pub(super) fn refuse_set(&self, key: &str, why: String) -> Result<(), ConfigError> {
        match self.line_of(key) {
            None => Ok(()),
            Some(line) => Err(ConfigError::RuleKeyWithoutEffect {
                file: self.file.to_owned(),
                line,
                key: key.to_owned(),
                why,
            }),
        }
    }

    /// The value of a key; `None` if it is not set.
    pub(super) fn get<T>(
        &self,
        key: &str,
        parse: impl Fn(&Given) -> Result<T, ValueError>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((line, written)) = self.table.values.get(key) else {
            return Ok(None);
        };
        parse(&Given::from(written))
            .map(Some)
            .map_err(|error| ConfigError::value(place(self.file, *line, key), error))
    }
}
