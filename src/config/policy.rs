//! The settings of the policy.

use std::time::Duration;

use super::{
    MILLISECOND, SettingSources, TEN_YEARS,
    defaults::{DEFAULT_IDENTITY_COOKIES, DEFAULT_IDENTITY_HEADERS, DEFAULT_IGNORED_COOKIES},
    error::{ConfigError, ValueError},
    names,
    value::{self, Given},
};
use crate::policy::{ClientDirectives, Mode, Patterns, Policy};

const DEFAULT_MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// The policy without any setting.
pub(super) fn default_policy() -> Policy {
    Policy {
        mode: Mode::default(),
        ttl: None,
        client_directives: ClientDirectives::Obeyed,
        max_stale: DEFAULT_MAX_STALE,
        identity_headers: Patterns::new(DEFAULT_IDENTITY_HEADERS.iter().copied()),
        identity_cookies: Patterns::new(DEFAULT_IDENTITY_COOKIES.iter().copied()),
        ignored_cookies: Patterns::new(DEFAULT_IGNORED_COOKIES.iter().copied()),
    }
}

impl SettingSources<'_> {
    /// The policy for requests that neither a route nor a rule is for.
    pub(super) fn policy(&self) -> Result<Policy, ConfigError> {
        Ok(Policy {
            mode: self.get("policy", value::mode)?.unwrap_or_default(),
            ttl: self
                .get("ttl", |given| {
                    value::optional_duration(given, MILLISECOND, TEN_YEARS)
                })?
                .flatten(),
            client_directives: ClientDirectives::Obeyed,
            max_stale: self
                .get("max-stale", |given| {
                    value::duration(given, Duration::ZERO, TEN_YEARS)
                })?
                .unwrap_or(DEFAULT_MAX_STALE),
            identity_headers: self.patterns(
                "identity-headers",
                names::headers,
                DEFAULT_IDENTITY_HEADERS,
            )?,
            identity_cookies: self.patterns(
                "identity-cookies",
                names::cookies,
                DEFAULT_IDENTITY_COOKIES,
            )?,
            ignored_cookies: self.patterns(
                "ignored-cookies",
                names::cookies,
                DEFAULT_IGNORED_COOKIES,
            )?,
        })
    }

    /// The patterns of a setting.
    pub(super) fn patterns(
        &self,
        name: &'static str,
        parse: fn(&Given) -> Result<Vec<String>, ValueError>,
        default: &[&str],
    ) -> Result<Patterns, ConfigError> {
        Ok(match self.get(name, parse)? {
            Some(names) => Patterns::new(names.iter().map(String::as_str)),
            None => Patterns::new(default.iter().copied()),
        })
    }
}
