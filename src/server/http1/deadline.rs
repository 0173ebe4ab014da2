//! A time limit that is moved with each request, and almost never reached.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_rt::time::{Instant, Sleep, sleep_until};

/// A point in time that can be moved. To move it further away costs nothing: its timer is set again only when it fires.
pub(super) struct Deadline {
    at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        let at = Instant::now() + limit;
        Self {
            at,
            timer: Box::pin(sleep_until(at)),
        }
    }

    /// Moves it to `limit` from now.
    pub(super) fn restart(&mut self, limit: Duration) {
        self.at = Instant::now() + limit;
        if self.at < self.timer.deadline() {
            self.timer.as_mut().reset(self.at);
        }
    }

    /// Ready when it is reached.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at);
        }
    }
}
