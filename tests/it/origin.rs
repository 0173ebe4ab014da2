//! An origin over raw TCP. A test scripts its responses, invalid ones included, and it records all requests.
//!
//! It runs on plain threads and does not depend on the runtime of the proxy under test.

use std::{
    collections::HashMap,
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

pub(crate) use crate::{
    client::latin1,
    exchange::{Exchange, Gate, Seen},
};
use crate::{
    exchange::{After, Wire},
    ports,
    waiting::DEADLINE,
};

type Handler = dyn Fn(&mut Exchange<'_>) + Send + Sync;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Uploads {
    ReadFirst,
    LeftToHandler,
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    arrived: Condvar,
    targets: Mutex<HashMap<String, usize>>,
    sockets: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
    stopping: AtomicBool,
    uploads: Uploads,
    tls: Option<Arc<rustls::ServerConfig>>,
    handler: Box<Handler>,
}

/// A running origin. Dropping it stops it.
pub(crate) struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Origin {
    /// Reads each request completely, and calls the handler to respond.
    pub(crate) fn start(handler: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static) -> Self {
        Self::launch(Uploads::ReadFirst, None, Box::new(handler))
    }

    /// Calls the handler after the head of a request. The body stays unread, and the connection is closed afterwards.
    pub(crate) fn without_reading(
        handler: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static,
    ) -> Self {
        Self::launch(Uploads::LeftToHandler, None, Box::new(handler))
    }

    /// The same as [`Origin::start`], over TLS.
    pub(crate) fn tls(
        config: Arc<rustls::ServerConfig>,
        handler: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static,
    ) -> Self {
        Self::launch(Uploads::ReadFirst, Some(config), Box::new(handler))
    }

    /// Responds to every request with a 200 and the body "METHOD target #n". n counts the requests for the target from 0.
    pub(crate) fn counting(fields: &'static str) -> Self {
        Self::start(move |exchange| {
            let body = format!(
                "{} {} #{}",
                exchange.request.method(),
                exchange.target(),
                exchange.nth
            );
            exchange.ok(fields, body);
        })
    }

    /// Responds with "#n", n counted by target from 0, which is stale at once. A validation waits for the gate, and gets a 304
    /// with these header lines.
    pub(crate) fn confirming_after(gate: &Gate, lines: &'static str) -> Self {
        let gate = gate.clone();
        Self::start(move |exchange| {
            if exchange.request.field("if-none-match").is_some() {
                gate.wait();
                let head = "HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\n";
                exchange.send(format!("{head}{lines}\r\n"));
            } else {
                let body = format!("#{}", exchange.nth);
                exchange.ok("ETag: \"v\"\r\nCache-Control: max-age=0\r\n", body);
            }
        })
    }

    fn launch(
        uploads: Uploads,
        tls: Option<Arc<rustls::ServerConfig>>,
        handler: Box<Handler>,
    ) -> Self {
        let listener = ports::listener();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            arrived: Condvar::new(),
            targets: Mutex::default(),
            sockets: Mutex::default(),
            connections: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            uploads,
            tls,
            handler,
        });
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    /// The listening port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT` with TLS.
    pub(crate) fn url(&self) -> String {
        match self.shared.tls {
            Some(_) => format!("https://localhost:{}", self.port()),
            None => format!("http://127.0.0.1:{}", self.port()),
        }
    }

    /// All requests so far, in order of arrival.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The number of requests so far.
    pub(crate) fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// The only request so far. Panics if there was none or several.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(
            seen.len(),
            1,
            "the origin should have seen one request: {seen:?}"
        );
        seen.into_iter().next().unwrap()
    }

    /// Drops the record of the requests so far.
    pub(crate) fn forget(&self) {
        self.shared.seen.lock().unwrap().clear();
    }

    /// The newest request.
    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("the origin has seen no request")
    }

    /// Waits until this number of requests has arrived.
    pub(crate) fn wait_for(&self, requests: usize) {
        let seen = self.shared.seen.lock().unwrap();
        let (seen, _) = self
            .shared
            .arrived
            .wait_timeout_while(seen, DEADLINE, |seen| seen.len() < requests)
            .unwrap();
        assert!(
            seen.len() >= requests,
            "{} of {requests} requests reached the origin",
            seen.len()
        );
    }

    /// Closes the port and every connection.
    pub(crate) fn stop(&mut self) {
        let Some(accepting) = self.accepting.take() else {
            return;
        };
        self.shared.stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        accepting.join().unwrap();
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            socket.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        stream.set_nodelay(true).ok();
        stream.set_read_timeout(Some(DEADLINE * 3)).ok();
        stream.set_write_timeout(Some(DEADLINE * 6)).ok();
        shared.sockets.lock().unwrap().extend(stream.try_clone());
        let shared = Arc::clone(shared);
        std::thread::spawn(move || serve(stream, &shared));
    }
}

