//! The fields of a stored head, in one compact block of memory.

use std::{cell::LazyCell, ops::Range};

use actix_web::http::header::{HeaderName, HeaderValue};
use bytes::Bytes;
use memchr::memchr;

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
        fields: impl IntoIterator<Item = (&'h HeaderName, &'h HeaderValue)>,
    ) -> Self {
        let mut block = Vec::with_capacity(USUAL_BYTES);
        fields.into_iter().for_each(|(name, value)| {
            block.extend_from_slice(name.as_str().as_bytes());
            block.push(AFTER_NAME);
            block.extend_from_slice(value.as_bytes());
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
        let mut rest = block;
        while !rest.is_empty() {
            let (name, behind_name) = rest.split_at_checked(memchr(AFTER_NAME, rest)?)?;
            let line = behind_name.get(1..)?;
            let (value, behind_value) = line.split_at_checked(memchr(AFTER_VALUE, line)?)?;
            lower_case_name(name)?;
            HeaderValue::from_bytes(value).ok()?;
            rest = behind_value.get(1..)?;
        }
        Some(Self(block.into()))
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.lines().count()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All fields. Those of one name are in the order of receipt. The values share one copy of the block.
    pub fn iter(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.select(|_| true)
    }

    /// The same, as bytes. Names are in lower case.
    pub fn texts_by_name(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let texts = self.lines().map(|(name, value)| (name, self.0.get(value)));
        texts.filter_map(|(name, value)| Some((name, value?)))
    }

    /// The fields for whose lower-case name `is_wanted` is true.
    pub(in crate::policy) fn select(
        &self,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let block = LazyCell::new(|| Bytes::copy_from_slice(&self.0));
        self.lines()
            .filter(move |(name, _)| is_wanted(name))
            .filter_map(move |(name, value)| {
                // The bytes came from a valid field.
                let name = HeaderName::from_bytes(name).ok()?;
                let value = HeaderValue::from_maybe_shared(block.slice(value)).ok()?;
                Some((name, value))
            })
    }

    /// The first value of this name, as bytes. `None` if there is none.
    pub fn text(&self, name: &HeaderName) -> Option<&[u8]> {
        self.find(name).and_then(|position| self.0.get(position))
    }

    /// The first value of this name. `None` if there is none.
    pub(in crate::policy) fn get(&self, name: &HeaderName) -> Option<HeaderValue> {
        HeaderValue::from_bytes(self.text(name)?).ok()
    }

    /// All values of this name, as bytes.
    pub(in crate::policy) fn texts(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        let requested_range = name.as_str().as_bytes();
        self.lines()
            .filter(move |(name, _)| *name == requested_range)
            .filter_map(|(_, value)| self.0.get(value))
    }

    /// The heap memory that they take, in bytes.
    pub(in crate::policy) fn heap_bytes(&self) -> usize {
        self.0.len()
    }

    fn find(&self, name: &HeaderName) -> Option<Range<usize>> {
        let requested_range = name.as_str().as_bytes();
        let mut lines = self.lines();
        lines
            .find(|(name, _)| *name == requested_range)
            .map(|line| line.1)
    }

    /// All names, with the positions of their values.
    fn lines(&self) -> impl Iterator<Item = (&[u8], Range<usize>)> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let rest = self.0.get(start..)?;
            let colon = memchr(AFTER_NAME, rest)?;
            let value = start + colon + 1;
            let end = value + memchr(AFTER_VALUE, self.0.get(value..)?)?;
            start = end + 1;
            Some((&rest[..colon], value..end))
        })
    }
}

/// The name that these bytes are. `None` if they are not a name in lower case.
pub(in crate::policy) fn lower_case_name(bytes: &[u8]) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(bytes).ok()?;
    (name.as_str().as_bytes() == bytes).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_are_returned_unchanged(
            lines in proptest::collection::vec(("(etag|vary|x-[a-z!#0-9]{1,3})", ".{0,9}"), 0..6),
        ) {
            let lines: Vec<_> = lines
                .iter()
                .filter_map(|(name, value)| {
                    let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
                    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
                })
                .collect();
            let fields = Fields::copy_of(lines.iter().map(|(name, value)| (name, value)));
            prop_assert_eq!(fields.len(), lines.len());
            prop_assert_eq!(fields.is_empty(), lines.is_empty());
            prop_assert_eq!(&fields.iter().collect::<Vec<_>>(), &lines);
            let bytes = lines.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
            prop_assert!(fields.texts_by_name().eq(bytes));
            let read = Fields::from_block(fields.block()).unwrap();
            prop_assert_eq!(read.block(), fields.block());
            for (name, _) in &lines {
                let of_name: Vec<_> = lines
                    .iter()
                    .filter(|(other, _)| other == name)
                    .map(|(_, value)| value.as_bytes())
                    .collect();
                prop_assert_eq!(fields.text(name), of_name.first().copied());
                prop_assert_eq!(fields.texts(name).collect::<Vec<_>>(), of_name);
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
            b"Etag:a\n",
            b"e tag:a\n",
            b"etag:a\r\n",
            b"etag:a\x00\n",
            b"etag:a\n\n",
            b"etag:a\nb\n",
            b"etag:a\nb:c",
        ] {
            assert!(Fields::from_block(block).is_none(), "{block:?}");
        }
        assert_eq!(Fields::from_block(b"a:\nb:c:d\xff\n").unwrap().len(), 2);
        assert!(Fields::from_block(b"").unwrap().is_empty());
    }

    #[test]
    fn values_share_one_copy() {
        let names = [actix_web::http::header::ETAG, actix_web::http::header::VARY];
        let value = HeaderValue::from_static("a");
        let fields = Fields::copy_of(names.iter().map(|name| (name, &value)));
        let given: Vec<_> = fields.iter().map(|(_, value)| value).collect();
        let distance = "a\nvary:".len();
        let [first, second] = [0, 1].map(|number: usize| given[number].as_bytes());
        assert_eq!(first.as_ptr().wrapping_add(distance), second.as_ptr());
    }
}
