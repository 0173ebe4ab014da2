//! Tunnels: after a 101 the client's bytes go to the origin, and the origin's to the client.

use std::task::Context;

use super::ClientIo;

impl ClientIo {
    /// True if actix-http gets nothing more from the client: its bytes belong to the tunnel.
    pub(super) fn is_tunnel(&self) -> bool {
        self.tunnel.is_some()
    }

    /// Begins the tunnel that the handler has opened, and passes on as many bytes as possible. Everything that actix-http
    /// has written must be sent. When the tunnel has ended, actix-http ends the connection.
    pub(super) fn drive_tunnel(&mut self, context: &mut Context<'_>) {
        if self.tunnel.is_none()
            && let Some(mut tunnel) = self.connection.take_tunnel()
        {
            let stopping = self.stopping.clone();
            let stopping = async move { stopping.notified().await };
            tunnel.begin(self.ahead.split(), Box::pin(stopping));
            self.tunnel = Some(tunnel);
        }
        if let Some(tunnel) = &mut self.tunnel
            && tunnel.poll(context, &mut self.stream).is_ready()
        {
            self.tunnel = None;
            self.connection.tunnel_ended();
            context.waker().wake_by_ref();
        }
    }
}
