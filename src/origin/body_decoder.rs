//! Finds the ends of the bodies of responses (RFC 9112, 6 and 7). No I/O.

use bytes::{Bytes, BytesMut};

use super::{chunked::Chunked, framing::BodyFraming, malformed::Malformed};

/// Finds the end of a body, and removes its framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyDecoder {
    /// Bytes that are still to come.
    Length(u64),
    /// The chunked coding.
    Chunked(Chunked),
    /// The body ends with the connection.
    UntilClose,
}

impl BodyDecoder {
    pub(super) fn new(framing: BodyFraming) -> Self {
        match framing {
            BodyFraming::None => Self::Length(0),
            BodyFraming::Length(bytes) => Self::Length(bytes),
            BodyFraming::Chunked => Self::Chunked(Chunked::new()),
            BodyFraming::UntilClose => Self::UntilClose,
        }
    }

    /// Removes bytes of the body from the beginning of `received`, which is not empty. Returns their content, which may be
    /// empty.
    pub(super) fn take(&mut self, received: &mut BytesMut) -> Result<Bytes, Malformed> {
        match self {
            Self::Length(left) => {
                let all = received.len();
                let used = usize::try_from(*left).map_or(all, |left| left.min(all));
                *left -= used as u64;
                Ok(received.split_to(used).freeze())
            }
            Self::Chunked(chunked) => chunked.decode(received),
            Self::UntilClose => Ok(received.split().freeze()),
        }
    }

    /// True when the body is complete: further bytes do not belong to it.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_done(),
            Self::UntilClose => false,
        }
    }
}
