//! What the connections of one worker share.

use std::{rc::Rc, sync::Arc, time::Duration};

use super::{buffers::SpareBuffers, stop_signal::StopSignal};
use crate::proxy::{RefusalLog, Shared};

/// Time limits for a client.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// For the head of a request, from its first byte; for the first request also until then.
    pub(super) head: Duration,
    /// Between requests.
    pub(super) idle: Duration,
    /// Between two writes that the client accepts.
    pub(super) stall: Duration,
    /// For the first byte of a TLS connection, until a handshake may begin, and for the handshake: so long for each.
    pub(super) handshake: Duration,
}

/// The application, and what its connections go by.
pub(super) struct ClientService<S> {
    pub(super) app: S,
    pub(super) limits: Limits,
    pub(super) refusals: RefusalLog,
    pub(super) stopping: StopSignal,
    pub(super) shared: Arc<Shared>,
    /// With this a URL of any host is one of this proxy.
    pub(super) any_name: bool,
    /// For what is read. The headers of a request share the memory of its head.
    pub(super) input_buffers: SpareBuffers,
    /// For what is written. Nothing shares their memory.
    pub(super) output_buffers: Rc<SpareBuffers>,
}
