//! An entry as it is in a file. Members that are not read are ignored.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::exchange::ExportMark;

/// An entry of a HAR file.
#[derive(Debug, Deserialize)]
pub struct HarEntry<'a> {
    /// When the request was sent (ISO 8601); `None` if the file does not say that.
    #[serde(default, rename = "startedDateTime")]
    pub started: Option<String>,
    /// The request.
    #[serde(borrow)]
    pub request: HarRequest<'a>,
    /// The response.
    #[serde(borrow)]
    pub response: HarResponse<'a>,
    /// What an export of this program says; `None` in that of another one.
    #[serde(default, rename = "_cachingProxy")]
    pub mark: Option<ExportMark>,
}

/// The request of an entry.
#[derive(Debug, Deserialize)]
pub struct HarRequest<'a> {
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The headers.
    #[serde(default, borrow)]
    pub headers: Vec<HarHeader<'a>>,
    /// The body; `None` if there is none.
    #[serde(default, rename = "postData")]
    pub posted: Option<HarPosted>,
}

/// The body of a request.
#[derive(Debug, Deserialize)]
pub struct HarPosted {
    /// Its text; `None` if it is given by its parameters alone.
    #[serde(default)]
    pub text: Option<String>,
}

/// The response of an entry.
#[derive(Debug, Deserialize)]
pub struct HarResponse<'a> {
    /// The status; 0 if there was no response.
    pub status: i64,
    /// The headers.
    #[serde(default, borrow)]
    pub headers: Vec<HarHeader<'a>>,
    /// The body.
    #[serde(default, borrow)]
    pub content: HarContent<'a>,
    /// Why there is no response, in exports of Chromium; `None` if there is one.
    #[serde(default, rename = "_error")]
    pub error: Option<String>,
}

/// The body of a response.
#[derive(Debug, Default, Deserialize)]
pub struct HarContent<'a> {
    /// Its size in bytes; 0 or less if it is empty or not known.
    #[serde(default)]
    pub size: i64,
    /// The Content-Type.
    #[serde(default, rename = "mimeType")]
    pub mime_type: String,
    /// The text as it is in the file: a JSON string; `None` if the body is not in the file.
    #[serde(default, borrow)]
    pub text: Option<&'a RawValue>,
    /// `base64`; `None` if the text is the body.
    #[serde(default)]
    pub encoding: Option<String>,
}

/// A header of an entry.
#[derive(Debug, Deserialize)]
pub struct HarHeader<'a> {
    /// Its name.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Its value.
    #[serde(borrow)]
    pub value: Cow<'a, str>,
}
