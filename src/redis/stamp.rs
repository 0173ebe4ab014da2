//! Positions in the stream of events.

/// The identity of the data in Redis. Another one is made when Redis was emptied, restarted or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DataEpoch(pub(super) u128);

impl DataEpoch {
    /// The inverse of its text of 32 hexadecimal digits. `None` if it is none.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let is_text = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok()?;
        is_text.then_some(Self(number))
    }

    pub(super) fn text(self) -> String {
        format!("{:032x}", self.0)
    }
}

/// A position in the stream of events: what happened before it, and nothing after it, was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Positions of different epochs cannot be compared.
    pub epoch: DataEpoch,
    /// Events are numbered from 1 without gaps.
    pub position: u64,
}

impl Stamp {
    /// As bytes, for a file.
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let (epoch, position) = bytes.split_at_mut(16);
        epoch.copy_from_slice(&self.epoch.0.to_be_bytes());
        position.copy_from_slice(&self.position.to_be_bytes());
        bytes
    }

    /// The inverse of [`Stamp::to_bytes`].
    pub fn from_bytes(bytes: &[u8; 24]) -> Self {
        let (epoch, position) = bytes.split_at(16);
        let epoch = epoch.try_into().map(u128::from_be_bytes);
        let position = position.try_into().map(u64::from_be_bytes);
        Self {
            epoch: DataEpoch(epoch.unwrap_or_default()),
            position: position.unwrap_or_default(),
        }
    }

    /// True if what is applied up to `self` includes all that is applied up to `other`.
    pub fn includes(self, other: Self) -> bool {
        self.epoch == other.epoch && self.position >= other.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp {
            epoch: DataEpoch(0xfeed),
            position: 7,
        };
        assert_eq!(Stamp::from_bytes(&stamp.to_bytes()), stamp);
        assert_eq!(DataEpoch::from_text(&stamp.epoch.text()), Some(stamp.epoch));
        assert_eq!(DataEpoch::from_text("feed"), None);
    }
}
