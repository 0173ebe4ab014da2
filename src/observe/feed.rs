//! [`RequestFeed`]: finished requests, one by one, for the dashboard. Workers do not wait for its reader.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::policy::Time;

/// At most this many requests wait to be read. Further ones are dropped and counted.
const WAITING: usize = 512;

/// A finished request.
#[derive(Clone, Debug, Serialize)]
pub struct FinishedRequest {
    /// When it ended, in milliseconds since the epoch.
    #[serde(serialize_with = "millis")]
    pub at: Time,
    /// The method, cut if it is very long.
    pub method: String,
    /// Path and query, secrets masked, cut if they are very long.
    pub target: String,
    /// The status of the response; `None` if there was none.
    pub status: Option<u16>,
    /// The outcome.
    pub outcome: &'static str,
    /// The short name of the reason; `None` if there is none to give.
    pub reason: Option<&'static str>,
    /// The setting that would change the outcome; `None` if there is none.
    pub remedy: Option<String>,
    /// The error; `None` if nothing failed.
    pub problem: Option<String>,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// Bytes of the body that were sent.
    pub bytes: u64,
}

fn millis<S: serde::Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.unix_millis())
}

/// The sending side, one for all workers. Clones are the same feed.
#[derive(Clone, Debug)]
pub struct RequestFeed {
    sender: Sender<FinishedRequest>,
    dropped: Arc<AtomicU64>,
}

impl RequestFeed {
    pub(super) fn new() -> (Self, Receiver<FinishedRequest>) {
        let (sender, receiver) = channel(WAITING);
        let dropped = Arc::default();
        (Self { sender, dropped }, receiver)
    }

    /// Adds a request, or drops it if too many wait to be read.
    pub fn tell(&self, seen: FinishedRequest) {
        if self.sender.try_send(seen).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many requests were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_beyond_the_limit_are_dropped_and_counted() {
        let (feed, mut seen) = RequestFeed::new();
        for number in 0..WAITING + 3 {
            feed.tell(FinishedRequest {
                at: Time::from_unix_millis(7),
                method: "GET".into(),
                target: format!("/{number}"),
                status: Some(200),
                outcome: "hit",
                reason: None,
                remedy: None,
                problem: None,
                millis: 0,
                bytes: 0,
            });
        }
        assert_eq!(feed.dropped(), 3);
        assert_eq!(seen.try_recv().unwrap().target, "/0");
    }
}
