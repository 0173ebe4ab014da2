//! Responses that are stored although the policy would not store them: recorded for the time without an origin, or imported.

use actix_web::http::StatusCode;

use crate::policy::{
    Audience, Mode, Reason, Request, StoredHead,
    directives::origin_directives::{CacheKind, OriginDirectives},
    freshness::{
        age::{corrected_initial_age_millis, date},
        lifetime::{Certainty, Lifetime},
    },
    mode::SetCookie,
    storing::{
        admit::{Response, audience, check_message, status_and_range, stored_fields},
        provenance::Provenance,
        stored_head::Scope,
        vary::selectors,
    },
};

/// The head to record of a response that [`super::admit::admit`] refuses. It is only used while no origin is contacted, so
/// neither its directives nor its status matter, nor a `no-store` of the client. Cookies that it sets are left out.
///
/// # Errors
/// No lookup could find it: the method, or a condition or range that it depends on; or the request passes the cache by.
pub fn record(request: &Request<'_>, response: &Response<'_>) -> Result<StoredHead, Reason> {
    head(request, response, Provenance::Recorded)
}

/// The head to store of an imported response, which is fresh until it is cleared, whatever its directives say. Cookies that
/// it sets are left out.
///
/// # Errors
/// As [`record`].
pub fn import(request: &Request<'_>, response: &Response<'_>) -> Result<StoredHead, Reason> {
    head(request, response, Provenance::Imported)
}

impl StoredHead {
    /// The same head, served to every request whatever its credentials.
    #[must_use]
    pub fn for_everyone(mut self) -> Self {
        self.audience = Audience::Everyone;
        if let Some(scope) = &mut self.scope {
            scope.partition = None;
        }
        self
    }
}

fn head(
    request: &Request<'_>,
    response: &Response<'_>,
    provenance: Provenance,
) -> Result<StoredHead, Reason> {
    if let Some(reason) = request.bypass {
        return Err(reason);
    }
    check_message(request, response)?;
    let received = response.received_fields();
    let headers = &*received;
    let origin = OriginDirectives::of(headers);
    let audience = audience(&origin);
    let partition = request.identity.filter(|_| audience == Audience::Partition);
    let cache = match partition {
        Some(_) => CacheKind::Private,
        None => CacheKind::Shared,
    };
    // RFC 9111, 4.1: `Vary: *` never matches. Without the origin, a response that may not be the right one is better than none.
    let selecting = (request.headers, request.request_id);
    let selectors = selectors(Mode::Always, selecting, headers)?;
    let (status, part) = status_and_range(response.status, headers)?;
    let (request_time, response_time) = (response.request_time, response.response_time);
    // A part that is no part of a known place could not be served.
    if status == StatusCode::PARTIAL_CONTENT && part.is_none() {
        return Err(Reason::Partial);
    }
    let date = date(headers, response_time).unwrap_or(response_time);
    Ok(StoredHead {
        fields: stored_fields(response, &OriginDirectives::none(), cache, SetCookie::Drop),
        selectors,
        lifetime: Lifetime::UntilCleared.into(),
        certainty: Certainty::Stated,
        received: response_time,
        date,
        initial_age_millis: corrected_initial_age_millis(
            headers,
            date,
            request_time,
            response_time,
        ),
        stale_while_revalidate_seconds: 0,
        never_stale: None,
        audience,
        status,
        scope: Scope {
            partition,
            part,
            connection_fields: None,
            stale_if_error_seconds: None,
            provenance,
        }
        .boxed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        Decision, OfflineDecision, decide_offline,
        fixture::{Exchange, Lines, NOW, headers, identity},
    };

    fn recorded(exchange: &Exchange<'_>) -> Result<StoredHead, Reason> {
        let fields = headers(exchange.response);
        exchange.with_request(|request| record(request, &exchange.response_of(&fields, NOW)))
    }

    #[test]
    fn what_the_policy_refuses_is_recorded_for_offline_alone() {
        for mode in [Mode::Standard, Mode::Strict, Mode::Always] {
            for (status, response) in [
                (200, &[("cache-control", "no-store")][..] as Lines<'_>),
                (200, &[("cache-control", "private, no-cache")]),
                (200, &[("vary", "*")]),
                (500, &[]),
                (302, &[("location", "/b")]),
                (200, &[("set-cookie", "a=b")]),
            ] {
                let exchange = Exchange::new(mode, response).status(status);
                let held = [recorded(&exchange).unwrap()];
                assert!(!held[0].sets_cookies());
                let online = exchange.decide(&held, NOW);
                assert!(matches!(online, Decision::Fetch { .. }), "{online:?}");
                let offline = exchange
                    .with_request(|request| decide_offline(&exchange.policy, request, held.iter()));
                assert_eq!(offline, OfflineDecision::Serve { index: 0 }, "{response:?}");
            }
        }
    }

    #[test]
    fn what_no_lookup_could_find_is_not_recorded() {
        for (status, request, reason) in [
            (
                304,
                &[("if-none-match", "\"a\"")][..] as Lines<'_>,
                Reason::Condition,
            ),
            (206, &[], Reason::Partial),
            (416, &[("range", "bytes=9-")], Reason::Range),
        ] {
            let exchange = Exchange::new(Mode::Standard, &[])
                .request(request)
                .status(status);
            assert_eq!(recorded(&exchange).err(), Some(reason));
        }
        let stream = Exchange::new(Mode::Standard, &[("content-type", "text/event-stream")]);
        assert_eq!(recorded(&stream).err(), Some(Reason::EventStream));
    }

    #[test]
    fn a_recorded_response_belongs_to_the_identity_of_its_request() {
        let exchange = Exchange::new(Mode::Standard, &[("cache-control", "no-store")]);
        let held = recorded(&exchange.clone().identity(1)).unwrap();
        assert_eq!(held.partition(), Some(identity(1)));
        let offline = |number| {
            exchange.clone().identity(number).with_request(|request| {
                decide_offline(&exchange.policy, request, [&held].into_iter())
            })
        };
        assert_eq!(offline(1), OfflineDecision::Serve { index: 0 });
        assert_eq!(offline(2), OfflineDecision::NotStored);
        let for_all = held.clone().for_everyone();
        let found = exchange.identity(2).with_request(|request| {
            let policy = Exchange::new(Mode::Standard, &[]).policy;
            decide_offline(&policy, request, [&for_all].into_iter())
        });
        assert_eq!(found, OfflineDecision::Serve { index: 0 });
    }
}
