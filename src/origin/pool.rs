//! Idle connections to the origin: one pool a worker.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
    task::{Context, Waker},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::stream::OriginStream;

/// Connections that wait for their next exchange, each for so long and no longer.
pub(super) struct Pool {
    /// The one that was used last is at the back.
    idle: RefCell<VecDeque<Idle>>,
    limit: Duration,
    /// A task closes those whose time is up.
    is_swept: Cell<bool>,
}

struct Idle {
    stream: OriginStream,
    until: Instant,
}

impl Pool {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            idle: RefCell::default(),
            limit,
            is_swept: Cell::new(false),
        }
    }

    /// Keeps a connection between whose exchanges nothing is under way.
    pub(super) fn park(self: &Rc<Self>, stream: OriginStream) {
        let until = Instant::now() + self.limit;
        self.idle.borrow_mut().push_back(Idle { stream, until });
        if !self.is_swept.replace(true) {
            actix_rt::spawn(sweep(Rc::downgrade(self), until));
        }
    }

    /// The connection that was used last, of those that are still open and silent.
    pub(super) fn take(&self) -> Option<OriginStream> {
        loop {
            let Idle { mut stream, .. } = self.idle.borrow_mut().pop_back()?;
            if stream.is_quiet(&mut Context::from_waker(Waker::noop())) {
                return Some(stream);
            }
        }
    }

    /// Closes the connections whose time is up; answers when the next one's is.
    fn close_in_time(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.idle.borrow_mut();
        while idle.front()?.until <= now {
            if let Some(idle) = idle.pop_front() {
                idle.stream.close();
            }
        }
        idle.front().map(|idle| idle.until)
    }
}

/// Ends when nothing is idle.
async fn sweep(pool: Weak<Pool>, mut next: Instant) {
    loop {
        sleep_until(next).await;
        let Some(pool) = pool.upgrade() else { return };
        match pool.close_in_time(Instant::now()) {
            Some(until) => next = until,
            None => return pool.is_swept.set(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn pair() -> (OriginStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (OriginStream::Plain(ours.unwrap()), accepted.unwrap().0)
    }

    fn address(stream: &OriginStream) -> std::net::SocketAddr {
        stream.tcp().local_addr().unwrap()
    }

    #[test]
    fn idle_connections_are_closed_in_time_though_nobody_asks() {
        actix_rt::System::new().block_on(async {
            let pool = Rc::new(Pool::new(Duration::from_millis(20)));
            // Once more after all had been closed.
            for _ in 0..2 {
                let (ours, mut theirs) = pair().await;
                let (others, mut of_others) = pair().await;
                pool.park(ours);
                pool.park(others);
                assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
                assert_eq!(of_others.read(&mut [0]).await.unwrap(), 0);
                assert!(pool.take().is_none());
            }
        });
    }

    #[test]
    fn a_connection_in_use_is_left_alone() {
        actix_rt::System::new().block_on(async {
            let pool = Rc::new(Pool::new(Duration::from_millis(20)));
            let (ours, mut theirs) = pair().await;
            pool.park(ours);
            let ours = pool.take().unwrap();
            let limit = Duration::from_millis(60);
            let waited = tokio::time::timeout(limit, theirs.read(&mut [0])).await;
            assert!(waited.is_err());
            pool.park(ours);
            assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
        });
    }

    #[test]
    fn the_connection_used_last_is_used_next_and_one_that_ended_never() {
        actix_rt::System::new().block_on(async {
            let pool = Rc::new(Pool::new(Duration::from_secs(20)));
            let (first, _first_peer) = pair().await;
            let (second, _second_peer) = pair().await;
            let (ended, peer) = pair().await;
            let in_order = [address(&second), address(&first)];
            pool.park(first);
            pool.park(second);
            pool.park(ended);
            drop(peer);
            for expected in in_order {
                assert_eq!(address(&pool.take().unwrap()), expected);
            }
            assert!(pool.take().is_none());
        });
    }
}
