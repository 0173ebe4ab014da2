//! Requests that fail: neither the origin nor the cache has a response.

use std::sync::Arc;

use actix_web::http::header::{self, HeaderValue};

use crate::{
    cache::SharedError,
    error::ProxyError,
    headers::{CacheStatus, RequestOutcome, ResponseHeaders, StoreOutcome},
    origin::OriginErrorKind,
    policy::{Forward, Reason},
    proxy::response::client_response::{ClientResponse, ResponseBody},
};

/// The response to a request, or why there is none. Both are in boxes: many futures pass it on.
pub(crate) type ResponseResult = Result<Box<ClientResponse>, FailedRequest>;

/// A request that failed.
#[derive(Debug)]
pub(crate) struct FailedRequest(Box<RequestFailure>);

#[derive(Debug)]
struct RequestFailure {
    cause: Cause,
    /// Why it was forwarded; `None` if it was not.
    why: Option<Forward>,
}

#[derive(Debug)]
enum Cause {
    Own(ProxyError),
    /// The fetch of another request, which this one followed, has failed.
    Shared(Arc<SharedError>),
}

/// What the followers of a fetch say that has failed with `error`; `None` if it is no failure of the origin.
pub(crate) fn shared_error(error: &ProxyError) -> Option<SharedError> {
    let (ProxyError::Origin(cause) | ProxyError::NotValidated(cause)) = error else {
        return None;
    };
    (cause.kind() != OriginErrorKind::Upload).then(|| SharedError {
        lasts: cause.lasts(),
        name: error.name(),
        status: error.status(),
        retry_after_seconds: error.retry_after_seconds(),
        sentence: error.sentence(),
        problem: problem(error),
    })
}

/// What the log says.
fn problem(error: &ProxyError) -> String {
    match error {
        ProxyError::NotValidated(cause) => format!("{error}: {cause}"),
        error => error.to_string(),
    }
}

impl FailedRequest {
    /// A request that was forwarded because of `why`.
    pub(crate) fn forwarded(error: impl Into<ProxyError>, why: Forward) -> Self {
        Self::of(Cause::Own(error.into()), Some(why))
    }

    /// A request that shared the failed fetch of another one.
    pub(crate) fn shared(error: Arc<SharedError>, why: Forward) -> Self {
        Self::of(Cause::Shared(error), Some(why))
    }

    fn of(cause: Cause, why: Option<Forward>) -> Self {
        Self(Box::new(RequestFailure { cause, why }))
    }

    /// The response to its client.
    pub(crate) fn into_response(self) -> ClientResponse {
        let RequestFailure { cause, why } = *self.0;
        let (name, status, retry_after, sentence, problem) = match cause {
            Cause::Own(error) => {
                let texts = (error.sentence(), problem(&error));
                let retry_after = error.retry_after_seconds();
                (error.name(), error.status(), retry_after, texts.0, texts.1)
            }
            Cause::Shared(error) => {
                let texts = (error.sentence.clone(), error.problem.clone());
                let retry_after = error.retry_after_seconds;
                (error.name, error.status, retry_after, texts.0, texts.1)
            }
        };
        let is_offline = name == OriginErrorKind::Offline.name();
        let mut headers = ResponseHeaders::new();
        if let Some(seconds) = retry_after {
            headers.insert(&header::RETRY_AFTER, &HeaderValue::from(seconds));
        }
        ClientResponse {
            status,
            headers,
            body: ResponseBody::Sentence(format!("{sentence}\n")),
            cache_status: CacheStatus {
                outcome: RequestOutcome::Failed(name),
                remark: is_offline.then_some(Reason::Offline),
                ..match why {
                    Some(why) => CacheStatus::miss(why, None, StoreOutcome::NotApplicable),
                    None => CacheStatus::own_response(),
                }
            },
            problem: Some(problem),
        }
    }
}

impl From<ProxyError> for FailedRequest {
    /// A request that was not forwarded.
    fn from(error: ProxyError) -> Self {
        Self::of(Cause::Own(error), None)
    }
}
