//! Routes: which origin gets a request.

use std::{borrow::Cow, sync::Arc};

use crate::policy::{
    Globs, Rule, Rules,
    rules::{
        globs::{PathStarts, literal_prefix},
        rule::path_of,
    },
};

/// The place of an origin in the list of all origins of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginIndex(pub usize);

/// One value for each origin of a configuration.
#[derive(Clone, Debug)]
pub struct PerOrigin<T> {
    first: T,
    others: Vec<T>,
}

impl<T> PerOrigin<T> {
    /// The values in the order of the origins.
    pub fn new(first: T, others: Vec<T>) -> Self {
        Self { first, others }
    }

    /// The value for an origin; that for the first origin if there is no such origin.
    pub fn get(&self, index: OriginIndex) -> &T {
        let other = index.0.checked_sub(1);
        other
            .and_then(|index| self.others.get(index))
            .unwrap_or(&self.first)
    }

    /// The value for the first origin.
    pub fn first(&self) -> &T {
        &self.first
    }

    /// True if there are several origins.
    pub fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// All values in the order of the origins.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// What `make` makes of each value.
    pub fn map<U>(&self, mut make: impl FnMut(&T) -> U) -> PerOrigin<U> {
        PerOrigin {
            first: make(&self.first),
            others: self.others.iter().map(make).collect(),
        }
    }

    /// What `make` makes of each value.
    ///
    /// # Errors
    /// The first error of `make`.
    pub fn try_map<U, E>(
        &self,
        mut make: impl FnMut(&T) -> Result<U, E>,
    ) -> Result<PerOrigin<U>, E> {
        Ok(PerOrigin {
            first: make(&self.first)?,
            others: self.others.iter().map(make).collect::<Result<_, _>>()?,
        })
    }
}

/// One value for each route of a configuration.
#[derive(Clone, Debug)]
pub struct PerRoute<T> {
    routes: Vec<T>,
    last: T,
}

impl<T> PerRoute<T> {
    /// The value for a route; `None` is the last one.
    pub fn get(&self, index: Option<RouteIndex>) -> &T {
        let route = index.and_then(|index| self.routes.get(index.0));
        route.unwrap_or(&self.last)
    }
}

/// Where the requests that match are sent, and the settings for them.
#[derive(Clone, Debug)]
pub struct Route {
    /// What it matches, as in the configuration: a path, a host, or both.
    pub name: Box<str>,
    /// Where it is written: a flag, a variable of the environment, or a file and a line.
    pub place: Box<str>,
    /// The paths, without queries.
    pub path: Globs,
    /// The hosts, without ports and without the dot of an absolute name. `None`: all.
    pub host: Option<Globs>,
    /// The origins, of which the first healthy one gets a request. At least one.
    pub origins: Arc<[OriginIndex]>,
    /// The text that the origin does not get at the beginning of a path; empty if it gets all.
    pub stripped_prefix: Box<str>,
    /// Forward the client's Host instead of the origin's. `None`: as for requests that no route matches.
    pub preserves_host: Option<bool>,
    /// The settings for paths that no rule matches.
    pub settings: Rule,
    /// The rules, with the settings of this route where they set nothing.
    pub rules: Rules,
    /// What tells its keys from those of other routes; `None` if they are those of a proxy without routes.
    pub scope: Option<Box<str>>,
}

impl Route {
    /// The target that the origin gets for `target`. It begins with `/`, or is `*`.
    pub fn at_origin<'t>(&self, target: &'t str) -> Cow<'t, str> {
        match target.strip_prefix(&*self.stripped_prefix) {
            Some(rest) if !self.stripped_prefix.is_empty() => match rest.starts_with('/') {
                true => Cow::Borrowed(rest),
                false => Cow::Owned(format!("/{rest}")),
            },
            _ => Cow::Borrowed(target),
        }
    }

    /// The target of a client for which the origin gets `target`.
    pub fn at_client<'t>(&self, target: &'t str) -> Cow<'t, str> {
        match self.stripped_prefix.is_empty() || !target.starts_with('/') {
            true => Cow::Borrowed(target),
            false => Cow::Owned(format!("{}{target}", self.stripped_prefix)),
        }
    }

    /// What all of its paths begin with: the pattern up to its first wildcard.
    pub fn start(&self) -> &str {
        self.path.patterns().next().map_or("", literal_prefix)
    }

    /// Its one path, if that ends with a slash; `None` for any other. Whoever writes it may mean all paths below it.
    pub fn directory(&self) -> Option<&str> {
        let path = self.path.patterns().next()?;
        let is_directory = path.len() > 1 && path.ends_with('/') && !path.contains(['*', '?']);
        is_directory.then_some(path)
    }

    /// True if the path of `target` is one of its paths.
    pub fn is_for(&self, target: &str) -> bool {
        self.path.matches(path_of(target))
    }

    /// The settings for a target of this route.
    pub fn settings_for(&self, target: &str) -> &Rule {
        let rule = self.rules.index_for(target);
        rule.and_then(|index| self.rules.get(index))
            .unwrap_or(&self.settings)
    }

    fn matches(&self, path: &str, host: Option<&str>) -> bool {
        self.path.matches(path)
            && self
                .host
                .as_ref()
                .is_none_or(|pattern| host.is_some_and(|host| pattern.matches(bare_host(host))))
    }
}

/// The routes in the order of the configuration. The last one, which matches all requests, is not among them. Clones share
/// them.
#[derive(Clone, Debug)]
pub struct Routes {
    routes: Arc<[Route]>,
    starts: PathStarts,
    last: Arc<[OriginIndex]>,
}

