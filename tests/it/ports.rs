//! Ports for tests. No port is given out twice, so no test gets a port that another test has released.
//!
//! The ports are outside the ephemeral range of the system (`ip_local_port_range`). So a released port stays closed,
//! and a free port is still free a moment later.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    ops::Range,
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

use socket2::{Domain, SockRef, Socket, Type};

const PORTS: Range<u16> = 10_240..32_768;
/// Distance between two ports: the program tries the twenty ports after one in use.
const STEP: usize = 21;
/// How many ports apart two test processes with neighbouring process ids begin.
const APART: usize = 509;

/// The next port, free or not.
fn next() -> u16 {
    static GIVEN: AtomicUsize = AtomicUsize::new(0);
    let begin = usize::try_from(process::id()).unwrap() * APART;
    let place = (begin + GIVEN.fetch_add(1, Ordering::Relaxed)) * STEP % PORTS.len();
    PORTS.start + u16::try_from(place).unwrap()
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Whether a port is free. The socket is bound and never listens: a child process that starts at this moment holds a
/// copy of it, and the copy must not block the port.
fn is_free(port: u16) -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&loopback(port).into()).is_ok()
}

/// A free port for a program under test.
pub(crate) fn free_port() -> u16 {
    let mut all = PORTS.map(|_| next());
    all.find(|port| is_free(*port)).expect("a port is free")
}

/// A listener on a port that no other test uses.
pub(crate) fn listener() -> TcpListener {
    let mut all = PORTS.map(|_| next());
    let taken = all.find_map(|port| TcpListener::bind(loopback(port)).ok());
    taken.expect("a port is free")
}

/// A port that neither accepts nor refuses connections, as long as this lives.
pub(crate) struct BlackHole {
    listener: TcpListener,
    /// It fills the queue of the listener.
    _first: TcpStream,
}

impl BlackHole {
    pub(crate) fn new() -> Self {
        let listener = listener();
        // Room for one connection.
        SockRef::from(&listener).listen(0).unwrap();
        let first = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Self {
            listener,
            _first: first,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// How many connections to it are being made.
    pub(crate) fn attempts(&self) -> usize {
        const SYN_SENT: &str = "02";
        let port = self.listener.local_addr().unwrap().port();
        let end = format!(":{port:04X}");
        let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        let to_it = |line: &&str| {
            let mut words = line.split_whitespace().skip(2);
            words.next().is_some_and(|remote| remote.ends_with(&end))
                && words.next() == Some(SYN_SENT)
        };
        table.lines().filter(to_it).count()
    }
}
