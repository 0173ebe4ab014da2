//! `[[routes]]` and `--route`: which origin gets a request.

use std::net::{IpAddr, SocketAddr};

use super::{
    BindAddress, Config, OriginSettings, SettingSources,
    error::{ConfigError, SettingSource},
    keys::ROUTES,
    rule_keys::{RuleKeys, with_rule_keys},
    rules::WrittenRules,
    tables::{Table, tables},
    value,
};
use crate::{
    origin::OriginUrl,
    policy::{
        Globs, OriginIndex, PerOrigin, PersistedQueries, Policy, QueryOrder, Route, Routes, Rule,
        covers,
    },
};

/// Routes are matched on every request, so their number is bounded.
const MAX_ROUTES: usize = 64;
/// Each origin has connections and counters of its own.
const MAX_ORIGINS: usize = 64;
/// The flag that adds a route.
pub(super) const FLAG: &str = "route";

/// The keys of a route: what it matches, where it leads, and the settings for it.
pub(super) const KEYS: &[&str] =
    &with_rule_keys::<14>(&["path", "host", "origin", "strip_prefix", "preserve_host"]);

impl SettingSources<'_> {
    /// The defaults, with this policy, and with the origins, the routes and the rules of a proxy that listens there.
    ///
    /// The origin is read last, so that an invalid value is reported before a missing origin.
    pub(super) fn routed(
        &self,
        (policy, origin_settings): (Policy, OriginSettings),
        listens: (BindAddress, u16),
    ) -> Result<Config, ConfigError> {
        let base = settings_without_rules(&policy);
        let written = WrittenRoutes::read(self)?;
        let rules = WrittenRules::read(&self.file, &base, &written.keys())?;
        written.check_not_on(listens)?;
        let (last, place) = self
            .find("origin", value::origins)?
            .ok_or(ConfigError::NoOrigin)?;
        check_not_on(listens, &last, || place)?;
        let (routes, origins) = written.over(&base, &rules, last)?;
        let mut others = origins.into_iter();
        let first = others.next().ok_or(ConfigError::NoOrigin)?;
        let others: Vec<OriginUrl> = others.collect();
        for origin in std::iter::once(&first).chain(&others) {
            origin_settings.check_proxy(origin)?;
        }
        Ok(Config {
            origins: PerOrigin::new(first.clone(), others),
            routes,
            rules: rules.over(&base),
            policy,
            origin_settings,
            ..Config::for_origin(first)
        })
    }
}

/// The settings of all requests that neither a route nor a rule is for.
fn settings_without_rules(policy: &Policy) -> Rule {
    Rule {
        path: Globs::new(["*"]),
        policy: policy.clone(),
        stores: true,
        ignored_parameters: Globs::default(),
        order: QueryOrder::AsWritten,
        store_post_bytes: None,
        persisted_queries: PersistedQueries::default(),
        invalidates: true,
        set_keys: Vec::new(),
    }
}

/// Routes as they are written: those of the command line or the environment, then those of the file.
struct WrittenRoutes(Vec<WrittenRoute>);

struct WrittenRoute {
    place: SettingSource,
    path: String,
    /// In lower case. `None`: all hosts.
    host: Option<String>,
    origins: Vec<OriginUrl>,
    /// Empty if nothing is stripped.
    stripped_prefix: String,
    /// `None`: as all other requests.
    preserves_host: Option<bool>,
    keys: RuleKeys,
}

impl WrittenRoutes {
    fn read(sources: &SettingSources<'_>) -> Result<Self, ConfigError> {
        let mut routes: Vec<WrittenRoute> = Vec::new();
        let written = sources.find(FLAG, value::routes)?;
        let given = written.into_iter().flat_map(|(given, place)| {
            let route = move |(path, origin)| WrittenRoute::new(place.clone(), path, origin);
            given.into_iter().map(route)
        });
        let in_file = tables(&sources.file, ROUTES)?;
        let in_file = in_file.iter().map(WrittenRoute::read);
        for route in given.map(Ok).chain(in_file) {
            let route = route?;
            if routes.len() == MAX_ROUTES {
                return Err(ConfigError::TooManyRoutes {
                    place: route.place,
                    limit: MAX_ROUTES,
                });
            }
            if let Some(earlier) = routes.iter().find(|it| it.covers(&route)) {
                return Err(ConfigError::RouteNeverCounts {
                    route: route.matched(),
                    place: route.place,
                    earlier: earlier.matched(),
                    earlier_place: Box::new(earlier.place.clone()),
                });
            }
            routes.push(route);
        }
        Ok(Self(routes))
    }

    /// The settings of each.
    fn keys(&self) -> Vec<&RuleKeys> {
        self.0.iter().map(|route| &route.keys).collect()
    }

    /// Refuses origins that are a proxy which listens there.
    fn check_not_on(&self, listens: (BindAddress, u16)) -> Result<(), ConfigError> {
        self.0
            .iter()
            .try_for_each(|route| check_not_on(listens, &route.origins, || route.place.clone()))
    }

