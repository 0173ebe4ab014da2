//! Idle connections to the origin: one pool per worker.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    task::{Context, Waker},
    time::Duration,
};

use bytes::BytesMut;
use tokio::time::{Instant, sleep_until};

use super::{silence::SilenceTimer, stream::OriginStream};

/// A connection that carries one request after the other, with what it keeps from one to the next.
pub(super) struct PersistentConnection {
    pub(super) stream: OriginStream,
    pub(super) silence: SilenceTimer,
    /// Empty. Its memory is used again for what the origin sends.
    pub(super) buffer: BytesMut,
}

impl PersistentConnection {
    /// A connection that has carried nothing.
    pub(super) fn new(stream: OriginStream) -> Self {
        Self {
            stream,
            silence: SilenceTimer::default(),
            buffer: BytesMut::new(),
        }
    }
}

/// Connections that wait for their next request, each for a limited time.
pub(super) struct Pool {
    /// Ordered by last use, the latest at the back.
    idle: RefCell<Vec<Idle>>,
    limits: PoolLimits,
    /// True while a task runs that closes expired connections.
    is_swept: Cell<bool>,
}

/// How long a connection is kept.
#[derive(Clone, Copy)]
pub(super) struct PoolLimits {
    /// Without a request.
    pub(super) idle: Duration,
    /// In all, however much it is used: the origin's name may have moved.
    pub(super) age: Duration,
}

struct Idle {
    connection: PersistentConnection,
    until: Instant,
}

impl Pool {
    pub(super) fn new(limits: PoolLimits) -> Self {
        Self {
            idle: RefCell::default(),
            limits,
            is_swept: Cell::new(false),
        }
    }

    /// Stores a connection on which no request is in progress, or closes it if it is too old.
    pub(super) fn put(self: &Rc<Self>, connection: PersistentConnection) {
        let now = Instant::now();
        let until = (now + self.limits.idle).min(connection.stream.opened() + self.limits.age);
        if until <= now {
            return connection.stream.close();
        }
        self.idle.borrow_mut().push(Idle { connection, until });
        if !self.is_swept.replace(true) {
            actix_rt::spawn(sweep(Rc::downgrade(self), until));
        }
    }

    /// Removes the connection that was used last among those that are still open, silent and not too old; `None` if there is
    /// none.
    pub(super) fn take(&self) -> Option<PersistentConnection> {
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            let (mut connection, until) = (idle.connection, idle.until);
            if until <= Instant::now() {
                connection.stream.close();
            } else if (connection.stream).is_quiet(&mut Context::from_waker(Waker::noop())) {
                return Some(connection);
            }
        }
    }

    /// Closes the expired connections. Returns when the next one expires; `None` if no connection is left.
    fn close_expired(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.idle.borrow_mut();
        for expired in idle.extract_if(.., |idle| idle.until <= now) {
            expired.connection.stream.close();
        }
        idle.iter().map(|idle| idle.until).min()
    }
}

/// Closes connections as they expire, until none is left.
async fn sweep(pool: Weak<Pool>, mut next: Instant) {
    loop {
        sleep_until(next).await;
        let Some(pool) = pool.upgrade() else { return };
        match pool.close_expired(Instant::now()) {
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

    async fn pair() -> (PersistentConnection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let ours = PersistentConnection::new(OriginStream::plain(ours.unwrap()));
        (ours, accepted.unwrap().0)
    }

    fn idle_for(idle: Duration) -> PoolLimits {
        PoolLimits {
            idle,
            age: Duration::from_secs(60),
        }
    }

    fn address(connection: &PersistentConnection) -> std::net::SocketAddr {
        let address = connection.stream.socket().local_addr().unwrap();
        address.as_socket().unwrap()
    }

    #[test]
    fn idle_connections_are_closed_in_time_without_another_request() {
        actix_rt::System::new().block_on(async {
            let pool = Rc::new(Pool::new(idle_for(Duration::from_millis(20))));
            // A second time after all have been closed.
            for _ in 0..2 {
                let (ours, mut theirs) = pair().await;
                let (others, mut of_others) = pair().await;
                pool.put(ours);
                pool.put(others);
                assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
                assert_eq!(of_others.read(&mut [0]).await.unwrap(), 0);
                assert!(pool.take().is_none());
            }
        });
    }

    #[test]
    fn a_connection_in_use_is_not_closed() {
        actix_rt::System::new().block_on(async {
            let pool = Rc::new(Pool::new(idle_for(Duration::from_millis(20))));
            let (ours, mut theirs) = pair().await;
            pool.put(ours);
            let ours = pool.take().unwrap();
            let limit = Duration::from_millis(60);
            let waited = tokio::time::timeout(limit, theirs.read(&mut [0])).await;
            assert!(waited.is_err());
            pool.put(ours);
            assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
        });
    }

    #[test]
    fn the_connection_used_last_is_used_next_and_a_closed_one_is_not() {
        actix_rt::System::new().block_on(async {
            let pool = Rc::new(Pool::new(idle_for(Duration::from_secs(20))));
            let (first, _first_peer) = pair().await;
            let (second, _second_peer) = pair().await;
            let (ended, peer) = pair().await;
            let in_order = [address(&second), address(&first)];
            pool.put(first);
            pool.put(second);
            pool.put(ended);
            drop(peer);
            for expected in in_order {
                assert_eq!(address(&pool.take().unwrap()), expected);
            }
            assert!(pool.take().is_none());
        });
    }

    #[test]
    fn a_connection_is_not_kept_beyond_its_age_however_often_it_is_used() {
        actix_rt::System::new().block_on(async {
            let limits = PoolLimits {
                idle: Duration::from_secs(20),
                age: Duration::ZERO,
            };
            let pool = Rc::new(Pool::new(limits));
            let (ours, mut theirs) = pair().await;
            pool.put(ours);
            assert!(pool.take().is_none());
            assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
            // One that becomes too old while it is idle is closed then.
            let limits = PoolLimits {
                age: Duration::from_millis(20),
                ..limits
            };
            let pool = Rc::new(Pool::new(limits));
            let (ours, mut theirs) = pair().await;
            let (older, mut of_older) = pair().await;
            pool.put(older);
            pool.put(ours);
            assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
            assert_eq!(of_older.read(&mut [0]).await.unwrap(), 0);
        });
    }
}
