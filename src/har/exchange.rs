//! An exchange of a request and a response.

use serde::{Deserialize, Serialize};

/// One header: name and value.
pub type HeaderLine = (String, String);

/// An exchange without the bodies, as it is sent to a running proxy to be stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordedExchange {
    /// The method.
    pub method: String,
    /// The URL, absolute.
    pub url: String,
    /// The headers of the request.
    pub request: Vec<HeaderLine>,
    /// The body of a POST, which is part of its key; `None` if there is none.
    pub posted: Option<String>,
    /// The status.
    pub status: u16,
    /// The headers of the response.
    pub response: Vec<HeaderLine>,
    /// What an export of this program says beside it; `None` for the export of another program.
    pub mark: Option<ExportMark>,
}

/// What an export of this program says of a response, in the member `_cachingProxy` of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ExportMark {
    /// `everybody`, `own` (one user), or `no-credentials`.
    pub audience: String,
    /// The user, numbered from 1; `None` if it is not `own`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<u64>,
    /// `recorded` or `imported`; `None` if it was fetched and stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<String>,
    /// The body of a POST as it is in the key, in hexadecimal digits; `None` for a GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_key: Option<String>,
    /// True if the body has the content coding that Content-Encoding names. Other programs export decoded bodies.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_encoded: bool,
}
