//! Listening sockets that the program was started with: systemd's socket activation (`LISTEN_FDS`, sd_listen_fds(3)).

use std::{env, io, net::TcpListener};

use listenfd::ListenFd;
use socket2::SockRef;

use crate::{failure::Failure, listen::TLS_PORT};

/// The variable with the names of the sockets, separated by colons.
const NAMES: &str = "LISTEN_FDNAMES";

/// The sockets by the flag whose port they are in the place of.
#[derive(Debug, Default)]
pub(crate) struct InheritedSockets {
    /// For --port.
    pub(crate) port: Vec<TcpListener>,
    /// For --tls-port: those that are named so.
    pub(crate) tls_port: Vec<TcpListener>,
}

impl InheritedSockets {
    /// Takes the sockets; none if the program was started without. Must be called before there are other threads.
    pub(crate) fn take() -> Result<Self, Failure> {
        let names = env::var(NAMES).unwrap_or_default();
        let mut names = names.split(':');
        let mut given = ListenFd::from_env();
        let mut sockets = Self::default();
        for index in 0..given.len() {
            let name = names.next().unwrap_or_default();
            let taken = given.take_tcp_listener(index);
            let listener = taken.and_then(listening).map_err(Failure::Inherited)?;
            match name == TLS_PORT.trim_start_matches('-') {
                true => sockets.tls_port.push(listener),
                false => sockets.port.push(listener),
            }
        }
        Ok(sockets)
    }
}

/// The socket, if it listens.
fn listening(taken: Option<TcpListener>) -> io::Result<TcpListener> {
    match taken {
        Some(listener) if SockRef::from(&listener).is_listener()? => Ok(listener),
        _ => Err(io::Error::other("it does not listen for connections")),
    }
}
