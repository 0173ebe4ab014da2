//! `[[rules]]`: settings for single paths.

use std::path::Path;

use super::{
    MILLISECOND, TEN_YEARS,
    error::{ConfigError, SettingSource, ValueError},
    file::{RuleTable, SettingsFile, Written},
    keys::RULES,
    names,
    value::{self, Given},
};
use crate::policy::{
    ClientDirectives, Globs, Policy, QueryOrder, Rule, Rules, covers, encoded_target,
};

/// Rules are matched on every request, so their number is bounded.
const MAX_RULES: usize = 256;

/// The keys of a rule: its path, and the settings for it.
pub(super) const KEYS: &[&str] = &[
    "path",
    "ttl",
    "policy",
    "ignore_query",
    "sort_query",
    "ignore_client_cache_control",
    "store",
    "store_post",
    "invalidates",
    "persisted_queries",
];
/// The keys that change something without another.
const EFFECTS: &[&str] = match KEYS {
    [_path, effects @ .., _persisted_queries] => effects,
    [_] | [] => &[],
};
/// The keys that only concern stored responses.
const ABOUT_STORED: &[&str] = &["policy", "ttl", "store_post", "persisted_queries"];

/// The rules of the file. Settings that a rule leaves out are those of `base`.
pub(super) fn rules(settings: &SettingsFile, base: &Policy) -> Result<Rules, ConfigError> {
    let Some((line, written)) = settings.values.get(RULES) else {
        return Ok(Rules::default());
    };
    let file = &settings.file;
    let tables = match written {
        Written::Tables(tables) => tables,
        Written::List(none) if none.is_empty() => return Ok(Rules::default()),
        other => {
            let right = "a list of tables that each begin with a line [[rules]]";
            return Err(ConfigError::Value {
                place: place(file, *line, RULES),
                source: Given::from(other).is_not(right),
            });
        }
    };
    if let Some(table) = tables.get(MAX_RULES) {
        return Err(ConfigError::TooManyRules {
            file: file.clone(),
            line: table.line,
            limit: MAX_RULES,
        });
    }
    let mut paths: Vec<(usize, String)> = Vec::with_capacity(tables.len());
    let mut rules = Vec::with_capacity(tables.len());
    for table in tables {
        let written = WrittenRule { file, table };
        let (line, path) = written.path()?;
        rules.push(written.rule(&path, base)?);
        if let Some((earlier_line, earlier)) = paths
            .iter()
            .find(|(_, path_before)| covers(path_before, &path))
        {
            return Err(ConfigError::RuleNeverCounts {
                file: file.clone(),
                line,
                path,
                earlier_line: *earlier_line,
                earlier: earlier.clone(),
            });
        }
        paths.push((line, path));
    }
    Ok(Rules::new(rules))
}

fn place(file: &Path, line: usize, key: &str) -> SettingSource {
    SettingSource::File {
        file: file.to_owned(),
        line,
        key: key.to_owned(),
    }
}

/// A rule in the file, before it is parsed.
struct WrittenRule<'a> {
    file: &'a Path,
    table: &'a RuleTable,
}

impl WrittenRule<'_> {
    /// The pattern of the paths, and its line.
    fn path(&self) -> Result<(usize, String), ConfigError> {
        for (key, (line, _)) in &self.table.values {
            if !KEYS.contains(&key.as_str()) {
                return Err(ConfigError::UnknownKey {
                    file: self.file.to_owned(),
                    line: *line,
                    key: key.clone(),
                    known: KEYS,
                });
            }
        }
        let path = self.get("path", value::path_pattern)?;
        let line = self.table.values.get("path").map(|(line, _)| *line);
        line.zip(path).ok_or_else(|| ConfigError::RuleWithoutPath {
            file: self.file.to_owned(),
            line: self.table.line,
        })
    }

    fn rule(&self, path: &str, base: &Policy) -> Result<Rule, ConfigError> {
        let ttl = self.get("ttl", |given| {
            value::optional_duration(given, MILLISECOND, TEN_YEARS)
        })?;
        let mode = self.get("policy", value::mode)?;
        let ignored = self
            .get("ignore_query", names::ignored_parameters)?
            .unwrap_or_default();
        let order = match self.is_set("sort_query")? {
            true => QueryOrder::ByName,
            false => QueryOrder::AsWritten,
        };
        let client_directives = match self.is_set("ignore_client_cache_control")? {
            true => ClientDirectives::Ignored,
            false => base.client_directives,
        };
        let stores = self.get("store", value::boolean)?.unwrap_or(true);
        let store_post_bytes = self.get("store_post", value::post_size)?.flatten();
        let persisted_queries = self
            .get("persisted_queries", value::persisted_queries)?
            .unwrap_or_default();
        if !stores {
            // `store_post = false` says the same as `store = false`.
            let said = |key: &&&str| **key != "store_post" || store_post_bytes.is_some();
            for key in ABOUT_STORED.iter().filter(said) {
                self.refuse_set(key, "in a rule with store = false; remove one of the two")?;
            }
        }
        if store_post_bytes.is_none() {
            let why = "without store_post; add store_post = true, or remove it";
            self.refuse_set("persisted_queries", why)?;
        }
        let rewrites = !ignored.is_empty() || order != QueryOrder::AsWritten;
        let judges = ttl.is_some() || mode.is_some() || client_directives != base.client_directives;
        let invalidates = self.get("invalidates", value::boolean)?.unwrap_or(true);
        let passes = !stores || !invalidates;
        if !rewrites && !judges && !passes && store_post_bytes.is_none() {
            return Err(ConfigError::RuleWithoutEffect {
                file: self.file.to_owned(),
                line: self.table.line,
                path: path.to_owned(),
                known: EFFECTS,
            });
        }
        Ok(Rule {
            // Targets are encoded before they are compared.
            path: Globs::new([encoded_target(path.as_bytes()).as_deref().unwrap_or(path)]),
            policy: Policy {
                mode: mode.unwrap_or(base.mode),
                ttl: ttl.unwrap_or(base.ttl),
                client_directives,
                ..base.clone()
            },
            stores,
            ignored_parameters: Globs::new(ignored.iter().map(String::as_str)),
            order,
            store_post_bytes,
            persisted_queries,
            invalidates,
        })
    }

    /// Refuses the rule if it sets a key that has no effect, for this reason.
    fn refuse_set(&self, key: &str, why: &'static str) -> Result<(), ConfigError> {
        match self.table.values.get(key) {
            None => Ok(()),
            Some((line, _)) => Err(ConfigError::RuleKeyWithoutEffect {
                file: self.file.to_owned(),
                line: *line,
                key: key.to_owned(),
                why,
            }),
        }
    }

    fn is_set(&self, key: &str) -> Result<bool, ConfigError> {
        Ok(self.get(key, value::boolean)?.unwrap_or(false))
    }

    fn get<T>(
        &self,
        key: &str,
        parse: impl Fn(&Given) -> Result<T, ValueError>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((line, written)) = self.table.values.get(key) else {
            return Ok(None);
        };
        parse(&Given::from(written))
            .map(Some)
            .map_err(|source| ConfigError::value(place(self.file, *line, key), source))
    }
}
