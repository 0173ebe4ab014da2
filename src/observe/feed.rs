//! The latest requests, for those who watch: told without waiting, and left out when nobody keeps up.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::policy::Time;

/// Requests that may wait to be read; the others are counted and left out.
const WAITING: usize = 512;

/// A request that has come to its end.
#[derive(Clone, Debug, Serialize)]
pub struct FinishedRequest {
    /// When it ended, in milliseconds since the epoch.
    #[serde(serialize_with = "millis")]
    pub at: Time,
    /// Its method, cut when it is very long.
    pub method: String,
    /// Path and query, values of secret parameters replaced, cut when they are very long.
    pub target: String,
    /// The status of the answer; None: there was none.
    pub status: Option<u16>,
    /// What it came to.
    pub outcome: &'static str,
    /// Why, in a short name.
    pub reason: Option<&'static str>,
    /// What would change it.
    pub remedy: Option<String>,
    /// What went wrong.
    pub problem: Option<String>,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// Bytes of the body that were sent.
    pub bytes: u64,
}

fn millis<S: serde::Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.unix_millis())
}

/// Where workers tell of requests. Clones are the same feed.
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

    /// Tells of a request, unless too many wait to be read.
    pub fn tell(&self, seen: FinishedRequest) {
        if self.sender.try_send(seen).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many requests were left out.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_reads_in_time_is_left_out_and_counted() {
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
