//! A selecting field (RFC 9111, 4.1) of a stored response.

use std::mem::size_of;

use actix_web::http::header::HeaderName;

/// A field that Vary names, with its value in the original request.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::policy) struct Selector {
    pub(in crate::policy) name: HeaderName,
    /// The normal form of all lines. `None`: the request did not have the field.
    pub(in crate::policy) value: Option<Box<[u8]>>,
}

impl Selector {
    pub(in crate::policy) fn name(&self) -> &HeaderName {
        &self.name
    }

    pub(in crate::policy) fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    pub(in crate::policy) fn weight_bytes(&self) -> usize {
        size_of::<Self>() + self.value.as_ref().map_or(0, |value| value.len())
    }
}
