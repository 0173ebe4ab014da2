//! The difference between the active configuration and a reloaded one.

use serde_json::Value;

use super::{Config, keys::ROUTES};

/// Settings that a reload applies from the next request on; all others need a restart.
const RELOADABLE: &[&str] = &[
    "policy",
    "ttl",
    "cors",
    "offline",
    "record",
    "coalesce_wait",
    "max_stale",
    "identity_headers",
    "identity_cookies",
    "ignored_cookies",
    "drop_headers",
    "tls_cert",
    "tls_key",
    "tls",
    ROUTES,
    "rules",
];
/// Reloadable settings of TLS. TLS itself is switched on and off by a restart.
const OF_TLS: &[&str] = &["tls_cert", "tls_key", "tls"];
/// Reloadable settings that are part of routes.
const IN_ROUTES: &[&str] = &[
    "policy",
    "ttl",
    "max_stale",
    "identity_headers",
    "identity_cookies",
    "ignored_cookies",
    ROUTES,
    "rules",
];
/// Reloadable settings that decide who may receive a stored response, or what is in it.
const REPARTITIONING: &[&str] = &[
    "policy",
    "identity_headers",
    "identity_cookies",
    "ignored_cookies",
    "drop_headers",
    ROUTES,
];

/// The difference between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys of settings that apply from the next request on.
    pub in_force: Vec<&'static str>,
    /// Keys of settings that need a restart.
    pub needs_restart: Vec<&'static str>,
    /// Whether the cache must be cleared: a response stored for everybody under the old settings may belong to one user
    /// under the new ones.
    pub repartitions: bool,
}

impl Config {
    /// The settings whose values differ in `read`.
    pub fn changes(&self, read: &Self) -> Changes {
        let mut changes = Changes::default();
        let (before, now) = (self.values(), read.values());
        let changed = before
            .iter()
            .zip(&now)
            .filter(|(before, now)| before != now)
            .map(|((name, _), _)| *name);
        let keeps_routes = self.keeps_routes(read);
        let keeps_tls = self.tls.is_some() != read.tls.is_some();
        // The default of max_object follows from max_memory, which is named.
        let is_derived = |name| {
            name == "max_object" && self.has_default_max_object() && read.has_default_max_object()
        };
        for name in changed.filter(|name| !is_derived(*name)) {
            let is_kept = (keeps_routes && IN_ROUTES.contains(&name))
                || (keeps_tls && OF_TLS.contains(&name));
            if RELOADABLE.contains(&name) && !is_kept {
                changes.in_force.push(name);
            } else {
                changes.needs_restart.push(name);
            }
        }
        let repartitions = |name| REPARTITIONING.contains(name);
        changes.repartitions =
            changes.in_force.iter().any(repartitions) || self.policies() != read.policies();
        changes
    }

    /// What decides whose responses are stored under which key, and who may share them, as a text. Responses that were
    /// stored under another text must not be used.
    pub fn partitioning(&self) -> String {
        let values = self.values().into_iter();
        let deciding = |name: &str| REPARTITIONING.contains(&name) || name == "origin";
        let values: Vec<_> = values.filter(|(name, _)| deciding(name)).collect();
        format!("{values:?} {:?}", self.policies())
    }

    /// This configuration, with the reloadable settings of `read`.
    #[must_use]
    pub fn changed_to(&self, read: &Self) -> Self {
        let with_routes = match self.keeps_routes(read) {
            true => self,
            false => read,
        };
        Self {
            policy: with_routes.policy.clone(),
            routes: with_routes.routes.clone(),
            rules: with_routes.rules.clone(),
            cors: read.cors,
            offline: read.offline,
            record: read.record,
            coalesce_wait: read.coalesce_wait,
            drop_headers: read.drop_headers.clone(),
            tls: match (&self.tls, &read.tls) {
                (Some(tls), Some(read)) => Some(tls.with_certificates(read)),
                (tls, _) => tls.clone(),
            },
            ..self.clone()
        }
    }

    /// True if routes are written at other places in `read`.
    pub fn has_moved_routes(&self, read: &Self) -> bool {
        let places = self.routes.iter().map(|route| &route.place);
        places.ne(read.routes.iter().map(|route| &route.place))
    }

    /// True if the routes of `read` do not apply before a restart, nor do the settings that are part of routes: each origin
    /// has connections and counters, which are made at the start.
    fn keeps_routes(&self, read: &Self) -> bool {
        let has_routes = !self.routes.is_empty() || !read.routes.is_empty();
        has_routes && !self.origins.iter().eq(read.origins.iter())
    }

    /// The policy of each rule's paths; empty if all paths have the same policy.
    fn policies(&self) -> Vec<(Vec<&str>, Value)> {
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
    use crate::config::{Flags, keys::KEYS};

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
    fn reloadable_settings_are_separated_from_those_that_need_a_restart() {
        let (before, read) = (
            config(""),
            config("ttl = \"1m\"\nport = 9\nworkers = 3\nmax_stale = \"1s\"\n"),
        );
        let changes = before.changes(&read);
        assert_eq!(changes.in_force, ["ttl", "max_stale"]);
        let workers = (before.workers != 3).then_some("workers");
        let needs_restart: Vec<&str> = ["port"].into_iter().chain(workers).collect();
        assert_eq!(changes.needs_restart, needs_restart);
        assert!(!changes.repartitions);
        let changed = before.changed_to(&read);
        assert_eq!((changed.port, changed.policy.ttl), (8000, read.policy.ttl));
        assert_eq!(changed.changes(&read).in_force, [""; 0]);
    }

    #[test]
    fn the_same_file_changes_nothing() {
        let text = "policy = \"always\"\n[[rules]]\npath = \"/a\"\nttl = \"1m\"\n";
        assert_eq!(config(text).changes(&config(text)), Changes::default());
    }

    #[test]
    fn settings_about_identities_and_policies_repartition() {
        for text in [
            "policy = \"strict\"\n",
            "identity_headers = [\"x-user\"]\n",
            "identity_cookies = [\"sid\"]\n",
            "ignored_cookies = []\n",
            "drop_headers = [\"x-device\"]\n",
            "[[rules]]\npath = \"/a\"\npolicy = \"always\"\n",
        ] {
            let (plain, other) = (config(""), config(text));
            for (before, read) in [(&plain, &other), (&other, &plain)] {
                let changes = before.changes(read);
                assert!(changes.repartitions, "{text}");
                assert_eq!(changes.in_force.len(), 1, "{text}");
            }
        }
    }

    #[test]
    fn a_rule_that_hides_another_rules_policy_repartitions() {
        let rule = "[[rules]]\npath = \"/a/*\"\npolicy = \"always\"\n";
        let hiding = format!("[[rules]]\npath = \"/a/b\"\nttl = \"1m\"\n{rule}");
        let changes = config(rule).changes(&config(&hiding));
        assert!(changes.repartitions);
    }

    #[test]
    fn rules_about_lifetimes_and_queries_do_not_repartition() {
        let rule = "[[rules]]\npath = \"/a\"\nttl = \"1m\"\nignore_query = [\"b\"]\n";
        let changes = config("").changes(&config(rule));
        assert_eq!(changes.in_force, ["rules"]);
        assert!(!changes.repartitions);
    }

    #[test]
    fn every_name_is_a_key() {
        for name in RELOADABLE.iter().chain(REPARTITIONING) {
            assert!(KEYS.contains(name), "{name}");
        }
    }
}
