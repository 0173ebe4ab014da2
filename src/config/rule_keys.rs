//! The keys that rules and routes share.

use std::time::Duration;

use super::{MILLISECOND, TEN_YEARS, error::ConfigError, names, tables::Table, value};
use crate::policy::{
    ClientDirectives, Globs, Mode, PersistedQueries, Policy, QueryOrder, Rule, encoded_target,
};

/// Their names. The last one changes nothing without another.
pub(super) const RULE_KEYS: &[&str; 9] = &[
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
/// The names that `own` has before these: all keys of a rule or of a route. `N` is their number.
pub(super) const fn with_rule_keys<const N: usize>(own: &[&'static str]) -> [&'static str; N] {
    assert!(own.len() + RULE_KEYS.len() == N, "the number of the keys");
    let mut keys = [""; N];
    let mut at = 0;
    while at < N {
        keys[at] = match at < own.len() {
            true => own[at],
            false => RULE_KEYS[at - own.len()],
        };
        at += 1;
    }
    keys
}

/// The keys that only concern stored responses.
const ABOUT_STORED: &[&str] = &["policy", "ttl", "store_post", "persisted_queries"];

/// What a rule or a route sets. Each is `None` if it is not set.
#[derive(Debug, Default)]
pub(super) struct RuleKeys {
    ttl: Option<Option<Duration>>,
    mode: Option<Mode>,
    ignored_parameters: Option<Globs>,
    order: Option<QueryOrder>,
    client_directives: Option<ClientDirectives>,
    stores: Option<bool>,
    store_post_bytes: Option<Option<u64>>,
    invalidates: Option<bool>,
    persisted_queries: Option<PersistedQueries>,
}

impl RuleKeys {
    /// Reads the keys of `table`, which is a `kind`: a rule or a route. `base_stores_posts` is true if it may stand above another
    /// one that says `store_post`.
    pub(super) fn read(
        table: &Table<'_>,
        kind: &str,
        base_stores_posts: bool,
    ) -> Result<Self, ConfigError> {
        let ignored = table.get("ignore_query", names::ignored_parameters)?;
        let order = |is_sorted| match is_sorted {
            true => QueryOrder::ByName,
            false => QueryOrder::AsWritten,
        };
        let client_directives = |are_ignored| match are_ignored {
            true => ClientDirectives::Ignored,
            false => ClientDirectives::Obeyed,
        };
        let keys = Self {
            ttl: table.get("ttl", |given| {
                value::optional_duration(given, MILLISECOND, TEN_YEARS)
            })?,
            mode: table.get("policy", value::mode)?,
            ignored_parameters: ignored.map(|names| Globs::new(names.iter().map(String::as_str))),
            order: table.get("sort_query", value::boolean)?.map(order),
            client_directives: table
                .get("ignore_client_cache_control", value::boolean)?
                .map(client_directives),
            stores: table.get("store", value::boolean)?,
            store_post_bytes: table.get("store_post", value::post_size)?,
            invalidates: table.get("invalidates", value::boolean)?,
            persisted_queries: table.get("persisted_queries", value::persisted_queries)?,
        };
        let stores_posts = keys.stores_posts();
        if keys.stores == Some(false) {
            // `store_post = false` says the same as `store = false`.
            let said = |key: &&&str| **key != "store_post" || stores_posts;
            for key in ABOUT_STORED.iter().filter(said) {
                let why = format!("in a {kind} with store = false; remove one of the two");
                table.refuse_set(key, why)?;
            }
        }
        if !stores_posts && (keys.store_post_bytes.is_some() || !base_stores_posts) {
            let why = "without store_post; add store_post = true, or remove it";
            table.refuse_set("persisted_queries", why.to_owned())?;
        }
        Ok(keys)
    }

    /// True if they say `store_post`.
    pub(super) fn stores_posts(&self) -> bool {
        self.store_post_bytes.flatten().is_some()
    }

    /// True if one is set.
    pub(super) fn is_any_set(&self) -> bool {
        !self.set_keys().is_empty()
    }

    /// The names of those that are set.
    fn set_keys(&self) -> Vec<&'static str> {
        let is_set = [
            self.ttl.is_some(),
            self.mode.is_some(),
            self.ignored_parameters.is_some(),
            self.order.is_some(),
            self.client_directives.is_some(),
            self.stores.is_some(),
            self.store_post_bytes.is_some(),
            self.invalidates.is_some(),
            self.persisted_queries.is_some(),
        ];
        let keys = RULE_KEYS.iter().zip(is_set);
        keys.filter_map(|(key, is_set)| is_set.then_some(*key))
            .collect()
    }

    /// True if one sets something else than `base`. A lifetime and a policy count always.
    pub(super) fn has_effect(&self, base: &Rule) -> bool {
        let differs_in_query = self
            .ignored_parameters
            .as_ref()
            .is_some_and(|it| !it.is_empty())
            || self.order.is_some_and(|it| it != base.order);
        let directives = base.policy.client_directives;
        self.ttl.is_some()
            || self.mode.is_some()
            || differs_in_query
            || self.client_directives.is_some_and(|it| it != directives)
            || self.stores.is_some_and(|it| it != base.stores)
            || self
                .store_post_bytes
                .is_some_and(|it| it != base.store_post_bytes)
            || self.invalidates.is_some_and(|it| it != base.invalidates)
    }

    /// The settings for `path`: those that are set, else those of `base`.
    pub(super) fn over(&self, path: &str, base: &Rule) -> Rule {
        let base_policy = &base.policy;
        let ignored_parameters = self.ignored_parameters.as_ref();
        Rule {
            // Targets are encoded before they are compared.
            path: Globs::new([encoded_target(path.as_bytes()).as_deref().unwrap_or(path)]),
            policy: Policy {
                mode: self.mode.unwrap_or(base_policy.mode),
                ttl: self.ttl.unwrap_or(base_policy.ttl),
                client_directives: self
                    .client_directives
                    .unwrap_or(base_policy.client_directives),
                ..base_policy.clone()
            },
            stores: self.stores.unwrap_or(base.stores),
            ignored_parameters: ignored_parameters
                .unwrap_or(&base.ignored_parameters)
                .clone(),
            order: self.order.unwrap_or(base.order),
            store_post_bytes: self.store_post_bytes.unwrap_or(base.store_post_bytes),
            persisted_queries: self.persisted_queries.unwrap_or(base.persisted_queries),
            invalidates: self.invalidates.unwrap_or(base.invalidates),
            set_keys: self.set_keys(),
        }
    }
}
