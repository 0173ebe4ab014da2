//! What the disk has for a request that memory has nothing for.

use std::sync::Arc;

use crate::{
    cache::{
        Claimed, Coalescing, Entry, FetchTicket, Found, Loaded, RemovalReach, Remove, UnclaimedLoad,
    },
    policy::{self, Decision, ForwardReason, Reuse, StoredHead, Time},
    proxy::{
        fetch::{claim::claim, plan::FetchPlan},
        hit::from_stored::{from_entry, hit_status},
        request::forwarded::ForwardedRequest,
        response::{client_response::ClientResponse, error_response::FailedRequest},
        worker::Worker,
    },
};

/// What a request asks the disk when it does not fetch.
pub(crate) enum DiskQuestion {
    /// Whether the file with the body of this can be opened. It is served then.
    Open(Arc<Entry>),
    /// Whether there is a response. Without one the request fails.
    FindOrFail(FailedRequest),
}

/// What one request has asked the disk.
pub(crate) struct DiskLookup<'a> {
    worker: &'a Worker,
    forwarded: &'a ForwardedRequest,
    /// True if the disk was asked, or there is none.
    is_over: bool,
    /// The entry whose file was opened, as it is stored and as it is served. `None` if none was.
    opened: Option<(Arc<Entry>, Arc<Entry>)>,
}

impl<'a> DiskLookup<'a> {
    pub(crate) fn new(worker: &'a Worker, forwarded: &'a ForwardedRequest) -> Self {
        Self {
            worker,
            forwarded,
            is_over: worker.shared.cache.disk().is_none(),
            opened: None,
        }
    }

    /// True if the disk may have what is to be fetched.
    pub(crate) fn is_to_be_asked(&self, plan: &FetchPlan) -> bool {
        !self.is_over && plan.is_without_entry()
    }

    /// The response from disk, as it is read for this request alone. `None` if the request has to claim the fetch of `plan`.
    pub(crate) async fn respond(
        &self,
        plan: &FetchPlan,
        found: &Found,
        now: Time,
    ) -> Option<ClientResponse> {
        let is_plain = plan.is_without_entry() && plan.coalescing == Coalescing::Join;
        if self.is_over || !is_plain || !found.is_empty() {
            return None;
        }
        let load = self
            .worker
            .shared
            .cache
            .begin_unclaimed(&self.forwarded.key)?;
        // In a box: the future is large, and few requests need it.
        Box::pin(self.respond_unclaimed(load, now)).await
    }

    async fn respond_unclaimed(&self, load: UnclaimedLoad, now: Time) -> Option<ClientResponse> {
        let forwarded = self.forwarded;
        let view = forwarded.view();
        let choose = |heads: &[&StoredHead]| {
            let heads = heads.iter().copied();
            match policy::decide(forwarded.policy(), &view, heads, now) {
                Decision::Serve {
                    index,
                    reuse: Reuse::Fresh,
                } => Some(index),
                _ => None,
            }
        };
        let cache = &self.worker.shared.cache;
        let entry = cache
            .load_unclaimed(load, &forwarded.key, now, choose)
            .await?;
        // After a reload, others may share it.
        let is_current = self.worker.config.is_current(&forwarded.config);
        is_current.then(|| from_entry(&view, &entry, hit_status(&entry, now), now))
    }

    /// Brings the response on disk that the policy would use into memory, with the ticket of the fetch that would be made
    /// otherwise.
    pub(crate) async fn load(&mut self, ticket: FetchTicket, now: Time) -> Loaded {
        self.is_over = true;
        load(self.worker, ticket, now, |heads| self.choice(heads, now)).await
    }

    /// Asks the disk. The request then looks up again.
    ///
    /// # Errors
    /// The request fails, because the disk has nothing for it.
    pub(crate) async fn ask(
        &mut self,
        question: DiskQuestion,
        seen: Found,
        now: Time,
    ) -> Result<(), FailedRequest> {
        match question {
            DiskQuestion::Open(entry) => self.open(entry).await,
            DiskQuestion::FindOrFail(failed) => {
                if !self.load_alone(seen, now).await {
                    return Err(failed);
                }
            }
        }
        Ok(())
    }

    /// Loads for a request that nothing is fetched for. Returns true if it has to look up again.
    async fn load_alone(&mut self, seen: Found, now: Time) -> bool {
        if self.is_over {
            return false;
        }
        self.is_over = true;
        let choose = |heads: &[&StoredHead]| self.choice(heads, now);
        load_alone(self.worker, self.forwarded, seen, now, choose).await
    }

    /// The stored response of these that the policy would use, by its index. `None` if it would use none.
    fn choice(&self, heads: &[&StoredHead], now: Time) -> Option<usize> {
        let heads = heads.iter().copied();
        let view = self.forwarded.view();
        match policy::decide(self.forwarded.policy(), &view, heads, now) {
            Decision::Serve { index, .. }
            | Decision::Revalidate { index, .. }
            | Decision::Extend { index, .. } => Some(index),
            Decision::Fetch { .. } | Decision::NotCached => None,
        }
    }

    /// Opens the file with the body of `entry`. If that fails, `entry` is removed.
    async fn open(&mut self, entry: Arc<Entry>) {
        if let Some(opened) = self.worker.shared.cache.opened(&entry).await {
            self.opened = Some((entry, opened));
            return;
        }
        let removed = Remove {
            key: self.forwarded.key.clone(),
            entry,
            reach: RemovalReach::Here,
        };
        // Without an answer of the cache the request looks up again, and finds it again.
        let _ = self.worker.shared.cache.send(removed).await;
    }

    /// `entry` with its file open, as it is served; `None` if it was not opened.
    pub(crate) fn opened(&self, entry: &Arc<Entry>) -> Option<&Arc<Entry>> {
        let opened = self.opened.as_ref();
        opened.and_then(|(stored, opened)| Arc::ptr_eq(stored, entry).then_some(opened))
    }
}

/// Brings the response on disk that `choose` names into memory, with the ticket of the fetch that would be made otherwise.
async fn load(
    worker: &Worker,
    ticket: FetchTicket,
    now: Time,
    choose: impl Fn(&[&StoredHead]) -> Option<usize>,
) -> Loaded {
    let cache = &worker.shared.cache;
    match cache.find_on_disk(&ticket, now, choose).await {
        Some(response) => cache.load(ticket, response, now).await,
        None => Loaded::Not(ticket),
    }
}

/// [`load`] for a request that nothing is fetched for. Returns true if it has to look up again.
pub(crate) async fn load_alone(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    seen: Found,
    now: Time,
    choose: impl Fn(&[&StoredHead]) -> Option<usize>,
) -> bool {
    let cache = &worker.shared.cache;
    if !cache.may_have_on_disk(&forwarded.key) {
        return false;
    }
    let plan = FetchPlan::fetch(ForwardReason::Miss.into(), Coalescing::Never);
    match claim(worker, forwarded, seen, &plan, now).await {
        Some(Claimed::Lead(ticket)) => match load(worker, ticket, now, choose).await {
            Loaded::InMemory | Loaded::LookAgain => true,
            Loaded::Not(ticket) => {
                ticket.unused();
                false
            }
        },
        Some(Claimed::Changed(_)) => true,
        Some(Claimed::Follow(_) | Claimed::Declined) | None => false,
    }
}