fn serve(stream: TcpStream, shared: &Shared) {
    let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
    let Ok(socket) = stream.try_clone() else {
        return;
    };
    let mut wire: Box<dyn Wire> = match &shared.tls {
        None => Box::new(stream),
        Some(config) => {
            let session = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
            Box::new(rustls::StreamOwned::new(session, stream))
        }
    };
    while let Ok(Some(after)) = exchange(wire.as_mut(), shared, connection) {
        match after {
            After::KeepAlive => continue,
            After::Close => wire.end(),
            After::Cut => {}
            After::Reset => socket2::SockRef::from(&socket)
                .set_linger(Some(Duration::ZERO))
                .unwrap_or_default(),
        }
        break;
    }
    // A reset needs all descriptors closed without a shutdown, because a shutdown ends the stream cleanly.
    let linger = socket2::SockRef::from(&socket).linger().unwrap_or_default();
    let mut sockets = shared.sockets.lock().unwrap();
    let peer = socket.peer_addr().ok();
    sockets.retain(|other| other.peer_addr().ok() != peer);
    if linger.is_none() {
        socket.shutdown(Shutdown::Both).ok();
    }
}

fn exchange(wire: &mut dyn Wire, shared: &Shared, connection: usize) -> io::Result<Option<After>> {
    let head = read_through(wire, b"\r\n\r\n")?;
    if head.is_empty() {
        return Ok(None);
    }
    let mut request = Seen {
        head,
        body: Vec::new(),
        connection,
    };
    let unread = shared.uploads == Uploads::LeftToHandler;
    if !unread {
        request.body = read_body(wire, &request)?;
    }
    let nth = {
        let mut targets = shared.targets.lock().unwrap();
        let count = targets.entry(request.target()).or_default();
        *count += 1;
        *count - 1
    };
    shared.seen.lock().unwrap().push(request.clone());
    shared.arrived.notify_all();
    let mut exchange = Exchange::new(request, nth, wire);
    (shared.handler)(&mut exchange);
    let after = exchange.after;
    let left_unread = unread && matches!(after, After::KeepAlive);
    Ok(Some(if left_unread { After::Close } else { after }))
}

fn read_through(wire: &mut dyn Wire, end: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        let mut byte = [0];
        match wire.read_exact(&mut byte) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Vec::new()),
            read => read?,
        }
        bytes.push(byte[0]);
    }
    Ok(bytes)
}

fn read_body(wire: &mut dyn Wire, request: &Seen) -> io::Result<Vec<u8>> {
    if let Some(length) = request.field("content-length") {
        let mut body = vec![0; length.parse().map_err(io::Error::other)?];
        wire.read_exact(&mut body)?;
        return Ok(body);
    }
    let mut body = Vec::new();
    if request.field("transfer-encoding").is_some() {
        loop {
            let line = latin1(&read_through(wire, b"\r\n")?);
            let size = line.trim().split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            let mut chunk = vec![0; size + 2];
            wire.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
    Ok(body)
}
