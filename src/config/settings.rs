//! All settings as values, for `check-config` and for comparing configurations.

use std::{net::SocketAddr, path::Path, time::Duration};

use bytesize::ByteSize;
use serde_json::{Value, json};

use super::{Config, LogFormat, Selection, SettingSource, value::written_duration};
use crate::policy::{
    ClientDirectives, Mode, OriginIndex, PersistedQueries, QueryOrder, Route, Rule,
};

/// One setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its key in the file.
    pub name: &'static str,
    /// Its value, as it would be written in the file.
    pub value: Value,
    /// Its source. `None`: the default.
    pub place: Option<SettingSource>,
}

/// A value of a [`Setting`] for people.
pub fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            // Only a route has an origin, and only a certificate has a file of that name.
            let has = |key: &str| items.iter().any(|item| item.get(key).is_some());
            let kind = match (has("origin"), has("cert")) {
                (true, _) => "route",
                (false, true) => "certificate",
                (false, false) => "rule",
            };
            match items.len() {
                1 => format!("1 {kind}"),
                many => format!("{many} {kind}s"),
            }
        }
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(in_words).collect();
            items.join(",")
        }
        other => other.to_string(),
    }
}

impl Config {
    /// The URL at which a browser on this machine reaches the proxy.
    pub fn local_url(&self) -> String {
        let scheme = match &self.tls {
            Some(tls) if tls.port.is_none() => "https",
            _ => "http",
        };
        format!("{scheme}://{}/", self.bind.local_authority(self.port))
    }

    /// The same for the port of TLS; `None` if it has none of its own.
    pub fn local_tls_url(&self) -> Option<String> {
        let port = self.tls.as_ref()?.port?;
        Some(format!("https://{}/", self.bind.local_authority(port)))
    }

    /// The settings that matter most, in one line.
    pub fn in_short(&self) -> String {
        let policy = mode(self.policy.mode);
        let memory = ByteSize(self.max_memory_bytes);
        let file = self.file.as_ref().map_or_else(
            || "no configuration file".to_owned(),
            |file| format!("configuration file {}", file.display()),
        );
        let disk = self
            .store
            .directory
            .as_ref()
            .map_or_else(String::new, |it| {
                let most = ByteSize(self.store.max_disk_bytes);
                format!(" and in {} (up to {most})", it.display())
            });
        format!("policy {policy}, cache in memory (up to {memory}){disk}, {file}")
    }

    /// Where the routes lead, in one line. `None` without routes.
    pub fn routes_in_short(&self) -> Option<String> {
        const MOST: usize = 8;
        let shown = self.routes.iter().take(MOST).map(|route| {
            let origins = route
                .origins
                .iter()
                .map(|it| self.origins.get(*it).to_string());
            let origins: Vec<String> = origins.collect();
            format!("{} to {}", route.name, origins.join(" or "))
        });
        let mut shown: Vec<String> = shown.collect();
        match self.routes.iter().count() {
            0 => return None,
            count if count > MOST => shown.push(format!("and {} more", count - MOST)),
            _ => {}
        }
        Some(shown.join(", "))
    }

