//! Header blocks of HTTP/2 (HPACK, RFC 7541), as their instructions.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod` | the instructions of a block, and how fields are written |
//! | `table` | the static table, and the dynamic table of a connection |
//! | `huffman` | the code of strings |

mod huffman;
mod table;

pub(super) use self::table::{FIELD_OVERHEAD_BYTES, FieldTable};

/// A block is no valid HPACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HpackError;

/// One instruction of a block (RFC 7541, 6).
#[derive(Clone, Copy, Debug)]
pub(super) enum BlockInstruction<'b> {
    /// A field that is in a table, at this index.
    Indexed(usize),
    /// A field with its value.
    Literal(LiteralField<'b>),
    /// The dynamic table may have so many bytes from now on.
    Resize(usize),
}

/// A field that is written with its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct LiteralField<'b> {
    pub(super) indexing: FieldIndexing,
    pub(super) name: FieldName<'b>,
    pub(super) value: CodedString<'b>,
}

/// What becomes of a literal field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldIndexing {
    /// It is added to the dynamic table.
    Added,
    /// It is not added.
    NotAdded,
    /// The same, and whoever passes it on may not add it either.
    Never,
}

/// The name of a literal field.
#[derive(Clone, Copy, Debug)]
pub(super) enum FieldName<'b> {
    /// That of a field in a table, at this index.
    Indexed(usize),
    Literal(CodedString<'b>),
}

/// A string as it is in a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct CodedString<'b> {
    bytes: &'b [u8],
    is_huffman: bool,
}

impl CodedString<'_> {
    /// True for `:path`.
    pub(super) fn is_path(self) -> bool {
        match self.is_huffman {
            true => self.bytes == b"\xb9\x58\xd3\x3f",
            false => self.bytes == b":path",
        }
    }

    /// True if all characters have codes of at most eight bits. That is so in most paths, and excludes all characters that
    /// no path may have. False also for some other strings.
    pub(super) fn has_short_codes(self) -> bool {
        self.is_huffman && huffman::has_short_codes(self.bytes)
    }

    /// Appends the string.
    ///
    /// # Errors
    /// Its code is not valid.
    pub(super) fn decode(self, into: &mut Vec<u8>) -> Result<(), HpackError> {
        if self.is_huffman {
            return huffman::decode(self.bytes, into);
        }
        into.extend_from_slice(self.bytes);
        Ok(())
    }
}

/// Reads the instructions of a block.
pub(super) struct BlockReader<'b> {
    rest: &'b [u8],
}

impl<'b> BlockReader<'b> {
    pub(super) fn new(block: &'b [u8]) -> Self {
        Self { rest: block }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next instruction; `None` at the end of the block.
    ///
    /// # Errors
    /// The block ends within an instruction, or a number is too large.
    pub(super) fn next(&mut self) -> Result<Option<BlockInstruction<'b>>, HpackError> {
        let Some(first) = self.rest.first() else {
            return Ok(None);
        };
        Ok(Some(match first {
            0x80.. => BlockInstruction::Indexed(self.number(7)?),
            0x40.. => self.literal(FieldIndexing::Added, 6)?,
            0x20.. => BlockInstruction::Resize(self.number(5)?),
            0x10.. => self.literal(FieldIndexing::Never, 4)?,
            _ => self.literal(FieldIndexing::NotAdded, 4)?,
        }))
    }

    fn literal(
        &mut self,
        indexing: FieldIndexing,
        prefix: u32,
    ) -> Result<BlockInstruction<'b>, HpackError> {
        let name = match self.number(prefix)? {
            0 => FieldName::Literal(self.string()?),
            index => FieldName::Indexed(index),
        };
        Ok(BlockInstruction::Literal(LiteralField {
            indexing,
            name,
            value: self.string()?,
        }))
    }

    fn string(&mut self) -> Result<CodedString<'b>, HpackError> {
        let is_huffman = self.rest.first().is_some_and(|first| first & 0x80 != 0);
        let length = self.number(7)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(HpackError)?;
        self.rest = rest;
        Ok(CodedString { bytes, is_huffman })
    }

    /// A number that begins in the last `prefix` bits of a byte (RFC 7541, 5.1). It has at most five bytes, as in `h2`.
    fn number(&mut self, prefix: u32) -> Result<usize, HpackError> {
        let (first, mut rest) = self.rest.split_first().ok_or(HpackError)?;
        let most = (1usize << prefix) - 1;
        let mut number = usize::from(*first) & most;
        if number == most {
            for shift in [0, 7, 14, 21] {
                let (next, after) = rest.split_first().ok_or(HpackError)?;
                rest = after;
                number += usize::from(next & 0x7f) << shift;
                if next & 0x80 == 0 {
                    self.rest = rest;
                    return Ok(number);
                }
            }
            return Err(HpackError);
        }
        self.rest = rest;
        Ok(number)
    }
}

/// Writes the number `number` into the last `prefix` bits of a byte that begins with `start`, and into bytes after it.
fn write_number(number: usize, start: u8, prefix: u32, into: &mut Vec<u8>) {
    let most = (1usize << prefix) - 1;
    let low = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    if number < most {
        into.push(start | low(number));
        return;
    }
    into.push(start | low(most));
    let mut rest = number - most;
    while rest > 0x7f {
        into.push(0x80 | low(rest & 0x7f));
        rest >>= 7;
    }
    into.push(low(rest));
}

/// Writes a field of the static table.
pub(super) fn write_indexed(index: usize, into: &mut Vec<u8>) {
    write_number(index, 0x80, 7, into);
}

/// Writes a field with its value, which is not added to the dynamic table.
pub(super) fn write_literal(is_never_indexed: bool, name: &[u8], value: &[u8], into: &mut Vec<u8>) {
    into.push(if is_never_indexed { 0x10 } else { 0 });
    for string in [name, value] {
        write_number(string.len(), 0, 7, into);
        into.extend_from_slice(string);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_rfc() {
        // RFC 7541, C.1, and the largest that `h2` reads.
        for (number, prefix, bytes) in [
            (10, 5, &b"\x0a"[..]),
            (1337, 5, b"\x1f\x9a\x0a"),
            (42, 8, b"\x2a"),
            (127, 7, b"\x7f\x00"),
            (0x7f + 0xfff_ffff, 7, b"\x7f\xff\xff\xff\x7f"),
        ] {
            let mut written = Vec::new();
            write_number(number, 0, prefix, &mut written);
            assert_eq!(written, bytes);
            let mut reader = BlockReader::new(bytes);
            assert_eq!(reader.number(prefix), Ok(number));
            assert_eq!(reader.left(), 0);
        }
        for bytes in [&b""[..], b"\x7f", b"\x7f\x80", b"\x7f\x80\x80\x80\x80\x00"] {
            assert_eq!(BlockReader::new(bytes).number(7), Err(HpackError));
        }
    }

    #[test]
    fn a_path_is_known_in_both_codes() {
        for (bytes, is_huffman) in [(&b":path"[..], false), (b"\xb9\x58\xd3\x3f", true)] {
            let name = CodedString { bytes, is_huffman };
            assert!(name.is_path());
            let mut text = Vec::new();
            name.decode(&mut text).unwrap();
            assert_eq!(text, b":path");
        }
    }

    #[test]
    fn a_block_that_ends_too_early_is_refused() {
        let block = b"\x40\x0acustom-key\x0dcustom-header";
        for length in 1..block.len() {
            assert!(BlockReader::new(&block[..length]).next().is_err());
        }
    }
}
