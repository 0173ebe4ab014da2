//! The socket that the proxy listens on, and the error when it cannot be opened.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
};

use caching_proxy::control;
use socket2::{Domain, Protocol, Socket, Type};

use crate::failure::Failure;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// RFC 6335, 6: lower ports are system ports; many systems reserve them for administrators.
const FIRST_OPEN_PORT: u16 = 1024;
/// How many ports after one in use are tried, to suggest a free one.
const PORTS_TRIED: u16 = 20;

/// Listens on `address`; port 0 means any free port.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let port = address.port();
    listen(address).map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => Failure::PortInUse {
            port,
            holder: control::holder(address),
            free: free_port(address),
        },
        ErrorKind::PermissionDenied if port < FIRST_OPEN_PORT => Failure::PortReserved {
            port,
            free: port + 8000,
        },
        ErrorKind::AddrNotAvailable => Failure::NoSuchAddress(address.ip()),
        _ => Failure::Bind { address, source },
    })
}

/// With address reuse, so that a restart does not wait for connections that are still closing. Without port reuse: two
/// proxies on one port would each get a part of the requests.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The first free port after the one of `address`. `None` if the next [`PORTS_TRIED`] are in use.
fn free_port(address: SocketAddr) -> Option<u16> {
    (1..=PORTS_TRIED)
        .filter_map(|more| address.port().checked_add(more))
        .find(|port| listen(SocketAddr::new(address.ip(), *port)).is_ok())
}