impl Default for Routes {
    /// All requests go to the first origin.
    fn default() -> Self {
        Self::new(Vec::new(), vec![OriginIndex(0)])
    }
}

/// The index of a route in [`Routes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteIndex(usize);

impl Routes {
    /// Routes of which the first that matches applies, and the origins of all other requests, at least one.
    pub fn new(routes: Vec<Route>, last: Vec<OriginIndex>) -> Self {
        Self {
            starts: PathStarts::new(routes.iter().map(|route| &route.path)),
            routes: routes.into(),
            last: last.into(),
        }
    }

    /// True if all requests go to the same origins.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// All of them but the last.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// The route for a target and the Host of its request. `None`: the last one.
    pub fn index_for(&self, target: &str, host: Option<&str>) -> Option<RouteIndex> {
        if self.routes.is_empty() {
            return None;
        }
        let path = path_of(target);
        let mut candidates = self.starts.candidates(path);
        let position = candidates.find(|position| self.routes[*position].matches(path, host));
        position.map(RouteIndex)
    }

    /// The route with an index from [`Routes::index_for`].
    pub fn get(&self, index: RouteIndex) -> Option<&Route> {
        self.routes.get(index.0)
    }

    /// What `make` makes of each route, and `last` for the last one.
    pub fn map<T>(&self, last: T, make: impl FnMut(&Route) -> T) -> PerRoute<T> {
        PerRoute {
            routes: self.routes.iter().map(make).collect(),
            last,
        }
    }

    /// The origins of the last route, which matches all requests.
    pub fn last(&self) -> &[OriginIndex] {
        &self.last
    }

    /// The keys under which responses for `target` may be stored, each as target and scope. `last` has the rules of the last
    /// route.
    pub fn keys<'a>(
        &'a self,
        last: &'a Rules,
        target: &'a str,
    ) -> impl Iterator<Item = (Cow<'a, str>, Option<&'a str>)> {
        let routes = self.routes.iter();
        let routed = routes
            .filter(move |route| route.is_for(target))
            .map(move |route| {
                let target = route.settings_for(target).rewritten(target);
                (target, route.scope.as_deref())
            });
        routed.chain([(last.rewritten(target), None)])
    }
}

/// The host without the port, and without the dot at the end of an absolute name: it is the same host (RFC 1034, 3.1). The
/// colons of an IPv6 address are within brackets.
fn bare_host(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Mode, PersistedQueries, QueryOrder, fixture::policy};

    fn route(path: &str, host: Option<&str>, stripped: &str) -> Route {
        let settings = Rule {
            path: Globs::new([path]),
            policy: policy(Mode::Standard),
            stores: true,
            ignored_parameters: Globs::default(),
            order: QueryOrder::ByName,
            store_post_bytes: None,
            persisted_queries: PersistedQueries::Change,
            invalidates: true,
            set_keys: Vec::new(),
        };
        Route {
            name: path.into(),
            place: "--route".into(),
            path: Globs::new([path]),
            host: host.map(Globs::of_host),
            origins: [OriginIndex(1)].into(),
            stripped_prefix: stripped.into(),
            preserves_host: None,
            rules: Rules::default(),
            settings,
            scope: Some("http://one".into()),
        }
    }

    #[test]
    fn the_first_route_that_matches_path_and_host_applies() {
        let routes = Routes::new(
            vec![
                route("/v1/*", Some("api.test"), ""),
                route("*", Some("*.example.test"), ""),
                route("/api/*", None, ""),
                route("*", Some("[::1]"), ""),
            ],
            vec![OriginIndex(0)],
        );
        for (target, host, expected) in [
            ("/v1/a?b", Some("API.test:8000"), Some(0)),
            ("/v2/a", Some("api.test"), None),
            ("/v1/a", None, None),
            ("/", Some("www.Example.test"), Some(1)),
            ("/", Some("example.test"), None),
            ("/", Some("www.example.test.evil"), None),
            ("/api/a?b", None, Some(2)),
            ("/api?/a", None, None),
            ("/API/a", None, None),
            ("/", Some("www.example.test."), Some(1)),
            ("/", Some("www.example.test.:80"), Some(1)),
            ("/", Some("www.example.test.."), None),
            ("/", Some("[::1]:80"), Some(3)),
            ("/", Some("[::1]"), Some(3)),
            ("*", Some("www.example.test"), Some(1)),
        ] {
            let found = routes.index_for(target, host);
            assert_eq!(found, expected.map(RouteIndex), "{target} {host:?}");
        }
    }

    #[test]
    fn the_stripped_target_begins_with_a_slash() {
        for (stripped, target, expected) in [
            ("/api", "/api/a?b", "/a?b"),
            ("/api", "/api/", "/"),
            ("/api", "/api", "/"),
            ("/api", "/api?b", "/?b"),
            ("/api", "/api//a", "//a"),
            ("/api", "/api/api/a", "/api/a"),
            ("/api", "/apis", "/s"),
            ("/api", "*", "*"),
            ("", "/a", "/a"),
        ] {
            let route = route("/api*", None, stripped);
            assert_eq!(route.at_origin(target), expected, "{stripped} {target}");
        }
    }

    #[test]
    fn a_target_may_be_stored_for_each_route_of_its_path() {
        let routes = Routes::new(
            vec![route("/a/*", None, ""), route("/b/*", None, "")],
            vec![OriginIndex(0)],
        );
        let rules = Rules::default();
        let keys: Vec<_> = routes.keys(&rules, "/a/x?c&b").collect();
        let expected = [
            ("/a/x?b&c".into(), Some("http://one")),
            ("/a/x?c&b".into(), None),
        ];
        assert_eq!(keys, expected);
    }
}
