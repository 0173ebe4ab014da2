//! A selecting field (RFC 9111, 4.1) of a stored response.

use std::mem::size_of;

use actix_web::http::header::HeaderName;

/// The share of the allocator's own memory for each of name and value, in bytes.
const ALLOCATION_BYTES: usize = 16;

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
        let value = self
            .value
            .as_ref()
            .map_or(0, |value| value.len() + ALLOCATION_BYTES);
        size_of::<Self>() + self.name.as_str().len() + ALLOCATION_BYTES + value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_value_count_with_their_allocations() {
        let weight_bytes = |name: &str, value: Option<&[u8]>| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let value = value.map(Into::into);
            Selector { name, value }.weight_bytes()
        };
        let least = weight_bytes("x", None);
        assert!(least > size_of::<Selector>());
        assert_eq!(weight_bytes(&"x".repeat(1000), None), least + 999);
        assert!(weight_bytes("x", Some(b"")) > least);
        assert_eq!(
            weight_bytes("x", Some(b"abc")),
            weight_bytes("x", Some(b"")) + 3
        );
    }
}
