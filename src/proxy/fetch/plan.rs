//! What a fetch is for, and the request that it sends to the origin.

use std::sync::Arc;

use crate::{
    cache::{Coalescing, Entry},
    origin::{Expectation, OriginRequest, RequestBody},
    policy::{self, Forward, ForwardReason, MissingBytes, RequestContent},
    proxy::request::forwarded::ForwardedRequest,
};

/// A fetch that was decided on.
#[derive(Clone, Debug)]
pub(crate) struct FetchPlan {
    pub(crate) why: Forward,
    pub(crate) coalescing: Coalescing,
    /// Which variant is requested; `None` if no fetch under way has shown what the responses vary by.
    pub(crate) variant: Option<u64>,
    pub(crate) kind: FetchKind,
}

/// Which stored response a fetch is about.
#[derive(Clone, Debug)]
pub(crate) enum FetchKind {
    /// None.
    Plain,
    /// None. The fetch leaves out the client's conditions and Range, which are applied to what comes.
    Whole,
    /// It validates this one.
    Revalidate(Arc<Entry>),
    /// It asks for the rest of this incomplete one, from this byte on.
    RestOfPart(Arc<Entry>, u64),
    /// It asks for what the client wants; that may extend this incomplete one.
    ExtendPart(Arc<Entry>),
}

impl FetchPlan {
    pub(crate) fn fetch(why: Forward, coalescing: Coalescing) -> Self {
        Self {
            why,
            coalescing,
            variant: None,
            kind: FetchKind::Plain,
        }
    }

    pub(crate) fn fetch_whole(why: Forward) -> Self {
        Self {
            kind: FetchKind::Whole,
            ..Self::fetch(why, Coalescing::Join)
        }
    }

    /// The same fetch with the client's conditions and Range, which save the origin work where nothing is stored.
    pub(crate) fn with_conditions(self) -> Self {
        match self.kind {
            FetchKind::Whole => Self::fetch(self.why, Coalescing::Never),
            _ => self,
        }
    }

    pub(crate) fn revalidate(why: Forward, entry: Arc<Entry>) -> Self {
        Self {
            why,
            coalescing: Coalescing::Join,
            variant: None,
            kind: FetchKind::Revalidate(entry),
        }
    }

    pub(crate) fn extend(part: Arc<Entry>, missing: MissingBytes) -> Self {
        Self {
            why: ForwardReason::Partial.into(),
            coalescing: Coalescing::Never,
            variant: None,
            kind: match missing {
                MissingBytes::From(first) => FetchKind::RestOfPart(part, first),
                MissingBytes::Requested => FetchKind::ExtendPart(part),
            },
        }
    }

    /// True if the fetch is about no stored response.
    pub(crate) fn is_without_entry(&self) -> bool {
        matches!(self.kind, FetchKind::Plain | FetchKind::Whole)
    }

    /// The stored response that the fetch validates; `None` if it validates none.
    pub(crate) fn validated_entry(&self) -> Option<Arc<Entry>> {
        match &self.kind {
            FetchKind::Revalidate(entry) => Some(Arc::clone(entry)),
            FetchKind::Plain
            | FetchKind::Whole
            | FetchKind::RestOfPart(..)
            | FetchKind::ExtendPart(_) => None,
        }
    }

    /// The request to the origin: the client's, or the same with our conditions in place of the client's.
    pub(crate) fn origin_request(&self, forwarded: &ForwardedRequest) -> OriginRequest {
        match &self.kind {
            FetchKind::Plain | FetchKind::ExtendPart(_) => plain_request(forwarded),
            FetchKind::Whole => unconditional_request(forwarded),
            // The origin defines what a condition means for a POST, so the whole response is requested.
            FetchKind::Revalidate(_) if forwarded.content == RequestContent::Keyed => {
                plain_request(forwarded)
            }
            FetchKind::Revalidate(entry) => {
                let mut request = unconditional_request(forwarded);
                let headers = request.headers.make_mut();
                for (name, value) in policy::validators(entry.head()) {
                    headers.insert(name, value);
                }
                request
            }
            FetchKind::RestOfPart(part, first) => {
                let mut request = unconditional_request(forwarded);
                let headers = request.headers.make_mut();
                let conditions = policy::rest_request_fields(part.head(), *first);
                for (name, value) in conditions.into_iter().flatten() {
                    headers.insert(name, value);
                }
                request
            }
        }
    }
}

/// The client's request.
fn plain_request(forwarded: &ForwardedRequest) -> OriginRequest {
    OriginRequest {
        method: forwarded.method.clone(),
        target: forwarded.origin_target().into_owned(),
        headers: forwarded.headers.clone(),
        body: match &forwarded.body {
            Some(body) => body.to_request(),
            None => RequestBody::Empty,
        },
        expectation: Expectation::Nothing,
        interim: None,
    }
}

/// The client's request without its conditions and range.
pub(crate) fn unconditional_request(forwarded: &ForwardedRequest) -> OriginRequest {
    let mut request = plain_request(forwarded);
    if forwarded.is_conditional() {
        let headers = request.headers.make_mut();
        for name in &policy::CLIENT_CONDITIONS {
            headers.remove(name);
        }
    }
    request
}
