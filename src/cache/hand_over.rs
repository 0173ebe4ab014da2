//! What is left to the cache when another process takes over: it stores nothing any more, and tells the other process what
//! ends.

use actix::{Context, Handler, MessageResult};
use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::cache::{
    actor::CacheActor,
    handle::Cache,
    shared_tier::SharedEnd,
    successor::{HandOverCache, Successor},
};

impl Cache {
    /// Hands over to another process: nothing is stored or loaded any more, memory is freed, and the disk is written and
    /// closed. Returns the ends that follow, for [`Cache::apply_end`] in that process. Requests must not use the cache any
    /// more.
    pub async fn hand_over(&self) -> UnboundedReceiver<Bytes> {
        let (successor, ends) = Successor::new();
        if self.send(HandOverCache(successor.clone())).await.is_err() {
            // What it would have told is not known.
            successor.tell(&SharedEnd::All);
        }
        if let Some(disk) = self.disk() {
            disk.close().await;
        }
        ends
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
