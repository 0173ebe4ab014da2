//! Successful unsafe requests, as the store on disk remembers them: they make guessed responses of related paths stale.

use serde::{Deserialize, Serialize};

use crate::{
    cache::{
        fetches::reader::FetchId,
        namespace::Namespace,
        store::{key::Resource, related::UnsafeRequest},
    },
    policy::Time,
};

/// A successful unsafe request.
#[derive(Debug, Serialize, Deserialize)]
struct WrittenRequest {
    namespace: [u8; 16],
    resource: String,
    before: u64,
    at: u64,
}

/// An unsafe request to `resource`, as bytes.
pub(super) fn write(namespace: Namespace, resource: &Resource, request: UnsafeRequest) -> Vec<u8> {
    let written = WrittenRequest {
        namespace: namespace.0,
        resource: resource.text().to_owned(),
        before: request.before.0,
        at: request.at.unix_millis(),
    };
    serde_json::to_vec(&written).unwrap_or_default()
}

/// The request that [`write`] has written in this namespace; `None` if it is none.
pub(super) fn read(namespace: Namespace, bytes: &[u8]) -> Option<(Resource, UnsafeRequest)> {
    let written: WrittenRequest = serde_json::from_slice(bytes).ok()?;
    let request = UnsafeRequest {
        before: FetchId(written.before),
        at: Time::from_unix_millis(written.at),
    };
    let is_here = written.namespace == namespace.0;
    is_here.then(|| (Resource::from_text(written.resource.into()), request))
}
