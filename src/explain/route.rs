//! The route that a request takes.

use serde::{Deserialize, Serialize};

use crate::proxy::DryRun;

/// The route that a request takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExplainedRoute {
    /// What it matches: a path, a host, or both. `None`: no route matches, and the request takes the last one.
    pub matches: Option<String>,
    /// Where it is written; `None` for the last one, which is the setting `origin`.
    pub place: Option<String>,
    /// Its origins. The first healthy one gets the request.
    pub origins: Vec<String>,
    /// The settings that the request has from it, each as it is written.
    pub settings: Vec<String>,
}

impl ExplainedRoute {
    /// The route of a request; `None` if there are no routes.
    pub(super) fn of(considered: &DryRun) -> Option<Self> {
        let route = considered.route();
        considered.has_routes().then(|| Self {
            matches: route.map(|route| route.name.to_string()),
            place: route.map(|route| route.place.to_string()),
            origins: considered.origins().collect(),
            settings: considered.route_keys(),
        })
    }
}
