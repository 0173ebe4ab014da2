//! Responses that are imported: stored as if the origin had sent them to a described request, and used until they are
//! cleared.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod` | [`import`]: stores one |
//! | `place` | [`UrlPlace`]: where a URL of the origin or of this proxy leads |

mod place;

use std::{rc::Rc, sync::Arc, time::Duration};

use actix_web::http::StatusCode;
use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::oneshot;

pub use self::place::{UrlMisfit, UrlPlace};
use crate::{
    cache::{
        BodyReader, BodyWriter, CacheUnavailable, Claim, ClaimBasis, Claimed, Coalescing, FetchEnd,
        FetchTicket, Get,
    },
    error::ProxyError,
    headers::ResponseHeaders,
    policy::{self, Audience, BodyKey, Provenance, Reason, RequestContent, StoredHead, Time},
    proxy::{
        dry_run::{DescribedRequest, forwarded_form},
        fetch::recording::recorded_key,
        request::{
            forwarded::ForwardedRequest,
            name_table::NameTable,
            upload::{BodyBuffers, UploadBody},
        },
        shared::Shared,
    },
};

/// How often what is stored may change while an import decides.
const MAX_CLAIMS: usize = 8;

/// A response to import, without its body.
#[derive(Debug)]
pub struct ImportedResponse {
    /// The request that it answers.
    pub request: DescribedRequest,
    /// The scope of the route that it has to take; outer `None`: any.
    pub scope: Option<Option<String>>,
    /// The body of a POST; `None` if there is none.
    pub posted: Option<Bytes>,
    /// The body of a POST as it is in the key; `None` if it is given as a body, or if the request is no POST.
    pub body_key: Option<BodyKey>,
    /// The status.
    pub status: StatusCode,
    /// The end-to-end headers.
    pub headers: ResponseHeaders,
    /// The length of the body, in bytes.
    pub length: u64,
    /// Whom it is served to.
    pub audience: ImportAudience,
    /// It was recorded: it takes the place of no other response.
    pub is_recorded: bool,
}

/// Whom an imported response is served to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportAudience {
    /// The identity of the request, or those without credentials.
    OfRequest,
    /// Everybody, whatever the credentials.
    Everyone,
}

/// Why a response is not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportRefusal {
    /// Requests for its URL do not lead to it.
    #[error("requests for its URL take another route")]
    Route,
    /// The proxy refuses such a request.
    #[error(transparent)]
    Request(ProxyError),
    /// Such a response cannot be stored.
    #[error("{}", .0.meaning())]
    NotStored(Reason),
    /// It was made for one user, and the policy has no partitions.
    #[error("made for one user; --shared serves such responses to everybody")]
    OneUser,
    /// A response that the policy stores is there already.
    #[error("it was recorded, and a stored response is there already")]
    Superseded,
    /// The body had another length.
    #[error("its body was not complete")]
    Cut,
    /// The configuration was reloaded meanwhile.
    #[error("the configuration has changed meanwhile: import again")]
    Changed,
    /// The cache did not respond.
    #[error(transparent)]
    CacheUnavailable(#[from] CacheUnavailable),
}

/// Stores a response. `body` is its body.
///
/// # Errors
/// It cannot be stored.
pub async fn import<E>(
    shared: &Shared,
    imported: ImportedResponse,
    body: impl Stream<Item = Result<Bytes, E>>,
    now: Time,
) -> Result<(), ImportRefusal> {
    let forwarded = keyed_request(shared, &imported).await?;
    let head = head(shared, &forwarded, &imported, now)?;
    let ticket = claim(shared, &forwarded, &head, &imported, now).await?;
    if imported.length > ticket.max_stored_bytes() {
        ticket.unused();
        return Err(ImportRefusal::NotStored(Reason::TooLarge));
    }
    let writer = BodyWriter::new(ticket, head, Some(imported.length));
    let (sender, receiver) = oneshot::channel();
    let write = writer.run(body, move |_, reader| {
        // The other side waits until this is sent or dropped.
        let _ = sender.send(reader);
    });
    // The writer waits for its readers where the body cannot be stored.
    let read = async {
        let mut reader: BodyReader = receiver.await.ok()?;
        while let Some(Ok(_)) = reader.next().await {}
        reader.end()
    };
    match tokio::join!(write, read).1 {
        Some(FetchEnd::Stored) => Ok(()),
        Some(FetchEnd::NotStored(reason)) => Err(ImportRefusal::NotStored(reason)),
        Some(FetchEnd::Cut) | None => Err(ImportRefusal::Cut),
    }
}

