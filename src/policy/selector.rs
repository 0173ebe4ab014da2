//! A selecting field (RFC 9111, 4.1) of a stored response.

use std::mem::size_of;

use actix_web::http::header::HeaderName;

/// A field that Vary names, with the value of the request that was answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Selector {
    pub(super) name: HeaderName,
    /// The normal form of all lines; None when the request had no such field.
    pub(super) value: Option<Box<[u8]>>,
}

impl Selector {
    pub(super) fn name(&self) -> &HeaderName {
        &self.name
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    pub(super) fn weight_bytes(&self) -> usize {
        size_of::<Self>() + self.value.as_ref().map_or(0, |value| value.len())
    }
}
