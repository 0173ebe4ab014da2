//! The route and the rule that apply to a request.

use std::borrow::Cow;

use super::Config;
use crate::{
    origin::OriginUrl,
    policy::{OriginIndex, Policy, Route, RouteIndex, Rule, RuleIndex, Rules},
};

/// The route and the rule that apply to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// `None`: the last route, which matches all requests.
    route: Option<RouteIndex>,
    /// `None`: no rule matches.
    rule: Option<RuleIndex>,
}

impl Selection {
    /// The route in force; `None` for the last one.
    pub fn route(self) -> Option<RouteIndex> {
        self.route
    }
}

impl Config {
    /// What applies to a request for `target` with this Host; `None` if it has none.
    pub fn select(&self, target: &str, host: Option<&str>) -> Selection {
        let route = self.routes.index_for(target, host);
        let rules = self.rules_of(route);
        Selection {
            route,
            rule: rules.index_for(target),
        }
    }

    /// The route in force; `None` for the last one.
    pub fn route(&self, selection: Selection) -> Option<&Route> {
        self.routes.get(selection.route?)
    }

    /// The rule that matches; `None` if none does.
    pub fn rule(&self, selection: Selection) -> Option<&Rule> {
        self.rules_of(selection.route).get(selection.rule?)
    }

    /// The settings of the rule or else of the route in force; `None` if there is neither: then `policy` alone applies.
    pub fn settings(&self, selection: Selection) -> Option<&Rule> {
        let of_route = || self.route(selection).map(|route| &route.settings);
        self.rule(selection).or_else(of_route)
    }

    /// The policy in force.
    pub fn policy_for(&self, selection: Selection) -> &Policy {
        let settings = self.settings(selection);
        settings.map_or(&self.policy, |settings| &settings.policy)
    }

    /// The policy for what is stored for `target` in this scope; `None` for that of the last route.
    pub fn policy_for_key(&self, target: &str, scope: Option<&str>) -> &Policy {
        let routes = self
            .routes
            .iter()
            .filter(|route| route.scope.as_deref() == scope);
        let settings = match routes.into_iter().find(|route| route.is_for(target)) {
            Some(route) => Some(route.settings_for(target)),
            None => self
                .rules
                .index_for(target)
                .and_then(|index| self.rules.get(index)),
        };
        settings.map_or(&self.policy, |settings| &settings.policy)
    }

    /// The keys that `target` of an origin has through its routes, each as target, Host and scope. `host` is the Host that a
    /// client chose; without one, the keys of the routes that forward it are not known.
    pub fn keys_for<'a>(
        &'a self,
        origin: OriginIndex,
        target: &'a str,
        host: Option<&'a [u8]>,
    ) -> impl Iterator<Item = (Cow<'a, str>, Option<&'a [u8]>, Option<&'a str>)> {
        let leads_there = move |origins: &[OriginIndex]| origins.first() == Some(&origin);
        let routed = self.routes.iter().filter_map(move |route| {
            let client = leads_there(&route.origins).then(|| route.at_client(target))?;
            let host = self.key_host(route.preserves_host, host)?;
            let target = route.settings_for(&client).rewritten(&client).into_owned();
            route
                .is_for(&client)
                .then(|| (target.into(), host, route.scope.as_deref()))
        });
        let last = leads_there(self.routes.last())
            .then(|| self.key_host(None, host))
            .flatten()
            .map(|host| (self.rules.rewritten(target), host, None));
        routed.chain(last)
    }

    /// The Host in the key of a route; outer `None` if it is not known.
    fn key_host<'a>(
        &self,
        preserves: Option<bool>,
        host: Option<&'a [u8]>,
    ) -> Option<Option<&'a [u8]>> {
        match preserves.unwrap_or(self.preserve_host) {
            true => host.map(Some),
            false => Some(None),
        }
    }

    /// The origins of the route in force, at least one. The first healthy one gets the request.
    pub fn origins_for(&self, selection: Selection) -> &[OriginIndex] {
        let route = self.route(selection);
        route.map_or(self.routes.last(), |route| &route.origins)
    }

    /// True if a route has this origin and others.
    pub fn is_one_of_several(&self, origin: OriginIndex) -> bool {
        let of_routes = self.routes.iter().map(|route| &*route.origins);
        of_routes
            .chain([self.routes.last()])
            .any(|origins| origins.len() > 1 && origins.contains(&origin))
    }

    /// The first origin of the route in force.
    pub fn first_origin(&self, selection: Selection) -> OriginIndex {
        let first = self.origins_for(selection).first();
        first.copied().unwrap_or(OriginIndex(0))
    }

    /// The URL of the first origin of the route in force.
    pub fn origin_for(&self, selection: Selection) -> &OriginUrl {
        self.origins.get(self.first_origin(selection))
    }

    /// The target that the origin gets for `target`.
    pub fn at_origin<'t>(&self, selection: Selection, target: &'t str) -> Cow<'t, str> {
        match self.route(selection) {
            Some(route) => route.at_origin(target),
            None => Cow::Borrowed(target),
        }
    }

    /// What the route in force strips from paths; empty if that is nothing.
    pub fn stripped_prefix(&self, selection: Selection) -> &str {
        let route = self.route(selection);
        route.map_or("", |route| &route.stripped_prefix)
    }

    /// What the keys of the route in force have beside target and Host; `None` if that is nothing.
    pub fn key_scope(&self, selection: Selection) -> Option<&str> {
        self.route(selection)?.scope.as_deref()
    }

    /// Whether the client's Host is forwarded instead of the origin's.
    pub fn preserves_host(&self, selection: Selection) -> bool {
        let route = self.route(selection);
        let of_route = route.and_then(|route| route.preserves_host);
        of_route.unwrap_or(self.preserve_host)
    }

    /// Whether keys may have the Host of the client.
    pub fn is_hosted(&self) -> bool {
        self.preserve_host
            || self
                .routes
                .iter()
                .any(|route| route.preserves_host == Some(true))
    }

    /// Whether keys may have anything in the place of the Host: that Host, or what the origin is told about the client.
    pub fn keys_describe_clients(&self) -> bool {
        self.is_hosted()
            || self.serves_both_schemes()
            || !self.deployment.trusted_proxies.is_empty()
    }

    /// Whether the route or the key may depend on the Host of the client.
    pub fn depends_on_host(&self) -> bool {
        self.is_hosted() || self.routes.iter().any(|route| route.host.is_some())
    }

    fn rules_of(&self, route: Option<RouteIndex>) -> &Rules {
        let route = route.and_then(|index| self.routes.get(index));
        route.map_or(&self.rules, |route| &route.rules)
    }
}