/// The request that the response is stored for.
async fn keyed_request(
    shared: &Shared,
    imported: &ImportedResponse,
) -> Result<Rc<ForwardedRequest>, ImportRefusal> {
    let config = shared.config();
    let mut forwarded =
        forwarded_form(shared, &imported.request, &config).map_err(ImportRefusal::Request)?;
    let scope = forwarded.key.resource.scope();
    if imported
        .scope
        .as_ref()
        .is_some_and(|it| it.as_deref() != scope)
    {
        return Err(ImportRefusal::Route);
    }
    if let Some(content) = imported.body_key {
        let forwarded = Rc::make_mut(&mut forwarded);
        forwarded.key.content = Some(content);
        forwarded.content = RequestContent::Keyed;
    } else if let Some(limit) = forwarded.max_key_body_bytes() {
        let posted = imported.posted.clone().unwrap_or_default();
        let buffers = BodyBuffers::default();
        let no_buffer = ImportRefusal::NotStored(Reason::NoBuffer);
        let permit = buffers.permit(posted.len() as u64).ok_or(no_buffer)?;
        let body = UploadBody::of(posted, permit);
        let names = NameTable::new(&config);
        let forwarded = Rc::make_mut(&mut forwarded);
        forwarded
            .read_key_body((body, limit), shared, (&buffers, &names))
            .await
            .map_err(ImportRefusal::Request)?;
        if let Some(reason) = forwarded.unkeyed {
            return Err(ImportRefusal::NotStored(reason));
        }
    }
    Ok(forwarded)
}

/// The head to store.
fn head(
    shared: &Shared,
    forwarded: &ForwardedRequest,
    imported: &ImportedResponse,
    now: Time,
) -> Result<StoredHead, ImportRefusal> {
    let response = policy::Response {
        status: imported.status,
        headers: &imported.headers,
        connection_fields: None,
        request_time: now,
        response_time: now,
    };
    let head = policy::import(&forwarded.view(), &response).map_err(ImportRefusal::NotStored)?;
    if imported.audience == ImportAudience::Everyone {
        return Ok(head.for_everyone());
    }
    // Where the policy has no partitions, a response for one user would be for everybody.
    let is_of_one = !forwarded.policy().has_partitions()
        && recorded_key(shared, forwarded).identity.is_some()
        && head.audience() == Audience::Partition;
    match is_of_one {
        true => Err(ImportRefusal::OneUser),
        false => Ok(head),
    }
}

async fn claim(
    shared: &Shared,
    forwarded: &ForwardedRequest,
    head: &StoredHead,
    imported: &ImportedResponse,
    now: Time,
) -> Result<FetchTicket, ImportRefusal> {
    for _ in 0..MAX_CLAIMS {
        let found = shared.cache.send(Get(forwarded.key.clone())).await?;
        let is_better = |other: &StoredHead| {
            other.same_variant(head) && other.provenance() != Provenance::Recorded
        };
        if imported.is_recorded && found.variants().any(|entry| is_better(entry.head())) {
            return Err(ImportRefusal::Superseded);
        }
        let claim = Claim {
            key: forwarded.key.clone(),
            basis: ClaimBasis::Found(found),
            revalidates: None,
            coalescing: Coalescing::Never,
            variant: None,
            wait: Duration::ZERO,
            now,
        };
        match shared.cache.send(claim).await? {
            // A reload that changes who may share what clears the cache after this.
            Claimed::Lead(ticket) if Arc::ptr_eq(&shared.config(), &forwarded.config) => {
                return Ok(ticket);
            }
            Claimed::Lead(ticket) => {
                ticket.unused();
                return Err(ImportRefusal::Changed);
            }
            Claimed::Changed(_) | Claimed::Follow(_) | Claimed::Declined => {}
        }
    }
    Err(ImportRefusal::CacheUnavailable(CacheUnavailable))
}
