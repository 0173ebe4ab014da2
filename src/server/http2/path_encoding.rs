//! Percent-encodes the characters of `:path` that `h2` refuses, as is done in HTTP/1.1.
//!
//! Header blocks depend on the blocks before them, through a table of fields. This reads each block to keep a copy of that
//! table, and passes the block on as it is. From the first path on that has such a character, it writes all fields of the
//! connection anew, so that they no longer depend on the table, which `h2` keeps from then on in vain.

use std::{borrow::Cow, mem};

use super::{
    MAX_HEAD_BYTES,
    hpack::{
        self, BlockInstruction, BlockReader, FIELD_OVERHEAD_BYTES, FieldIndexing, FieldTable,
        HpackError, LiteralField,
    },
};
use crate::policy::encoded_target;

/// Most room for the text of a field that a connection keeps, in bytes.
const MAX_SPARE_BYTES: usize = 256;

/// The header blocks of one client.
#[derive(Default)]
pub(super) struct PathEncoder {
    table: FieldTable,
    is_rewriting: bool,
    /// Room for the text of a field.
    text: Vec<u8>,
}

/// Fields of a block that are written anew.
#[derive(Default)]
struct RewrittenFields {
    block: Vec<u8>,
    /// How large the fields are at least, as `h2` counts them.
    bytes: usize,
}

impl PathEncoder {
    /// True if blocks are no longer passed on as they are.
    pub(super) fn is_rewriting(&self) -> bool {
        self.is_rewriting
    }

    /// The block to pass on in the place of `block`; `None` if it is passed on as it is.
    ///
    /// # Errors
    /// The block is malformed. Nothing is known of the blocks after it.
    pub(super) fn encode(&mut self, block: &[u8]) -> Result<Option<Vec<u8>>, HpackError> {
        let mut rewritten = self.is_rewriting.then(RewrittenFields::default);
        let mut reader = BlockReader::new(block);
        let mut is_first = true;
        let mut text = mem::take(&mut self.text);
        loop {
            let start = block.len() - reader.left();
            let Some(instruction) = reader.next()? else {
                if text.capacity() <= MAX_SPARE_BYTES {
                    self.text = text;
                }
                return Ok(rewritten.map(|fields| fields.block));
            };
            match instruction {
                // RFC 7541, 4.2.
                BlockInstruction::Resize(limit) if is_first => {
                    self.table.resize(limit)?;
                    continue;
                }
                BlockInstruction::Resize(_) => return Err(HpackError),
                BlockInstruction::Indexed(index) => {
                    if let Some(fields) = &mut rewritten {
                        fields.indexed(index, &self.table)?;
                    }
                }
                BlockInstruction::Literal(field) => {
                    let before = &block[..start];
                    self.literal(field, before, &mut rewritten, &mut text)?;
                }
            }
            is_first = false;
        }
    }

    /// Reads a literal field. `before` is what precedes it in its block, and `text` has room for its text.
    fn literal(
        &mut self,
        field: LiteralField<'_>,
        before: &[u8],
        rewritten: &mut Option<RewrittenFields>,
        text: &mut Vec<u8>,
    ) -> Result<(), HpackError> {
        let is_path = self.table.is_path(field.name)?;
        let is_added = field.indexing == FieldIndexing::Added;
        if rewritten.is_none() && !is_added && (!is_path || field.value.has_short_codes()) {
            return Ok(());
        }
        text.clear();
        self.table.decode_name(field.name, text)?;
        let name_length = text.len();
        field.value.decode(text)?;
        let (name, value) = text.split_at(name_length);
        if is_path && rewritten.is_none() && encoded_path(value).is_some() {
            self.is_rewriting = true;
            // `h2` has the same table up to here.
            let block = before.to_vec();
            *rewritten = Some(RewrittenFields { block, bytes: 0 });
        }
        if let Some(fields) = rewritten {
            fields.literal(field.indexing == FieldIndexing::Never, name, value);
        }
        if is_added {
            self.table.add(text, name_length);
        }
        Ok(())
    }
}

impl RewrittenFields {
    fn indexed(&mut self, index: usize, table: &FieldTable) -> Result<(), HpackError> {
        if FieldTable::is_static(index) {
            let name_length = table.name(index)?.len();
            if self.has_room() {
                self.bytes += name_length + FIELD_OVERHEAD_BYTES;
                hpack::write_indexed(index, &mut self.block);
            }
            return Ok(());
        }
        let (name, value) = table.field(index)?;
        self.literal(false, name, value);
        Ok(())
    }

    /// Writes a field. A list of fields that is too large is written as far as `h2` needs it to refuse it.
    fn literal(&mut self, is_never_indexed: bool, name: &[u8], value: &[u8]) {
        if !self.has_room() {
            return;
        }
        let encoded = match name {
            b":path" => encoded_path(value).map(|path| Cow::Owned(path.into_bytes())),
            _ => None,
        };
        let value = encoded.unwrap_or(Cow::Borrowed(value));
        let most = max_bytes();
        let (name, value) = (
            &name[..name.len().min(most)],
            &value[..value.len().min(most)],
        );
        self.bytes += name.len() + value.len() + FIELD_OVERHEAD_BYTES;
        hpack::write_literal(is_never_indexed, name, value, &mut self.block);
    }

    fn has_room(&self) -> bool {
        self.bytes < max_bytes()
    }
}

/// How large a list of fields may be, in bytes.
fn max_bytes() -> usize {
    usize::try_from(MAX_HEAD_BYTES).unwrap_or(usize::MAX)
}

/// The path with the characters encoded that it must not have; `None` if it has none of them, or is no path.
fn encoded_path(path: &[u8]) -> Option<String> {
    match path.first() {
        Some(b'/') => encoded_target(path),
        _ => None,
    }
}
