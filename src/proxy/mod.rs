//! The proxy: what one request passes through.
//!
//! | place | what it holds |
//! |---|---|
//! | `handler` | the steps of a request, in their order |
//! | `request` | the client's request: as it is forwarded, its body |
//! | `hit` | responses made from stored ones |
//! | `fetch` | requests to the origin, and what becomes of the responses |
//! | `response` | the response to the client: headers, body, log line |
//! | `tunnel` | WebSocket: handshakes, and bytes in both directions |
//! | `offline` | requests while the proxy is offline |
//! | `import` | responses that are stored without a fetch |
//! | `connection` | a client's connection, as handler and server share it |
//! | `worker`, `shared` | what one worker holds, and what all of them share |
//! | `origin_health`, `availability` | whether an origin is known to fail; whether it gets requests beside others |
//! | `readiness` | whether this proxy should get requests |
//! | `request_config` | the configuration that a request goes by |
//! | `dry_run` | what would happen to a request, without forwarding it |

mod availability;
mod connection;
mod dry_run;
mod fetch;
mod handler;
mod hit;
mod import;
mod offline;
mod origin_health;
mod readiness;
mod request;
mod request_config;
mod response;
mod shared;
mod tunnel;
mod worker;

pub use self::{
    connection::Connection,
    dry_run::{DescribedRequest, DryRun, SharedFinding, dry_run},
    handler::handle,
    import::{ImportAudience, ImportRefusal, ImportedResponse, UrlMisfit, UrlPlace, import},
    readiness::Readiness,
    request::framing::RequestFraming,
    response::{
        client_response::SentHeaders,
        refusal_log::{RefusalEntry, RefusalLog},
    },
    shared::{Shared, SharedOrigin},
    tunnel::established::Tunnel,
    worker::Worker,
};
pub use crate::headers::ClientScheme;
