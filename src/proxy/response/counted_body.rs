//! A body of the origin, counted while it arrives.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;

use crate::{
    clock,
    observe::WorkerCounters,
    origin::{OriginBody, OriginError},
    policy::OriginIndex,
};

/// A body of the origin. Its bytes, and its failure, are counted.
pub(crate) struct CountedBody {
    body: OriginBody,
    origin: OriginIndex,
    counters: Rc<WorkerCounters>,
}

impl CountedBody {
    pub(crate) fn new(
        body: OriginBody,
        origin: OriginIndex,
        counters: &Rc<WorkerCounters>,
    ) -> Self {
        Self {
            body,
            origin,
            counters: Rc::clone(counters),
        }
    }
}

impl Stream for CountedBody {
    type Item = Result<Bytes, OriginError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let item = ready!(Pin::new(&mut this.body).poll_next(context));
        match &item {
            Some(Ok(bytes)) => this.counters.received(bytes.len()),
            Some(Err(error)) => {
                let (kind, now) = (error.kind(), clock::now());
                this.counters.origin_failed(this.origin, kind, now);
            }
            None => {}
        }
        Poll::Ready(item)
    }
}
