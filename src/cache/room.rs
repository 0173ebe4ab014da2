//! Making room for what arrives and for what is stored: some evictions for each message. After each of them, other tasks run.

use actix::{Handler, MessageResult};

use crate::cache::{
    actor::CacheActor,
    fetches::messages::{MakePlace, MakeRoom},
};

/// How many keys are evicted in one message. More would hold up the hits of this thread.
const EVICTED_KEYS: usize = 64;

impl Handler<MakeRoom> for CacheActor {
    type Result = MessageResult<MakeRoom>;

    fn handle(
        &mut self,
        MakeRoom { bytes }: MakeRoom,
        context: &mut Self::Context,
    ) -> Self::Result {
        self.pause(context);
        MessageResult(self.store.make_room(bytes, EVICTED_KEYS))
    }
}

impl Handler<MakePlace> for CacheActor {
    type Result = MessageResult<MakePlace>;

    fn handle(
        &mut self,
        MakePlace { key, entry }: MakePlace,
        context: &mut Self::Context,
    ) -> Self::Result {
        self.pause(context);
        MessageResult(self.store.make_place(&key, &entry, EVICTED_KEYS))
    }
}
