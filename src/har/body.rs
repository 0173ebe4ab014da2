//! The body of a response in a HAR file.

use std::io::{self, Write};

use super::long_text::LongText;

/// The body of a response.
#[derive(Debug)]
pub enum HarBody {
    /// In memory.
    Memory(Vec<u8>),
    /// In its file.
    Long(LongBody),
}

/// A body that is read from its file.
#[derive(Debug)]
pub struct LongBody {
    text: LongText,
    is_base64: bool,
    len: u64,
    is_ascii: bool,
}

impl LongBody {
    /// The body that `text` is, in base64 if it `is_base64`. Reads all of it.
    ///
    /// # Errors
    /// It is not base64, no string of JSON, or cannot be read.
    pub(super) fn new(text: LongText, is_base64: bool) -> io::Result<Self> {
        let (mut len, mut is_ascii) = (0, true);
        text.pieces(is_base64, &mut |piece| {
            len += piece.len() as u64;
            is_ascii &= piece.is_ascii();
            Ok(())
        })?;
        Ok(Self {
            text,
            is_base64,
            len,
            is_ascii,
        })
    }
}

impl HarBody {
    /// Its length, in bytes.
    pub fn len_bytes(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Long(body) => body.len,
        }
    }

    /// True if it is ASCII.
    pub(super) fn is_ascii(&self) -> bool {
        match self {
            Self::Memory(bytes) => bytes.is_ascii(),
            Self::Long(body) => body.is_ascii,
        }
    }

    /// Writes it to `out`.
    ///
    /// # Errors
    /// It cannot be read from its file, which may have changed, or not be written.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Memory(bytes) => out.write_all(bytes),
            Self::Long(body) => {
                let pieces = &mut |piece: &[u8]| out.write_all(piece);
                body.text.pieces(body.is_base64, pieces)
            }
        }
    }
}
