//! Accepting connections, in the thread of the worker that serves them.
//!
//! All workers accept from the same listening sockets: each worker has duplicates of their descriptors, registered with
//! the poll of its own thread. So a connection costs no other thread and no queue between two threads. The system wakes
//! every idle worker for a connection; the first one gets it. A busy worker looks for connections once a round of its
//! tasks, so it gets fewer of them, and [`Clients`] bounds how far the workers differ.
//!
//! Sockets of their own (SO_REUSEPORT) would have a queue each: connections that wait in the queue of a worker that ends
//! are reset, and those in the queue of a busy worker wait although others are idle. With one queue for all, connections
//! wait only as long as no worker accepts. That is also where they wait at the limit of clients.

use std::{
    future::{Future, poll_fn},
    io::{self, ErrorKind},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix_rt::{
    net::TcpStream,
    time::{Instant, sleep},
};
use tokio::{net::TcpListener, task::yield_now};

use super::clients::{ClientPlace, Clients};

/// Most connections accepted in a row. Then the tasks of this worker run.
const MAX_IN_A_ROW: usize = 16;
/// Most connections that a worker accepts when it ends, of those that wait then.
const MAX_AT_END: usize = 4096;
/// How long a worker waits when the system is out of descriptors or memory. Each further attempt would fail at once.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a worker logs that it cannot accept.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// A connection that was accepted.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    /// Which listener has it, by its place among those of the worker.
    pub(super) listener: usize,
}

/// The listeners of one worker.
pub(super) struct Acceptor {
    listeners: Box<[TcpListener]>,
    /// The listener that is asked first. It is another one each time, so that each gets its turn.
    first: usize,
    clients: Arc<Clients>,
    worker: usize,
    /// When a failure was last logged; `None` before that.
    logged: Option<Instant>,
}

impl Acceptor {
    /// Registers `listeners` with the poll of this thread, for the worker of this number.
    ///
    /// # Errors
    /// A listener cannot be registered.
    pub(super) fn new(
        listeners: Vec<std::net::TcpListener>,
        clients: Arc<Clients>,
        worker: usize,
    ) -> io::Result<Self> {
        let listeners = listeners.into_iter().map(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        Ok(Self {
            listeners: listeners.collect::<io::Result<_>>()?,
            first: 0,
            clients,
            worker,
            logged: None,
        })
    }

    /// Serves each connection in a task of its own with `serve`, until `stopped`. Those that wait then are still served.
    pub(super) async fn run<S, F>(mut self, serve: S, stopped: impl Future<Output = ()>)
    where
        S: Fn(Accepted) -> F + 'static,
        F: Future + 'static,
    {
        let serve = Rc::new(serve);
        tokio::select! {
            biased;
            () = stopped => {}
            () = self.accept_all(&serve) => {}
        }
        for number in 0..MAX_AT_END {
            if number % MAX_IN_A_ROW == 0 {
                // The poll of this thread finds what has arrived.
                yield_now().await;
            }
            let Some(place) = self.clients.place_at_once(self.worker) else {
                break;
            };
            match poll_fn(|context| Poll::Ready(self.poll_accept(context))).await {
                Poll::Ready(Ok(connection)) => spawn(&serve, connection, place),
                Poll::Ready(Err(error)) if concerns_one_connection(&error) => {}
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
    }

    async fn accept_all<S, F>(&mut self, serve: &Rc<S>)
    where
        S: Fn(Accepted) -> F + 'static,
        F: Future + 'static,
    {
        let mut in_a_row = 0;
        loop {
            if in_a_row == MAX_IN_A_ROW {
                in_a_row = 0;
                yield_now().await;
            }
            let place = poll_fn(|context| self.clients.poll_place(self.worker, context)).await;
            let mut has_waited = false;
            let accepted = poll_fn(|context| {
                let accepted = self.poll_accept(context);
                has_waited |= accepted.is_pending();
                accepted
            });
            match accepted.await {
                Ok(connection) => spawn(serve, connection, place),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    drop(place);
                    self.log(&error);
                    sleep(PAUSE).await;
                }
            }
            in_a_row = if has_waited { 1 } else { in_a_row + 1 };
        }
    }

    /// The next connection of any listener.
    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (before, from) = self.listeners.split_at(self.first);
        for (position, listener) in from.iter().chain(before).enumerate() {
            if let Poll::Ready(accepted) = listener.poll_accept(context) {
                let listener = (self.first + position) % self.listeners.len();
                self.first = (listener + 1) % self.listeners.len();
                return Poll::Ready(accepted.map(|(stream, peer)| Accepted {
                    stream,
                    peer,
                    listener,
                }));
            }
        }
        Poll::Pending
    }

    fn log(&mut self, error: &io::Error) {
        if self
            .logged
            .is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL)
        {
            self.logged = Some(Instant::now());
            log::error!("cannot accept connections: {error}; clients wait until this is over");
        }
    }
}

/// Serves a connection. A panic ends its task alone.
fn spawn<S, F>(serve: &Rc<S>, connection: Accepted, place: ClientPlace)
where
    S: Fn(Accepted) -> F + 'static,
    F: Future + 'static,
{
    // In a box, because a task is moved several times before it runs, and this one has some KiB.
    let served = Box::pin(serve(connection));
    actix_rt::spawn(async move {
        served.await;
        drop(place);
    });
}

/// True for an error of the connection that was to be accepted: the next one may be fine.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::Interrupted
    )
}
