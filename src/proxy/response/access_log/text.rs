//! A log entry as a line for people.

use std::fmt::{self, Formatter};

use actix_web::http::StatusCode;

use super::{AccessLogEntry, Fate};
use crate::headers::{StoreOutcome, XCache};

impl fmt::Display for AccessLogEntry {
    fn fmt(&self, line: &mut Formatter<'_>) -> fmt::Result {
        let source = self.source();
        let status = self.status.as_ref().map_or("-", StatusCode::as_str);
        for part in [source.as_str(), status, &self.method, &self.target] {
            line.write_str(part)?;
            line.write_str(" ")?;
        }
        write!(line, "{}ms {}B", self.millis(), self.sent_bytes.get())?;
        match source {
            XCache::Miss => {
                if let Some(origin) = &self.origin {
                    write!(line, "  from {origin}")?;
                }
                self.explain(line)?;
            }
            XCache::Hit => {
                self.tell_validated(line)?;
                if let Some(remark) = self.cache_status.and_then(|status| status.remark) {
                    write!(line, "  {remark}")?;
                }
            }
        }
        if let Some(problem) = &self.problem {
            write!(line, "  {problem}")?;
        }
        if let Some(tunnel) = self.tunnel.get() {
            write!(line, "  {tunnel}")?;
        }
        line.write_str(match self.fate.get() {
            Fate::Whole => "",
            Fate::TooSlow => "  cut: the client was too slow for the fetch it shared",
            Fate::Cut => "  cut short by the origin",
            Fate::Unfinished => "  client disconnected",
        })?;
        if let Some(address) = self.address.filter(|address| !address.is_loopback()) {
            write!(line, "  client {address}")?;
        }
        match &self.request_id {
            Some(id) => write!(line, "  id {id}"),
            None => Ok(()),
        }
    }
}

impl AccessLogEntry {
    /// Why the request missed, and what would change that.
    fn explain(&self, line: &mut Formatter<'_>) -> fmt::Result {
        if let Some(reason) = self.why_not_stored() {
            write!(line, "  not stored: {reason}")?;
        } else if self.cache_status.map(|cache_status| cache_status.store)
            == Some(StoreOutcome::Collapsed)
        {
            return line.write_str("  shared another request's fetch");
        } else if let Some(parts) = &self.identity {
            write!(line, "  own partition: {parts}")?;
        } else if let Some(reason) = self.not_reused() {
            write!(line, "  not reused: {reason}")?;
        } else {
            return Ok(());
        }
        match self.remedy() {
            Some(remedy) => write!(line, " ({remedy})"),
            None => Ok(()),
        }
    }

    /// That the origin has confirmed the stored response, and why it was asked.
    fn tell_validated(&self, line: &mut Formatter<'_>) -> fmt::Result {
        let is_validated = self
            .cache_status
            .is_some_and(|cache_status| cache_status.why.is_some());
        if !is_validated || self.problem.is_some() {
            return Ok(());
        }
        line.write_str("  validated")?;
        match self.not_reused() {
            Some(reason) => write!(line, ": {reason}"),
            None => Ok(()),
        }
    }
}
