//! Idle connections. awc looks at them only when it needs one, so it would keep them open for as long as nobody
//! asks; here each is closed when its time is up.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::stream::OriginStream;

/// Where a connection waits between two exchanges, for so long and no longer.
pub(super) struct Parking {
    place: Option<Rc<RefCell<Place>>>,
    limit: Duration,
}

struct Place {
    stream: Option<OriginStream>,
    since: Instant,
}

impl Parking {
    pub(super) fn new(limit: Duration) -> Self {
        Self { place: None, limit }
    }

    pub(super) fn park(&mut self, stream: OriginStream) {
        let parked = Place {
            stream: Some(stream),
            since: Instant::now(),
        };
        match &self.place {
            Some(place) => {
                place.replace(parked);
            }
            None => {
                let place = Rc::new(RefCell::new(parked));
                actix_rt::spawn(close_in_time(Rc::downgrade(&place), self.limit));
                self.place = Some(place);
            }
        }
    }

    /// The connection, if it is still open.
    pub(super) fn leave(&mut self) -> Option<OriginStream> {
        self.place.as_ref()?.borrow_mut().stream.take()
    }
}

/// One task a connection: ends when the connection was closed, here or elsewhere.
async fn close_in_time(place: Weak<RefCell<Place>>, limit: Duration) {
    let mut deadline = Instant::now() + limit;
    loop {
        sleep_until(deadline).await;
        let Some(place) = place.upgrade() else { return };
        let mut place = place.borrow_mut();
        deadline = match &place.stream {
            Some(_) => place.since + limit,
            None => Instant::now() + limit,
        };
        if deadline <= Instant::now() {
            place.stream = None;
            return;
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

    #[test]
    fn an_idle_connection_is_closed_in_time_though_nobody_asks() {
        actix_rt::System::new().block_on(async {
            let (ours, mut theirs) = pair().await;
            let mut parking = Parking::new(Duration::from_millis(20));
            parking.park(ours);
            assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
            assert!(parking.leave().is_none());
        });
    }

    #[test]
    fn a_connection_in_use_is_left_alone() {
        actix_rt::System::new().block_on(async {
            let (ours, mut theirs) = pair().await;
            let mut parking = Parking::new(Duration::from_millis(20));
            parking.park(ours);
            let ours = parking.leave().unwrap();
            let waited =
                tokio::time::timeout(Duration::from_millis(60), theirs.read(&mut [0])).await;
            assert!(waited.is_err());
            parking.park(ours);
            assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
        });
    }
}
