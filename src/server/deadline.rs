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
    /// `None` before the first wait.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        Self {
            at: Instant::now() + limit,
            timer: None,
        }
    }

    /// Moves it to `limit` from now.
    pub(super) fn restart(&mut self, limit: Duration) {
        self.at = Instant::now() + limit;
        if let Some(timer) = &mut self.timer
            && self.at < timer.deadline()
        {
            timer.as_mut().reset(self.at);
        }
    }

    /// Ready when it is reached.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let timer = &mut self.timer;
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(self.at)));
        loop {
            ready!(timer.as_mut().poll(context));
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(self.at);
        }
    }
}
