//! The proxy: what one request passes through.
//!
//! | place | what it holds |
//! |---|---|
//! | `handler` | the steps of a request, in their order |
//! | `worker` | what one worker holds, and what all of them share |
//! | `in_force` | the configuration that a request goes by |
//! | `connection` | a client's connection, as handler and server see it |
//! | `request` | the client's request: as it is forwarded, its body |
//! | `hit` | responses made of what is stored |
//! | `fetch` | requests to the origin, and what becomes of its responses |
//! | `response` | the response to the client: status, headers, body, log line |
//! | `consider` | what would become of a request, without forwarding it |

mod connection;
mod dry_run;
mod fetch;
mod handler;
mod hit;
mod request;
mod request_config;
mod response;
mod worker;

pub use self::{
    connection::{Connection, RequestFraming},
    dry_run::{DescribedRequest, DryRun, dry_run},
    handler::handle,
    response::{access_log::log_unread, zero_copy::ZeroCopyBody},
    worker::{Shared, Worker, own_via},
};
