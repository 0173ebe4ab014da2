//! The addresses of the actor for its tickets.

use actix::{Actor, Addr, Handler, Recipient, dev::ToEnvelope};

use crate::cache::fetches::messages::{EndFetch, Load, MakePlace, MakeRoom, Put};

/// The actor, as its tickets address it.
#[derive(Debug)]
pub(in crate::cache) struct TicketRecipients {
    pub(in crate::cache) put: Recipient<Put>,
    pub(in crate::cache) load: Recipient<Load>,
    pub(in crate::cache) make_room: Recipient<MakeRoom>,
    pub(in crate::cache) make_place: Recipient<MakePlace>,
    pub(in crate::cache) end_fetch: Recipient<EndFetch>,
}

impl TicketRecipients {
    /// Addresses `actor`.
    pub(in crate::cache) fn of<A>(actor: &Addr<A>) -> Self
    where
        A: Actor
            + Handler<Put>
            + Handler<Load>
            + Handler<MakeRoom>
            + Handler<MakePlace>
            + Handler<EndFetch>,
        A::Context: ToEnvelope<A, Put>
            + ToEnvelope<A, Load>
            + ToEnvelope<A, MakeRoom>
            + ToEnvelope<A, MakePlace>
            + ToEnvelope<A, EndFetch>,
    {
        Self {
            put: actor.clone().recipient(),
            load: actor.clone().recipient(),
            make_room: actor.clone().recipient(),
            make_place: actor.clone().recipient(),
            end_fetch: actor.clone().recipient(),
        }
    }
}
