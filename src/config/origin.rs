//! The settings of how requests reach the origin.

use std::{sync::Arc, time::Duration};

use rustls::ClientConfig;
use serde_json::{Value, json};

use super::{
    Config, ConfigError, DAY, MILLISECOND, SettingSource, SettingSources, ValueError,
    settings::duration,
    value::{self, Given},
};
use crate::origin::{
    Destination, ForwardProxy, MaxRate, OriginUrl, ProxySetting, ProxyVariables, WaitLimit,
};

/// How requests reach the origin.
#[derive(Clone, Debug, Default)]
pub struct OriginSettings {
    /// Timeout waiting for the first byte of a response. `None`: that of all waits.
    pub first_byte_timeout: Option<Duration>,
    /// Most requests to an origin. `None`: no limit.
    pub max_rate: Option<MaxRate>,
    /// The proxy that leads to the origin.
    pub proxy: ProxySetting,
    /// Accept any certificate.
    pub insecure: bool,
}

impl SettingSources<'_> {
    pub(super) fn origin_settings(&self) -> Result<OriginSettings, ConfigError> {
        Ok(OriginSettings {
            first_byte_timeout: self
                .get("first-byte-timeout", |given| match given.text() {
                    Some("auto") => Ok(None),
                    _ => value::duration(given, MILLISECOND, DAY).map(Some),
                })?
                .flatten(),
            max_rate: self.get("max-rate", max_rate)?.flatten(),
            proxy: match self.get("proxy", proxy)?.flatten() {
                Some(setting) => setting,
                None => ProxySetting::Environment(ProxyVariables::read(|name| {
                    (self.environment)(name)?.into_string().ok()
                })),
            },
            insecure: self.get("insecure", value::boolean)?.unwrap_or(false),
        })
    }
}

impl Config {
    /// How `origin` is reached, with `tls` if it has TLS.
    pub fn destination(&self, origin: &OriginUrl, tls: Option<Arc<ClientConfig>>) -> Destination {
        // What is wrong with the proxy was refused when the configuration was read.
        let proxy = self.origin_settings.proxy.for_origin(origin);
        Destination {
            url: origin.clone(),
            tls,
            proxy: proxy.ok().flatten().cloned(),
        }
    }

    /// How long a request waits for the head of a response, once it can be sent.
    pub fn head_limit(&self) -> WaitLimit {
        let first_byte = self.origin_settings.first_byte_timeout;
        match first_byte.filter(|first_byte| *first_byte > self.timeout) {
            Some(longer) => WaitLimit::first_byte_timeout(longer),
            None => WaitLimit::timeout(self.timeout),
        }
    }
}

impl OriginSettings {
    /// Checks that the environment names a usable proxy for this origin, if it names one.
    ///
    /// # Errors
    /// It names one that cannot be used.
    pub(super) fn check_proxy(&self, origin: &OriginUrl) -> Result<(), ConfigError> {
        match self.proxy.for_origin(origin) {
            Ok(_) => Ok(()),
            Err((variable, error)) => Err(ConfigError::value(
                SettingSource::Environment(variable.to_owned()),
                ValueError::Proxy(error.clone()),
            )),
        }
    }

    /// The settings by their keys.
    pub(super) fn values(&self) -> [(&'static str, Value); 4] {
        let rate = self.max_rate.map(|rate| rate.to_string());
        let proxy = match &self.proxy {
            ProxySetting::Environment(_) => "auto".to_owned(),
            ProxySetting::Direct => "none".to_owned(),
            // Without its credentials.
            ProxySetting::Always(proxy) => proxy.to_string(),
        };
        [
            (
                "first_byte_timeout",
                self.first_byte_timeout.map_or(json!("auto"), duration),
            ),
            ("max_rate", json!(rate.as_deref().unwrap_or("none"))),
            ("proxy", json!(proxy)),
            ("insecure", json!(self.insecure)),
        ]
    }
}

/// A proxy. `None` for `auto`: as the environment says.
fn proxy(given: &Given) -> Result<Option<ProxySetting>, ValueError> {
    match given.text().map(str::trim) {
        Some("auto") => Ok(None),
        Some("none") => Ok(Some(ProxySetting::Direct)),
        Some("off" | "no" | "false" | "direct") => {
            Err(given.is_not("the URL of a proxy: use \"none\" for no proxy"))
        }
        Some(text) => match ForwardProxy::parse(text) {
            Ok(proxy) => Ok(Some(ProxySetting::Always(proxy))),
            Err(error) => Err(ValueError::Proxy(error)),
        },
        None => Err(given.is_not(
            "the URL of a proxy, such as \"http://proxy.example:3128\", \"none\" or \"auto\"",
        )),
    }
}

/// A rate. `None` for `none`.
fn max_rate(given: &Given) -> Result<Option<MaxRate>, ValueError> {
    match given.text().map(str::trim) {
        Some("none") => Ok(None),
        text => match text.and_then(MaxRate::parse) {
            Some(rate) => Ok(Some(rate)),
            None => Err(given.is_not(
                "\"none\" or a rate of requests, such as \"10/s\", \"100/m\", \"1000/h\", or with a burst \"10/s,20\"; \
                 numbers are from 1 to 1000000",
            )),
        },
    }
}
