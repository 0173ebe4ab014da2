//! A log entry as named values, for the formats that programs read.

use log::kv::{Error, Key, Source, Value, VisitSource};

use super::{AccessLogEntry, Fate};

/// A name, and its value; `None` if that is not known.
type LogField = (
    &'static str,
    for<'a> fn(&'a AccessLogEntry) -> Option<Value<'a>>,
);

const FIELDS: [LogField; 20] = [
    ("method", |entry| Some(entry.method.as_str().into())),
    ("target", |entry| Some(entry.target.as_str().into())),
    ("status", |entry| Some(entry.status?.as_u16().into())),
    ("outcome", |entry| Some(entry.source().as_str().into())),
    ("forward", |entry| {
        Some(entry.cache_status?.why?.reason.as_str().into())
    }),
    ("reason", |entry| Some(entry.reason()?.as_str().into())),
    ("identity", |entry| {
        Some(Value::from_display(entry.identity.as_deref()?))
    }),
    ("remedy", |entry| Some(entry.remedy()?.into())),
    ("milliseconds", |entry| Some(entry.millis().into())),
    ("bytes", |entry| Some(entry.sent_bytes.get().into())),
    ("fate", |entry| Some(entry.fate.get().as_str().into())),
    ("received_bytes", |entry| {
        Some(entry.tunnel.get()?.received_bytes.into())
    }),
    ("tunnel_end", |entry| {
        Some(entry.tunnel.get()?.state().into())
    }),
    ("problem", |entry| Some(entry.problem.as_deref()?.into())),
    ("origin", |entry| Some(entry.origin.as_deref()?.into())),
    ("request_id", |entry| {
        Some(entry.request_id.as_deref()?.into())
    }),
    ("client", |entry| {
        Some(Value::from_display(entry.address.as_ref()?))
    }),
    ("request_line", |entry| {
        Some(entry.client.as_ref()?.line.as_str().into())
    }),
    ("referer", |entry| {
        Some(entry.client.as_ref()?.referer.as_deref()?.into())
    }),
    ("user_agent", |entry| {
        Some(entry.client.as_ref()?.agent.as_deref()?.into())
    }),
];

/// Values that are not known are left out.
impl Source for AccessLogEntry {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), Error> {
        for (name, value) in FIELDS {
            if let Some(value) = value(self) {
                visitor.visit_pair(Key::from(name), value)?;
            }
        }
        Ok(())
    }

    fn get(&self, key: Key<'_>) -> Option<Value<'_>> {
        let is_asked = |(name, _): &&LogField| *name == key.as_str();
        let (_, value) = FIELDS.iter().find(is_asked)?;
        value(self)
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
