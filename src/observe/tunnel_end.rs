//! Why tunnels end.

/// Why a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    /// The client closed its side first.
    Client,
    /// The origin closed its side first.
    Origin,
    /// The client reset its connection.
    ClientReset,
    /// The origin reset its connection.
    OriginReset,
    /// No bytes passed for too long.
    Idle,
    /// The proxy stops.
    Stop,
}

impl TunnelEnd {
    /// The reason in words, as log and dashboard show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "closed by the client",
            Self::Origin => "closed by the origin",
            Self::ClientReset => "reset by the client",
            Self::OriginReset => "reset by the origin",
            Self::Idle => "idle for too long",
            Self::Stop => "closed because the proxy stops",
        }
    }
}
