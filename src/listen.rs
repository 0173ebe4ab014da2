//! The socket that the proxy listens on, and the error when it cannot be opened.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
};

use caching_proxy::{config::BindAddress, control};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{failure::Failure, sockets::GivenSockets};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// RFC 6335, 6: lower ports are system ports; many systems reserve them for administrators.
const FIRST_OPEN_PORT: u16 = 1024;
/// How many ports after one in use are tried, to suggest a free one.
const PORTS_TRIED: u16 = 20;
/// How many ports are tried to find one that is free in both families.
const PAIRS_TRIED: u32 = 20;

/// The flag of a port.
pub(crate) const PORT: &str = "--port";
/// The flag of the port for TLS beside it.
pub(crate) const TLS_PORT: &str = "--tls-port";

/// Listens on `port`, which `flag` names, of all addresses that `bind` names; port 0 means any free port, the same for all.
/// Where `localhost` has no address in one family, that of the other is enough.
pub(crate) fn bind_all(
    bind: BindAddress,
    (flag, port): (&'static str, u16),
    given: &mut GivenSockets,
) -> Result<Vec<TcpListener>, Failure> {
    let mut listen = |address| given.take(address).map_or_else(|| listen(address), Ok);
    let [first, second] = bind.addresses()[..] else {
        let address = SocketAddr::new(bind.first(), port);
        let listener = listen(address).map_err(|source| failure(flag, address, source));
        return Ok(vec![listener?]);
    };
    let mut tries_left = PAIRS_TRIED;
    loop {
        tries_left -= 1;
        let address = SocketAddr::new(first, port);
        let one = match listen(address) {
            Ok(one) => Some(one),
            Err(error) if is_missing(&error) => None,
            Err(error) => return Err(failure(flag, address, error)),
        };
        let port_of_one = one.as_ref().map(TcpListener::local_addr).transpose();
        let got = port_of_one
            .map_err(Failure::Start)?
            .map_or(port, |address| address.port());
        let address = SocketAddr::new(second, got);
        match (listen(address), one) {
            (Ok(other), one) => return Ok(one.into_iter().chain([other]).collect()),
            (Err(error), Some(one)) if is_missing(&error) => return Ok(vec![one]),
            (Err(error), Some(_))
                if error.kind() == ErrorKind::AddrInUse && port == 0 && tries_left > 0 => {}
            (Err(error), _) => return Err(failure(flag, address, error)),
        }
    }
}

/// True if this machine has no such address, or not its family.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable
        || Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}

/// Listens on `address`; port 0 means any free port.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    listen(address).map_err(|source| failure(PORT, address, source))
}

fn failure(flag: &'static str, address: SocketAddr, source: io::Error) -> Failure {
    let port = address.port();
    match source.kind() {
        ErrorKind::AddrInUse => Failure::PortInUse {
            flag,
            port,
            holder: control::holder(address),
            free: free_port(address),
        },
        ErrorKind::PermissionDenied if port < FIRST_OPEN_PORT => Failure::PortReserved {
            flag,
            port,
            free: port + 8000,
        },
        ErrorKind::AddrNotAvailable => Failure::NoSuchAddress(address.ip()),
        _ => Failure::Bind { address, source },
    }
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
