//! The threads of the server: each is an arbiter of actix with a service and an [`Acceptor`] of its own.

use std::{
    future::{Future, poll_fn},
    io,
    net::TcpListener,
    sync::{Arc, mpsc},
    time::Duration,
};

use actix_rt::{Arbiter, task::JoinError};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        watch,
    },
    time::timeout,
};

use super::{
    accept::{Accepted, Acceptor},
    clients::Clients,
    stop_signal::{StopSignal, StopStage},
};

/// How long a stop waits for responses in progress.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Most threads of all workers for what blocks, such as DNS lookups.
const MAX_BLOCKING_THREADS: usize = 512;

/// The running workers. They stop at once when this is dropped.
pub(super) struct Workers {
    arbiters: Vec<Arbiter>,
    clients: Arc<Clients>,
    stop: watch::Sender<StopStage>,
    /// How the acceptors end, each once.
    ends: UnboundedReceiver<Result<(), JoinError>>,
}

impl Workers {
    /// Starts `number` workers that accept from `listeners` at most `limit` clients at a time, and waits until all accept.
    /// Each calls `make` in its thread for what serves a connection. `stop` and `stopping` belong together.
    ///
    /// # Errors
    /// A thread cannot be started, a listener cannot be used, or `make` fails.
    pub(super) fn start<M, S, F>(
        (number, limit): (usize, usize),
        listeners: &[TcpListener],
        (stop, stopping): (watch::Sender<StopStage>, StopSignal),
        make: impl Fn() -> M + Clone + Send + 'static,
    ) -> io::Result<Self>
    where
        M: Future<Output = io::Result<S>>,
        S: Fn(Accepted) -> F + 'static,
        F: Future + 'static,
    {
        let clients = Clients::new(limit, number);
        let (end, ends) = unbounded_channel();
        let mut workers = Self {
            arbiters: Vec::new(),
            clients: Arc::clone(&clients),
            stop,
            ends,
        };
        let (started, starts) = mpsc::channel();
        for worker in 0..number {
            let listeners: io::Result<_> = listeners.iter().map(TcpListener::try_clone).collect();
            let (listeners, clients, make) = (listeners?, Arc::clone(&clients), make.clone());
            let (started, end, stopping) = (started.clone(), end.clone(), stopping.clone());
            let arbiter = Arbiter::try_with_tokio_rt(move || runtime(number))?;
            arbiter.spawn_fn(move || {
                let start = async move {
                    let acceptor = Acceptor::new(listeners, clients, worker)?;
                    Ok((acceptor, make().await?))
                };
                actix_rt::spawn(work(start, started, end, stopping));
            });
            workers.arbiters.push(arbiter);
        }
        drop(started);
        for _ in 0..number {
            let ended = |_| io::Error::other("a worker has ended while it started");
            starts.recv().map_err(ended)??;
        }
        Ok(workers)
    }

    /// Waits until a worker ends without having been stopped. Says how it has ended.
    pub(super) async fn ended(&mut self) -> io::Error {
        match self.ends.recv().await {
            Some(Err(error)) => io::Error::other(error),
            Some(Ok(())) | None => io::Error::other("a worker has ended"),
        }
    }

    /// Another process accepts the connections from now on. Waits, for a limited time, until no worker accepts any more.
    pub(super) async fn hand_over(&mut self) {
        self.stop.send_replace(StopStage::HandedOver);
        let ended = async { while self.ends.recv().await.is_some() {} };
        // A worker that hangs does not accept either.
        let _ = timeout(STOP_LIMIT, ended).await;
    }

    /// Waits until the workers accept no more, and no connection is left.
    pub(super) async fn drained(&mut self) {
        while self.ends.recv().await.is_some() {}
        poll_fn(|context| self.clients.poll_none(context)).await;
    }

    /// Begins to stop: the workers accept no more, and the connections have a limited time to end.
    pub(super) async fn stop(&mut self) {
        self.stop.send_replace(StopStage::Stopping);
        if timeout(STOP_LIMIT, self.drained()).await.is_err() {
            log::debug!("connections are closed that have not ended in time");
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
    }
}

fn runtime(workers: usize) -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads((MAX_BLOCKING_THREADS / workers).max(1))
        .build()
}

/// Runs one worker.
async fn work<S, F>(
    start: impl Future<Output = io::Result<(Acceptor, S)>>,
    started: mpsc::Sender<io::Result<()>>,
    end: UnboundedSender<Result<(), JoinError>>,
    stopping: StopSignal,
) where
    S: Fn(Accepted) -> F + 'static,
    F: Future + 'static,
{
    let (acceptor, serve) = match start.await {
        Ok(made) => made,
        Err(error) => {
            // Nobody waits if another worker has failed before.
            let _ = started.send(Err(error));
            return;
        }
    };
    let accepting =
        actix_rt::spawn(async move { acceptor.run(serve, stopping.no_more_wanted()).await });
    let _ = started.send(Ok(()));
    drop(started);
    let _ = end.send(accepting.await);
}

#[cfg(test)]
mod tests;
