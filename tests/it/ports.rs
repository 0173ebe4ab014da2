//! Ports of this machine, none given twice: what one test has left is not what another comes to hold.
//!
//! They are not of those that the system gives to whoever asks for any, and takes itself for the near end of a
//! connection (`ip_local_port_range`). So a port that was left is closed and stays closed, and one that nobody has
//! taken yet is still free a moment later.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

use socket2::{Domain, Socket, Type};

const PORTS: Range<u16> = 10_240..32_768;
/// From one to the next: the program tries the twenty after one in use.
const STEP: usize = 21;
/// How many ports apart two processes that test at the same time begin, if their numbers are neighbours.
const APART: usize = 509;

/// The next port, whoever may hold it.
fn next() -> u16 {
    static GIVEN: AtomicUsize = AtomicUsize::new(0);
    let begin = usize::try_from(process::id()).unwrap() * APART;
    let place = (begin + GIVEN.fetch_add(1, Ordering::Relaxed)) * STEP % PORTS.len();
    PORTS.start + u16::try_from(place).unwrap()
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Only bound, never listened on: a process that is started at the same moment holds a copy until it has begun, and
/// that must not keep anybody from the port.
fn is_free(port: u16) -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&loopback(port).into()).is_ok()
}

/// A port that nobody listens on: a program under test may, and else nobody will.
pub(crate) fn free_port() -> u16 {
    let mut all = PORTS.map(|_| next());
    all.find(|port| is_free(*port)).expect("a port is free")
}

/// A listener on a port of its own.
pub(crate) fn listener() -> TcpListener {
    let mut all = PORTS.map(|_| next());
    let taken = all.find_map(|port| TcpListener::bind(loopback(port)).ok());
    taken.expect("a port is free")
}
