//! The tables of fields that a header block refers to (RFC 7541, 2.3).

use std::collections::VecDeque;

use super::{FieldName, HpackError};

/// Names of the fields in the static table (RFC 7541, appendix A).
#[rustfmt::skip]
const STATIC_NAMES: [&str; 61] = [
    ":authority", ":method", ":method", ":path", ":path", ":scheme", ":scheme", ":status", ":status", ":status", ":status",
    ":status", ":status", ":status", "accept-charset", "accept-encoding", "accept-language", "accept-ranges", "accept",
    "access-control-allow-origin", "age", "allow", "authorization", "cache-control", "content-disposition",
    "content-encoding", "content-language", "content-length", "content-location", "content-range", "content-type", "cookie",
    "date", "etag", "expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range",
    "if-unmodified-since", "last-modified", "link", "location", "max-forwards", "proxy-authenticate",
    "proxy-authorization", "range", "referer", "refresh", "retry-after", "server", "set-cookie",
    "strict-transport-security", "transfer-encoding", "user-agent", "vary", "via", "www-authenticate",
];
/// Largest dynamic table, in bytes as RFC 7541, 4.1 counts them. No SETTINGS of ours says otherwise.
const MAX_TABLE_BYTES: usize = 4096;
/// What is added to the length of each field.
pub(in crate::server::http2) const FIELD_OVERHEAD_BYTES: usize = 32;

/// The dynamic table of one connection, with the static table before it.
pub(in crate::server::http2) struct FieldTable {
    /// The latest is the first.
    fields: VecDeque<TableField>,
    /// How large the fields are, with what is added to each.
    bytes: usize,
    /// How large they may be.
    limit: usize,
}

struct TableField {
    /// The name, and then the value.
    text: Box<[u8]>,
    name_length: usize,
}

impl Default for FieldTable {
    fn default() -> Self {
        Self {
            fields: VecDeque::new(),
            bytes: 0,
            limit: MAX_TABLE_BYTES,
        }
    }
}

impl FieldTable {
    /// True for a field of the static table; `index` is not 0.
    pub(in crate::server::http2) fn is_static(index: usize) -> bool {
        index <= STATIC_NAMES.len()
    }

    /// The name of a field in either table.
    ///
    /// # Errors
    /// There is none at this index.
    pub(in crate::server::http2) fn name(&self, index: usize) -> Result<&[u8], HpackError> {
        match STATIC_NAMES.get(index.wrapping_sub(1)) {
            Some(name) => Ok(name.as_bytes()),
            None => self.field(index).map(|(name, _)| name),
        }
    }

    /// The name and value of a field in the dynamic table.
    ///
    /// # Errors
    /// There is none at this index.
    pub(in crate::server::http2) fn field(
        &self,
        index: usize,
    ) -> Result<(&[u8], &[u8]), HpackError> {
        let index = index.checked_sub(STATIC_NAMES.len() + 1);
        let field = index.and_then(|index| self.fields.get(index));
        let field = field.ok_or(HpackError)?;
        Ok(field.text.split_at(field.name_length))
    }

    /// True if this is the name `:path`.
    ///
    /// # Errors
    /// There is no field at its index.
    pub(in crate::server::http2) fn is_path(
        &self,
        name: FieldName<'_>,
    ) -> Result<bool, HpackError> {
        match name {
            FieldName::Literal(name) => Ok(name.is_path()),
            FieldName::Indexed(index) => Ok(self.name(index)? == b":path"),
        }
    }

    /// Appends a name.
    ///
    /// # Errors
    /// There is no field at its index, or its code is not valid.
    pub(in crate::server::http2) fn decode_name(
        &self,
        name: FieldName<'_>,
        into: &mut Vec<u8>,
    ) -> Result<(), HpackError> {
        match name {
            FieldName::Literal(name) => name.decode(into)?,
            FieldName::Indexed(index) => into.extend_from_slice(self.name(index)?),
        }
        Ok(())
    }

    /// Adds a field to the dynamic table. `text` is its name, and then its value.
    pub(in crate::server::http2) fn add(&mut self, text: &[u8], name_length: usize) {
        let bytes = text.len() + FIELD_OVERHEAD_BYTES;
        self.evict_above(self.limit.saturating_sub(bytes));
        // RFC 7541, 4.4: a field that is too large empties the table.
        if bytes <= self.limit {
            self.bytes += bytes;
            let text = Box::from(text);
            self.fields.push_front(TableField { text, name_length });
        }
    }

    /// Sets how large the dynamic table may be.
    ///
    /// # Errors
    /// That is more than this proxy allows.
    pub(in crate::server::http2) fn resize(&mut self, limit: usize) -> Result<(), HpackError> {
        if limit > MAX_TABLE_BYTES {
            return Err(HpackError);
        }
        self.limit = limit;
        self.evict_above(limit);
        Ok(())
    }

    fn evict_above(&mut self, limit: usize) {
        while self.bytes > limit
            && let Some(field) = self.fields.pop_back()
        {
            self.bytes -= field.text.len() + FIELD_OVERHEAD_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(table: &mut FieldTable, name: &str, value: &str) {
        table.add([name, value].concat().as_bytes(), name.len());
    }

    #[test]
    fn the_oldest_fields_leave_a_table_that_is_full() {
        let mut table = FieldTable::default();
        table.resize(70).unwrap();
        add(&mut table, "a", "1");
        add(&mut table, "b", "2");
        assert_eq!(table.field(62), Ok((&b"b"[..], &b"2"[..])));
        assert_eq!(table.field(63), Ok((&b"a"[..], &b"1"[..])));
        // 3 bytes are left, and this one takes 35.
        add(&mut table, "c", "33");
        assert_eq!(table.field(62), Ok((&b"c"[..], &b"33"[..])));
        assert_eq!(table.field(63), Ok((&b"b"[..], &b"2"[..])));
        add(&mut table, "d", "444");
        assert_eq!(table.field(63), Err(HpackError));
        add(&mut table, "e", &"x".repeat(38));
        assert_eq!(table.field(62), Err(HpackError));
        assert_eq!(table.bytes, 0);
        table.resize(0).unwrap();
        add(&mut table, "", "");
        assert_eq!(table.field(62), Err(HpackError));
        assert_eq!(table.resize(MAX_TABLE_BYTES + 1), Err(HpackError));
    }

    #[test]
    fn a_table_never_exceeds_its_limit() {
        let mut table = FieldTable::default();
        for length in 0..10_000 {
            add(&mut table, "name", &"x".repeat(length % 5000));
            let bytes: usize = table.fields.iter().map(|it| it.text.len() + 32).sum();
            assert_eq!(bytes, table.bytes);
            assert!(bytes <= MAX_TABLE_BYTES);
        }
    }

    #[test]
    fn names_are_in_both_tables_and_nowhere_else() {
        let mut table = FieldTable::default();
        add(&mut table, "a", "1");
        for (index, name) in [
            (1, ":authority"),
            (4, ":path"),
            (5, ":path"),
            (15, "accept-charset"),
            (28, "content-length"),
            (61, "www-authenticate"),
            (62, "a"),
        ] {
            assert_eq!(table.name(index), Ok(name.as_bytes()));
        }
        assert_eq!(table.name(0), Err(HpackError));
        assert_eq!(table.name(63), Err(HpackError));
        assert_eq!(table.field(61), Err(HpackError));
    }
}
