//! `[[rules]]`: settings for single paths.

use super::{
    error::ConfigError,
    file::SettingsFile,
    keys::RULES,
    rule_keys::{RULE_KEYS, RuleKeys, with_rule_keys},
    tables::{Table, tables},
    value,
};
use crate::policy::{Rule, Rules, covers};

/// Rules are matched on every request, so their number is bounded.
const MAX_RULES: usize = 256;

/// The keys of a rule: its path, and the settings for it.
pub(super) const KEYS: &[&str] = &with_rule_keys::<10>(&["path"]);

/// The rules of the file, as they are written.
pub(super) struct WrittenRules(Vec<WrittenRule>);

struct WrittenRule {
    line: usize,
    path: String,
    keys: RuleKeys,
}

impl WrittenRules {
    /// Reads the rules. `base` has the settings that hold without them; with `has_routes`, what changes nothing for `base` may
    /// change something for a route.
    pub(super) fn read(
        settings: &SettingsFile,
        base: &Rule,
        has_routes: bool,
    ) -> Result<Self, ConfigError> {
        let mut rules: Vec<WrittenRule> = Vec::new();
        for table in tables(settings, RULES)? {
            if rules.len() == MAX_RULES {
                return Err(ConfigError::TooManyRules {
                    file: settings.file.clone(),
                    line: table.line(),
                    limit: MAX_RULES,
                });
            }
            let rule = WrittenRule::read(&table, base, has_routes)?;
            let earlier = rules.iter().find(|it| covers(&it.path, &rule.path));
            if let Some(earlier) = earlier {
                return Err(ConfigError::RuleNeverCounts {
                    file: settings.file.clone(),
                    line: rule.line,
                    path: rule.path,
                    earlier_line: earlier.line,
                    earlier: earlier.path.clone(),
                });
            }
            rules.push(rule);
        }
        Ok(Self(rules))
    }

    /// The rules, with the settings of `base` where they set nothing.
    pub(super) fn over(&self, base: &Rule) -> Rules {
        let rules = self.0.iter();
        Rules::new(rules.map(|it| it.keys.over(&it.path, base)).collect())
    }
}

impl WrittenRule {
    fn read(table: &Table<'_>, base: &Rule, has_routes: bool) -> Result<Self, ConfigError> {
        table.check_keys(KEYS)?;
        let path = table.get("path", value::path_pattern)?;
        let (line, path) =
            table
                .line_of("path")
                .zip(path)
                .ok_or_else(|| ConfigError::RuleWithoutPath {
                    file: table.file.to_owned(),
                    line: table.line(),
                })?;
        let keys = RuleKeys::read(table, "rule")?;
        let has_effect = match has_routes {
            true => keys.is_any_set(),
            false => keys.has_effect(base),
        };
        match has_effect {
            true => Ok(Self { line, path, keys }),
            false => Err(ConfigError::RuleWithoutEffect {
                file: table.file.to_owned(),
                line: table.line(),
                path,
                known: EFFECTS,
            }),
        }
    }
}

/// The keys that change something without another.
const EFFECTS: &[&str] = {
    let [effects @ .., _persisted_queries] = RULE_KEYS;
    effects
};
