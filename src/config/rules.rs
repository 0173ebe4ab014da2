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
    /// Reads the rules. `base` has the settings that hold without them. What changes nothing for `base` may change something
    /// for one of the routes that have `route_keys`.
    pub(super) fn read(
        settings: &SettingsFile,
        base: &Rule,
        route_keys: &[&RuleKeys],
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
            let rule = WrittenRule::read(&table, base, route_keys)?;
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
    fn read(table: &Table<'_>, base: &Rule, route_keys: &[&RuleKeys]) -> Result<Self, ConfigError> {
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
        let route_stores_posts = route_keys.iter().any(|keys| keys.stores_posts());
        let keys = RuleKeys::read(table, "rule", route_stores_posts)?;
        let has_effect = match route_keys.is_empty() {
            true => keys.has_effect(base),
            false => keys.is_any_set(),
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
