//! What the log says of a tunnel: one line when it has ended. The dashboard also shows that it has begun.

use std::fmt;

use super::{AccessLogEntry, Fate};
use crate::observe::TunnelEnd;

/// What a tunnel has passed on to the origin, and why it has ended. What it has passed on to the client is in the entry.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TunnelFigures {
    pub(super) received_bytes: u64,
    /// `None` as long as it is open.
    pub(super) end: Option<TunnelEnd>,
}

impl TunnelFigures {
    /// Whether it is open, or why it is not.
    pub(super) fn state(self) -> &'static str {
        self.end.map_or("open", TunnelEnd::as_str)
    }
}

impl fmt::Display for TunnelFigures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received_bytes, .. } = self;
        let state = self.state();
        write!(
            formatter,
            "tunnel {state}, {received_bytes}B from the client"
        )
    }
}

impl AccessLogEntry {
    /// Notes that a tunnel begins.
    pub(crate) fn tunnel_opened(&self) {
        self.tunnel.set(Some(TunnelFigures::default()));
        if let Some(feed) = &self.feed {
            feed.tell(self.seen());
        }
    }

    /// Notes bytes that the tunnel has passed on to the origin, and to the client.
    pub(crate) fn tunnelled(&self, to_origin: u64, to_client: u64) {
        let mut figures = self.tunnel.get().unwrap_or_default();
        figures.received_bytes += to_origin;
        self.tunnel.set(Some(figures));
        self.sent_bytes.set(self.sent_bytes.get() + to_client);
    }

    /// Notes the end of the tunnel.
    pub(crate) fn tunnel_ended(&self, end: TunnelEnd) {
        let figures = self.tunnel.get().unwrap_or_default();
        let end = Some(end);
        self.tunnel.set(Some(TunnelFigures { end, ..figures }));
        self.ended(Fate::Whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_one_line_with_the_bytes_of_both_sides() {
        let access = AccessLogEntry::of("GET".into(), "/chat".into());
        access.tunnel_opened();
        access.tunnelled(5, 7);
        access.tunnelled(5, 0);
        access.tunnel_ended(TunnelEnd::Idle);
        let line = access.to_string();
        assert!(
            line.ends_with("ms 7B  tunnel idle for too long, 10B from the client"),
            "{line}"
        );
        assert_eq!(access.tunnel.get().unwrap().state(), "idle for too long");
    }
}
