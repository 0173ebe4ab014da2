//! Requests with `Expect: 100-continue` (RFC 9110, 10.1.1).
//!
//! actix-http gives such a request to a service of its own first, and writes a 100 (Continue) when that returns it. Whether
//! the client may send its body is for the origin to say, so that service responds itself: it is the application, whose
//! responses are handed on as errors. The 100 is written beneath actix-http like any other interim response.

use actix_http::{Request, Response, body::BoxBody};
use actix_service::{Service as _, ServiceFactory, ServiceFactoryExt as _, apply_fn_factory};
use actix_web::{Error, body::MessageBody, dev::ServiceResponse};

/// The response to a request, in the place of an error.
#[derive(Debug)]
pub(super) struct Responded(Response<BoxBody>);

impl From<Responded> for Response<BoxBody> {
    fn from(Responded(response): Responded) -> Self {
        response
    }
}

/// The service for requests that expect a 100: it responds as `app` does.
pub(super) fn without_continue<A, B>(
    app: A,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = Request,
    Error = Responded,
    InitError = A::InitError,
    Service: 'static,
    Future: 'static,
>
where
    A: ServiceFactory<Request, Config = (), Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    let app = app.map_err(|error| Responded(error.into()));
    apply_fn_factory(app, |request: Request, app| {
        let responding = app.call(request);
        async move {
            Err(Responded(
                Response::from(responding.await?).map_into_boxed_body(),
            ))
        }
    })
}