    /// All settings by their keys.
    pub(super) fn values(&self) -> Vec<(&'static str, Value)> {
        let Self {
            port,
            bind,
            origins: _,
            routes,
            policy,
            rules,
            timeout,
            client_timeout,
            coalesce_wait,
            tunnels,
            max_memory_bytes,
            max_object_bytes,
            store,
            shared_tier,
            tls: _,
            origin_ca,
            origin_settings,
            workers: _,
            max_clients: _,
            preserve_host: _,
            no_rewrite: _,
            cors: _,
            offline: _,
            record: _,
            drop_headers: _,
            masked_parameters: _,
            log_format: _,
            dashboard: _,
            deployment,
            file: _,
        } = self;
        let routes: Vec<Value> = routes.iter().map(|it| self.route_value(it)).collect();
        let mut values = vec![
            ("port", json!(port)),
            ("origin", self.origin_value(self.routes.last())),
            ("bind", json!(bind.to_string())),
            ("policy", json!(mode(policy.mode))),
            ("ttl", optional(policy.ttl)),
            ("timeout", duration(*timeout)),
            ("client_timeout", duration(*client_timeout)),
            ("coalesce_wait", duration(*coalesce_wait)),
            ("max_memory", size(*max_memory_bytes)),
            ("max_object", size(*max_object_bytes)),
        ];
        values.extend(store.values());
        values.extend(shared_tier.values());
        values.extend(self.tls_values());
        values.extend([
            ("max_stale", duration(policy.max_stale)),
            ("origin_ca", path(origin_ca.as_deref())),
        ]);
        values.extend(origin_settings.values());
        values.extend(tunnels.values());
        values.extend(self.other_values());
        values.extend(deployment.values());
        values.push(("routes", Value::Array(routes)));
        values.push(("rules", rules.iter().map(rule).collect()));
        values
    }

    /// The settings about workers, clients, headers, cookies and logging.
    fn other_values(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("workers", json!(self.workers)),
            ("max_clients", json!(self.max_clients)),
            ("preserve_host", json!(self.preserve_host)),
            ("no_rewrite", json!(self.no_rewrite)),
            ("cors", json!(self.cors)),
            ("offline", json!(self.offline)),
            ("record", json!(self.record)),
            (
                "identity_headers",
                json!(self.policy.identity_headers.written()),
            ),
            (
                "identity_cookies",
                json!(self.policy.identity_cookies.written()),
            ),
            (
                "ignored_cookies",
                json!(self.policy.ignored_cookies.written()),
            ),
            ("drop_headers", json!(self.drop_headers.written())),
            ("masked_parameters", json!(self.masked_parameters)),
            ("log_format", json!(format(self.log_format))),
            ("dashboard", address(self.dashboard)),
        ]
    }

    /// The origins at these places, as they are written: one alone, several as a list.
    fn origin_value(&self, origins: &[OriginIndex]) -> Value {
        let mut urls = origins
            .iter()
            .map(|index| self.origins.get(*index).to_string());
        match origins.len() {
            1 => urls.next().into(),
            _ => urls.collect(),
        }
    }

    fn route_value(&self, route: &Route) -> Value {
        let Route {
            name: _,
            place: _,
            path: _,
            host,
            origins,
            stripped_prefix,
            preserves_host,
            settings,
            rules: _,
            scope: _,
        } = route;
        let mut value = rule(settings);
        value["host"] = json!(
            host.as_ref()
                .map_or("*", |it| it.patterns().next().unwrap_or_default())
        );
        value["origin"] = self.origin_value(origins);
        value["strip_prefix"] = json!(!stripped_prefix.is_empty());
        value["preserve_host"] = json!(preserves_host.unwrap_or(self.preserve_host));
        value
    }

    /// The keys by which the route in force changes a request, each as it is written: without those that the rule in force
    /// sets as well. Empty without a route.
    pub fn route_keys(&self, selection: Selection) -> Vec<String> {
        let Some(route) = self.route(selection) else {
            return Vec::new();
        };
        let rule = self.rule(selection);
        let of_rule = rule.map_or(&[][..], |rule| &rule.set_keys);
        let of_route = route.settings.set_keys.iter();
        let settings = of_route.filter(|key| !of_rule.contains(key)).copied();
        let strips = (!route.stripped_prefix.is_empty()).then_some("strip_prefix");
        let host = route.preserves_host.map(|_| "preserve_host");
        let value = self.route_value(route);
        let keys = strips.into_iter().chain(host).chain(settings);
        keys.map(|key| format!("{key} = {}", value[key])).collect()
    }
}