    /// The routes, and all origins, the first of which is the first of `last`: those are the origins of the requests that no
    /// route matches.
    fn over(
        &self,
        base: &Rule,
        rules: &WrittenRules,
        last: Vec<OriginUrl>,
    ) -> Result<(Routes, Vec<OriginUrl>), ConfigError> {
        let all = self.all_origins(last.clone());
        let index = |url: &OriginUrl| {
            let place = all.iter().position(|it| it == url);
            place.map(OriginIndex)
        };
        let last: Vec<OriginIndex> = last.iter().filter_map(index).collect();
        let base_rules = rules.over(base);
        let routes = self.0.iter().map(|route| {
            let origins: Vec<OriginIndex> = route.origins.iter().filter_map(index).collect();
            let settings = route.keys.over(&route.path, base);
            Route {
                name: route.matched().into(),
                place: route.place.without_key().into(),
                path: settings.path.clone(),
                host: route.host.as_deref().map(Globs::of_host),
                scope: route.scope(origins.first() == last.first()),
                origins: origins.into(),
                stripped_prefix: route.stripped_prefix.as_str().into(),
                preserves_host: route.preserves_host,
                rules: match route.keys.is_any_set() {
                    true => rules.over(&settings),
                    false => base_rules.clone(),
                },
                settings,
            }
        });
        let routes: Vec<Route> = routes.collect();
        match self.0.last() {
            Some(route) if all.len() > MAX_ORIGINS => Err(ConfigError::TooManyOrigins {
                place: route.place.clone(),
                limit: MAX_ORIGINS,
            }),
            _ => Ok((Routes::new(routes, last), all)),
        }
    }
}

impl WrittenRoutes {
    /// All origins, those of `last` first. The order of the others does not depend on that of the routes.
    fn all_origins(&self, last: Vec<OriginUrl>) -> Vec<OriginUrl> {
        let mut all = last;
        let of_routes = self.0.iter().flat_map(|route| &route.origins);
        let mut others: Vec<&OriginUrl> = of_routes.filter(|url| !all.contains(url)).collect();
        others.sort_by_key(|url| url.to_string());
        others.dedup();
        all.extend(others.into_iter().cloned());
        all
    }
}

impl WrittenRoute {
    fn new(place: SettingSource, path: String, origin: OriginUrl) -> Self {
        Self {
            place,
            path,
            host: None,
            origins: vec![origin],
            stripped_prefix: String::new(),
            preserves_host: None,
            keys: RuleKeys::default(),
        }
    }

    fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        table.check_keys(KEYS)?;
        let path = table.get("path", value::path_pattern)?;
        let host = table.get("host", value::host_pattern)?;
        let origins = table.get("origin", value::origins)?;
        let (file, line) = (table.file.to_owned(), table.line());
        if path.is_none() && host.is_none() {
            return Err(ConfigError::RouteWithoutMatch { file, line });
        }
        let origins = origins.ok_or(ConfigError::RouteWithoutOrigin { file, line })?;
        let path = path.unwrap_or_else(|| "*".to_owned());
        let strips = table.get("strip_prefix", value::boolean)?.unwrap_or(false);
        let stripped_prefix = if strips { literal_directory(&path) } else { "" };
        if strips && stripped_prefix.is_empty() {
            let why = "in a route whose path begins with a wildcard; give it a path such as \
                       \"/api/*\", or remove it";
            table.refuse_set("strip_prefix", why.to_owned())?;
        }
        Ok(Self {
            place: table.place(ROUTES),
            stripped_prefix: stripped_prefix.to_owned(),
            host,
            origins,
            preserves_host: table.get("preserve_host", value::boolean)?,
            keys: RuleKeys::read(table, "route", false)?,
            path,
        })
    }

    /// True if every request that `other` matches is also matched by this one.
    fn covers(&self, other: &Self) -> bool {
        let covers_host = match (&self.host, &other.host) {
            (None, _) => true,
            (Some(own), other) => covers(own, other.as_deref().unwrap_or("*")),
        };
        covers_host && covers(&self.path, &other.path)
    }

    /// What it matches, as in the configuration.
    fn matched(&self) -> String {
        match &self.host {
            Some(host) if self.path == "*" => host.clone(),
            Some(host) => format!("{host}{}", self.path),
            None => self.path.clone(),
        }
    }

    /// What its keys have. Routes may lead to one origin and yet treat a target differently; then each has keys of its own.
    fn scope(&self, has_first_origin: bool) -> Option<Box<str>> {
        let origin = self.origins.first()?;
        let is_own = !self.stripped_prefix.is_empty() || self.keys.is_any_set();
        match (is_own, has_first_origin) {
            (true, _) => Some(format!("{origin}\t{}", self.matched()).into()),
            (false, false) => Some(origin.to_string().into()),
            (false, true) => None,
        }
    }
}

/// The text of a pattern before its first wildcard, without the slash at its end.
fn literal_directory(path: &str) -> &str {
    let end = path.find(['*', '?']).unwrap_or(path.len());
    path[..end].strip_suffix('/').unwrap_or(&path[..end])
}

/// Refuses origins that are a proxy which listens there.
fn check_not_on(
    (bind, port): (BindAddress, u16),
    origins: &[OriginUrl],
    place: impl FnOnce() -> SettingSource,
) -> Result<(), ConfigError> {
    let is_itself = |url: &&OriginUrl| {
        let addresses = match url.host().parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) if url.host() == "localhost" => BindAddress::Localhost.addresses(),
            Err(_) => Vec::new(),
        };
        let is_taken = |address: IpAddr| {
            address.is_loopback() && bind.takes(port, SocketAddr::new(address, url.port()))
        };
        !url.is_unix() && addresses.into_iter().any(is_taken)
    };
    match origins.iter().find(is_itself) {
        None => Ok(()),
        Some(origin) => Err(ConfigError::OriginIsProxy {
            place: place(),
            origin: origin.to_string(),
        }),
    }
}
