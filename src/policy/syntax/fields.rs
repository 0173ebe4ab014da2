//! The fields of a stored head, in one compact block of memory.

use actix_web::http::header::{HeaderName, HeaderValue};
use memchr::memchr;

use super::response_headers::is_name;

/// The byte after a name. A name has no colon (RFC 9110, 5.1).
const AFTER_NAME: u8 = b':';
/// The byte after a value. A value has no line feed (RFC 9110, 5.5).
const AFTER_VALUE: u8 = b'\n';
/// The fields of most responses take less, in bytes.
const USUAL_BYTES: usize = 768;

/// Fields in a buffer of their own: `name:value` and a line feed for each.
#[derive(Clone, Debug)]
pub struct Fields(Box<[u8]>);

impl Fields {
    /// A copy of these fields, unchanged and in their order.
    pub(in crate::policy) fn copy_of<'h>(
        fields: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Self {
        let mut block = Vec::with_capacity(USUAL_BYTES);
        fields.into_iter().for_each(|(name, value)| {
            block.extend_from_slice(name);
            block.push(AFTER_NAME);
            block.extend_from_slice(value);
            block.push(AFTER_VALUE);
        });
        // The copy has no unused capacity.
        Self(block.as_slice().into())
    }

    /// The block, as [`Fields::from_block`] reads it.
    pub(in crate::policy) fn block(&self) -> &[u8] {
        &self.0
    }

    /// A copy of a block. `None` if it is not one that [`Fields::copy_of`] makes of valid fields.
    pub(in crate::policy) fn from_block(block: &[u8]) -> Option<Self> {
        let mut left = FieldsLeft(block);
        while !left.0.is_empty() {
            let (name, value) = left.next()?;
            HeaderName::from_bytes(name).ok()?;
            HeaderValue::from_bytes(value).ok()?;
        }
        Some(Self(block.into()))
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All fields, in the order of receipt: names as they were written, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        FieldsLeft(&self.0)
    }

    /// The first value of this name. `None` if there is none.
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// All values of this name.
    pub(in crate::policy) fn get_all(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        let fields = self.iter().filter(move |(field, _)| is_name(field, name));
        fields.map(|(_, value)| value)
    }

    /// The heap memory that they take, in bytes.
    pub(in crate::policy) fn heap_bytes(&self) -> usize {
        self.0.len()
    }
}

/// What is left of a block.
#[derive(Clone)]
struct FieldsLeft<'f>(&'f [u8]);

impl<'f> Iterator for FieldsLeft<'f> {
    type Item = (&'f [u8], &'f [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, behind_name) = split_behind(AFTER_NAME, self.0)?;
        let (value, behind_value) = split_behind(AFTER_VALUE, behind_name)?;
        self.0 = behind_value;
        Some((name, value))
    }
}

/// What is before and after the first `end` in these bytes. `None` if it is not there.
fn split_behind(end: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, rest) = bytes.split_at_checked(memchr(end, bytes)?)?;
    Some((before, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_are_returned_unchanged(
            lines in proptest::collection::vec(("(etag|ETag|vary|x-[A-z0-9]{1,3})", ".{0,9}"), 0..6),
        ) {
            let lines = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let is_valid = |(name, value): &(&[u8], &[u8])| {
                HeaderName::from_bytes(name).is_ok() && HeaderValue::from_bytes(value).is_ok()
            };
            let lines: Vec<(&[u8], &[u8])> = lines.filter(is_valid).collect();
            let fields = Fields::copy_of(lines.iter().copied());
            prop_assert_eq!(fields.len(), lines.len());
            prop_assert_eq!(fields.is_empty(), lines.is_empty());
            prop_assert_eq!(&fields.iter().collect::<Vec<_>>(), &lines);
            let read = Fields::from_block(fields.block()).unwrap();
            prop_assert_eq!(read.block(), fields.block());
            for (name, _) in &lines {
                let of_name: Vec<_> = lines
                    .iter()
                    .filter(|(other, _)| other.eq_ignore_ascii_case(name))
                    .map(|(_, value)| *value)
                    .collect();
                let name = HeaderName::from_bytes(name).unwrap();
                prop_assert_eq!(fields.get(&name), of_name.first().copied());
                prop_assert_eq!(fields.get_all(&name).collect::<Vec<_>>(), of_name);
            }
        }
    }

    #[test]
    fn a_block_with_a_wrong_line_is_refused() {
        for block in [
            &b"etag"[..],
            b"etag:",
            b"etag:a",
            b"\n",
            b":a\n",
            b"e tag:a\n",
            b"etag:a\r\n",
            b"etag:a\x00\n",
            b"etag:a\n\n",
            b"etag:a\nb\n",
            b"etag:a\nb:c",
        ] {
            assert!(Fields::from_block(block).is_none(), "{block:?}");
        }
        assert_eq!(Fields::from_block(b"a:\nB:c:d\xff\n").unwrap().len(), 2);
        assert!(Fields::from_block(b"").unwrap().is_empty());
    }
}
