//! Which node of a cluster has which keys.

use ::redis::Value;

use crate::redis::{replies, url::ServerPlace};

/// The number of slots of a cluster.
pub(super) const SLOTS: u16 = 16_384;

/// The slot of a key: that of its part between the first `{` and the next `}`, if this is not empty.
pub(super) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|begin| {
        let rest = key.get(begin + 1..)?;
        let end = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..end).filter(|tag| !tag.is_empty())
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, as the specification of the cluster names it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let shifted = crc << 1;
            match crc & 0x8000 {
                0 => shifted,
                _ => shifted ^ 0x1021,
            }
        })
    })
}

/// The slots from the first to the last, and the node that has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotRange {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) place: ServerPlace,
}

/// Reads the reply of `CLUSTER SLOTS`. `None` if it is none. A node without a host is `asked`, as the server means it.
pub(super) fn read_slots(reply: Value, asked: &ServerPlace) -> Option<Vec<SlotRange>> {
    let ranges = replies::list(reply)?;
    let ranges = ranges.into_iter().map(|range| {
        let mut parts = replies::list(range)?.into_iter();
        let first = u16::try_from(replies::number(parts.next()?)?).ok()?;
        let last = u16::try_from(replies::number(parts.next()?)?).ok()?;
        let mut node = replies::list(parts.next()?)?.into_iter();
        let host = replies::text(node.next()?).unwrap_or_default();
        let port = u16::try_from(replies::number(node.next()?)?).ok()?;
        let host = match (asked, host.as_str()) {
            (ServerPlace::Tcp { host, .. }, "" | "?") => host.clone(),
            _ => host,
        };
        let is_range = first <= last && last < SLOTS && port != 0;
        is_range.then_some(SlotRange {
            first,
            last,
            place: ServerPlace::Tcp { host, port },
        })
    });
    ranges.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
    }

    #[test]
    fn the_nodes_of_slots_are_read() {
        let node = |host: Value| Value::Array(vec![host, Value::Int(7001)]);
        let range = |host| {
            let range = vec![Value::Int(0), Value::Int(100), node(host)];
            Value::Array(vec![Value::Array(range)])
        };
        let asked = ServerPlace::Tcp {
            host: "seed".into(),
            port: 7000,
        };
        let host_of = |reply| match read_slots(reply, &asked).unwrap().remove(0).place {
            ServerPlace::Tcp { host, port } => (host, port),
            ServerPlace::Unix(_) => unreachable!(),
        };
        let named = host_of(range(Value::BulkString(b"10.0.0.1".to_vec())));
        assert_eq!(named, ("10.0.0.1".into(), 7001));
        assert_eq!(host_of(range(Value::Nil)), ("seed".into(), 7001));
        assert_eq!(read_slots(Value::Int(1), &asked), None);
        let backwards = vec![Value::Int(5), Value::Int(4), node(Value::Nil)];
        let backwards = Value::Array(vec![Value::Array(backwards)]);
        assert_eq!(read_slots(backwards, &asked), None);
    }
}
