//! A tunnel, with its log entry and its place in the budget.

use std::{
    fmt,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use futures_core::future::LocalBoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
};

use super::relay::Relay;
use crate::{
    observe::{TunnelEnd, WorkerCounters},
    origin::{OriginStream, SwitchedConnection},
    proxy::response::access_log::AccessLogEntry,
};

/// A tunnel between a client and the origin. It counts as open until it is dropped.
pub struct Tunnel {
    relay: Relay<OriginStream>,
    log: TunnelLog,
    _permit: OwnedSemaphorePermit,
}

impl Tunnel {
    /// A tunnel that has not begun. Without a byte in either direction for `idle` it ends.
    pub(crate) fn new(connection: SwitchedConnection, idle: Duration, log: TunnelLog) -> Self {
        let SwitchedConnection {
            stream,
            received,
            permit,
            ..
        } = connection;
        log.opened();
        Self {
            relay: Relay::new(stream, received, idle),
            log,
            _permit: permit,
        }
    }

    /// Must be called once, before the first poll. The client has sent `received` after its handshake. `stopping` resolves
    /// when the proxy begins to stop.
    pub fn begin(&mut self, received: BytesMut, stopping: LocalBoxFuture<'static, ()>) {
        self.relay.begin(received, stopping);
        // Unless something else ends it, the process does.
        self.log.end = TunnelEnd::Stop;
    }

    /// Passes on as many bytes as possible. Ready when the tunnel has ended.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> Poll<()> {
        let before = self.relay.passed_bytes();
        let ended = self.relay.poll(context, client);
        let passed = self.relay.passed_bytes();
        self.log.passed(passed.0 - before.0, passed.1 - before.1);
        self.log.end = ready!(ended);
        Poll::Ready(())
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tunnel").finish_non_exhaustive()
    }
}

/// What is counted and logged about a tunnel.
pub(crate) struct TunnelLog {
    counters: Rc<WorkerCounters>,
    entry: Option<Box<AccessLogEntry>>,
    end: TunnelEnd,
}

impl TunnelLog {
    /// Until the tunnel has begun, only the client can end it.
    pub(crate) fn new(counters: Rc<WorkerCounters>, entry: Option<Box<AccessLogEntry>>) -> Self {
        Self {
            counters,
            entry,
            end: TunnelEnd::ClientReset,
        }
    }

    fn opened(&self) {
        if let Some(entry) = &self.entry {
            entry.tunnel_opened();
        }
    }

    /// Counts bytes that were passed on to the origin, and to the client.
    fn passed(&self, to_origin: u64, to_client: u64) {
        self.counters.tunnelled(to_origin, to_client);
        if let Some(entry) = &self.entry {
            entry.tunnelled(to_origin, to_client);
        }
    }
}

impl Drop for TunnelLog {
    fn drop(&mut self) {
        self.counters.tunnel_ended();
        if let Some(entry) = &self.entry {
            entry.tunnel_ended(self.end);
        }
    }
}
