//! What actix-http gets in place of a tunnel.
//!
//! To actix-http a tunnel is the body of the 101: one without bytes, which lasts as long as the tunnel. So the connection
//! counts as in use, and it is closed when the tunnel ends.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;

use super::established::Tunnel;
use crate::proxy::connection::ActiveRequest;

/// The body of a 101.
pub(crate) struct TunnelPlaceholder {
    /// `None` once the connection has it.
    tunnel: Option<Box<Tunnel>>,
    active: ActiveRequest,
}

impl TunnelPlaceholder {
    pub(crate) fn new(tunnel: Tunnel, active: ActiveRequest) -> Self {
        Self {
            tunnel: Some(Box::new(tunnel)),
            active,
        }
    }
}

impl MessageBody for TunnelPlaceholder {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    /// The first call means that the 101 is in actix-http's write buffer.
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let this = self.get_mut();
        let Some(connection) = this.active.connection() else {
            return Poll::Ready(None);
        };
        if let Some(tunnel) = this.tunnel.take() {
            connection.start_tunnel(tunnel);
        }
        match connection.is_tunnelling() {
            // The stream wakes its task, which is this one, when the tunnel has ended.
            true => Poll::Pending,
            false => Poll::Ready(None),
        }
    }
}
