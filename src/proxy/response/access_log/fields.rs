//! A log entry as named values, for the formats that programs read.

use log::kv::{Error, Key, Source, Value, VisitSource};

use super::{AccessLogEntry, Fate};
use crate::headers;

const NAMES: [&str; 20] = [
    "method",
    "target",
    "status",
    "outcome",
    "forward",
    "reason",
    "identity",
    "remedy",
    "milliseconds",
    "bytes",
    "fate",
    "received_bytes",
    "tunnel_end",
    "problem",
    "origin",
    "request_id",
    "client",
    "request_line",
    "referer",
    "user_agent",
];

/// Values that are not known are left out.
impl Source for AccessLogEntry {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), Error> {
        for name in NAMES {
            if let Some(value) = self.value(name) {
                visitor.visit_pair(Key::from(name), value)?;
            }
        }
        Ok(())
    }

    fn get(&self, key: Key<'_>) -> Option<Value<'_>> {
        self.value(key.as_str())
    }
}

impl AccessLogEntry {
    fn value(&self, name: &str) -> Option<Value<'_>> {
        let client = self.client.as_deref();
        Some(match name {
            "method" => self.method.as_str().into(),
            "target" => self.target.as_str().into(),
            "status" => self.status?.as_u16().into(),
            "outcome" => self.source().as_str().into(),
            "forward" => self.cache_status?.why?.reason.as_str().into(),
            "reason" => self.reason()?.as_str().into(),
            "identity" => Value::from_display(self.identity.as_deref()?),
            "remedy" => self.remedy()?.into(),
            "milliseconds" => u64::try_from(self.began.elapsed().as_millis()).ok()?.into(),
            "bytes" => self.sent_bytes.get().into(),
            "fate" => self.fate.get().as_str().into(),
            "received_bytes" => self.tunnel.get()?.received_bytes.into(),
            "tunnel_end" => self.tunnel.get()?.state().into(),
            "problem" => self.problem.as_deref()?.into(),
            "origin" => self.origin.as_deref()?.into(),
            "request_id" => self.request_id.as_deref()?.into(),
            "client" => Value::from_display(self.address.as_ref()?),
            "request_line" => client?.line.as_str().into(),
            "referer" => client?.referer.as_deref()?.into(),
            "user_agent" => client?.agent.as_deref()?.into(),
            _ => return None,
        })
    }

    fn source(&self) -> headers::XCache {
        let cache_status = self.cache_status;
        cache_status.map_or(headers::XCache::Miss, |cache_status| cache_status.x_cache)
    }
}

impl Fate {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Unfinished => "unfinished",
            Self::TooSlow => "too-slow",
            Self::Cut => "cut",
        }
    }
}
