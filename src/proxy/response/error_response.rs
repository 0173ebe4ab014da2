//! Requests that got no answer of the origin or the cache.

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
    /// Why it went forward, the same as if it had been answered; none: it did not.
    why: Option<Forward>,
}

impl FailedRequest {
    /// It went forward for `why`.
    pub(crate) fn forwarded(error: impl Into<ProxyError>, why: Forward) -> Self {
        Self {
            error: error.into(),
            why: Some(why),
        }
    }

    /// What its client gets.
    pub(crate) fn delivery(self) -> ClientResponse {
        let Self { error, why } = self;
        let mut fields = HeaderMap::new();
        if let Some(allow) = error.allow() {
            fields.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        ClientResponse {
            status: error.status(),
            fields,
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
    /// It did not go forward.
    fn from(error: ProxyError) -> Self {
        Self { error, why: None }
    }
}