fn rule(rule: &Rule) -> Value {
    let Rule {
        path,
        policy,
        stores,
        ignored_parameters,
        order,
        store_post_bytes,
        persisted_queries,
        invalidates,
        set_keys: _,
    } = rule;
    json!({
        "path": path.patterns().collect::<String>(),
        "policy": mode(policy.mode),
        "ttl": optional(policy.ttl),
        "ignore_query": ignored_parameters.patterns().collect::<Vec<_>>(),
        "sort_query": *order == QueryOrder::ByName,
        "ignore_client_cache_control": policy.client_directives == ClientDirectives::Ignored,
        "store": stores,
        "store_post": store_post_bytes.map_or(json!(false), size),
        "persisted_queries": match persisted_queries {
            PersistedQueries::Change => "change",
            PersistedQueries::ReadOnly => "read-only",
        },
        "invalidates": invalidates,
    })
}

pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Standard => "standard",
        Mode::Strict => "strict",
        Mode::Always => "always",
    }
}

fn format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
        LogFormat::Combined => "combined",
    }
}

pub(super) fn address(address: Option<SocketAddr>) -> Value {
    json!(address.map_or("none".to_owned(), |address| address.to_string()))
}

fn optional(time: Option<Duration>) -> Value {
    time.map_or(json!("none"), duration)
}

/// Empty for no file.
pub(super) fn path(file: Option<&Path>) -> Value {
    json!(file.map_or(String::new(), |file| file.to_string_lossy().into_owned()))
}

pub(super) fn duration(time: Duration) -> Value {
    json!(written_duration(time))
}

/// A size in the largest unit that divides it.
pub(super) fn size(bytes: u64) -> Value {
    let units = [
        (ByteSize::gib(1).0, "GiB"),
        (ByteSize::mib(1).0, "MiB"),
        (ByteSize::kib(1).0, "KiB"),
        (1, "B"),
    ];
    let fitting = units.iter().find(|(unit, _)| bytes.is_multiple_of(*unit));
    let (unit, name) = fitting.unwrap_or(&(1, "B"));
    json!(format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BindAddress, keys::KEYS};

    #[test]
    fn every_key_has_its_value() {
        let config = Config::for_origin("http://origin.test".parse().unwrap());
        let names: Vec<&str> = config.values().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, KEYS);
    }

    #[test]
    fn sizes_are_written_in_units_that_divide_them() {
        for (bytes, written) in [
            (1000, "1000B"),
            (1024, "1KiB"),
            (1536 * 1024, "1536KiB"),
            (256 << 20, "256MiB"),
            (2 << 30, "2GiB"),
        ] {
            assert_eq!(size(bytes), written);
        }
    }

    #[test]
    fn values_are_shown_as_a_flag_accepts_them() {
        assert_eq!(in_words(&json!(["a", "b*"])), "a,b*");
        assert_eq!(in_words(&json!([])), "none");
        assert_eq!(in_words(&json!("10m")), "10m");
        assert_eq!(in_words(&json!("")), "none");
        assert_eq!(in_words(&json!(8000)), "8000");
        assert_eq!(
            in_words(&json!([{"path": "/a"}, {"path": "/b"}])),
            "2 rules"
        );
    }

    #[test]
    fn the_local_url_can_be_opened_whatever_the_proxy_binds_to() {
        for (bind, url) in [
            ("127.0.0.1", "http://127.0.0.1:8000/"),
            ("0.0.0.0", "http://127.0.0.1:8000/"),
            ("::", "http://[::1]:8000/"),
            ("192.0.2.7", "http://192.0.2.7:8000/"),
            ("localhost", "http://localhost:8000/"),
        ] {
            let origin = "http://localhost".parse().unwrap();
            let mut config = Config::for_origin(origin);
            let address = bind.parse().map(BindAddress::One);
            (config.bind, config.port) = (address.unwrap_or(BindAddress::Localhost), 8000);
            assert_eq!(config.local_url(), url);
        }
    }
}
