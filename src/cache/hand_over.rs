//! What is left to the cache when another process takes over: it stores nothing any more, and tells the other process what
//! ends.

use actix::{Context, Handler, MessageResult};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::cache::{
    actor::CacheActor,
    handle::Cache,
    messages::GetStats,
    shared_tier::SharedEnd,
    successor::{AppliedThere, HandOverCache, PassOn, PassedEnd, Successor},
    unsafe_requests::CountedRequest,
};

impl Cache {
    /// Hands over to another process: nothing is stored or loaded any more, memory is freed, and the disk is written and
    /// closed. Returns the ends that follow, for [`Cache::apply_end`] in that process. Requests must not use the cache any
    /// more.
    pub async fn hand_over(&self) -> UnboundedReceiver<PassedEnd> {
        let (successor, ends) = Successor::new();
        if self.send(HandOverCache(successor.clone())).await.is_err() {
            // What it would have told is not known.
            drop(successor.tell(&SharedEnd::All));
        }
        if let Some(disk) = self.disk() {
            disk.close().await;
        }
        ends
    }

    /// Counts an unsafe request, until the result is dropped: when it has invalidated what it does.
    pub fn begin_unsafe_request(&self) -> CountedRequest {
        self.unsafe_requests.begin()
    }

    /// True if there are no unsafe requests in progress, and all that they have invalidated has ended. After
    /// [`Cache::hand_over`] the returned ends are all, then.
    pub async fn knows_all_ends(&self) -> bool {
        // The actor does one thing after the other.
        self.unsafe_requests.is_none() && self.send(GetStats).await.is_ok()
    }
}

impl Handler<PassOn> for CacheActor {
    type Result = MessageResult<PassOn>;

    fn handle(&mut self, PassOn(bytes): PassOn, _: &mut Context<Self>) -> Self::Result {
        let successor = self.successor.as_ref();
        MessageResult(match successor {
            Some(successor) => successor.tell_bytes(bytes),
            None => AppliedThere::default(),
        })
    }
}

impl Handler<HandOverCache> for CacheActor {
    type Result = MessageResult<HandOverCache>;

    fn handle(
        &mut self,
        HandOverCache(successor): HandOverCache,
        context: &mut Context<Self>,
    ) -> Self::Result {
        self.successor = Some(successor);
        // What is on disk belongs to the successor.
        self.disk = None;
        drop(self.clear_here(context));
        MessageResult(())
    }
}
