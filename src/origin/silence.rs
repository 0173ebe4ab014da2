//! How long the origin is silent on a connection.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// Finds out that the origin has been silent for too long. It stays with its connection from one request to the next: a
/// timer that is only moved further away costs little.
#[derive(Default)]
pub(super) struct SilenceTimer {
    /// `None` until the origin is awaited for the first time.
    timer: Option<Pin<Box<Sleep>>>,
    /// The origin's time starts again when it is awaited next.
    restarts: bool,
    awaits_client: bool,
}

impl SilenceTimer {
    /// The origin took or sent bytes: its time starts again.
    pub(super) fn restart(&mut self) {
        self.restarts = true;
    }

    /// Says whether the upload waits for the client. While it does, the origin's time does not run. When it no longer does,
    /// the origin's time starts again.
    pub(super) fn set_awaits_client(&mut self, awaits_client: bool) {
        self.restarts |= self.awaits_client && !awaits_client;
        self.awaits_client = awaits_client;
    }

    /// Ready when the origin has been silent for `limit`. Is called whenever the origin is awaited.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let timer = match &mut self.timer {
            Some(timer) => timer,
            None => {
                self.restarts = false;
                self.timer.insert(Box::pin(sleep(limit)))
            }
        };
        if mem::take(&mut self.restarts) {
            timer.as_mut().reset(Instant::now() + limit);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if !self.awaits_client {
                return Poll::Ready(());
            }
            timer.as_mut().reset(Instant::now() + limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(1);

    fn is_silent(silence: &mut SilenceTimer, limit: Duration) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        silence.poll(&mut cx, limit).is_ready()
    }

    #[tokio::test]
    async fn bytes_begin_the_time_of_the_origin_again() {
        let mut silence = SilenceTimer::default();
        poll_fn(|cx| silence.poll(cx, SHORT)).await;
        assert!(is_silent(&mut silence, SHORT));
        silence.restart();
        assert!(!is_silent(&mut silence, HOUR));
        // A shorter limit holds from the next byte on.
        assert!(!is_silent(&mut silence, SHORT));
        silence.restart();
        poll_fn(|cx| silence.poll(cx, SHORT)).await;
    }

    #[tokio::test]
    async fn the_time_of_the_origin_does_not_run_while_the_client_is_awaited() {
        let (mut silence, mut clock) = (SilenceTimer::default(), SilenceTimer::default());
        silence.set_awaits_client(true);
        tokio::select! {
            biased;
            () = poll_fn(|cx| silence.poll(cx, SHORT)) => panic!("the client is awaited"),
            () = poll_fn(|cx| clock.poll(cx, SHORT * 20)) => {}
        }
        assert!(!is_silent(&mut silence, SHORT));
        // The client's bytes have come: the origin has the whole limit for them.
        silence.set_awaits_client(false);
        assert!(!is_silent(&mut silence, HOUR));
        silence.restart();
        poll_fn(|cx| silence.poll(cx, SHORT)).await;
    }
}
