//! What the shared tier has for a request that is to be fetched, and which instance fetches.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    cache::{Coalescing, FetchTicket, InSharedTier, Loaded, Turn},
    clock,
    policy::{self, Decision, Reason, Reuse, StoredHead, Time},
    proxy::{fetch::plan::FetchPlan, request::forwarded::ForwardedRequest, worker::Worker},
};

/// What one request has asked the shared tier.
pub(crate) struct SharedLookup<'a> {
    worker: &'a Worker,
    forwarded: &'a ForwardedRequest,
    /// True if the tier was asked, or there is none.
    is_over: bool,
    /// True if a response was loaded.
    has_loaded: bool,
}

/// What is to be done for what is to be fetched.
pub(crate) enum SharedAnswer {
    /// Look up again: a response was loaded.
    InMemory,
    /// Look up again: what memory has has changed.
    LookAgain,
    /// Fetch from the origin.
    Fetch(FetchTicket),
    /// Nothing: another instance fetches.
    OfAnother(FetchTicket),
}

impl<'a> SharedLookup<'a> {
    pub(crate) fn new(worker: &'a Worker, forwarded: &'a ForwardedRequest) -> Self {
        Self {
            worker,
            forwarded,
            is_over: worker.shared.cache.shared().is_none(),
            has_loaded: false,
        }
    }

    /// What to say of a response that was loaded; `None` if none was.
    pub(crate) fn remark(&self) -> Option<Reason> {
        self.has_loaded.then_some(Reason::SharedHit)
    }

    /// True if the tier may have what is to be fetched, or another instance may be fetching it.
    pub(crate) fn is_to_be_asked(&self, plan: &FetchPlan, ticket: &FetchTicket) -> bool {
        let is_shared = plan.is_without_entry() || plan.validated_entry().is_some();
        let is_usable = || {
            let tier = self.worker.shared.cache.shared();
            tier.is_some_and(|tier| tier.is_usable())
        };
        !self.is_over && is_shared && !ticket.is_hit_for_miss() && is_usable()
    }

    /// Brings the response of the tier that the policy would use into memory, with the ticket of the fetch that would be made
    /// otherwise. If another instance fetches it, waits for that as long as a request waits for another one.
    pub(crate) async fn load(
        &mut self,
        ticket: FetchTicket,
        plan: &FetchPlan,
        now: Time,
    ) -> Loaded {
        self.is_over = true;
        let wait = self.forwarded.config.coalesce_wait;
        match self.ask(ticket, plan, now, wait).await {
            SharedAnswer::InMemory => {
                self.has_loaded = true;
                Loaded::InMemory
            }
            SharedAnswer::LookAgain => Loaded::LookAgain,
            SharedAnswer::Fetch(ticket) | SharedAnswer::OfAnother(ticket) => Loaded::Not(ticket),
        }
    }

    /// Brings a newer response of the tier than that of `plan` into memory; if there is none, asks for the right to fetch it,
    /// and waits at most for `wait` if another instance has it.
    pub(crate) async fn ask(
        &self,
        mut ticket: FetchTicket,
        plan: &FetchPlan,
        mut now: Time,
        wait: Duration,
    ) -> SharedAnswer {
        let cache = &self.worker.shared.cache;
        let until = Instant::now() + wait;
        loop {
            let Some(found) = cache.find_shared(&ticket, now).await else {
                // A second question would take its own time.
                return SharedAnswer::Fetch(ticket);
            };
            ticket = match self.load_one_of(found, ticket, plan, now).await {
                Loaded::InMemory => return SharedAnswer::InMemory,
                Loaded::LookAgain => return SharedAnswer::LookAgain,
                Loaded::Not(ticket) => ticket,
            };
            if ticket.has_turn() || plan.coalescing == Coalescing::Never {
                return SharedAnswer::Fetch(ticket);
            }
            match cache.take_turn(&mut ticket, until).await {
                // What was stored since the tier was asked is found now.
                Turn::Taken | Turn::Ended => now = clock::now(),
                Turn::OfAnother => return SharedAnswer::OfAnother(ticket),
                Turn::Alone => return SharedAnswer::Fetch(ticket),
            }
        }
    }

    /// Brings the response of these that the policy would use into memory.
    async fn load_one_of(
        &self,
        mut found: Vec<InSharedTier>,
        ticket: FetchTicket,
        plan: &FetchPlan,
        now: Time,
    ) -> Loaded {
        let cache = &self.worker.shared.cache;
        if let Some(entry) = plan.validated_entry() {
            found.retain(|response| response.head().received() > entry.head().received());
        }
        let heads: Vec<_> = found.iter().map(InSharedTier::head).collect();
        match self.choice(&heads, plan, now) {
            Some(index) if index < found.len() => {
                let response = found.swap_remove(index);
                cache.load_shared(ticket, response, now).await
            }
            _ => Loaded::Not(ticket),
        }
    }

    /// The response of these that the policy would use, by its index; `None` if it would use none. In the place of one that is
    /// to be validated, only a fresh one is used.
    fn choice(&self, heads: &[&StoredHead], plan: &FetchPlan, now: Time) -> Option<usize> {
        let heads = heads.iter().copied();
        let view = self.forwarded.view();
        match policy::decide(self.forwarded.policy(), &view, heads, now) {
            Decision::Serve { index, reuse } => {
                (plan.is_without_entry() || reuse == Reuse::Fresh).then_some(index)
            }
            Decision::Revalidate { index, .. } => plan.is_without_entry().then_some(index),
            Decision::Extend { .. } | Decision::Fetch { .. } | Decision::NotCached => None,
        }
    }
}
