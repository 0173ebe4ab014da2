//! Requests that fail: neither the origin nor the cache has a response.

use actix_web::http::header::{self, HeaderMap, HeaderValue};

use crate::{
    error::ProxyError,
    headers::{CacheStatus, RequestOutcome, StoreOutcome},
    policy::Forward,
    proxy::response::client_response::{ClientResponse, ResponseBody},
};

/// A request that failed.
#[derive(Debug)]
pub(crate) struct FailedRequest {
    error: ProxyError,
    /// Forward it was forwarded; `None` if it was not.
    why: Option<Forward>,
}

impl FailedRequest {
    /// A request that was forwarded because of `why`.
    pub(crate) fn forwarded(error: impl Into<ProxyError>, why: Forward) -> Self {
        Self {
            error: error.into(),
            why: Some(why),
        }
    }

    /// The response to its client.
    pub(crate) fn into_response(self) -> ClientResponse {
        let Self { error, why } = self;
        let mut headers = HeaderMap::new();
        if let Some(allow) = error.allow() {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        ClientResponse {
            status: error.status(),
            headers,
            body: ResponseBody::Sentence(format!("{}\n", error.sentence())),
            cache_status: CacheStatus {
                outcome: RequestOutcome::Failed(error.name()),
                ..match why {
                    Some(why) => CacheStatus::miss(why, None, StoreOutcome::NotApplicable),
                    None => CacheStatus::own_response(),
                }
            },
            problem: Some(match &error {
                ProxyError::NotValidated(cause) => format!("{error}: {cause}"),
                error => error.to_string(),
            }),
        }
    }
}

impl From<ProxyError> for FailedRequest {
    /// A request that was not forwarded.
    fn from(error: ProxyError) -> Self {
        Self { error, why: None }
    }
}
