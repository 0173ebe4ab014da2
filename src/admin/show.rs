//! `show`: what is stored for one path, in detail.

use serde::{Deserialize, Serialize};

use super::{AdminError, filter};
use crate::{
    cache::FilterSpec,
    explain::{self, Shown},
    policy::Time,
    proxy::Shared,
};

/// Which path to show.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowRequest {
    /// A path with its query, or a URL; a `*` stands for itself.
    pub path: String,
}

/// Shows the responses that are stored for a path.
///
/// # Errors
/// The path is not valid, or the cache did not respond.
pub async fn show(shared: &Shared, request: ShowRequest, now: Time) -> Result<Shown, AdminError> {
    let names = FilterSpec {
        paths: vec![request.path],
        exact: true,
        ..FilterSpec::default()
    };
    let rows = shared.cache.matching(&filter(&names, shared)?).await?;
    Ok(explain::show(&rows, &shared.config(), now))
}
