//! A fetch that the request of its client carries on, without a task of its own.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::rt;
use futures_core::future::LocalBoxFuture;
use tokio::runtime::Handle;

/// A fetch, and the response that it delivers to its client. When this is dropped before the fetch has ended, the fetch
/// goes on in a task: its client has left, or has the response while the body arrives.
pub(crate) struct CarriedFetch<T> {
    /// `None` after its end.
    fetch: Option<LocalBoxFuture<'static, ()>>,
    response: Rc<SlotState<T>>,
}

/// Where a fetch puts the response for its client.
pub(crate) struct ResponseSlot<T>(Rc<SlotState<T>>);

struct SlotState<T> {
    response: Cell<Option<T>>,
    client_has_left: Cell<bool>,
}

impl<T> ResponseSlot<T> {
    /// Delivers the response. It is dropped if the client has left.
    pub(crate) fn fill(self, response: T) {
        self.0.response.set(Some(response));
    }

    /// Resolves when the client has left. It registers no waker: the task in which the fetch goes on then polls it.
    pub(crate) async fn client_has_left(&self) {
        poll_fn(|_| match self.0.client_has_left.get() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

impl<T> CarriedFetch<T> {
    /// The fetch that `begin` makes. It puts its response into the slot.
    pub(crate) fn new(begin: impl FnOnce(ResponseSlot<T>) -> LocalBoxFuture<'static, ()>) -> Self {
        let response = Rc::new(SlotState {
            response: Cell::new(None),
            client_has_left: Cell::new(false),
        });
        Self {
            fetch: Some(begin(ResponseSlot(Rc::clone(&response)))),
            response,
        }
    }
}

/// Resolves to the response; `None` if the fetch has ended without one.
impl<T> Future for CarriedFetch<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        if let Some(fetch) = &mut self.fetch
            && fetch.as_mut().poll(context).is_ready()
        {
            self.fetch = None;
        }
        match self.response.response.take() {
            None if self.fetch.is_some() => Poll::Pending,
            response => Poll::Ready(response),
        }
    }
}

impl<T> Drop for CarriedFetch<T> {
    fn drop(&mut self) {
        self.response.client_has_left.set(true);
        // Without a runtime the worker ends, and all its fetches with it.
        if let Some(fetch) = self.fetch.take()
            && Handle::try_current().is_ok()
        {
            rt::spawn(fetch);
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_rt::System;
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    /// A fetch that sends `response` at once, waits for `gate`, and says at its end whether its client has left.
    fn fetch(
        gate: oneshot::Receiver<()>,
        response: Option<u8>,
    ) -> (CarriedFetch<u8>, oneshot::Receiver<bool>) {
        let (end, ended) = oneshot::channel();
        let fetch = CarriedFetch::new(|client| {
            Box::pin(async move {
                let mut client = Some(client);
                if let Some(response) = response {
                    let _ = client.take().map(|client| client.fill(response));
                }
                let _ = gate.await;
                let has_left =
                    |client: ResponseSlot<u8>| client.client_has_left().now_or_never().is_some();
                let _ = end.send(client.is_some_and(has_left));
            })
        });
        (fetch, ended)
    }

    #[test]
    fn a_fetch_goes_on_when_its_client_leaves() {
        System::new().block_on(async {
            let (open, gate) = oneshot::channel();
            let (mut carried, ended) = fetch(gate, None);
            assert!((&mut carried).now_or_never().is_none());
            drop(carried);
            open.send(()).unwrap();
            assert_eq!(ended.await, Ok(true));
        });
    }

    #[test]
    fn a_fetch_goes_on_after_its_response() {
        System::new().block_on(async {
            let (open, gate) = oneshot::channel();
            let (carried, ended) = fetch(gate, Some(7));
            assert_eq!(carried.await, Some(7));
            open.send(()).unwrap();
            assert_eq!(ended.await, Ok(false));
        });
    }

    #[test]
    fn a_fetch_that_ends_without_a_response_has_none() {
        System::new().block_on(async {
            let (open, gate) = oneshot::channel();
            open.send(()).unwrap();
            let (carried, ended) = fetch(gate, None);
            assert_eq!(carried.await, None);
            assert_eq!(ended.await, Ok(false));
        });
    }

    #[test]
    fn a_fetch_ends_with_its_worker() {
        let (open, gate) = oneshot::channel();
        let (carried, ended) = fetch(gate, None);
        drop(carried);
        assert!(open.is_closed());
        assert!(ended.blocking_recv().is_err());
    }
}
