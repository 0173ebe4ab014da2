//! What a configuration that was read again would change.

use serde_json::Value;

use super::Config;

/// Settings that count from the next request on.
const IN_FORCE_AT_ONCE: &[&str] = &[
    "policy",
    "ttl",
    "max_stale",
    "identity_headers",
    "identity_cookies",
    "ignored_cookies",
    "rules",
];
/// Those among them that decide who may be given a stored answer, or what it holds.
const DIVIDING: &[&str] = &[
    "policy",
    "identity_headers",
    "identity_cookies",
    "ignored_cookies",
];

/// The difference between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys of settings that count from the next request on.
    pub in_force: Vec<&'static str>,
    /// Keys of settings that count after a restart only.
    pub needs_restart: Vec<&'static str>,
    /// Whether what was stored before may be somebody else's now, or hold what it may not.
    pub stored: StoredBefore,
}

/// What is true of what was stored under an earlier configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoredBefore {
    /// It may be used as before.
    #[default]
    Usable,
    /// It was divided among users by other rules: an answer stored for all may have been made for one.
    DividedOtherwise,
}

impl Config {
    /// What `read` would change.
    pub fn changes(&self, read: &Self) -> Changes {
        let mut changes = Changes::default();
        let (before, now) = (self.values(), read.values());
        let changed = before
            .iter()
            .zip(&now)
            .filter(|(before, now)| before != now)
            .map(|((name, _), _)| *name);
        for name in changed {
            if IN_FORCE_AT_ONCE.contains(&name) {
                changes.in_force.push(name);
            } else {
                changes.needs_restart.push(name);
            }
        }
        let divides = |name| DIVIDING.contains(name);
        if changes.in_force.iter().any(divides) || self.policies() != read.policies() {
            changes.stored = StoredBefore::DividedOtherwise;
        }
        changes
    }

    /// This configuration, with what can change while it is in force as in `read`.
    #[must_use]
    pub fn changed_to(&self, read: &Self) -> Self {
        Self {
            policy: read.policy.clone(),
            rules: read.rules.clone(),
            ..self.clone()
        }
    }

    /// Which paths have which policy, where it is not everywhere the same.
    fn policies(&self) -> Vec<(Vec<String>, Value)> {
        let base = self.policy.mode;
        if self.rules.iter().all(|rule| rule.policy.mode == base) {
            return Vec::new();
        }
        let rules = self.rules.iter();
        rules
            .map(|rule| {
                let mode = super::settings::mode(rule.policy.mode);
                (rule.path.patterns().collect::<Vec<_>>(), mode.into())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, KEYS};

    fn config(text: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proxy.toml");
        std::fs::write(&path, text).unwrap();
        let flags = Flags::from([
            ("config", path.into()),
            ("origin", "http://origin.test".into()),
        ]);
        Config::load(&flags, &|_| None).unwrap()
    }

    #[test]
    fn what_can_change_is_told_from_what_needs_a_restart() {
        let (before, read) = (
            config(""),
            config("ttl = \"1m\"\nport = 9\nworkers = 3\nmax_stale = \"1s\"\n"),
        );
        let changes = before.changes(&read);
        assert_eq!(changes.in_force, ["ttl", "max_stale"]);
        let workers = (before.workers != 3).then_some("workers");
        let needs_restart: Vec<&str> = ["port"].into_iter().chain(workers).collect();
        assert_eq!(changes.needs_restart, needs_restart);
        assert_eq!(changes.stored, StoredBefore::Usable);
        let changed = before.changed_to(&read);
        assert_eq!((changed.port, changed.policy.ttl), (8000, read.policy.ttl));
        assert_eq!(changed.changes(&read).in_force, [""; 0]);
    }

    #[test]
    fn nothing_changes_where_the_same_is_read() {
        let text = "policy = \"always\"\n[[rules]]\npath = \"/a\"\nttl = \"1m\"\n";
        assert_eq!(config(text).changes(&config(text)), Changes::default());
    }

    #[test]
    fn what_divides_users_voids_what_is_stored() {
        for text in [
            "policy = \"strict\"\n",
            "identity_headers = [\"x-user\"]\n",
            "identity_cookies = [\"sid\"]\n",
            "ignored_cookies = []\n",
            "[[rules]]\npath = \"/a\"\npolicy = \"always\"\n",
        ] {
            let (plain, other) = (config(""), config(text));
            for (before, read) in [(&plain, &other), (&other, &plain)] {
                let changes = before.changes(read);
                assert_eq!(changes.stored, StoredBefore::DividedOtherwise, "{text}");
                assert_eq!(changes.in_force.len(), 1, "{text}");
            }
        }
    }

    #[test]
    fn a_rule_that_hides_another_ones_policy_voids_what_is_stored_too() {
        let rule = "[[rules]]\npath = \"/a/*\"\npolicy = \"always\"\n";
        let hiding = format!("[[rules]]\npath = \"/a/b\"\nttl = \"1m\"\n{rule}");
        let changes = config(rule).changes(&config(&hiding));
        assert_eq!(changes.stored, StoredBefore::DividedOtherwise);
    }

    #[test]
    fn rules_about_time_and_queries_leave_what_is_stored() {
        let rule = "[[rules]]\npath = \"/a\"\nttl = \"1m\"\nignore_query = [\"b\"]\n";
        let changes = config("").changes(&config(rule));
        assert_eq!(changes.in_force, ["rules"]);
        assert_eq!(changes.stored, StoredBefore::Usable);
    }

    #[test]
    fn every_name_is_a_key() {
        for name in IN_FORCE_AT_ONCE.iter().chain(DIVIDING) {
            assert!(KEYS.contains(name), "{name}");
        }
    }
}
