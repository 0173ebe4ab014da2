//! A relay between a proxy and Redis, which delays and cuts connections.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::ports;

/// A relay from a TCP port to a Unix socket.
pub(super) struct Relay {
    port: u16,
    shared: Arc<RelayShared>,
}

struct RelayShared {
    socket: PathBuf,
    delay_millis: AtomicU64,
    open: Mutex<Vec<(TcpStream, UnixStream)>>,
    is_over: AtomicBool,
}

impl Relay {
    pub(super) fn to(socket: PathBuf) -> Self {
        let listener = ports::listener();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(RelayShared {
            socket,
            delay_millis: AtomicU64::new(0),
            open: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { port, shared }
    }

    /// The URL of Redis behind it.
    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on whatever arrives is passed on after this time.
    pub(super) fn delay(&self, millis: u64) {
        self.shared.delay_millis.store(millis, Ordering::SeqCst);
    }

    /// Cuts all connections.
    pub(super) fn cut(&self) {
        for (client, server) in self.shared.open.lock().unwrap().drain(..) {
            // One that has ended cannot be cut.
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.cut();
        // The thread that accepts wakes, and ends.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<RelayShared>) {
    for client in listener.incoming().flatten() {
        if shared.is_over.load(Ordering::SeqCst) {
            return;
        }
        // Without a server the connection is closed at once.
        let Ok(server) = UnixStream::connect(&shared.socket) else {
            continue;
        };
        let (mut to_client, mut from_client) = (client.try_clone().unwrap(), client);
        let (mut to_server, mut from_server) = (server.try_clone().unwrap(), server);
        from_client.set_nodelay(true).unwrap();
        let both = (
            from_client.try_clone().unwrap(),
            from_server.try_clone().unwrap(),
        );
        shared.open.lock().unwrap().push(both);
        let (one, other) = (Arc::clone(shared), Arc::clone(shared));
        thread::spawn(move || {
            pass_on(
                &one,
                |bytes| from_client.read(bytes),
                |bytes| to_server.write_all(bytes),
            );
            let _ = to_server.shutdown(Shutdown::Both);
        });
        thread::spawn(move || {
            pass_on(
                &other,
                |bytes| from_server.read(bytes),
                |bytes| to_client.write_all(bytes),
            );
            let _ = to_client.shutdown(Shutdown::Both);
        });
    }
}

/// Passes on what is read, until one side ends.
fn pass_on(
    shared: &RelayShared,
    mut read: impl FnMut(&mut [u8]) -> std::io::Result<usize>,
    mut write: impl FnMut(&[u8]) -> std::io::Result<()>,
) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let count = match read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => count,
            // A process under test has ended.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let delay = shared.delay_millis.load(Ordering::SeqCst);
        if delay > 0 {
            thread::park_timeout(Duration::from_millis(delay));
        }
        if write(&bytes[..count]).is_err() {
            return;
        }
    }
}
